//! Hints to bring memory into cache before it is reached.
//!
//! Decoding reads two streams and writes a third one, slowly enough that the hardware does not run
//! far ahead of it when all three are in main memory. The hints do nothing where there is no such
//! instruction.

/// Bytes that a hint is for.
pub(crate) const LINE: usize = 64;

/// Hints that the memory `distance` bytes after the start of `bytes` is going to be read.
#[inline(always)]
pub(crate) fn read_ahead(bytes: &[u8], distance: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(distance).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, distance);
}

/// Hints that the memory `distance` bytes after the start of `bytes` is going to be written.
#[inline(always)]
pub(crate) fn write_ahead(bytes: &[u8], distance: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch has no effect that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(bytes.as_ptr().wrapping_add(distance).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, distance);
}
