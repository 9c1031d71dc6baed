//! The frequencies of lane rANS: made from counts, written, parsed, and coded with.

use std::cmp::{Ordering, Reverse};

use at1w_simd::Backend;
use at1w_simd::lanes::{self, MAX_SYMBOLS, TOTAL};

use super::MAX_LANES;
use crate::cost::{BYTE, Cost, FREQ};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::{DecodeError, varint};

/// A symbol is listed when it makes up at least one in 2^`LISTED_SHIFT` of a plane. A slot of
/// its own costs every other symbol 0.0056 bit and saves 8 bits, so the break-even is 1 in 1420.
const LISTED_SHIFT: u32 = 10;

/// Set in the first byte of a stored table with an escape.
const ESCAPE_FLAG: u8 = 0x80;

/// The scratch memory that is needed beside a byte for each symbol.
const SCRATCH_MARGIN: usize = 64;

/// Up to 32 entries with their frequencies: byte values, of which the last may be the escape.
#[derive(Clone, Debug)]
pub(crate) struct LaneTable {
    pub(super) kernel: lanes::CodingTable,
}

/// The entries of a table that is yet to be made: costs are compared far more often.
struct Entries {
    symbols: [u8; MAX_SYMBOLS],
    /// How many symbols are listed.
    listed: usize,
    freqs: [u16; MAX_SYMBOLS],
    /// How many frequencies there are: with an escape, one more.
    len: usize,
    /// The cost of the symbols that were counted.
    cost: Cost,
}

impl Entries {
    /// Returns the best entries for symbols with these counts; `None` where there are none.
    fn from_counts(counts: &Counts) -> Option<Self> {
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
        let mut len = listed;
        let mut cost = 0;
        if !escaped.is_empty() {
            weights[listed] = escaped.iter().map(|e| e.0).sum();
            cost += weights[listed] * BYTE;
            len += 1;
        }
        let mut freqs = [0; MAX_SYMBOLS];
        quantise(&weights[..len], &mut freqs[..len])?;
        cost += weights.iter().zip(freqs).map(|(w, f)| w * FREQ[usize::from(f)]).sum::<Cost>();
        Some(Self { symbols, listed, freqs, len, cost })
    }

    fn table(&self) -> Option<LaneTable> {
        let (symbols, freqs) = (&self.symbols[..self.listed], &self.freqs[..self.len]);
        Some(LaneTable { kernel: lanes::CodingTable::new(symbols, freqs)? })
    }
}

impl LaneTable {
    /// Returns the best table for symbols with these counts and its cost, its own bytes included,
    /// if that is less than `limit`. `flush` is the cost of lanes beside their symbols.
    pub(crate) fn best(counts: &Counts, flush: Cost, limit: Cost) -> Option<(Self, Cost)> {
        let entries = Entries::from_counts(counts)?;
        let cost = entries.cost + flush + (entries.listed + entries.len) as Cost * BYTE;
        if cost < limit { Some((entries.table()?, cost)) } else { None }
    }

    /// Returns the best table for symbols with these counts; `None` where there are none.
    #[cfg(test)]
    pub(crate) fn from_counts(counts: &Counts) -> Option<Self> {
        Entries::from_counts(counts)?.table()
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

    /// Returns whether any symbol can be coded.
    pub(crate) fn codes_all(&self) -> bool {
        self.kernel.has_escape()
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
    use super::super::tests::exponents;
    use super::*;
    use crate::counts::count;

    #[test]
    fn tables_round_trip() {
        for plane in [exponents(100_000), vec![3; 9], (0..16).collect(), (0..17).collect()] {
            let counts = count(Backend::best(), &plane);
            let (table, cost) = LaneTable::best(&counts, BYTE, Cost::MAX).unwrap();
            let own = table.written_len() as Cost * BYTE;
            assert_eq!(table.cost(&counts, BYTE), Some(cost - own));
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
