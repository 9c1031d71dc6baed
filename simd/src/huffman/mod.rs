//! Prefix codes of up to 11 bits, most significant bit first, in four streams at a time: look-ups
//! of one stream do not wait for those of the others.
//!
//! The kernels are plain code, since vector units have nothing for it. Machines with AVX2 also have
//! shifts that leave the flags alone, which make the same code twice as fast: it is compiled once
//! more for their back-ends.

mod plain;
mod short;
mod spans;

pub use short::decode_short;

use crate::Backend;

/// The longest code, in bits.
pub const MAX_BITS: u32 = 11;

/// How many bits a decoder looks at: more than a code has, to find two of them more often.
const INDEX_BITS: u32 = 12;

/// All that these bits may be.
const INDICES: usize = 1 << INDEX_BITS;

/// For every symbol the length of its code (low four bits) and the code itself (the bits above): 0
/// without a code.
pub type Codes = [u16; 256];

/// The look-up table of a decoder.
#[derive(Clone, Debug)]
pub struct Slots {
    /// For every 12 bits that may come next, the one or two symbols that they begin with. From the
    /// low byte: the bits of their codes, the bits of the symbols themselves (8 or 16), the first
    /// symbol, and the second one or 0.
    pairs: [u32; INDICES],
    /// Code length of each symbol.
    lengths: [u8; 256],
}

impl Slots {
    /// Prepares a complete prefix code, in which any bits begin with exactly one code; `None` for
    /// other codes. Moving a table takes a tenth of the time of making it, so it stays on the heap.
    pub fn new(codes: &Codes) -> Option<Box<Self>> {
        let mut spans = [spans::Span::default(); 256];
        let spans = spans::in_order(codes, &mut spans)?;
        let mut slots = Box::new(Self { pairs: [0; INDICES], lengths: [0; 256] });
        slots.fill(codes, spans);
        Some(slots)
    }

    /// Makes this the table of other codes, which [`Slots::new`] would take. If it would not, this
    /// returns `None` and stays.
    pub fn set(&mut self, codes: &Codes) -> Option<()> {
        let mut spans = [spans::Span::default(); 256];
        let spans = spans::in_order(codes, &mut spans)?;
        self.fill(codes, spans);
        Some(())
    }

    fn fill(&mut self, codes: &Codes, spans: &[spans::Span]) {
        self.lengths = codes.map(|code| code as u8 & 15);
        let mut following = [0; INDICES / 2];
        for length in 1..=MAX_BITS {
            let mut of_length = spans.iter().filter(|span| span.length == length).peekable();
            if of_length.peek().is_none() {
                continue;
            }
            // The bits after a code mean the same after each code of that length.
            let following = &mut following[..INDICES >> length];
            spans::follow(length, spans, following);
            for span in of_length {
                for (pair, following) in self.pairs[span.indices()].iter_mut().zip(&*following) {
                    *pair = following | u32::from(span.symbol) << 16;
                }
            }
        }
    }
}

/// Returns how many bytes [`encode`] needs for `n` symbols: those of the longest codes, and a word.
pub const fn room(n: usize) -> usize {
    (n * MAX_BITS as usize).div_ceil(8) + 8
}

/// Decodes each stream into all of its output. Returns how many bits of each stream that took: more
/// than there are if it is too short, since zeros are read after its end.
///
/// Any streams are safe.
pub fn decode(
    backend: Backend,
    slots: &Slots,
    streams: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    backend.with_scalar_extensions(
        #[inline(always)]
        || plain::decode(slots, streams, outs),
    )
}

/// Encodes the symbols of each stream into the front of its output. Returns how many bytes of each
/// output that took, the last one padded with zeros; the bytes after them are scratch.
///
/// # Panics
/// When an output is shorter than [`room`] says.
pub fn encode(
    backend: Backend,
    codes: &Codes,
    symbols: [&[u8]; 4],
    outs: [&mut [u8]; 4],
) -> [usize; 4] {
    for (symbols, out) in symbols.iter().zip(&outs) {
        assert!(out.len() >= room(symbols.len()), "room for the longest codes");
    }
    backend.with_scalar_extensions(
        #[inline(always)]
        || plain::encode(codes, symbols, outs),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of [`Slots::pairs`]: which code each index begins with, and which one the
    /// bits after it begin with. `None` unless there is one code for each index, and each code is
    /// one.
    fn defined_pairs(codes: &Codes) -> Option<Vec<u32>> {
        let of_symbols = (0..=255).zip(codes.iter().map(|&code| (code >> 4, code as u8 & 15)));
        let coded: Vec<_> = of_symbols.filter(|&(_, (_, length))| length > 0).collect();
        let is_code =
            |(code, length): (u16, u8)| u32::from(length) <= MAX_BITS && code >> length == 0;
        if !coded.iter().all(|&(_, code)| is_code(code)) {
            return None;
        }
        let one = |index: usize| {
            let mut all = coded.iter().filter(|&&(_, (code, length))| {
                usize::from(code) == index >> (INDEX_BITS as u8 - length)
            });
            let &(symbol, (_, length)) = all.next()?;
            all.next().is_none().then_some((symbol, length))
        };
        let first: Vec<(u8, u8)> = (0..INDICES).map(one).collect::<Option<_>>()?;
        let pair = |index: usize| {
            let (symbol, length) = first[index];
            let (next, next_length) = first[index << length & (INDICES - 1)];
            let both = length + next_length;
            let alone = u32::from(both) > INDEX_BITS;
            u32::from_le_bytes(if alone {
                [length, 8, symbol, 0]
            } else {
                [both, 16, symbol, next]
            })
        };
        Some((0..INDICES).map(pair).collect())
    }

    /// Checks a table that was made for the codes, and one that was made for others before. Returns
    /// whether the codes are complete.
    fn is_as_defined(codes: &Codes) -> bool {
        let defined = defined_pairs(codes);
        let made = Slots::new(codes);
        assert!(made.as_ref().map(|slots| &slots.pairs[..]) == defined.as_deref(), "{codes:x?}");

        let mut two = [0; 256];
        (two[7], two[8]) = (1, 1 << 4 | 1);
        let mut slots = Slots::new(&two).expect("a complete code");
        let is_set = slots.set(codes).is_some();
        let (now, is_now) = if is_set { (codes, defined) } else { (&two, defined_pairs(&two)) };
        assert!(Some(&slots.pairs[..]) == is_now.as_deref(), "{codes:x?}");
        assert_eq!(slots.lengths, now.map(|code| code as u8 & 15));
        assert_eq!(made.is_some(), is_set);
        is_set
    }

    /// A complete code of these symbols, the shorter codes anywhere: a leaf is split for each
    /// symbol but one.
    fn complete(symbols: &[u8], splits: &[prop::sample::Index]) -> Codes {
        let mut lengths = vec![0];
        for split in splits.iter().take(symbols.len() - 1) {
            let leaf = split.index(lengths.len());
            if lengths[leaf] < MAX_BITS {
                lengths[leaf] += 1;
                lengths.insert(leaf, lengths[leaf]);
            }
        }
        let mut codes = [0; 256];
        let mut index = 0;
        for (&symbol, length) in symbols.iter().zip(lengths) {
            codes[usize::from(symbol)] =
                (index >> (INDEX_BITS - length) << 4) as u16 | length as u16;
            index += INDICES >> length;
        }
        codes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn slots_are_as_defined(
            symbols in Just((0..=255).collect::<Vec<u8>>()).prop_shuffle(),
            count in 1..=256_usize,
            splits in prop::collection::vec(any::<prop::sample::Index>(), 255),
            other in any::<u8>(),
            code in any::<u16>(),
            length in 1..16_u16,
        ) {
            let symbols = &symbols[..count];
            let codes = complete(symbols, &splits);
            prop_assert_eq!(is_as_defined(&codes), count > 1, "one code has no bits");
            for code in [0, code, code << length >> length << 4 | length] {
                // A code less, one more, another one: gaps, overlaps, codes beyond their length.
                for symbol in [symbols[0], other] {
                    let mut changed = codes;
                    changed[usize::from(symbol)] = code;
                    is_as_defined(&changed);
                }
            }
        }
    }
}
