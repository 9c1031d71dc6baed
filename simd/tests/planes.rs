//! Every back-end against the scalar reference, and the scalar reference against the definition of
//! the planes.

mod common;

use at1w_simd::planes::{Layout, merge, split, split_part};
use at1w_simd::{Backend, Isa};
use common::{available, noise};
use proptest::prelude::*;

/// The byte that no test may overwrite, on both sides of a destination.
const CANARY: u8 = 0xa5;

/// Longer than any vector.
const MARGIN: usize = 128;

/// Runs `f` on a destination of `len` bytes, filled with something, that starts `offset` bytes
/// after a 128-byte boundary, and checks that nothing around it changed.
fn guarded(len: usize, offset: usize, f: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut buffer = vec![CANARY; 2 * MARGIN + offset + len + MARGIN];
    let start = MARGIN + buffer[MARGIN..].as_ptr().align_offset(MARGIN) + offset;
    let (before, rest) = buffer.split_at_mut(start);
    let (destination, after) = rest.split_at_mut(len);
    f(destination);
    assert!(before.iter().all(|&b| b == CANARY), "wrote before");
    assert!(after.iter().all(|&b| b == CANARY), "wrote after");
    destination.to_vec()
}

/// Copies `bytes` to `offset` bytes after a 128-byte boundary; returns the copy and its range.
fn placed(bytes: &[u8], offset: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut buffer = vec![CANARY; MARGIN + offset + bytes.len()];
    let start = buffer.as_ptr().align_offset(MARGIN) + offset;
    let range = start..start + bytes.len();
    buffer[range.clone()].copy_from_slice(bytes);
    (buffer, range)
}

fn split_at(backend: Backend, layout: Layout, src: &[u8], from: usize, to: usize) -> Vec<u8> {
    let (buffer, range) = placed(src, from);
    guarded(src.len(), to, |planes| {
        split(backend, layout, &buffer[range], planes);
    })
}

/// Each plane lies by itself, at an offset of its own.
fn merge_at(backend: Backend, layout: Layout, planes: &[u8], from: usize, to: usize) -> Vec<u8> {
    let n = planes.len() / layout.width();
    let buffers: Vec<_> =
        (0..layout.width()).map(|p| placed(&planes[p * n..][..n], from + p)).collect();
    let slices: Vec<_> = buffers.iter().map(|(b, r)| &b[r.clone()]).collect();
    guarded(planes.len(), to, |dst| {
        merge(backend, layout, &slices, dst);
    })
}

/// Splits two parts of the elements, one after the other.
fn split_twice(backend: Backend, layout: Layout, src: &[u8], to: usize) -> Vec<u8> {
    let n = src.len() / layout.width();
    let (first, second) = src.split_at(n / 3 * layout.width());
    guarded(src.len(), to, |planes| {
        split_part(backend, layout, second, n / 3, planes);
        split_part(backend, layout, first, 0, planes);
    })
}

/// The whole suite, for one input and one placement.
fn agrees(backend: Backend, layout: Layout, src: &[u8], from: usize, to: usize) {
    let what = || format!("{layout:?}, {} bytes from {from} to {to}", src.len());
    let reference = split_at(Backend::SCALAR, layout, src, 0, 0);
    assert_eq!(split_twice(backend, layout, src, to), reference, "{}", what());
    let planes = split_at(backend, layout, src, from, to);
    assert!(planes == reference, "split of {}", what());
    let merged = merge_at(backend, layout, &planes, from, to);
    assert!(merged == src, "merge of {}", what());
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop::sample::select(Layout::ALL.to_vec())
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn short_runs_agree_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                for layout in Layout::ALL {
                    let bytes = noise(1, 300 * layout.width());
                    for n in 0..=300 {
                        let src = &bytes[..n * layout.width()];
                        for from in 0..4 {
                            for to in 0..4 {
                                agrees(backend, layout, src, from, to);
                            }
                        }
                    }
                }
            }

            #[test]
            fn long_runs_agree_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                let bytes = prop::collection::vec(any::<u8>(), 0..40_000);
                proptest!(|(
                    layout in layouts(),
                    mut src in bytes,
                    from in 0..MARGIN,
                    to in 0..MARGIN,
                )| {
                    src.truncate(src.len() / layout.width() * layout.width());
                    agrees(backend, layout, &src, from, to);
                });
            }
        }
    )*};
}

suite! {
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

/// Plane by plane, from the words as numbers.
fn defined(layout: Layout, src: &[u8]) -> Vec<u8> {
    let width = layout.width();
    let bits = 8 * width as u32;
    let mut planes = Vec::new();
    for p in 0..width {
        for word in src.chunks(width) {
            let mut value = 0_u64;
            for (i, &byte) in word.iter().enumerate() {
                value |= u64::from(byte) << (8 * i);
            }
            if layout.rotates() {
                // The cast below drops the bits that this shifts out of the word.
                value = (value << 1) | (value >> (bits - 1));
            }
            planes.push((value >> (8 * p)) as u8);
        }
    }
    planes
}

proptest! {
    #[test]
    fn scalar_is_as_defined(
        layout in layouts(),
        mut src in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        src.truncate(src.len() / layout.width() * layout.width());
        let planes = split_at(Backend::SCALAR, layout, &src, 0, 0);
        prop_assert_eq!(&planes, &defined(layout, &src));
        prop_assert_eq!(merge_at(Backend::SCALAR, layout, &planes, 0, 0), src);
    }
}

#[test]
fn rotation_gives_the_exponent_a_byte_of_its_own() {
    let src = [-1.5_f32, 0.25].map(f32::to_le_bytes).concat();
    let mut planes = [0; 8];
    split(Backend::best(), Layout::FLOAT32, &src, &mut planes);
    assert_eq!(planes, [0x01, 0, 0, 0, 0x80, 0, 127, 125]);

    let mut back = [0; 8];
    let planes: Vec<_> = planes.chunks(2).collect();
    merge(Backend::best(), Layout::FLOAT32, &planes, &mut back);
    assert_eq!(back, *src);
}

#[test]
fn the_highest_plane_of_f16_has_the_exponent_and_three_bits_of_mantissa() {
    let mut planes = [0; 2];
    // Signs, exponents and mantissas of f16.
    for (sign, exponent, mantissa) in [(0, 0, 0), (1, 31, 0x3ff), (1, 15, 0x155), (0, 16, 0x2aa)] {
        let word: u16 = sign << 15 | exponent << 10 | mantissa;
        split(Backend::best(), Layout::FLOAT16, &word.to_le_bytes(), &mut planes);
        let high = exponent << 3 | mantissa >> 7;
        let low = (mantissa & 0x7f) << 1 | sign;
        assert_eq!(planes.map(u16::from), [low, high]);
    }
}

#[test]
fn bytes_are_never_rotated() {
    assert_eq!(Layout::ALL[0], Layout::BYTES);
    assert!(Layout::ALL.iter().all(|l| l.width() > 1 || !l.rotates()));
}

#[test]
#[should_panic(expected = "a part of an element")]
fn split_refuses_a_part_of_an_element() {
    split(Backend::best(), Layout::FLOAT32, &[0; 6], &mut [0; 6]);
}

#[test]
#[should_panic(expected = "length of the planes")]
fn split_refuses_planes_of_another_length() {
    split(Backend::best(), Layout::FLOAT32, &[0; 8], &mut [0; 12]);
}

#[test]
#[should_panic(expected = "number of planes")]
fn merge_refuses_another_number_of_planes() {
    merge(Backend::best(), Layout::FLOAT32, &[&[0; 2], &[0; 2]], &mut [0; 8]);
}

#[test]
#[should_panic(expected = "length of the planes")]
fn merge_refuses_planes_of_another_length() {
    merge(Backend::best(), Layout::FLOAT16, &[&[0; 2], &[0; 3]], &mut [0; 4]);
}

#[test]
#[should_panic(expected = "a part of an element")]
fn merge_refuses_a_part_of_an_element() {
    merge(Backend::best(), Layout::FLOAT16, &[&[0; 2], &[0; 2]], &mut [0; 5]);
}
