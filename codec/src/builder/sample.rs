//! The part of a chunk that is counted.

/// The most elements of a chunk that are counted: enough for a table. They are in its middle.
const MAX_COUNTED: usize = 1 << 15;

/// Returns the elements of a chunk that are counted, and how many come before them. They are whole
/// groups of `unit`, and at least one group where there is one.
pub(super) fn sample(width: usize, unit: u64, raw: &[u8]) -> (u64, &[u8]) {
    middle(width, unit, MAX_COUNTED, raw)
}

/// Returns the middle of a chunk as [`sample`] does, of at most so many elements.
pub(super) fn middle(width: usize, unit: u64, most: usize, raw: &[u8]) -> (u64, &[u8]) {
    let unit = unit as usize;
    let units = raw.len() / width / unit;
    let counted = units.min((most / unit).max(1));
    let skipped = (units - counted) / 2 * unit;
    (skipped as u64, &raw[width * skipped..][..width * counted * unit])
}
