//! Finding the matches of a chunk.
//!
//! Source: J. Ziv and A. Lempel, "A universal algorithm for sequential data compression" (1977),
//! on whole elements.

use at1w_simd::Backend;
use at1w_simd::planes::Layout;
use at1w_simd::ranks;

use super::matches::{MIN_LEN, Match, Matches, SIGN};

/// Of a large chunk, about one place in 1 << this is probed.
const PROBE_BITS: u32 = 6;

/// About so many places of a smaller chunk are probed.
const FEWEST_PROBED: usize = 256;

/// Of a chunk of more than twice as many elements only so many are probed.
const PROBED: usize = 1 << 16;

/// One in so many places must begin a match, or the chunk is not searched.
const PROBE_RATE: usize = 64;

/// A match of so many elements ends the search for a longer one.
const GOOD: usize = 64;

/// How many earlier places with the same hash are tried.
const DEPTH: usize = 16;

/// The most bits of a hash that are looked up.
const HASH_BITS: u32 = 16;

/// The cost of a match, in bits, with the distance of the one before; and the cost of another
/// distance beside its own bits.
const MATCH: usize = 10;
const DISTANCE: usize = 4;

/// A finder of matches. It keeps its memory from one chunk to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct MatchFinder {
    matches: Matches,
    probes: Probes,
    /// The chunk without signs.
    magnitudes: Vec<u8>,
    places: Places,
}

impl MatchFinder {
    /// Finds matches; `None` if there are none, or seem to be hardly any. `bits` is the cost of an
    /// element otherwise.
    pub(super) fn find(
        &mut self,
        backend: Backend,
        layout: Layout,
        raw: &[u8],
        bits: usize,
    ) -> Option<&Matches> {
        let Self { matches, probes, magnitudes, places } = self;
        let width = layout.width();
        let sign_bit = if layout.rotates() { SIGN } else { 0 };
        if !probes.may_repeat(backend, width, sign_bit, raw) {
            return None;
        }
        matches.clear();
        if !layout.rotates() {
            Search::new(width, raw).parse(raw, bits, places, matches);
            return (matches.count() > 0).then_some(&*matches);
        }
        magnitudes.clear();
        magnitudes.extend_from_slice(raw);
        magnitudes.iter_mut().skip(width - 1).step_by(width).for_each(|top| *top &= !SIGN);
        Search::new(width, magnitudes).parse(raw, bits, places, matches);
        if matches.count() == 0 {
            return None;
        }
        let sign = |at: usize| raw[width * at + width - 1] >> 7;
        let (mut flips, mut at) = (std::mem::take(&mut matches.flips), 0);
        for Match { literals, length, distance } in matches.iter() {
            at += literals;
            flips.extend((at..at + length).map(|at| sign(at) ^ sign(at - distance)));
            at += length;
        }
        matches.flips = flips;
        Some(matches)
    }
}

/// Returns how many elements are hashed, and the fewest that a new distance is worth: by chance so
/// many of a weight tensor are nowhere else in a chunk.
fn window(width: usize) -> usize {
    match width {
        1 => 6,
        2 => 3,
        _ => 2,
    }
}

/// Memory to find out whether a chunk is worth a search.
#[derive(Clone, Debug, Default)]
struct Probes {
    /// A mark for each place that is looked at.
    marks: Vec<u8>,
    /// The last place of each hash: 1 more, 0 for none.
    last: Vec<u32>,
}

impl Probes {
    /// Returns whether there seem to be more than a few matches of elements whose top byte is taken
    /// without these bits.
    fn may_repeat(&mut self, backend: Backend, width: usize, top_bits: u8, raw: &[u8]) -> bool {
        let probed = if raw.len() > 2 * PROBED * width { PROBED * width } else { raw.len() };
        let raw = &raw[..probed];
        match width {
            1 => self.probe::<1, 6>(backend, top_bits, raw),
            2 => self.probe::<2, 3>(backend, top_bits, raw),
            4 => self.probe::<4, 2>(backend, top_bits, raw),
            _ => self.probe::<8, 2>(backend, top_bits, raw),
        }
    }

    /// Looks only at places whose element ranks low, if these are about as many as they should be.
    /// Equal elements have one rank, so a place and its copy are both looked at, or neither is.
    fn probe<const W: usize, const WINDOW: usize>(
        &mut self,
        backend: Backend,
        top_bits: u8,
        raw: &[u8],
    ) -> bool {
        let elements: &[[u8; W]] = raw.as_chunks().0;
        let mut bits = (elements.len() / FEWEST_PROBED).max(1).ilog2().min(PROBE_BITS);
        let number = |element: &[u8; W]| {
            let mut bytes = [0; 8];
            bytes[..W].copy_from_slice(element);
            bytes[W - 1] &= !top_bits;
            u64::from_le_bytes(bytes)
        };
        let mask = u16::from_le_bytes([u8::MAX, !top_bits]);
        self.marks.resize(self.marks.len().max(elements.len()), 0);
        let marks = &mut self.marks[..elements.len()];
        let mut mark = |bits: u32| {
            let bound = (u32::from(u16::MAX) >> bits) as u16;
            ranks::mark(backend, W, mask, bound, raw, marks);
            marks.iter().map(|&mark| usize::from(mark)).sum::<usize>()
        };
        let marked = mark(bits);
        // Of few different elements, or where one is repeated, those that rank low may say nothing.
        // A smaller chunk is quick to probe everywhere.
        let expected = elements.len() >> bits;
        if (1..PROBE_BITS).contains(&bits)
            && (marked < expected / 2 || marked > expected * 2 || has_runs(elements))
        {
            bits = 0;
            mark(bits);
        }
        let slots = (elements.len() >> bits).next_power_of_two();
        self.last.clear();
        self.last.resize(slots, 0);
        let (mut probed, mut found) = (0, 0);
        for (g, marks) in marks.as_chunks().0.iter().enumerate() {
            // A mark in each byte, and mostly none.
            let mut marks = u64::from_le_bytes(*marks);
            while marks != 0 {
                let at = 8 * g + marks.trailing_zeros() as usize / 8;
                marks &= marks - 1;
                let Some(window) = elements.get(at..at + WINDOW) else { break };
                let mut hash = 0;
                for element in window {
                    hash = (hash ^ number(element)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    hash ^= hash >> 32;
                }
                let slot = &mut self.last[hash as usize & (slots - 1)];
                let earlier = std::mem::replace(slot, at as u32 + 1).checked_sub(1);
                probed += 1;
                found += usize::from(earlier.is_some_and(|earlier| {
                    let earlier = &elements[earlier as usize..][..WINDOW];
                    earlier.iter().map(number).eq(window.iter().map(number))
                }));
            }
        }
        found * PROBE_RATE > probed
    }
}

/// Returns whether more than a few elements are equal to the next one.
fn has_runs<const W: usize>(elements: &[[u8; W]]) -> bool {
    let equal = elements.iter().zip(&elements[1..]).filter(|(a, b)| a == b).count();
    equal * PROBE_RATE > elements.len()
}

/// A chunk that is searched.
struct Search<'a> {
    raw: &'a [u8],
    width: usize,
    /// Elements that are hashed, and the fewest that a new distance is worth.
    window: usize,
}

/// Earlier places by the hash of their elements: 1 more, 0 for none.
#[derive(Clone, Debug, Default)]
struct Places {
    /// The last place of each hash.
    last: Vec<u32>,
    /// The one before each place.
    before: Vec<u32>,
}

impl Places {
    /// Forgets all places, and makes room for those of `n` elements.
    fn reset(&mut self, n: usize) {
        self.last.clear();
        self.last.resize(n.next_power_of_two().min(1 << HASH_BITS), 0);
        self.before.clear();
        self.before.resize(n, 0);
    }

    fn slot(&self, hash: u64) -> usize {
        // As many of the top bits as there are slots.
        (((hash >> 32) * self.last.len() as u64) >> 32) as usize
    }

    fn insert(&mut self, at: usize, hash: Option<u64>) {
        if let Some(hash) = hash {
            let slot = self.slot(hash);
            self.before[at] = std::mem::replace(&mut self.last[slot], at as u32 + 1);
        }
    }
}

impl<'a> Search<'a> {
    fn new(width: usize, raw: &'a [u8]) -> Self {
        let window = window(width);
        Self { raw, width, window }
    }

    fn count(&self) -> usize {
        self.raw.len() / self.width
    }

    fn hash(&self, at: usize) -> Option<u64> {
        let window = self.raw.get(at * self.width..(at + self.window) * self.width)?;
        // Of 6 to 16 bytes: the first four, the last four, and for 16 the second and third.
        let first = u32::from_le_bytes(*window.first_chunk()?);
        let last = u32::from_le_bytes(*window.last_chunk()?);
        let both = u64::from(first) | u64::from(last) << 32;
        // The top bits are good.
        Some((both ^ both >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Counts how many elements at two places are equal.
    fn common(&self, at: usize, earlier: usize) -> usize {
        let (a, b) = (&self.raw[at * self.width..], &self.raw[earlier * self.width..]);
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        let mut equal = 8 * words.take_while(|(a, b)| a == b).count();
        equal += a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count();
        equal / self.width
    }

    /// Returns the length and the distance of the longest match; with the distance `known`, a
    /// shorter one will do.
    fn longest(&self, places: &Places, at: usize, known: Option<usize>) -> Option<(usize, usize)> {
        let mut best = None;
        let mut most = MIN_LEN - 1;
        if let Some(distance) = known.filter(|&distance| distance <= at) {
            let len = self.common(at, at - distance);
            if len >= MIN_LEN {
                // Another distance would cost more than a few elements.
                (best, most) = (Some((len, distance)), len + 2);
            }
        }
        most = most.max(self.window - 1);
        let mut place = self.hash(at).map_or(0, |hash| places.last[places.slot(hash)]);
        for _ in 0..DEPTH {
            // Long enough: to compare such ones again and again would take forever.
            let Some(earlier) = place.checked_sub(1).filter(|_| most < GOOD) else { break };
            let next = |at: usize| self.raw.get((at + most) * self.width..)?.get(..self.width);
            place = places.before[earlier as usize];
            // A longer match also has the next element in common.
            if next(at).is_none() || next(at) != next(earlier as usize) {
                continue;
            }
            let len = self.common(at, earlier as usize);
            if len > most {
                (best, most) = (Some((len, at - earlier as usize)), len);
            }
        }
        best
    }

    /// Cuts the chunk into matches and literals; the literals are taken from `raw`.
    fn parse(&self, raw: &[u8], bits: usize, places: &mut Places, matches: &mut Matches) {
        places.reset(self.count());
        let (mut at, mut literals, mut known) = (0, 0, None);
        while at < self.count() {
            let element = at * self.width..(at + 1) * self.width;
            let found = self.longest(places, at, known).filter(|&(length, distance)| {
                let new = known != Some(distance);
                let cost = MATCH + if new { DISTANCE + distance.ilog2() as usize } else { 0 };
                length >= MIN_LEN && length * bits > cost
            });
            let Some((length, distance)) = found else {
                matches.literals.extend_from_slice(&raw[element]);
                places.insert(at, self.hash(at));
                (at, literals) = (at + 1, literals + 1);
                continue;
            };
            matches.push(Match { literals, length, distance });
            (at..at + length).for_each(|i| places.insert(i, self.hash(i)));
            (at, literals, known) = (at + length, 0, Some(distance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DecodeError;

    #[test]
    fn rows_that_repeat_are_found_and_restored() {
        for layout in Layout::ALL {
            let width = layout.width();
            let mut raw = Vec::new();
            for i in 0..5000_u32 {
                let value = if i % 100 < 70 { i % 100 } else { i }.wrapping_mul(2_654_435_761);
                let sign =
                    if layout.rotates() { i.wrapping_mul(0x9e37_79b9) >> 31 << 31 } else { 0 };
                raw.extend_from_slice(&(value ^ sign).to_le_bytes());
            }
            let mut finder = MatchFinder::default();
            let matches = finder.find(Backend::best(), layout, &raw, 6 * width).unwrap();
            assert!(matches.literals.len() < raw.len() / 2, "{}", matches.literals.len());
            let n = raw.len() / width;
            assert_eq!(matches.check(n), Ok(matches.literals.len() / width));
            let mut back = vec![0; raw.len()];
            matches.restore(width, &mut back);
            assert_eq!(back, raw);
            assert_eq!(matches.check(n - 2000), Err(DecodeError::Matches));
            // None that is worth its room.
            assert_eq!(finder.find(Backend::best(), layout, &raw, 0), None);
        }
    }
}
