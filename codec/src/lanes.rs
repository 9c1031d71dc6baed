//! Lane rANS for planes with a small alphabet: the table and the stream around the kernels of
//! [`at1w_simd::lanes`].

use at1w_simd::Backend;
use std::cmp::{Ordering, Reverse};

use at1w_simd::lanes::{self, MAX_SYMBOLS, START, TOTAL};

use crate::cost::{self, BYTE, Cost, FREQ};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::{DecodeError, varint};

/// A symbol is listed when it makes up at least one in 2^`LISTED_SHIFT` of a plane. A slot of
/// its own costs every other symbol 0.0056 bit and saves 8 bits, so the break-even is 1 in 1420.
const LISTED_SHIFT: u32 = 10;

/// Set in the first byte of a stored table with an escape.
const ESCAPE_FLAG: u8 = 0x80;

/// Returns how many lanes a plane of `n` symbols is coded with: 64 << this.
///
/// More lanes decode faster and cost 1.5 bytes each.
pub(crate) fn lanes_log(n: usize) -> u8 {
    match n {
        0..0x1_0000 => 0,
        0x1_0000..0x3_0000 => 1,
        _ => 2,
    }
}

/// The largest value of [`lanes_log`].
pub(crate) const MAX_LANES_LOG: u8 = 2;

/// The most lanes of a plane.
pub(crate) const MAX_LANES: usize = 64 << MAX_LANES_LOG;

/// The scratch memory that is needed beside a byte for each symbol.
const SCRATCH_MARGIN: usize = 64;

/// Up to 32 entries with their frequencies: byte values, of which the last may be the escape.
#[derive(Clone, Debug)]
pub(crate) struct LaneTable {
    kernel: lanes::CodingTable,
}

impl LaneTable {
    /// Returns the best table for symbols with these counts; `None` where there are none.
    pub(crate) fn from_counts(counts: &Counts) -> Option<Self> {
        let total: u64 = counts.iter().sum();
        let mut ranked = [(0, 0); 256];
        let mut occurring = 0;
        for (symbol, &count) in (0..=u8::MAX).zip(counts).filter(|&(_, &count)| count > 0) {
            ranked[occurring] = (count, symbol);
            occurring += 1;
        }
        let ranked = &mut ranked[..occurring];
        ranked.sort_unstable_by_key(|&(count, symbol)| (Reverse(count), symbol));
        let mut listed = ranked.iter().filter(|&&(c, _)| c << LISTED_SHIFT >= total).count();
        if listed < ranked.len() || listed > MAX_SYMBOLS {
            listed = listed.min(MAX_SYMBOLS - 1);
        }
        let (kept, escaped) = ranked.split_at_mut(listed);
        kept.sort_unstable_by_key(|&(_, symbol)| symbol);

        let (mut symbols, mut weights) = ([0; MAX_SYMBOLS], [0; MAX_SYMBOLS]);
        for ((entry, weight), &mut (count, symbol)) in
            symbols.iter_mut().zip(&mut weights).zip(kept)
        {
            (*entry, *weight) = (symbol, count);
        }
        let mut entries = listed;
        if !escaped.is_empty() {
            weights[listed] = escaped.iter().map(|e| e.0).sum();
            entries += 1;
        }
        let mut freqs = [0; MAX_SYMBOLS];
        let freqs = &mut freqs[..entries];
        quantise(&weights[..entries], freqs)?;
        let kernel = lanes::CodingTable::new(&symbols[..listed], freqs)?;
        Some(Self { kernel })
    }

    /// Appends the table: the number of entries less one and the escape flag, the listed symbols
    /// in rising order, and the frequency less one of every entry but the last.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (symbols, freqs) = (self.kernel.symbols(), self.kernel.freqs());
        let flag = if self.kernel.has_escape() { ESCAPE_FLAG } else { 0 };
        out.push((freqs.len() as u8 - 1) | flag);
        out.extend_from_slice(symbols);
        out.extend(freqs[..freqs.len() - 1].iter().map(|f| (f - 1) as u8));
    }

    /// Counts the bytes that [`LaneTable::write`] appends.
    pub(crate) fn written_len(&self) -> usize {
        self.kernel.symbols().len() + self.kernel.freqs().len()
    }

    /// Reads what [`LaneTable::write`] wrote.
    pub(crate) fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let head = input.u8()?;
        let escape = head & ESCAPE_FLAG != 0;
        let entries = usize::from(head & !ESCAPE_FLAG) + 1;
        if entries > MAX_SYMBOLS {
            return Err(DecodeError::LaneTable);
        }
        let listed = input.split(entries - usize::from(escape))?;
        let stored = input.split(entries - 1)?;
        let mut freqs = [0; MAX_SYMBOLS];
        let mut last = TOTAL;
        for (freq, &byte) in freqs.iter_mut().zip(stored) {
            *freq = u16::from(byte) + 1;
            last = last.checked_sub(*freq).ok_or(DecodeError::LaneTable)?;
        }
        freqs[entries - 1] = last;
        if !listed.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::LaneTable);
        }
        let kernel =
            lanes::CodingTable::new(listed, &freqs[..entries]).ok_or(DecodeError::LaneTable)?;
        Ok(Self { kernel })
    }

    /// Returns the cost of symbols with these counts as one plane, near enough to choose by; `None`
    /// if one of them can't be coded.
    pub(crate) fn cost(&self, counts: &Counts, flush: Cost) -> Option<Cost> {
        let freqs = self.kernel.freqs();
        let mut escapes: u64 = counts.iter().sum();
        let mut coded = 0;
        for (&symbol, &freq) in self.kernel.symbols().iter().zip(freqs) {
            let count = counts[usize::from(symbol)];
            coded += count * FREQ[usize::from(freq)];
            escapes -= count;
        }
        if escapes > 0 && !self.kernel.has_escape() {
            return None;
        }
        coded += escapes * freqs.last().map_or(0, |&freq| FREQ[usize::from(freq)]);
        Some(coded + escapes * BYTE + flush)
    }

    /// Appends the stream of `plane`: with an escape in the table the number of escaped symbols
    /// and these; the lane states; the shared bytes.
    pub(crate) fn encode(
        &self,
        backend: Backend,
        plane: &[u8],
        lanes_log: u8,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) {
        let room = plane.len() + SCRATCH_MARGIN;
        if scratch.len() < room {
            scratch.resize(room, 0);
        }
        if self.kernel.has_escape() {
            let count = lanes::escaped(backend, &self.kernel, plane, scratch);
            varint::write(count as u64, out);
            out.extend_from_slice(&scratch[..count]);
        }
        let mut states = [0u16; MAX_LANES];
        let states = &mut states[..64 << lanes_log];
        let used = lanes::encode(backend, &self.kernel, plane, states, scratch);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend_from_slice(&scratch[scratch.len() - used..]);
    }
}

/// Decodes what [`LaneTable::encode`] appended, piece by piece.
pub(crate) struct LaneDecoder<'a> {
    table: &'a LaneTable,
    states: [u16; MAX_LANES],
    lanes: usize,
    input: lanes::Input<'a>,
}

impl<'a> LaneDecoder<'a> {
    /// Reads what precedes the shared bytes; `stream` is the whole stream.
    pub(crate) fn new(
        table: &'a LaneTable,
        lanes_log: u8,
        stream: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let mut input = Cursor::new(stream);
        let mut escaped: &[u8] = &[];
        if table.kernel.has_escape() {
            let count = input.length()?;
            escaped = input.split(count)?;
        }
        let lanes = 64 << lanes_log;
        let mut states = [START; MAX_LANES];
        for (state, bytes) in states.iter_mut().zip(input.arrays(lanes)?) {
            *state = u16::from_le_bytes(*bytes);
        }
        if states.iter().any(|&s| s < START) {
            return Err(DecodeError::LaneState);
        }
        Ok(Self { table, states, lanes, input: lanes::Input { stream: input.rest(), escaped } })
    }

    /// Decodes the next symbols: a multiple of [`MAX_LANES`] of them, or all that are left.
    pub(crate) fn decode(&mut self, backend: Backend, out: &mut [u8]) -> Result<(), DecodeError> {
        let states = &mut self.states[..self.lanes];
        lanes::decode(backend, &self.table.kernel, states, &mut self.input, out).map_err(fault)
    }

    /// Decodes the high bytes of 16-bit floats as [`LaneDecoder::decode`] does, and merges them
    /// with the `low` ones.
    pub(crate) fn decode_float16(
        &mut self,
        backend: Backend,
        low: &[u8],
        out: &mut [u8],
    ) -> Result<(), DecodeError> {
        let states = &mut self.states[..self.lanes];
        lanes::decode_float16(backend, &self.table.kernel, states, &mut self.input, low, out)
            .map_err(fault)
    }

    /// Checks that the input ended with the plane, and every lane where it began.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if !self.input.stream.is_empty() || self.states.iter().any(|&s| s != START) {
            return Err(DecodeError::LaneEnd);
        }
        if self.input.escaped.is_empty() { Ok(()) } else { Err(DecodeError::Escapes) }
    }
}

fn fault(exhausted: lanes::Exhausted) -> DecodeError {
    match exhausted {
        lanes::Exhausted::Stream => DecodeError::Truncated,
        lanes::Exhausted::Escaped => DecodeError::Escapes,
    }
}

/// Returns the cost of the lanes of a plane of `n` symbols beside the symbols: 16 bits of state
/// each, of which the symbols use 4 on average.
pub(crate) fn flush_cost(n: usize) -> Cost {
    (64 << lanes_log(n)) * 12 * cost::BIT
}

/// Finds the frequencies of sum 256, each at least 1, that code symbols of these weights in the
/// fewest bits; `None` if there are no symbols.
///
/// Costs are convex, so moving one slot at a time to where it saves most, from where it costs
/// least, ends at the optimum.
fn quantise(weights: &[u64], freqs: &mut [u16]) -> Option<()> {
    let total: u64 = weights.iter().sum();
    if total == 0 {
        return None;
    }
    let share = |w: u64| (u128::from(w) * u128::from(TOTAL) / u128::from(total)) as u16;
    freqs.iter_mut().zip(weights).for_each(|(freq, &w)| *freq = share(w).max(1));
    loop {
        // The saving of a symbol of this weight by the slot above `f`.
        let value = |i: usize, f: u16| weights[i] * (FREQ[f as usize] - FREQ[f as usize + 1]);
        let sum: u16 = freqs.iter().sum();
        let gain = (0..freqs.len())
            .filter(|&i| freqs[i] < TOTAL)
            .map(|i| (value(i, freqs[i]), i))
            .max_by_key(|&(v, i)| (v, Reverse(i)));
        let loss =
            (0..freqs.len()).filter(|&i| freqs[i] > 1).map(|i| (value(i, freqs[i] - 1), i)).min();
        match (sum.cmp(&TOTAL), gain, loss) {
            (Ordering::Less, Some((_, i)), _) => freqs[i] += 1,
            (Ordering::Greater, _, Some((_, i))) => freqs[i] -= 1,
            (Ordering::Equal, Some((gain, i)), Some((loss, j))) if gain > loss => {
                freqs[i] += 1;
                freqs[j] -= 1;
            }
            _ => return Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::count;

    /// Exponents as weights have them, with a few far outliers.
    fn exponents(n: usize) -> Vec<u8> {
        let mut x = 7u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if x >> 20 == 5 { x as u8 } else { 122 - (x >> 4).leading_zeros() as u8 }
            })
            .collect()
    }

    fn decode(
        table: &LaneTable,
        encoded: &[u8],
        n: usize,
        piece: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = LaneDecoder::new(table, lanes_log(n), encoded)?;
        let mut decoded = vec![0; n];
        decoded.chunks_mut(piece).try_for_each(|out| decoder.decode(Backend::best(), out))?;
        decoder.finish()?;
        Ok(decoded)
    }

    #[test]
    fn round_trips_with_and_without_escapes() {
        for n in [1, 63, 64, 65, 300, 4096, 70_000, 200_001] {
            for plane in [exponents(n), exponents(n).iter().map(|e| e % 16).collect()] {
                let table = LaneTable::from_counts(&count(Backend::best(), &plane)).unwrap();
                let (mut encoded, mut scratch) = (Vec::new(), Vec::new());
                table.encode(Backend::best(), &plane, lanes_log(n), &mut encoded, &mut scratch);
                for piece in [n, MAX_LANES, 16 * MAX_LANES] {
                    assert_eq!(decode(&table, &encoded, n, piece).as_ref(), Ok(&plane));
                }

                let cost =
                    table.cost(&count(Backend::best(), &plane), flush_cost(n)).unwrap() / BYTE;
                let slack = 8 + (64 << lanes_log(n)) / 2 + encoded.len() / 50;
                assert!(
                    encoded.len().abs_diff(cost as usize) <= slack,
                    "{} for {cost}",
                    encoded.len()
                );

                encoded.push(0);
                assert_eq!(decode(&table, &encoded, n, n), Err(DecodeError::LaneEnd));
            }
        }
    }

    #[test]
    fn tables_round_trip() {
        for plane in [exponents(100_000), vec![3; 9], (0..16).collect(), (0..17).collect()] {
            let table = LaneTable::from_counts(&count(Backend::best(), &plane)).unwrap();
            let mut bytes = Vec::new();
            table.write(&mut bytes);
            assert_eq!(bytes.len(), table.written_len());
            let read = LaneTable::read(&mut Cursor::new(&bytes)).unwrap();
            assert_eq!(read.kernel.freqs(), table.kernel.freqs());
            assert_eq!(read.kernel.symbols(), table.kernel.symbols());
            for cut in 0..bytes.len() {
                let read = LaneTable::read(&mut Cursor::new(&bytes[..cut]));
                assert_eq!(read.err(), Some(DecodeError::Truncated));
            }
        }
    }

    #[test]
    fn quantising_is_optimal_for_small_cases() {
        let weights = [1000, 10, 1];
        let cost =
            |f: &[u16]| -> Cost { f.iter().zip(weights).map(|(&f, w)| w * FREQ[f as usize]).sum() };
        let mut best = Cost::MAX;
        for a in 1..255 {
            for b in 1..256 - a {
                best = best.min(cost(&[a, b, 256 - a - b]));
            }
        }
        let mut freqs = [0; 3];
        quantise(&weights, &mut freqs).unwrap();
        assert_eq!(cost(&freqs), best);
    }
}
