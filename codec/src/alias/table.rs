//! The frequencies of alias lanes: made from counts, written, parsed, and coded with.

use std::sync::OnceLock;

use at1w_simd::Backend;
use at1w_simd::alias::{self, FEW_ENTRIES, MAX_ENTRIES, SLOT_BITS, SLOTS, Values};
use at1w_simd::packing::{self, Field};

use super::{MAX_LANES, lanes_log};
use crate::cost::{BIT, BYTE, Cost, entropy_floor, log2};
use crate::counts::Counts;
use crate::cursor::Cursor;
use crate::quantise::quantise;
use crate::{DecodeError, varint};

/// In the first byte of a stored table: there is an escape.
const ESCAPE_FLAG: u8 = 0x80;

/// In the first byte of a stored table: symbols are turned.
const TURN_FLAG: u8 = 0x40;

/// The most low bits of a symbol that are not coded.
const MAX_SHIFT: u8 = 3;

/// More than [`FEW_ENTRIES`] entries have to win one part in this: look-ups are slower.
const MIN_ENTRIES_GAIN: u64 = 256;

/// Frequencies of the values of the upper bits of symbols, from one value on.
#[derive(Clone, Debug)]
pub(crate) struct AliasTable {
    values: Values,
    escape: bool,
    len: usize,
    freqs: [u16; MAX_ENTRIES],
    /// What the kernel needs, made when something is coded: costs are compared far more often.
    kernel: OnceLock<Box<alias::AliasTable>>,
}

/// Counts the values that there are.
fn value_count(values: Values) -> usize {
    256 >> values.shift
}

/// Counts each value.
fn value_counts(values: Values, counts: &Counts) -> Counts {
    let mut of_values = [0; 256];
    for (symbol, count) in (0..=u8::MAX).zip(counts) {
        of_values[usize::from(values.turned(symbol) >> values.shift)] += count;
    }
    of_values
}

/// Entries that could make a table, and their weights.
struct Candidate {
    values: Values,
    escape: bool,
    len: usize,
    weights: [u64; MAX_ENTRIES],
    cost: Cost,
}

impl Candidate {
    /// Lists the values that occur most often together, no more entries than `most`.
    fn new(mut values: Values, most: usize, counts: &Counts) -> Option<Self> {
        let of_values = value_counts(values, counts);
        let of_values = &of_values[..value_count(values)];
        let total: u64 = of_values.iter().sum();
        let all = of_values.len() <= most && !of_values.contains(&0);
        let mut len = if all { of_values.len() } else { (of_values.len() - 1).min(most - 1) };
        // A window over values, as if in a circle, that moves on by one.
        let at = |i: usize| of_values[i % of_values.len()];
        let mut inside: u64 = of_values[..len].iter().sum();
        let (mut first, mut best) = (0, inside);
        for start in 1..of_values.len() {
            inside = inside + at(start + len - 1) - at(start - 1);
            if inside > best {
                (first, best) = (start, inside);
            }
        }
        while len > 1 && at(first + len - 1) == 0 {
            len -= 1;
        }
        while len > 1 && at(first) == 0 {
            (first, len) = (first + 1, len - 1);
        }
        values.first = (first % of_values.len()) as u8;
        let mut weights = [0; MAX_ENTRIES];
        for (i, weight) in weights[..len].iter_mut().enumerate() {
            *weight = at(first + i);
        }
        let escaped = total - best;
        if !all {
            weights[len] = escaped.max(1);
            len += 1;
        }
        let occurring = weights.iter().filter(|&&weight| weight > 0).count();
        // A value takes a slot at least: that is what rare ones cost.
        let coded = entropy_floor(&weights) + total * occurring as Cost * (BIT / SLOTS as Cost);
        let cost = coded + total * Cost::from(values.shift) * BIT + escaped * BYTE;
        (occurring > 1).then_some(Self { values, escape: !all, len, weights, cost })
    }
}

impl AliasTable {
    /// Returns the best table for symbols with these counts, its own bytes included, and its cost,
    /// if that is less than `limit`. `flush` is the cost of lanes beside their symbols.
    pub(crate) fn best(counts: &Counts, flush: Cost, limit: Cost) -> Option<(Self, Cost)> {
        let best = |most: usize| {
            let values = [false, true].into_iter().flat_map(|turn| {
                (0..=MAX_SHIFT).map(move |shift| Values { turn, shift, first: 0 })
            });
            let candidates = values.filter_map(|values| Candidate::new(values, most, counts));
            let best = candidates.min_by_key(|candidate| candidate.cost)?;
            let table = Self::new(&best);
            let cost = table.cost(counts, flush)? + table.written_len() as Cost * BYTE;
            (cost < limit).then_some((table, cost))
        };
        let (few, many) = (best(FEW_ENTRIES), best(MAX_ENTRIES));
        match (few, many) {
            (Some(few), Some(many)) if few.1 <= many.1 + many.1 / MIN_ENTRIES_GAIN => Some(few),
            (few, many) => many.or(few),
        }
    }

    fn new(candidate: &Candidate) -> Self {
        let &Candidate { values, escape, len, ref weights, .. } = candidate;
        let mut freqs = [0; MAX_ENTRIES];
        quantise(&weights[..len], SLOTS as u16, &mut freqs[..len]);
        Self { values, escape, len, freqs, kernel: OnceLock::new() }
    }

    /// Appends the table: flags and the shift, the first value, the number of entries less one, and
    /// the frequency of every entry but the last.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Values { turn, shift, first } = self.values;
        let escape = if self.escape { ESCAPE_FLAG } else { 0 };
        let turn = if turn { TURN_FLAG } else { 0 };
        out.extend([shift | escape | turn, first, self.len as u8 - 1]);
        self.freqs[..self.len - 1].iter().for_each(|&freq| varint::write(freq.into(), out));
    }

    /// Counts the bytes that [`AliasTable::write`] appends.
    pub(crate) fn written_len(&self) -> usize {
        3 + self.freqs[..self.len - 1].iter().map(|&f| if f < 128 { 1 } else { 2 }).sum::<usize>()
    }

    /// Reads what [`AliasTable::write`] wrote.
    pub(crate) fn read(input: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let [head, first, extra] = input.array()?;
        let (escape, turn) = (head & ESCAPE_FLAG != 0, head & TURN_FLAG != 0);
        let values = Values { turn, shift: head & !(ESCAPE_FLAG | TURN_FLAG), first };
        let len = usize::from(extra) + 1;
        let listed = len - usize::from(escape);
        let fits = values.shift <= MAX_SHIFT
            && (2..=MAX_ENTRIES).contains(&len)
            && listed <= value_count(values)
            && usize::from(first) < value_count(values);
        if !fits {
            return Err(DecodeError::LaneTable);
        }
        let mut freqs = [0; MAX_ENTRIES];
        let mut last = SLOTS as u16;
        for freq in &mut freqs[..len - 1] {
            *freq = u16::try_from(input.varint()?).map_err(|_| DecodeError::LaneTable)?;
            last = last.checked_sub(*freq).ok_or(DecodeError::LaneTable)?;
        }
        freqs[len - 1] = last;
        // One entry that has all slots would be a constant.
        if freqs.contains(&(SLOTS as u16)) {
            return Err(DecodeError::LaneTable);
        }
        Ok(Self { values, escape, len, freqs, kernel: OnceLock::new() })
    }

    pub(super) fn has_escape(&self) -> bool {
        self.escape
    }

    #[cfg(test)]
    pub(super) fn shift(&self) -> u8 {
        self.values.shift
    }

    /// Returns the low bits of symbols, which are packed.
    pub(super) fn low_bits(&self) -> Option<Field> {
        Field::new(0, self.values.shift)
    }

    /// Returns the table of the kernel, made at the first call.
    pub(super) fn kernel(&self) -> &alias::AliasTable {
        self.kernel.get_or_init(|| {
            let table = alias::AliasTable::new(self.values, self.escape, &self.freqs[..self.len]);
            Box::new(table.expect("checked where the table was made"))
        })
    }

    /// Returns the entry that codes a value, if one does.
    fn entry(&self, value: usize) -> Option<usize> {
        let listed = self.len - usize::from(self.escape);
        let count = value_count(self.values);
        let entry = (value + count - usize::from(self.values.first)) % count;
        if entry < listed && self.freqs[entry] > 0 {
            return Some(entry);
        }
        (self.escape && self.freqs[listed] > 0).then_some(listed)
    }

    /// Returns whether any symbol can be coded.
    pub(crate) fn codes_all(&self) -> bool {
        (0..value_count(self.values)).all(|value| self.entry(value).is_some())
    }

    /// Returns the cost of symbols with these counts as one plane, near enough to choose by; `None`
    /// if one of them can't be coded.
    pub(crate) fn cost(&self, counts: &Counts, flush: Cost) -> Option<Cost> {
        let mut weights = [0; MAX_ENTRIES];
        let values = value_counts(self.values, counts);
        for (value, &count) in values.iter().enumerate().filter(|&(_, &count)| count > 0) {
            weights[self.entry(value)?] += count;
        }
        let total: u64 = weights.iter().sum();
        let used = weights.iter().zip(&self.freqs).filter(|&(&weight, _)| weight > 0);
        let coded =
            used.map(|(&weight, &freq)| weight * (Cost::from(SLOT_BITS) * BIT - log2(freq.into())));
        let coded: Cost = coded.sum();
        let escaped = if self.escape { weights[self.len - 1] * BYTE } else { 0 };
        Some(coded + escaped + total * Cost::from(self.values.shift) * BIT + flush)
    }

    /// Appends the stream of `plane`, whose symbols all can be coded: with an escape in the table
    /// the number of escaped symbols and these; the packed low bits; the lane states; the shared
    /// units.
    pub(crate) fn encode(
        &self,
        backend: Backend,
        plane: &[u8],
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> u8 {
        let n = plane.len();
        // For each symbol its entry, and a unit.
        scratch.resize(scratch.len().max(3 * n), 0);
        let (entries, rest) = scratch[..3 * n].split_at_mut(n);
        let mut entry_of = [0; 256];
        for (symbol, entry) in (0..=u8::MAX).zip(&mut entry_of) {
            let value = usize::from(self.values.turned(symbol) >> self.values.shift);
            *entry = self.entry(value).unwrap_or(0) as u8;
        }
        for (entry, &symbol) in entries.iter_mut().zip(plane) {
            *entry = entry_of[usize::from(symbol)];
        }
        let turned = &mut rest[..n];
        for (turned, &symbol) in turned.iter_mut().zip(plane) {
            *turned = self.values.turned(symbol);
        }
        if self.escape {
            let escape = self.len as u8 - 1;
            let count = entries.iter().filter(|&&entry| entry == escape).count();
            varint::write(count as u64, out);
            if count > 0 {
                let symbols = entries.iter().zip(&*turned).filter(|&(&entry, _)| entry == escape);
                let shift = self.values.shift;
                out.extend(symbols.map(|(_, &symbol)| symbol >> shift << shift));
            }
        }
        if let Some(field) = self.low_bits() {
            let start = out.len();
            out.resize(start + field.packed_len(n), 0);
            packing::pack(backend, field, turned, &mut out[start..]);
        }
        let lanes_log = lanes_log(n);
        let mut states = [0; MAX_LANES];
        let states = &mut states[..64 << lanes_log];
        let (units, _) = rest.as_chunks_mut();
        let used = alias::encode(self.kernel(), entries, states, units);
        out.extend(states.iter().flat_map(|s| s.to_le_bytes()));
        out.extend_from_slice(&rest[2 * (n - used)..]);
        lanes_log
    }
}
