//! The kernels.
//!
//! The four streams of a decoder are written out, not looped over, so that the state
//! of each stays in registers.

use super::{Codes, INDEX_BITS, Slots};

/// Look-ups at a time: 4 of at most 12 bits fit the 57 that a window surely has, and their up to 8
/// symbols a word.
const LOOK_UPS: usize = 4;

/// Codes at a time: 5 of at most 11 bits fit a word of 64 beside the 7 that may be pending.
const CODES_PER_WORD: usize = 5;

#[inline(always)]
pub(super) fn decode(slots: &Slots, streams: [&[u8]; 4], outs: [&mut [u8]; 4]) -> [usize; 4] {
    let [stream_a, stream_b, stream_c, stream_d] = streams;
    let [out_a, out_b, out_c, out_d] = outs;
    let mut a = Reader { stream: stream_a, position: 0, out: out_a, done: 0 };
    let mut b = Reader { stream: stream_b, position: 0, out: out_b, done: 0 };
    let mut c = Reader { stream: stream_c, position: 0, out: out_c, done: 0 };
    let mut d = Reader { stream: stream_d, position: 0, out: out_d, done: 0 };
    loop {
        let rounds = a.rounds().min(b.rounds()).min(c.rounds()).min(d.rounds());
        if rounds == 0 {
            break;
        }
        for _ in 0..rounds {
            // SAFETY: each reader is asked for no more rounds than it has said.
            unsafe {
                let (mut bits_a, mut bits_b) = (a.next_word(), b.next_word());
                let (mut bits_c, mut bits_d) = (c.next_word(), d.next_word());
                for _ in 0..LOOK_UPS {
                    bits_a.look_up(slots);
                    bits_b.look_up(slots);
                    bits_c.look_up(slots);
                    bits_d.look_up(slots);
                }
                a.put(&bits_a);
                b.put(&bits_b);
                c.put(&bits_c);
                d.put(&bits_d);
            }
        }
    }
    [a.finish(slots), b.finish(slots), c.finish(slots), d.finish(slots)]
}

/// The next bits of a stream, on their way to symbols.
struct LookAhead {
    /// The bits to come, left-aligned.
    bits: u64,
    symbols: u64,
    /// The sum of the slots: bits read in the low byte, bits of symbols in the next one.
    sums: u64,
}

impl LookAhead {
    #[inline(always)]
    fn look_up(&mut self, slots: &Slots) {
        let slot = u64::from(slots.pairs[(self.bits >> (u64::BITS - INDEX_BITS)) as usize]);
        self.bits <<= slot & 63;
        self.symbols |= slot >> 16 << (self.sums >> 8 & 63);
        self.sums += slot;
    }
}

/// Reads bits, and zeros past the end.
struct Reader<'a> {
    stream: &'a [u8],
    /// Bits read.
    position: usize,
    out: &'a mut [u8],
    /// Symbols written.
    done: usize,
}

impl Reader<'_> {
    /// Returns how many rounds need no look at the ends. Each reads up to 48 bits, from a word that
    /// begins with the byte of the first bit, and writes up to 8 symbols, as a word.
    #[inline(always)]
    fn rounds(&self) -> usize {
        let bytes = self.stream.len().saturating_sub(self.position / 8);
        // After k rounds, the next word begins at most 6k + 1 bytes further on.
        let reads = bytes.saturating_sub(8 + 1) / 6;
        reads.min((self.out.len() - self.done) / (2 * LOOK_UPS))
    }

    /// Loads the next bits; at least 57 of them are valid.
    ///
    /// # Safety
    /// [`Reader::rounds`] was more than the rounds since.
    #[inline(always)]
    unsafe fn next_word(&self) -> LookAhead {
        let from = self.position / 8;
        debug_assert!(from + 8 <= self.stream.len());
        // SAFETY: as the assertion says, by what `rounds` has counted.
        let word = unsafe { self.stream.as_ptr().add(from).cast::<[u8; 8]>().read() };
        let bits = u64::from_be_bytes(word) << (self.position % 8);
        LookAhead { bits, symbols: 0, sums: 0 }
    }

    /// Writes symbols as a word. The next word overwrites the bytes that are no symbols.
    ///
    /// # Safety
    /// As [`Reader::next_word`].
    #[inline(always)]
    unsafe fn put(&mut self, word: &LookAhead) {
        debug_assert!(self.done + 8 <= self.out.len());
        let bytes = word.symbols.to_le_bytes();
        // SAFETY: as the assertion says, by what `rounds` has counted.
        unsafe { self.out.as_mut_ptr().add(self.done).cast::<[u8; 8]>().write(bytes) };
        self.position += usize::from(word.sums as u8);
        self.done += usize::from((word.sums >> 8) as u8 / 8);
    }

    /// Decodes the last symbols one by one; returns how many bits were read in all.
    #[inline(always)]
    fn finish(mut self, slots: &Slots) -> usize {
        for symbol in &mut self.out[self.done..] {
            let rest = self.stream.get(self.position / 8..).unwrap_or(&[]);
            let word = rest.first_chunk().copied().unwrap_or_else(|| {
                let mut word = [0; 4];
                word[..rest.len()].copy_from_slice(rest);
                word
            });
            let bits = u32::from_be_bytes(word) << (self.position % 8);
            let slot = slots.pairs[(bits >> (u32::BITS - INDEX_BITS)) as usize];
            *symbol = (slot >> 16) as u8;
            self.position += usize::from(slots.lengths[usize::from(*symbol)]);
        }
        self.position
    }
}

/// As `encode` of the module above. The outputs have room.
#[inline(always)]
pub(super) fn encode(codes: &Codes, symbols: [&[u8]; 4], outs: [&mut [u8]; 4]) -> [usize; 4] {
    let mut lens = [0; 4];
    for (len, (symbols, out)) in lens.iter_mut().zip(symbols.into_iter().zip(outs)) {
        *len = encode_stream(codes, symbols, out);
    }
    lens
}

#[inline(always)]
fn encode_stream(codes: &Codes, symbols: &[u8], out: &mut [u8]) -> usize {
    let mut writer = Writer { out, len: 0, pending: 0, count: 0 };
    let (groups, rest) = symbols.as_chunks::<CODES_PER_WORD>();
    for group in groups {
        writer.put(codes, group);
    }
    for symbol in rest {
        writer.put(codes, std::array::from_ref(symbol));
    }
    // The byte that is not whole was written with the last word.
    writer.len + writer.count.div_ceil(8) as usize
}

/// Writes codes.
struct Writer<'a> {
    out: &'a mut [u8],
    /// Whole bytes written.
    len: usize,
    /// Bits that are no whole byte yet, right-aligned, beneath others that are written.
    pending: u64,
    count: u64,
}

impl Writer<'_> {
    /// Writes the codes of up to [`CODES_PER_WORD`] symbols as a word. The next word overwrites all
    /// but its whole bytes.
    #[inline(always)]
    fn put<const N: usize>(&mut self, codes: &Codes, group: &[u8; N]) {
        // Put together first, so that only the last step waits for the group before.
        let (mut word, mut length) = (0, 0);
        for &symbol in group {
            let code = u64::from(codes[usize::from(symbol)]);
            word = word << (code & 15) | code >> 4;
            length += code & 15;
        }
        self.pending = self.pending << length | word;
        self.count += length;
        let place = self.out[self.len..].first_chunk_mut().expect("room for a word");
        *place = (self.pending << ((64 - self.count) & 63)).to_be_bytes();
        self.len += (self.count / 8) as usize;
        self.count %= 8;
    }
}
