//! Helpers that the suites of kernels share.

use at1w_simd::{Backend, Isa};

/// Returns the back-end that a suite is for; says so where this machine lacks it.
pub(crate) fn available(isa: Isa) -> Option<Backend> {
    let backend = Backend::new(isa);
    if backend.is_none() {
        eprintln!("skipped: this machine lacks {isa}");
    }
    backend
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
