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

/// Of a large chunk, about one place in 1 << this is probed.
const PROBE_BITS: u32 = 6;

/// Of a chunk of more than twice as many elements only so many are probed.
const PROBED: usize = 1 << 16;

/// Chunks of fewer elements are probed at all places.
const LARGE: usize = 1 << 14;

/// One in so many places must begin a repeat, or the chunk is not searched.
const PROBE_RATE: usize = 64;

/// A repeat of so many elements ends the search for a longer one.
const GOOD: usize = 64;

/// How many earlier places with the same hash are tried.
const DEPTH: usize = 16;

/// The most bits of a hash that are looked up.
const HASH_BITS: u32 = 16;

/// What a sequence costs, in bits, with the distance of the one before; and what another distance
/// costs beside its own bits.
const SEQUENCE: usize = 10;
const DISTANCE: usize = 4;

/// A chunk, cut into sequences. After the last one there may be literals left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matches {
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

impl Matches {
    /// Finds matches; `None` if there are none, or seem to be hardly any. `bits` is what an element
    /// takes otherwise.
    pub(super) fn find(layout: Layout, raw: &[u8], bits: usize) -> Option<Self> {
        let width = layout.width();
        let sign_bit = if layout.rotates() { SIGN } else { 0 };
        if !may_repeat(width, sign_bit, raw) {
            return None;
        }
        if !layout.rotates() {
            return Search::new(width, raw).parse(raw, bits);
        }
        let mut magnitudes = raw.to_vec();
        magnitudes.iter_mut().skip(width - 1).step_by(width).for_each(|top| *top &= !SIGN);
        let mut matches = Search::new(width, &magnitudes).parse(raw, bits)?;
        let sign = |at: usize| raw[width * at + width - 1] >> 7;
        let (mut flips, mut at) = (Vec::new(), 0);
        for (run, len, distance) in matches.sequences() {
            at += run;
            flips.extend((at..at + len).map(|at| sign(at) ^ sign(at - distance)));
            at += len;
        }
        matches.flips = flips;
        Some(matches)
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
                return Err(DecodeError::Matches);
            }
            done += len as u64;
            if done > n as u64 {
                return Err(DecodeError::Matches);
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
            // What overlaps is repeated again: doubling the distance matches the same.
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

/// How many elements are hashed, and the fewest that a new distance is worth: by chance so many of
/// a weight tensor are nowhere else in a chunk.
fn window(width: usize) -> usize {
    match width {
        1 => 6,
        2 => 3,
        _ => 2,
    }
}

/// Whether there seem to be more than a few matches of elements whose top byte is taken without
/// these bits.
fn may_repeat(width: usize, top_bits: u8, raw: &[u8]) -> bool {
    let probed = if raw.len() > 2 * PROBED * width { PROBED * width } else { raw.len() };
    let raw = &raw[..probed];
    match width {
        1 => probe::<1, 6>(top_bits, raw.as_chunks().0),
        2 => probe::<2, 3>(top_bits, raw.as_chunks().0),
        4 => probe::<4, 2>(top_bits, raw.as_chunks().0),
        _ => probe::<8, 2>(top_bits, raw.as_chunks().0),
    }
}

/// Looks at places where the element looks like one of a few, so at a place and at its repeat or at
/// none.
fn probe<const W: usize, const WINDOW: usize>(top_bits: u8, elements: &[[u8; W]]) -> bool {
    /// Elements that are looked at together: mostly none of them is chosen.
    const BLOCK: usize = 16;
    let number = |element: &[u8; W]| {
        let mut bytes = [0; 8];
        bytes[..W].copy_from_slice(element);
        bytes[W - 1] &= !top_bits;
        u64::from_le_bytes(bytes)
    };
    let bits = if elements.len() < LARGE { 0 } else { PROBE_BITS };
    let bound = (u32::from(u16::MAX) >> bits) as u16;
    // The bits that weights fill best: those of the exponent and the top of the mantissa. The least
    // ones are chosen.
    let rank = |element: &[u8; W]| {
        let top = match W {
            1 => u16::from(element[0]),
            _ => u16::from_le_bytes([element[W - 2], element[W - 1] & !top_bits]),
        };
        (top ^ 0x55).wrapping_mul(0x9e37)
    };
    let slots = (elements.len() >> bits).next_power_of_two();
    let mut last = vec![0_u32; slots];
    let (mut probed, mut found) = (0, 0);
    for (b, block) in elements.as_chunks::<BLOCK>().0.iter().enumerate() {
        if block.iter().map(rank).fold(u16::MAX, u16::min) > bound {
            continue;
        }
        for (i, _) in block.iter().enumerate().filter(|(_, element)| rank(element) <= bound) {
            let at = b * BLOCK + i;
            let Some(window) = elements.get(at..at + WINDOW) else { break };
            let mut hash = 0;
            for element in window {
                hash = (hash ^ number(element)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                hash ^= hash >> 32;
            }
            let slot = &mut last[hash as usize & (slots - 1)];
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
            let next = |at: usize| self.raw.get((at + most) * self.width..)?.get(..self.width);
            place = places.before[earlier as usize];
            // One that is longer is so at the next element.
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

    /// The sequences, if there are any; literals are taken from `raw`.
    fn parse(&self, raw: &[u8], bits: usize) -> Option<Matches> {
        let mut matches = Matches::default();
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
                matches.literals.extend_from_slice(&raw[element]);
                places.insert(at, self.hash(at));
                (at, run) = (at + 1, run + 1);
                continue;
            };
            matches.push(run, len, distance);
            (at..at + len).for_each(|i| places.insert(i, self.hash(i)));
            (at, run, known) = (at + len, 0, Some(distance));
        }
        (matches.count() > 0).then_some(matches)
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
            let matches = Matches::find(layout, &raw, 6 * width).unwrap();
            assert!(matches.literals.len() < raw.len() / 2, "{}", matches.literals.len());
            let n = raw.len() / width;
            assert_eq!(matches.check(n), Ok(matches.literals.len() / width));
            let mut back = vec![0; raw.len()];
            matches.restore(width, &mut back);
            assert_eq!(back, raw);
            assert_eq!(matches.check(n - 2000), Err(DecodeError::Matches));
            // None that is worth its room.
            assert_eq!(Matches::find(layout, &raw, 0), None);
        }
    }

    #[test]
    fn sequences_that_reach_out_of_the_chunk_are_refused() {
        for (run, len, distance) in [(0, 2, 1), (3, 2, 4), (3, 1, 1), (3, 2, 0), (9, 2, 1)] {
            let mut matches = Matches::default();
            matches.push(run, len, distance);
            assert_eq!(matches.check(10), Err(DecodeError::Matches), "{run} {len} {distance}");
        }
        let mut matches = Matches::default();
        (0..3).for_each(|_| matches.push(u32::MAX as usize, u32::MAX as usize, 1));
        assert_eq!(matches.check(10), Err(DecodeError::Matches));
    }
}
