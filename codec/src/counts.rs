//! How often each symbol of a plane occurs.

use at1w_simd::Backend;
use at1w_simd::histogram;

/// The number of occurrences of each byte value.
pub(crate) type Counts = [u64; 256];

/// Counts the symbols of a plane.
pub(crate) fn count(backend: Backend, plane: &[u8]) -> Counts {
    let mut counts = [0; 256];
    histogram::add(backend, plane, &mut counts);
    counts.map(u64::from)
}
