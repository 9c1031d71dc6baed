//! Choosing elements by what they are: equal elements are all chosen, or none of them is.
//!
//! The *rank* of an element is a hash of its top 16 bits, which are those that weights fill best:
//! the exponent and the top of the mantissa.

use crate::Backend;

/// Marks with 1 each element whose rank is at most `bound`, and others with 0. Elements are
/// little-endian words of `width` bytes; of their top 16 bits only those of `mask` count.
///
/// # Panics
/// Unless `width` is 1, 2, 4 or 8, and there is a mark for each element.
pub fn mark(
    backend: Backend,
    width: usize,
    mask: u16,
    bound: u16,
    elements: &[u8],
    marks: &mut [u8],
) {
    assert!(matches!(width, 1 | 2 | 4 | 8), "a width of {width} bytes");
    assert_eq!(elements.len(), width * marks.len(), "a mark for each element");
    backend.vectorize(
        #[inline(always)]
        || match width {
            1 => mark_elements::<1>(mask, bound, elements, marks),
            2 => mark_elements::<2>(mask, bound, elements, marks),
            4 => mark_elements::<4>(mask, bound, elements, marks),
            _ => mark_elements::<8>(mask, bound, elements, marks),
        },
    );
}

#[inline(always)]
fn mark_elements<const W: usize>(mask: u16, bound: u16, elements: &[u8], marks: &mut [u8]) {
    for (mark, element) in marks.iter_mut().zip(elements.as_chunks::<W>().0) {
        let top = match W {
            1 => u16::from(element[0]),
            _ => u16::from_le_bytes([element[W - 2], element[W - 1]]),
        };
        *mark = u8::from(((top & mask) ^ 0x55).wrapping_mul(0x9e37) <= bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_agrees_at_every_tail_length() {
        for (width, n) in [1, 2, 4, 8].into_iter().flat_map(|w| (0..200).map(move |n| (w, n))) {
            let elements: Vec<u8> = (0..width * n)
                .map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 9) as u8)
                .collect();
            let top = |i: usize| match &elements[width * i..][..width] {
                [byte] => u16::from(*byte),
                [.., low, high] => u16::from_le_bytes([*low, *high]) & 0x7fff,
                [] => unreachable!("elements have bytes"),
            };
            let expected: Vec<u8> =
                (0..n).map(|i| u8::from((top(i) ^ 0x55).wrapping_mul(0x9e37) <= 9999)).collect();
            for backend in Backend::available() {
                let mut marks = vec![2; n];
                mark(backend, width, 0x7fff, 9999, &elements, &mut marks);
                assert_eq!(marks, expected, "{backend}, {n} elements of {width}");
            }
        }
    }
}
