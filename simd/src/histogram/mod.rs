//! Byte histogram.

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::Backend;

/// How often each byte value occurs in `bytes`, added to `counts`, on the
/// [active](Backend::active) back-end.
///
/// Counters wrap past `u32::MAX`: pass at most 4 GiB between two resets.
pub fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    add_with(Backend::active(), bytes, counts);
}

/// [`add`] on a back-end of the caller's choice. AVX2 and NEON have nothing for this that beats
/// the scalar reference, and use it.
///
/// # Panics
///
/// If this machine lacks the back-end.
pub fn add_with(backend: Backend, bytes: &[u8], counts: &mut [u32; 256]) {
    backend.require();
    match backend {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `require` has found AVX-512 with VBMI and VBMI2 on this machine.
        Backend::Avx512 if bytes.len() >= avx512::MIN_LEN => unsafe { avx512::add(bytes, counts) },
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
                add_with(backend, &bytes, &mut counts);
                assert!(counts == expected, "{backend}, {n} bytes");
            }
        }
    }
}
