//! The values that are counted by comparing.

use super::scalar;

/// How many values are counted by comparing.
pub(super) const COMMON: usize = 8;

/// Bytes of the sample that the common values are chosen by.
pub(super) const SAMPLE: usize = 1024;

/// The fewest bytes that are worth the preparations.
pub(super) const MIN_LEN: usize = 8 * SAMPLE;

/// Returns the values that are most common at the start of `bytes`, each once, and how many of the
/// first [`SAMPLE`] bytes they are.
pub(super) fn most_common(bytes: &[u8]) -> ([u8; COMMON], usize) {
    let mut counts = [0; 256];
    scalar::add(&bytes[..SAMPLE.min(bytes.len())], &mut counts);
    let mut common = [0; COMMON];
    let mut covered = 0;
    // Counts are of a sample, so there is room above them to make all different.
    for (byte, count) in counts.iter_mut().enumerate() {
        *count = *count << 8 | byte as u32;
    }
    for value in &mut common {
        let best = counts.iter().copied().max().unwrap_or(0);
        *value = best as u8;
        covered += best as usize >> 8;
        counts[usize::from(*value)] = 0;
    }
    (common, covered)
}
