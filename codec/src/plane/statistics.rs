//! What is known about a plane before it is coded.

use at1w_simd::{Backend, histogram};

use super::packed::Packing;
use crate::cost::{self, BYTE, Cost};

/// How often each symbol occurs.
pub(crate) type Counts = [u64; 256];

/// A coder has to win one part in this of a plane over a simpler one, or it is not worth the time
/// that every reader would spend on it.
pub(crate) const MIN_GAIN: u64 = 128;

/// Symbols of a sample of a large plane: this many pieces of this many.
const SAMPLE: (usize, usize) = (16, 1024);

/// What a plane of `n` symbols may cost to be coded at all.
pub(crate) fn limit(n: u64) -> Cost {
    let raw = n * BYTE;
    raw - raw / MIN_GAIN
}

/// The counts of a plane.
pub(crate) fn count(backend: Backend, plane: &[u8]) -> Counts {
    let mut counts = [0; 256];
    histogram::add(backend, plane, &mut counts);
    counts.map(u64::from)
}

/// The symbol that all of a plane are.
pub(crate) fn constant(plane: &[u8]) -> Option<u8> {
    let (&first, rest) = plane.split_first()?;
    // Equal to itself one further on; found out early where not.
    (*rest == plane[..rest.len()]).then_some(first)
}

/// The counts of a sample, if a large plane looks too random to be coded by them. Spares counting
/// all of it, which would take longer than anything else; small planes are never judged by a sample.
pub(crate) fn random_sample(backend: Backend, plane: &[u8]) -> Option<Counts> {
    let (pieces, len) = SAMPLE;
    if plane.len() < 2 * pieces * len {
        return None;
    }
    let mut counts = [0; 256];
    for piece in plane.chunks(plane.len() / pieces).take(pieces) {
        histogram::add(backend, &piece[..len], &mut counts);
    }
    let counts = counts.map(u64::from);
    // Bits that never change cost nothing to leave out: what counts is how random the others are.
    let most = match Packing::best(&counts) {
        Some((_, cost)) => cost,
        None => (pieces * len) as u64 * BYTE,
    };
    (cost::entropy_floor(&counts) >= most - most / MIN_GAIN).then_some(counts)
}
