//! What the suites of kernels share.

use at1w_simd::Backend;

/// Whether this machine can run the suite of a back-end; says so where it can't.
pub(crate) fn available(backend: Backend) -> bool {
    let there = backend.is_available();
    if !there {
        eprintln!("skipped: this machine lacks {backend}");
    }
    there
}

/// Reproducible numbers (Marsaglia's xorshift64).
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

/// Reproducible bytes.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut next = random(seed);
    (0..len).map(|_| next() as u8).collect()
}
