//! Canonical Huffman codes of at most 11 bits, for planes that use the full byte alphabet and for
//! planes too small for lanes.
//!
//! Source: D. Huffman 1952; length limit by L. Larmore and D. Hirschberg, "A fast algorithm for
//! optimal length-limited Huffman codes" (package-merge), 1990. Codes are written most significant
//! bit first. Planes of [`SPLIT`] symbols or more are cut into four segments with a stream each,
//! so that a decoder has four independent chains to work on.

mod bits;
mod code_lengths;

use crate::cost::{BIT, BYTE, Cost};
use crate::{DecodeError, varint};
use bits::{BitReader, BitWriter};
use code_lengths::code_lengths;

/// The longest code, in bits.
pub(crate) const MAX_BITS: u32 = 11;

/// Planes of this many symbols or more have four streams, smaller ones have one.
const SPLIT: usize = 1024;

/// A complete prefix code over at least two byte values, ready for both directions.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Code length of each byte value in bits, 0 for a value without a code.
    lengths: [u8; 256],
    /// Code of each byte value, right-aligned.
    codes: [u16; 256],
    /// Symbol and code length for every 11 bits that may come next.
    decode: Box<[Entry; 1 << MAX_BITS]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    symbol: u8,
    length: u8,
}

impl Table {
    /// The best code for symbols with these counts; `None` for fewer than two distinct symbols.
    pub(crate) fn from_counts(counts: &[u64; 256]) -> Option<Self> {
        if counts.iter().filter(|&&c| c > 0).count() < 2 {
            return None;
        }
        Self::from_lengths(code_lengths(counts, MAX_BITS))
    }

    /// The canonical code with these lengths; `None` unless it is complete.
    fn from_lengths(lengths: [u8; 256]) -> Option<Self> {
        let mut used = 0usize;
        for &length in lengths.iter().filter(|&&l| l > 0) {
            used += 1 << MAX_BITS >> length;
        }
        if used != 1 << MAX_BITS {
            return None;
        }
        let mut codes = [0; 256];
        let mut decode = vec![Entry::default(); 1 << MAX_BITS].into_boxed_slice();
        let mut slot = 0;
        for length in 1..=MAX_BITS as u8 {
            let span = 1 << MAX_BITS >> length;
            for symbol in (0..=255u8).filter(|&s| lengths[s as usize] == length) {
                codes[symbol as usize] = (slot >> (MAX_BITS - u32::from(length))) as u16;
                decode[slot..slot + span].fill(Entry { symbol, length });
                slot += span;
            }
        }
        let decode = decode.try_into().ok()?;
        Some(Self { lengths, codes, decode })
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

    /// Bytes that [`Table::write`] appends.
    pub(crate) fn written_len(&self) -> usize {
        let (first, last) = self.span();
        2 + (last - first + 1).div_ceil(2)
    }

    /// Reads what [`Table::write`] wrote and moves `input` past it.
    pub(crate) fn read(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let (&[first, extra], rest) =
            input.split_first_chunk::<2>().ok_or(DecodeError::Truncated)?;
        let count = usize::from(extra) + 1;
        let (packed, rest) =
            rest.split_at_checked(count.div_ceil(2)).ok_or(DecodeError::Truncated)?;
        let mut lengths = [0; 256];
        let span = lengths
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
        *input = rest;
        Self::from_lengths(lengths).ok_or(DecodeError::HuffmanTable)
    }

    /// The first and the last symbol with a code.
    fn span(&self) -> (usize, usize) {
        let coded = |l: &u8| *l > 0;
        let first = self.lengths.iter().position(coded).unwrap_or(0);
        (first, self.lengths.iter().rposition(coded).unwrap_or(0))
    }

    /// What symbols with these counts take as one plane; `None` if one of them has no code.
    pub(crate) fn cost(&self, counts: &[u64; 256]) -> Option<Cost> {
        let (mut bits, mut total) = (0, 0);
        for (&count, &length) in counts.iter().zip(&self.lengths) {
            if count > 0 && length == 0 {
                return None;
            }
            bits += count * Cost::from(length);
            total += count;
        }
        // Stream lengths and the padding to whole bytes.
        let overhead = if total >= SPLIT as u64 { 8 * BYTE } else { BYTE / 2 };
        Some(bits * BIT + overhead)
    }

    /// Appends the streams of `plane`, each of whose symbols has a code.
    pub(crate) fn encode(&self, plane: &[u8], out: &mut Vec<u8>) {
        let mut streams = Vec::with_capacity(plane.len() / 2);
        let mut ends = [0; 4];
        for (segment, end) in segments(plane.len()).zip(&mut ends) {
            let mut writer = BitWriter::new(&mut streams);
            for &symbol in &plane[segment] {
                writer.put(self.codes[symbol as usize], self.lengths[symbol as usize]);
            }
            writer.finish();
            *end = streams.len();
        }
        if plane.len() >= SPLIT {
            for i in 0..3 {
                let start = if i == 0 { 0 } else { ends[i - 1] };
                varint::write((ends[i] - start) as u64, out);
            }
        }
        out.extend_from_slice(&streams);
    }

    /// Decodes what [`Table::encode`] appended; `input` ends with it.
    pub(crate) fn decode(&self, mut input: &[u8], plane: &mut [u8]) -> Result<(), DecodeError> {
        let mut lengths = [0; 3];
        let split = plane.len() >= SPLIT;
        if split {
            for length in &mut lengths {
                *length = varint::read(&mut input)?;
            }
        }
        for (i, segment) in segments(plane.len()).enumerate() {
            let stream;
            if split && i < 3 {
                let length = usize::try_from(lengths[i]).map_err(|_| DecodeError::Truncated)?;
                (stream, input) = input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
            } else {
                stream = input;
            }
            self.decode_stream(stream, &mut plane[segment])?;
        }
        Ok(())
    }

    fn decode_stream(&self, stream: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
        let mut reader = BitReader::new(stream);
        // 5 codes of 11 bits fit the 57 bits that one refill guarantees.
        for group in out.chunks_mut(5) {
            let mut window = reader.window();
            let mut used = 0;
            for symbol in group {
                let entry = self.decode[(window >> (64 - MAX_BITS)) as usize];
                *symbol = entry.symbol;
                window <<= entry.length;
                used += usize::from(entry.length);
            }
            reader.advance(used);
        }
        if reader.at_end() { Ok(()) } else { Err(DecodeError::HuffmanEnd) }
    }
}

/// The ranges of symbols that have a stream each.
fn segments(n: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (count, step) = if n >= SPLIT { (4, n.div_ceil(4)) } else { (1, n) };
    (0..count).map(move |i| i * step..((i + 1) * step).min(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::counts;

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
            let Some(table) = Table::from_counts(&counts(&plane)) else { continue };
            let mut encoded = Vec::new();
            table.encode(&plane, &mut encoded);
            let mut decoded = vec![0; n];
            assert_eq!(table.decode(&encoded, &mut decoded), Ok(()));
            assert_eq!(decoded, plane);
            encoded.push(0);
            assert!(table.decode(&encoded, &mut decoded).is_err(), "a byte too many");
            encoded.truncate(encoded.len() - 2);
            assert!(table.decode(&encoded, &mut decoded).is_err(), "a byte too few");
        }
    }

    #[test]
    fn tables_round_trip_in_one_spelling() {
        let table = Table::from_counts(&counts(&skewed(5000))).unwrap();
        let mut bytes = Vec::new();
        table.write(&mut bytes);
        assert_eq!(bytes.len(), table.written_len());
        let mut rest = &bytes[..];
        assert_eq!(Table::read(&mut rest).unwrap().lengths, table.lengths);
        assert!(rest.is_empty());
        assert_eq!(Table::read(&mut &[0u8, 1, 0x21][..]).err(), Some(DecodeError::HuffmanTable));
        assert_eq!(Table::read(&mut &[255u8, 1, 0x11][..]).err(), Some(DecodeError::HuffmanTable));
    }

    #[test]
    fn cost_is_what_encoding_takes() {
        for n in [10, 500, 5000, 200_000] {
            let plane = skewed(n);
            let table = Table::from_counts(&counts(&plane)).unwrap();
            let mut encoded = Vec::new();
            table.encode(&plane, &mut encoded);
            let cost = table.cost(&counts(&plane)).unwrap() / BYTE;
            assert!(encoded.len().abs_diff(cost as usize) <= 8, "{} for {cost}", encoded.len());
        }
    }
}
