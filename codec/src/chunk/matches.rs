//! Runs of elements that were there before: a chunk as literals, and matches with the elements
//! before them.
//!
//! Floats match by their magnitude: for each one it is kept whether its sign is flipped. So the
//! rows of a Fourier basis are found, which come back with alternating signs.

use crate::DecodeError;

/// The fewest elements of a match.
pub(super) const MIN_LEN: usize = 2;

/// Some literals, and then a run of elements that are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// How many literals come first.
    pub(super) literals: usize,
    /// How many elements are then copied.
    pub(super) length: usize,
    /// How many elements before their own place they are copied from.
    pub(super) distance: usize,
}

/// A chunk, cut into matches as they are stored. After the last one there may be literals left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matches {
    /// The fields of each [`Match`], as little-endian `u32`.
    pub(super) literal_counts: Vec<u8>,
    pub(super) lengths: Vec<u8>,
    pub(super) distances: Vec<u8>,
    /// For each element that is copied, 1 if its sign is flipped, else 0; of floats only.
    pub(super) flips: Vec<u8>,
    /// The elements that are not copied.
    pub(super) literals: Vec<u8>,
}

/// The sign of a float, in the last of its bytes.
pub(super) const SIGN: u8 = 0x80;

impl Matches {
    /// Takes all matches and literals out, and keeps the memory.
    pub(super) fn clear(&mut self) {
        let Self { literal_counts, lengths, distances, flips, literals } = self;
        for bytes in [literal_counts, lengths, distances, flips, literals] {
            bytes.clear();
        }
    }

    pub(super) fn push(&mut self, Match { literals, length, distance }: Match) {
        // A chunk has no more elements than a `u32` counts.
        let number = |value: usize| (value as u32).to_le_bytes();
        self.literal_counts.extend(number(literals));
        self.lengths.extend(number(length));
        self.distances.extend(number(distance));
    }

    /// Counts the matches.
    pub(super) fn count(&self) -> usize {
        self.literal_counts.len() / 4
    }

    /// Returns the most matches of `n` elements.
    pub(super) fn max_count(n: usize) -> usize {
        n / MIN_LEN
    }

    /// Checks the matches of a chunk of `n` elements, and counts its literals: the others are
    /// copied.
    pub(super) fn check(&self, n: usize) -> Result<usize, DecodeError> {
        let (mut done, mut all_literals) = (0_u64, 0);
        for Match { literals, length, distance } in self.iter() {
            done += literals as u64;
            all_literals += literals as u64;
            if length < MIN_LEN || distance == 0 || distance as u64 > done {
                return Err(DecodeError::Matches);
            }
            done += length as u64;
            if done > n as u64 {
                return Err(DecodeError::Matches);
            }
        }
        // No more than n.
        Ok((all_literals + n as u64 - done) as usize)
    }

    /// Restores the chunk, of elements of `width` bytes. The matches were checked for it, and there
    /// are as many literals and flips as there should be.
    pub(super) fn restore(&self, width: usize, raw: &mut [u8]) {
        let (mut done, mut literals, mut flips) = (0, &self.literals[..], &self.flips[..]);
        for Match { literals: count, length, distance } in self.iter() {
            let new = literals.split_off(..count * width).expect("counted by the check");
            raw[done..][..new.len()].copy_from_slice(new);
            done += new.len();
            let flips = flips.split_off(..length).unwrap_or(&[]);
            if flips.contains(&1) {
                for flip in flips {
                    raw.copy_within(done - distance * width..done - (distance - 1) * width, done);
                    done += width;
                    raw[done - 1] ^= flip << 7;
                }
                continue;
            }
            // A match that overlaps itself repeats: at twice the distance there is the same.
            let (end, mut distance) = (done + length * width, distance * width);
            while done < end {
                let piece = distance.min(end - done);
                raw.copy_within(done - distance..done - distance + piece, done);
                done += piece;
                distance += piece;
            }
        }
        raw[done..].copy_from_slice(literals);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Match> {
        let counts = numbers(&self.literal_counts);
        let fields = counts.zip(numbers(&self.lengths)).zip(numbers(&self.distances));
        fields.map(|((literals, length), distance)| Match { literals, length, distance })
    }
}

/// Reads little-endian `u32` numbers.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_that_reach_out_of_the_chunk_are_refused() {
        for (literals, length, distance) in [(0, 2, 1), (3, 2, 4), (3, 1, 1), (3, 2, 0), (9, 2, 1)]
        {
            let mut matches = Matches::default();
            let wrong = Match { literals, length, distance };
            matches.push(wrong);
            assert_eq!(matches.check(10), Err(DecodeError::Matches), "{wrong:?}");
        }
        let mut matches = Matches::default();
        let most = u32::MAX as usize;
        (0..3).for_each(|_| matches.push(Match { literals: most, length: most, distance: 1 }));
        assert_eq!(matches.check(10), Err(DecodeError::Matches));
    }
}
