//! Byte histogram.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod common;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Token;

/// Adds to `counts` how often each byte value occurs in `bytes`.
///
/// NEON has nothing for this that beats the scalar reference, and uses it. Counters wrap past
/// `u32::MAX`: pass at most 4 GiB between two resets.
pub fn add(backend: Backend, bytes: &[u8], counts: &mut [u32; 256]) {
    match backend.token {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token exists, so this machine has AVX-512 with VBMI2.
        Token::Avx512(_) if bytes.len() >= common::MIN_LEN => unsafe { avx512::add(bytes, counts) },
        // SAFETY: the token exists, so this machine has AVX2 and BMI1.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) if bytes.len() >= common::MIN_LEN => unsafe { avx2::add(bytes, counts) },
        _ => scalar::add(bytes, counts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value from a hash of its place; most are among a few.
    fn skewed(i: usize) -> u8 {
        let x = (i as u32).wrapping_mul(2_654_435_761) >> 8;
        if x % 64 < 60 { (x >> 8 & 7) as u8 + 118 } else { (x >> 8) as u8 }
    }

    #[test]
    fn counts_every_byte_at_every_tail_length() {
        let lengths = (0..1100).chain(8100..8400).chain([20_000, 262_144, 262_145]);
        let kinds: [fn(usize) -> u8; 4] =
            [|i| (i % 251 * (i % 251) % 251) as u8, |_| 7, |i| i as u8 % 3, skewed];
        for (n, kind) in lengths.flat_map(|n| kinds.map(|kind| (n, kind))) {
            let bytes: Vec<u8> = (0..n).map(kind).collect();
            let mut expected = [u32::MAX; 256];
            for &byte in &bytes {
                let count = &mut expected[usize::from(byte)];
                *count = count.wrapping_add(1);
            }
            for backend in Backend::available() {
                let mut counts = [u32::MAX; 256];
                add(backend, &bytes, &mut counts);
                assert!(counts == expected, "{backend}, {n} bytes");
            }
        }
    }
}
