//! Canonical Huffman codes of at most 11 bits, for planes that use the full byte alphabet and for
//! planes too small for lanes.
//!
//! Source: D. Huffman 1952; length limit by L. Larmore and D. Hirschberg, "A fast algorithm for
//! optimal length-limited Huffman codes" (package-merge), 1990. Codes are written most significant
//! bit first. Planes of [`SPLIT`] symbols or more are cut into four segments with a stream each,
//! so that a decoder has four independent chains to work on.

mod code_lengths;

use at1w_simd::Backend;
use std::sync::OnceLock;

use at1w_simd::huffman::{self, Codes, MAX_BITS, Slots};

use crate::cost::{BIT, BYTE, Cost};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::{DecodeError, varint};
use code_lengths::code_lengths;

/// Planes of this many symbols or more have four streams, smaller ones have one.
const SPLIT: usize = 1024;

/// A complete prefix code over at least two byte values, ready for both directions.
#[derive(Clone, Debug)]
pub(crate) struct HuffmanTable {
    /// Code length of each byte value in bits, 0 for a value without a code.
    lengths: [u8; 256],
    codes: Codes,
    /// The look-up table, made when something is decoded: costs are compared far more often.
    slots: OnceLock<Box<Slots>>,
}

impl HuffmanTable {
    /// The place for a table that is yet to be read.
    #[expect(clippy::declare_interior_mutable_const, reason = "each use is a table of its own")]
    pub(crate) const NONE: Self =
        Self { lengths: [0; 256], codes: [0; 256], slots: OnceLock::new() };

    /// Returns the best code for symbols with these counts and its cost, its own bytes included, if
    /// that is less than `limit`; `None` for fewer than two distinct symbols.
    pub(crate) fn best(counts: &Counts, limit: Cost) -> Option<(Self, Cost)> {
        if counts.iter().filter(|&&c| c > 0).count() < 2 {
            return None;
        }
        let lengths = code_lengths(counts, MAX_BITS);
        let cost = cost(&lengths, counts)? + Self::written_len_of(counts) as Cost * BYTE;
        if cost >= limit {
            return None;
        }
        let mut table = Self { lengths, ..Self::NONE };
        table.set_codes().map(|()| (table, cost))
    }

    /// Returns the best code for symbols with these counts.
    #[cfg(test)]
    pub(crate) fn from_counts(counts: &Counts) -> Option<Self> {
        Self::best(counts, Cost::MAX).map(|(table, _)| table)
    }

    /// Makes the canonical code of the lengths that are set; `None` unless it is complete.
    fn set_codes(&mut self) -> Option<()> {
        // The exponents of weights take a small part of all bytes.
        let (first, last) = self.span();
        let lengths = &self.lengths[first..=last];
        let mut symbols = [0; 16];
        lengths.iter().for_each(|&length| symbols[usize::from(length)] += 1);
        // Codes of each length begin where those of the shorter ones end.
        let span = |length: u8| 1_u32 << MAX_BITS >> length;
        let mut next = [0; 16];
        let mut used = 0;
        for length in 1..=MAX_BITS as u8 {
            next[usize::from(length)] = used;
            used += symbols[usize::from(length)] * span(length);
        }
        if used != 1 << MAX_BITS {
            return None;
        }
        self.codes = [0; 256];
        for (code, &length) in self.codes[first..].iter_mut().zip(lengths) {
            if length > 0 {
                let slot = &mut next[usize::from(length)];
                *code = (*slot >> (MAX_BITS - u32::from(length)) << 4) as u16 | u16::from(length);
                *slot += span(length);
            }
        }
        Some(())
    }

    /// Returns the look-up table for decoding.
    fn slots(&self) -> &Slots {
        self.slots.get_or_init(|| Slots::new(&self.codes).expect("a complete canonical code"))
    }

    /// Appends the code lengths: the first symbol, the number of symbols up to the last one less
    /// one, and four bits for each, low half of a byte first.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (first, last) = self.span();
        out.extend([first as u8, (last - first) as u8]);
        for pair in self.lengths[first..=last].chunks(2) {
            out.push(pair[0] | pair.get(1).unwrap_or(&0) << 4);
        }
    }

    /// Counts the bytes that [`HuffmanTable::write`] appends.
    pub(crate) fn written_len(&self) -> usize {
        written_len(self.span())
    }

    /// Returns the [`HuffmanTable::written_len`] of the table that [`HuffmanTable::best`] makes.
    pub(crate) fn written_len_of(counts: &Counts) -> usize {
        written_len(span(counts, |&count| count > 0))
    }

    /// Reads what [`HuffmanTable::write`] wrote over another table, for a plane of `n` symbols.
    /// There is no table to use after an error.
    ///
    /// Tables of tiny tensors are read often, and moving one costs as much as decoding with it.
    pub(crate) fn read_over(
        &mut self,
        n: usize,
        input: &mut Cursor<'_>,
    ) -> Result<(), DecodeError> {
        let [first, extra] = input.array()?;
        let count = usize::from(extra) + 1;
        let packed = input.split(count.div_ceil(2))?;
        self.lengths = [0; 256];
        let span = self
            .lengths
            .get_mut(usize::from(first)..usize::from(first) + count)
            .ok_or(DecodeError::HuffmanTable)?;
        for (i, length) in span.iter_mut().enumerate() {
            *length = packed[i / 2] >> (i % 2 * 4) & 0xf;
        }
        let canonical = span[0] != 0
            && span[count - 1] != 0
            && span.iter().all(|&l| u32::from(l) <= MAX_BITS)
            && (count % 2 == 0 || packed[count / 2] >> 4 == 0);
        if !canonical {
            return Err(DecodeError::HuffmanTable);
        }
        let slots = self.slots.take();
        self.set_codes().ok_or(DecodeError::HuffmanTable)?;
        // Few symbols are decoded without them.
        if let Some(mut slots) = slots.filter(|_| n >= SPLIT) {
            slots.set(&self.codes).expect("a complete canonical code");
            // Nothing else has set them.
            let _ = self.slots.set(slots);
        }
        Ok(())
    }

    /// Returns the first and the last symbol with a code.
    fn span(&self) -> (usize, usize) {
        span(&self.lengths, |&length| length > 0)
    }

    /// Returns whether each symbol has a code.
    pub(crate) fn codes_all(&self) -> bool {
        !self.lengths.contains(&0)
    }

    /// Returns the cost of symbols with these counts as one plane; `None` if one of them has no
    /// code.
    pub(crate) fn cost(&self, counts: &Counts) -> Option<Cost> {
        cost(&self.lengths, counts)
    }

    /// Appends the streams of `plane`, each of whose symbols has a code, after the lengths of all
    /// but the last.
    pub(crate) fn encode(&self, backend: Backend, plane: &[u8], out: &mut Vec<u8>) {
        let segments = segments(plane);
        // Each stream has room of its own first, and moves when all lengths are known.
        let head = 3 * varint::MAX_LEN;
        let rooms = segments.map(|segment| huffman::room(segment.len()));
        let start = out.len();
        out.resize(start + head + rooms.iter().sum::<usize>(), 0);
        let mut rest = &mut out[start + head..];
        let outs = rooms.map(|room| {
            let (own, after) = std::mem::take(&mut rest).split_at_mut(room);
            rest = after;
            own
        });
        let lens = huffman::encode(backend, &self.codes, segments, outs);

        let mut end = start;
        if plane.len() >= SPLIT {
            for &len in &lens[..3] {
                let (bytes, len) = varint::encoded(len as u64);
                out[end..][..len].copy_from_slice(&bytes[..len]);
                end += len;
            }
        }
        let mut from = start + head;
        for (len, room) in lens.into_iter().zip(rooms) {
            out.copy_within(from..from + len, end);
            end += len;
            from += room;
        }
        out.truncate(end);
    }

    /// Decodes what [`HuffmanTable::encode`] appended; `input` ends with it.
    pub(crate) fn decode(
        &self,
        backend: Backend,
        input: &[u8],
        plane: &mut [u8],
    ) -> Result<(), DecodeError> {
        if plane.len() < SPLIT {
            return check_end(input, huffman::decode_short(&self.codes, input, plane));
        }
        let mut streams: [&[u8]; 4] = [&[]; 4];
        let mut input = Cursor::new(input);
        let lengths = [input.length()?, input.length()?, input.length()?];
        for (stream, length) in streams.iter_mut().zip(lengths) {
            *stream = input.split(length)?;
        }
        streams[3] = input.rest();
        let read = huffman::decode(backend, self.slots(), streams, segments_mut(plane));
        streams.into_iter().zip(read).try_for_each(|(stream, bits)| check_end(stream, bits))
    }
}

/// Returns the cost of symbols with these counts under these code lengths; `None` if one of
/// them has no code.
fn cost(lengths: &[u8; 256], counts: &Counts) -> Option<Cost> {
    let (mut bits, mut total) = (0, 0);
    let mut missing = false;
    for (&count, &length) in counts.iter().zip(lengths) {
        missing |= count > 0 && length == 0;
        bits += count * Cost::from(length);
        total += count;
    }
    // Stream lengths and the padding to whole bytes.
    let overhead = if total >= SPLIT as u64 { 8 * BYTE } else { BYTE / 2 };
    (!missing).then_some(bits * BIT + overhead)
}

/// Returns the first and the last symbol that has something.
fn span<T>(of_symbols: &[T; 256], has: impl Fn(&T) -> bool) -> (usize, usize) {
    let first = of_symbols.iter().position(&has).unwrap_or(0);
    (first, of_symbols.iter().rposition(&has).unwrap_or(0))
}

/// Counts the bytes of a stored table for the symbols from `first` to `last`.
fn written_len((first, last): (usize, usize)) -> usize {
    2 + (last - first + 1).div_ceil(2)
}

/// Checks that exactly the bytes of a stream were read, and only zeros are left in the last one.
fn check_end(stream: &[u8], bits: usize) -> Result<(), DecodeError> {
    let padding = stream.last().map_or(0, |last| u32::from(*last) << (bits % 8) & 0xff);
    if bits.div_ceil(8) != stream.len() || (!bits.is_multiple_of(8) && padding != 0) {
        return Err(DecodeError::HuffmanEnd);
    }
    Ok(())
}

/// Counts the symbols of each stream but the last, which has the rest.
fn segment_len(n: usize) -> usize {
    if n < SPLIT { n } else { n.div_ceil(4) }
}

/// Cuts a plane into the symbols of each stream. Few symbols are all in the first one.
fn segments(plane: &[u8]) -> [&[u8]; 4] {
    let len = segment_len(plane.len());
    let mut rest = plane;
    [len, len, len, len].map(|len| rest.split_off(..len.min(rest.len())).unwrap_or_default())
}

/// Cuts a plane of many symbols as [`segments`] does, to write to.
fn segments_mut(plane: &mut [u8]) -> [&mut [u8]; 4] {
    let len = segment_len(plane.len());
    let mut rest = plane;
    [len, len, len, len].map(|len| rest.split_off_mut(..len.min(rest.len())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::count;

    fn skewed(n: usize) -> Vec<u8> {
        let mut x = 1u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                100 + (x >> 8).leading_zeros() as u8
            })
            .collect()
    }

    #[test]
    fn round_trips_every_small_length_and_both_stream_counts() {
        for n in (2..300).chain(SPLIT - 2..SPLIT + 12) {
            let plane = skewed(n);
            let Some(table) = HuffmanTable::from_counts(&count(Backend::best(), &plane)) else {
                continue;
            };
            let mut encoded = Vec::new();
            table.encode(Backend::best(), &plane, &mut encoded);
            let mut decoded = vec![0; n];
            assert_eq!(table.decode(Backend::best(), &encoded, &mut decoded), Ok(()));
            assert_eq!(decoded, plane);
            encoded.push(0);
            assert!(
                table.decode(Backend::best(), &encoded, &mut decoded).is_err(),
                "a byte too many"
            );
            encoded.truncate(encoded.len() - 2);
            assert!(
                table.decode(Backend::best(), &encoded, &mut decoded).is_err(),
                "a byte too few"
            );
        }
    }

    #[test]
    fn tables_round_trip_in_one_spelling() {
        let table = HuffmanTable::from_counts(&count(Backend::best(), &skewed(5000))).unwrap();
        let mut bytes = Vec::new();
        table.write(&mut bytes);
        assert_eq!(bytes.len(), table.written_len());
        let mut rest = Cursor::new(&bytes);
        let mut read = HuffmanTable::NONE;
        assert_eq!(read.read_over(5000, &mut rest), Ok(()));
        assert_eq!((read.lengths, read.codes), (table.lengths, table.codes));
        assert_eq!(rest.end(), Ok(()));
        for bytes in [[0, 1, 0x21], [255, 1, 0x11]] {
            let read = read.read_over(2, &mut Cursor::new(&bytes));
            assert_eq!(read, Err(DecodeError::HuffmanTable));
        }
    }

    #[test]
    fn cost_is_what_encoding_takes() {
        for n in [10, 500, 5000, 200_000] {
            let plane = skewed(n);
            let table = HuffmanTable::from_counts(&count(Backend::best(), &plane)).unwrap();
            let mut encoded = Vec::new();
            table.encode(Backend::best(), &plane, &mut encoded);
            let cost = table.cost(&count(Backend::best(), &plane)).unwrap() / BYTE;
            assert!(encoded.len().abs_diff(cost as usize) <= 8, "{} for {cost}", encoded.len());
        }
    }
}
