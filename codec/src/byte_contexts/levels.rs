//! The frequencies of a context: a level for each symbol, eight to the octave, which is near enough
//! and takes little room.

use at1w_simd::byte_contexts::SLOTS;

use crate::DecodeError;
use crate::cost::{BIT, Cost, log2};
use crate::counts::Counts;

/// The level of each symbol; 0 for one without slots.
pub(crate) type Levels = [u8; 256];

/// The symbols whose levels follow from those of others, which the model leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// None.
    None,
    /// Those with the top bit set have the levels of those without: floats that differ in sign.
    Sign,
    /// Those above 128 have the levels of their negatives mod 256.
    Negative,
}

impl Mirror {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Sign, Self::Negative];

    /// Counts the levels that are stored: those of the first symbols.
    pub(super) fn stored(self) -> usize {
        match self {
            Self::None => 256,
            Self::Sign => 128,
            Self::Negative => 129,
        }
    }

    /// Returns the symbol whose level is stored for a symbol.
    fn source(self, symbol: usize) -> usize {
        match self {
            _ if symbol < self.stored() => symbol,
            Self::Sign => symbol - 128,
            _ => 256 - symbol,
        }
    }

    /// Returns weights that are equal where levels must be.
    fn fold(self, counts: &Counts) -> Counts {
        let (mut sums, mut symbols) = ([0; 256], [0; 256]);
        for (symbol, count) in counts.iter().enumerate() {
            sums[self.source(symbol)] += count;
            symbols[self.source(symbol)] += 1;
        }
        std::array::from_fn(|s| 2 * sums[self.source(s)] / symbols[self.source(s)])
    }
}

/// A level stays as the one before where its count, times the square of the difference, is less:
/// that costs two bits, no more than another difference does.
const SMOOTH: u64 = 400;

/// The highest level.
const MAX_LEVEL: u8 = 8 * 13;

/// A symbol that makes up less than one in this many is escaped.
const LISTED: u64 = 8192;

/// The cost of an escaped symbol beside its code.
const ESCAPED: Cost = 8 * BIT;

/// Returns what a symbol of this level weighs against others.
fn weight(level: u8) -> u32 {
    match level.checked_sub(1) {
        Some(level) => (8 + u32::from(level % 8)) << (level / 8),
        None => 0,
    }
}

/// Returns the level whose weight is nearest to this one, and not 0.
fn level_of(weight_wanted: u64) -> u8 {
    let above = (1..MAX_LEVEL).find(|&level| {
        // From the middle between two levels on it is the upper one.
        let middle = u64::from(weight(level) + weight(level + 1));
        2 * weight_wanted < middle
    });
    above.unwrap_or(MAX_LEVEL)
}

/// Returns how many slots symbols of these levels have; `None` if none has any, or one has all.
pub(super) fn freqs(levels: &Levels) -> Option<[u16; 256]> {
    let total: u32 = levels.iter().map(|&level| weight(level)).sum();
    if total == 0 {
        return None;
    }
    let slot = |before: u32| (u64::from(before) * SLOTS as u64 / u64::from(total)) as u16;
    let (mut freqs, mut before) = ([0; 256], 0);
    for (freq, &level) in freqs.iter_mut().zip(levels) {
        let start = slot(before);
        before += weight(level);
        *freq = slot(before) - start;
    }
    freqs.iter().all(|&freq| usize::from(freq) < SLOTS).then_some(freqs)
}

/// Makes the levels for symbols with these counts. The escape has slots in any case, and stands for
/// itself and for all symbols that have none.
pub(crate) fn make(counts: &Counts, escape: u8, mirror: Mirror) -> Levels {
    let counts = &mirror.fold(counts);
    let escape = mirror.source(escape.into()) as u8;
    let total: u64 = counts.iter().sum();
    let is_listed = |symbol: usize| {
        mirror.source(symbol) != usize::from(escape)
            && counts[symbol] * LISTED >= total
            && counts[symbol] > 0
    };
    let mut weights: Counts = std::array::from_fn(|s| if is_listed(s) { counts[s] } else { 0 });
    let listed: u64 = weights.iter().sum();
    weights[usize::from(escape)] = (total - listed).max(1);
    let most = weights.iter().copied().max().unwrap_or(1);
    let mut levels: Levels = weights.map(|count| match count {
        0 => 0,
        count => {
            level_of((u128::from(count) * u128::from(weight(MAX_LEVEL)) / u128::from(most)) as u64)
        }
    });
    let mut before = 0;
    for (level, &count) in levels.iter_mut().zip(counts) {
        let difference = u64::from(level.abs_diff(before));
        if *level > 0 && before > 0 && count.saturating_mul(difference * difference) < SMOOTH {
            *level = before;
        }
        before = *level;
    }
    levels = std::array::from_fn(|symbol| levels[mirror.source(symbol)]);
    // A context of one symbol has another one, which two slots at most belong to.
    if levels.iter().filter(|&&level| level > 0).count() < 2 {
        let other = mirror.source(usize::from(escape ^ 1));
        levels = std::array::from_fn(|s| if mirror.source(s) == other { 1 } else { levels[s] });
    }
    // Each has a slot for certain if it has a share as large. Raising the least raises the sum.
    loop {
        let total: u32 = levels.iter().map(|&level| weight(level)).sum();
        let least = total.div_ceil(SLOTS as u32);
        let small = levels.iter_mut().filter(|level| **level > 0 && weight(**level) < least);
        let mut raised = false;
        small.for_each(|level| (*level, raised) = (*level + 1, true));
        if !raised {
            return levels;
        }
    }
}

/// Returns the cost of each symbol under these levels.
pub(crate) fn symbol_costs(levels: &Levels, escape: u8) -> [u32; 256] {
    let freqs = freqs(levels).unwrap_or([0; 256]);
    let code = |symbol: u8| match freqs[usize::from(symbol)] {
        0 => None,
        freq => Some(12 * BIT - log2(freq.into())),
    };
    let escaped = code(escape).unwrap_or(12 * BIT) + ESCAPED;
    std::array::from_fn(|symbol| {
        let symbol = symbol as u8;
        let cost = if symbol == escape { escaped } else { code(symbol).unwrap_or(escaped) };
        // Costs of 1/256 bit: sums over rows fit.
        (cost >> 8) as u32
    })
}

/// Returns the cost of symbols with these counts, each context with its own levels, and the cost of
/// the levels.
pub(crate) fn levels_cost(counts: &[Counts], escape: u8, mirror: Mirror) -> (Cost, Cost) {
    let (mut coded, mut tables) = (0, 0);
    for counts in counts {
        let levels = make(counts, escape, mirror);
        let costs = symbol_costs(&levels, escape);
        let of_symbols = costs.iter().zip(counts).map(|(&cost, &count)| Cost::from(cost) * count);
        coded += of_symbols.sum::<Cost>() * 256;
        tables += table_cost(&levels, mirror);
    }
    (coded, tables)
}

/// Returns about what the levels take: the bits of Elias's gamma code for each difference.
fn table_cost(levels: &Levels, mirror: Mirror) -> Cost {
    let differences = &differences(levels)[..mirror.stored()];
    differences.iter().map(|&d| Cost::from(2 * (u32::from(d) + 1).ilog2() + 1) * BIT).sum()
}

/// Returns the difference of each level from the one before, with the sign at the bottom.
pub(super) fn differences(levels: &Levels) -> [u8; 256] {
    let mut before = 0;
    levels.map(|level| {
        let difference = i16::from(level) - i16::from(before);
        before = level;
        (if difference < 0 { -2 * difference - 1 } else { 2 * difference }) as u8
    })
}

/// Undoes [`differences`], of which those that are stored are left.
pub(super) fn read(differences: &[u8], mirror: Mirror) -> Result<Levels, DecodeError> {
    let mut levels = [0; 256];
    let mut before = 0_i16;
    for (level, &difference) in levels.iter_mut().zip(differences) {
        let half = i16::from(difference / 2);
        before += if difference % 2 == 1 { -half - 1 } else { half };
        match u8::try_from(before) {
            Ok(value) if value <= MAX_LEVEL => *level = value,
            _ => return Err(DecodeError::Contexts),
        }
    }
    Ok(std::array::from_fn(|symbol| levels[mirror.source(symbol)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip_and_have_slots() {
        let bell: Counts = std::array::from_fn(|s| 1_000_000 >> (s.abs_diff(100) / 6));
        let mut spike = [0; 256];
        spike[7] = 12345;
        let mut two = spike;
        two[200] = 1;
        for (counts, escape) in [(bell, 0), (spike, 9), (spike, 7), (two, 7), ([0; 256], 3)] {
            for mirror in Mirror::ALL {
                let levels = make(&counts, escape, mirror);
                let stored = &differences(&levels)[..mirror.stored()];
                assert_eq!(read(stored, mirror), Ok(levels));
                let freqs = freqs(&levels).unwrap();
                assert!(freqs[usize::from(escape)] > 0);
                assert!(levels.iter().zip(freqs).all(|(&level, freq)| (level > 0) == (freq > 0)));
                assert_eq!(freqs.iter().map(|&f| usize::from(f)).sum::<usize>(), SLOTS);
            }
        }
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        let mut up = [0; 256];
        up[0] = 2 * (MAX_LEVEL + 1);
        let mut down = [0; 256];
        down[9] = 1;
        for differences in [up, down] {
            assert_eq!(read(&differences, Mirror::None), Err(DecodeError::Contexts));
        }
        assert_eq!(freqs(&[0; 256]), None);
    }
}
