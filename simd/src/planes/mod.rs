//! Byte planes: all low bytes of a run of elements together, then all second bytes, and so on, so
//! that bytes of one kind can be coded together.
//!
//! Rotating each word left by one bit first moves the sign of a float to bit 0. The highest byte
//! then begins with the exponent: it is all of that byte in bf16 and f32. In f16 three bits of the
//! mantissa follow the five of the exponent, and in f64 the three lowest bits of the exponent are
//! in the next byte.
//!
//! ```
//! use at1w_simd::Backend;
//! use at1w_simd::planes::{Layout, merge, split};
//!
//! let backend = Backend::best();
//! let bf16 = [0x80, 0xbf, 0x00, 0x40]; // -1.0 and 2.0
//! let mut planes = [0; 4];
//! split(backend, Layout::FLOAT16, &bf16, &mut planes);
//! assert_eq!(planes, [0x01, 0x00, 127, 128]); // mantissas and signs, exponents
//!
//! let mut back = [0; 4];
//! merge(backend, Layout::FLOAT16, &[&planes[..2], &planes[2..]], &mut back);
//! assert_eq!(back, bf16);
//! ```

use std::array;

use crate::Backend;
use crate::backend::Token;

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod rounds;

use scalar::WordBytes;

/// The way from the bytes of an element to planes: the width of an element, and whether its word is
/// rotated left by one bit before it is split.
///
/// A word is little-endian, whatever the machine. A single byte is never rotated: it has no other
/// plane to send its sign to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    width: Width,
    rotate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Layout {
    /// One plane: the bytes as they are.
    pub const BYTES: Self = Self::new(Width::One, false);
    /// Two planes of words as they are.
    pub const WORD16: Self = Self::new(Width::Two, false);
    /// Four planes of words as they are.
    pub const WORD32: Self = Self::new(Width::Four, false);
    /// Eight planes of words as they are.
    pub const WORD64: Self = Self::new(Width::Eight, false);
    /// Two planes of rotated words.
    pub const FLOAT16: Self = Self::new(Width::Two, true);
    /// Four planes of rotated words.
    pub const FLOAT32: Self = Self::new(Width::Four, true);
    /// Eight planes of rotated words.
    pub const FLOAT64: Self = Self::new(Width::Eight, true);

    /// Every layout there is.
    pub const ALL: [Self; 7] = [
        Self::BYTES,
        Self::WORD16,
        Self::WORD32,
        Self::WORD64,
        Self::FLOAT16,
        Self::FLOAT32,
        Self::FLOAT64,
    ];

    const fn new(width: Width, rotate: bool) -> Self {
        Self { width, rotate }
    }

    /// Bytes of an element, which is also the number of planes: 1, 2, 4 or 8.
    pub const fn width(self) -> usize {
        match self.width {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The layout of the same words as they are.
    pub const fn unrotated(self) -> Self {
        Self::new(self.width, false)
    }

    /// Whether words are rotated left by one bit before they are split.
    pub const fn rotates(self) -> bool {
        self.rotate
    }
}

/// Splits `n` elements into byte planes.
///
/// `src` holds the elements, `n * width` bytes. Plane `p` is written to `planes[p * n..(p + 1) *
/// n]`, `p = 0` being the least significant byte after the rotation.
///
/// # Panics
/// If `src.len()` is not a multiple of the width, or `planes.len()` is not `src.len()`.
pub fn split(backend: Backend, layout: Layout, src: &[u8], planes: &mut [u8]) {
    assert_eq!(planes.len(), src.len(), "length of the planes");
    split_part(backend, layout, src, 0, planes);
}

/// Splits elements as [`split`] does, into a part of the planes of more elements: those from `at`
/// on.
///
/// # Panics
/// If `src.len()` or `planes.len()` is not a multiple of the width, or the planes are too short.
pub fn split_part(backend: Backend, layout: Layout, src: &[u8], at: usize, planes: &mut [u8]) {
    assert_eq!(src.len() % layout.width(), 0, "a part of an element");
    assert_eq!(planes.len() % layout.width(), 0, "a part of an element");
    match layout.width {
        Width::One => planes[at..][..src.len()].copy_from_slice(src),
        Width::Two => split_words::<2>(backend, layout.rotate, src, at, planes),
        Width::Four => split_words::<4>(backend, layout.rotate, src, at, planes),
        Width::Eight => split_words::<8>(backend, layout.rotate, src, at, planes),
    }
}

/// Merges byte planes into elements: undoes [`split`].
///
/// There are `width` planes of `n` bytes each, `planes[0]` being the least significant byte before
/// the rotation is undone; `dst` takes `n * width` bytes. The planes are separate slices so that
/// each can be read where it lies.
///
/// # Panics
/// If `planes.len()` is not the width, or a plane's length times the width is not `dst.len()`.
pub fn merge(backend: Backend, layout: Layout, planes: &[&[u8]], dst: &mut [u8]) {
    assert_eq!(planes.len(), layout.width(), "number of planes");
    assert_eq!(dst.len() % layout.width(), 0, "a part of an element");
    for plane in planes {
        assert_eq!(plane.len(), dst.len() / layout.width(), "length of the planes");
    }
    match layout.width {
        Width::One => dst.copy_from_slice(planes[0]),
        Width::Two => merge_words::<2>(backend, layout.rotate, planes, dst),
        Width::Four => merge_words::<4>(backend, layout.rotate, planes, dst),
        Width::Eight => merge_words::<8>(backend, layout.rotate, planes, dst),
    }
}

/// `src` is whole words, and `planes` are W of equal length.
fn split_words<const W: usize>(
    backend: Backend,
    rotate: bool,
    src: &[u8],
    at: usize,
    planes: &mut [u8],
) where
    [u8; W]: WordBytes,
{
    let words = src.as_chunks().0;
    let n = planes.len() / W;
    let mut rest = planes;
    let planes = array::from_fn(|_| {
        let plane = rest.split_off_mut(..n).expect("W planes");
        &mut plane[at..][..words.len()]
    });
    match backend.token {
        Token::Scalar => scalar::split::<W>(rotate, words, planes),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(token, _) => avx2::split::<W>(token, rotate, words, planes),
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(token) => avx512::split::<W>(token, rotate, words, planes),
        #[cfg(target_arch = "aarch64")]
        Token::Neon(token) => neon::split::<W>(token, rotate, words, planes),
    }
}

/// `planes` are W, each of as many bytes as `dst` has words.
fn merge_words<const W: usize>(backend: Backend, rotate: bool, planes: &[&[u8]], dst: &mut [u8])
where
    [u8; W]: WordBytes,
{
    let planes = array::from_fn(|p| planes[p]);
    let words = dst.as_chunks_mut().0;
    match backend.token {
        Token::Scalar => scalar::merge::<W>(rotate, planes, words),
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(token, _) => avx2::merge::<W>(token, rotate, planes, words),
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(token) => avx512::merge::<W>(token, rotate, planes, words),
        #[cfg(target_arch = "aarch64")]
        Token::Neon(token) => neon::merge::<W>(token, rotate, planes, words),
    }
}
