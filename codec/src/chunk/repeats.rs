//! Runs of elements that were there before: a chunk as literals, and sequences of how many of them
//! to copy and what to repeat.
//!
//! Floats are repeated by their magnitude: of each it is kept whether its sign is flipped. So the
//! rows of a Fourier basis are found, which come back with alternating signs.
//!
//! Source: J. Ziv and A. Lempel, "A universal algorithm for sequential data compression" (1977),
//! on whole elements.

use at1w_simd::planes::Layout;

use crate::DecodeError;

/// The fewest elements that are repeated.
const MIN_LEN: usize = 2;

/// Of a large chunk, places are probed for repeats whose hash ends with so many zeros: what is
/// repeated is probed at both places or at none.
const PROBE_BITS: u32 = 4;

/// Chunks of fewer elements are probed at all places.
const LARGE: usize = 1 << 14;

/// One in so many places must begin a repeat, or the chunk is not searched.
const PROBE_RATE: usize = 64;

/// A repeat of so many elements ends the search for a longer one.
const GOOD: usize = 64;

/// How many earlier places with the same hash are tried.
const DEPTH: usize = 32;

/// The most bits of a hash that are looked up.
const HASH_BITS: u32 = 16;

/// What a sequence costs, in bits, with the distance of the one before; and what another distance
/// costs beside its own bits.
const SEQUENCE: usize = 10;
const DISTANCE: usize = 4;

/// A chunk, cut into sequences. After the last one there may be literals left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Repeats {
    /// For each sequence, how many literals come first, how many elements are then repeated, and
    /// how many elements before: little-endian `u32`.
    pub(super) runs: Vec<u8>,
    pub(super) lens: Vec<u8>,
    pub(super) distances: Vec<u8>,
    /// For each element that is repeated, 1 if its sign is flipped, else 0; of floats only.
    pub(super) flips: Vec<u8>,
    /// The elements that repeat nothing.
    pub(super) literals: Vec<u8>,
}

/// The sign of a float, in the last of its bytes.
const SIGN: u8 = 0x80;

impl Repeats {
    /// Finds repeats; `None` if there seem to be hardly any. `bits` is what an element takes
    /// otherwise.
    pub(super) fn find(layout: Layout, raw: &[u8], bits: usize) -> Option<Self> {
        let width = layout.width();
        if !layout.rotates() {
            let search = Search::new(width, raw);
            return search.probe().then(|| search.parse(raw, bits));
        }
        let mut magnitudes = raw.to_vec();
        magnitudes.iter_mut().skip(width - 1).step_by(width).for_each(|top| *top &= !SIGN);
        let search = Search::new(width, &magnitudes);
        let mut repeats = search.probe().then(|| search.parse(raw, bits))?;
        let sign = |at: usize| raw[width * at + width - 1] >> 7;
        let (mut flips, mut at) = (Vec::new(), 0);
        for (run, len, distance) in repeats.sequences() {
            at += run;
            flips.extend((at..at + len).map(|at| sign(at) ^ sign(at - distance)));
            at += len;
        }
        repeats.flips = flips;
        Some(repeats)
    }

    fn push(&mut self, run: usize, len: usize, distance: usize) {
        for (to, value) in
            [(&mut self.runs, run), (&mut self.lens, len), (&mut self.distances, distance)]
        {
            // A chunk has no more elements.
            to.extend((value as u32).to_le_bytes());
        }
    }

    /// How many sequences there are.
    pub(super) fn count(&self) -> usize {
        self.runs.len() / 4
    }

    /// The most sequences of `n` elements.
    pub(super) fn max_count(n: usize) -> usize {
        n / MIN_LEN
    }

    /// Checks the sequences of a chunk of `n` elements, and counts its literals: the others are
    /// repeated.
    pub(super) fn check(&self, n: usize) -> Result<usize, DecodeError> {
        let (mut done, mut literals) = (0_u64, 0);
        for (run, len, distance) in self.sequences() {
            done += run as u64;
            literals += run as u64;
            if len < MIN_LEN || distance == 0 || distance as u64 > done {
                return Err(DecodeError::Repeats);
            }
            done += len as u64;
            if done > n as u64 {
                return Err(DecodeError::Repeats);
            }
        }
        // No more than n.
        Ok((literals + n as u64 - done) as usize)
    }

    /// The chunk, of elements of `width` bytes: sequences that were checked for it, with as many
    /// literals and flips as there should be.
    pub(super) fn restore(&self, width: usize, raw: &mut [u8]) {
        let (mut done, mut literals, mut flips) = (0, &self.literals[..], &self.flips[..]);
        for (run, len, distance) in self.sequences() {
            let copied = literals.split_off(..run * width).expect("counted by the check");
            raw[done..][..copied.len()].copy_from_slice(copied);
            done += copied.len();
            let flips = flips.split_off(..len).unwrap_or(&[]);
            if flips.contains(&1) {
                for flip in flips {
                    raw.copy_within(done - distance * width..done - (distance - 1) * width, done);
                    done += width;
                    raw[done - 1] ^= flip << 7;
                }
                continue;
            }
            // What overlaps is repeated again: doubling the distance repeats the same.
            let (end, mut distance) = (done + len * width, distance * width);
            while done < end {
                let piece = distance.min(end - done);
                raw.copy_within(done - distance..done - distance + piece, done);
                done += piece;
                distance += piece;
            }
        }
        raw[done..].copy_from_slice(literals);
    }

    fn sequences(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let numbers = |bytes: &'_ [u8]| {
            let words = bytes.as_chunks().0.to_vec();
            words.into_iter().map(|word| u32::from_le_bytes(word) as usize)
        };
        let pairs = numbers(&self.runs).zip(numbers(&self.lens));
        pairs.zip(numbers(&self.distances)).map(|((run, len), distance)| (run, len, distance))
    }
}

/// A chunk that is searched.
struct Search<'a> {
    raw: &'a [u8],
    width: usize,
    /// Elements that are hashed, and the fewest that a new distance is worth.
    window: usize,
}

/// Earlier places by the hash of what is there: 1 more, 0 for none.
struct Places {
    /// The last place of each hash.
    last: Vec<u32>,
    /// The one before each place.
    before: Vec<u32>,
}

impl Places {
    fn new(n: usize) -> Self {
        Self { last: vec![0; n.next_power_of_two().min(1 << HASH_BITS)], before: vec![0; n] }
    }

    fn slot(&self, hash: u64) -> usize {
        // As many of the top bits as there are slots.
        ((hash >> 32) as usize * self.last.len()) >> 32
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
        // By chance a window of weights is nowhere else in a chunk.
        let window = match width {
            1 => 6,
            2 => 3,
            _ => 2,
        };
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

    /// Whether there seem to be more than a few repeats.
    fn probe(&self) -> bool {
        let n = self.count();
        let bits = if n < LARGE { 0 } else { PROBE_BITS };
        let slots = (n >> bits).next_power_of_two();
        let mut last = vec![0_u32; slots];
        let (mut probed, mut found) = (0, 0);
        for at in 0..n {
            let Some(hash) = self.hash(at) else { break };
            // The lower bits of the upper half choose, the higher ones are the slot.
            if (hash >> 24) & ((1 << bits) - 1) != 0 {
                continue;
            }
            let slot = &mut last[((hash >> 32) as usize * slots) >> 32];
            let earlier = std::mem::replace(slot, at as u32 + 1).checked_sub(1);
            probed += 1;
            found += usize::from(earlier.is_some_and(|earlier| self.same(at, earlier as usize)));
        }
        found * PROBE_RATE > probed
    }

    /// Whether a window is the same at two places.
    fn same(&self, at: usize, earlier: usize) -> bool {
        let len = self.window * self.width;
        self.raw[at * self.width..].get(..len) == self.raw[earlier * self.width..].get(..len)
    }

    /// How many elements at two places are equal.
    fn common(&self, at: usize, earlier: usize) -> usize {
        let (a, b) = (&self.raw[at * self.width..], &self.raw[earlier * self.width..]);
        let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
        let mut equal = 8 * words.take_while(|(a, b)| a == b).count();
        equal += a[equal..].iter().zip(&b[equal..]).take_while(|(a, b)| a == b).count();
        equal / self.width
    }

    /// The length and the distance of the longest repeat; with the distance `known`, a shorter one
    /// will do.
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
            let len = self.common(at, earlier as usize);
            if len > most {
                (best, most) = (Some((len, at - earlier as usize)), len);
            }
            place = places.before[earlier as usize];
        }
        best
    }

    /// The sequences; literals are taken from `raw`.
    fn parse(&self, raw: &[u8], bits: usize) -> Repeats {
        let mut repeats = Repeats::default();
        let mut places = Places::new(self.count());
        let (mut at, mut run, mut known) = (0, 0, None);
        while at < self.count() {
            let element = at * self.width..(at + 1) * self.width;
            let found = self.longest(&places, at, known).filter(|&(len, distance)| {
                let new = known != Some(distance);
                let cost = SEQUENCE + if new { DISTANCE + distance.ilog2() as usize } else { 0 };
                len >= MIN_LEN && len * bits > cost
            });
            let Some((len, distance)) = found else {
                repeats.literals.extend_from_slice(&raw[element]);
                places.insert(at, self.hash(at));
                (at, run) = (at + 1, run + 1);
                continue;
            };
            repeats.push(run, len, distance);
            (at..at + len).for_each(|i| places.insert(i, self.hash(i)));
            (at, run, known) = (at + len, 0, Some(distance));
        }
        repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let repeats = Repeats::find(layout, &raw, 6 * width).unwrap();
            assert!(repeats.literals.len() < raw.len() / 2, "{}", repeats.literals.len());
            let n = raw.len() / width;
            assert_eq!(repeats.check(n), Ok(repeats.literals.len() / width));
            let mut back = vec![0; raw.len()];
            repeats.restore(width, &mut back);
            assert_eq!(back, raw);
            assert_eq!(repeats.check(n - 2000), Err(DecodeError::Repeats));
        }
    }

    #[test]
    fn sequences_that_reach_out_of_the_chunk_are_refused() {
        for (run, len, distance) in [(0, 2, 1), (3, 2, 4), (3, 1, 1), (3, 2, 0), (9, 2, 1)] {
            let mut repeats = Repeats::default();
            repeats.push(run, len, distance);
            assert_eq!(repeats.check(10), Err(DecodeError::Repeats), "{run} {len} {distance}");
        }
        let mut repeats = Repeats::default();
        (0..3).for_each(|_| repeats.push(u32::MAX as usize, u32::MAX as usize, 1));
        assert_eq!(repeats.check(10), Err(DecodeError::Repeats));
    }
}
