//! Where in its tensor a chunk begins.

/// The place of a chunk in its tensor: how many elements come before it.
///
/// Rows and columns are counted from it, so a chunk must be decoded at the position at which it
/// was encoded. Nothing in a chunk tells its position: **at a wrong one, decoding can succeed and
/// return wrong elements.** This is why a position is made by name, from a number of elements or
/// from the number of a chunk, and never from a bare integer.
///
/// ```
/// use at1w_codec::{Dtype, Position};
///
/// // The third of chunks that have 512 KiB each, of two bytes an element.
/// let position = Position::of_chunk(2, 512 << 10, Dtype::BF16.layout());
/// assert_eq!(position, Position::after_elements(2 * 262_144));
/// assert_eq!(Position::of_chunk(0, 512 << 10, Dtype::BF16.layout()), Position::START);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    elements: u64,
}

impl Position {
    /// The start of the tensor.
    pub const START: Self = Self::after_elements(0);

    /// Returns the position after so many elements of the tensor. Each part of a complex number is
    /// one.
    pub const fn after_elements(elements: u64) -> Self {
        Self { elements }
    }

    /// Returns the position of chunk `number`, counted from 0, of a tensor whose chunks have
    /// `chunk_len` raw bytes each. The last chunk may be shorter.
    ///
    /// # Panics
    /// When a chunk is no whole number of elements, or the position is beyond 64 bits.
    pub const fn of_chunk(number: u64, chunk_len: usize, layout: crate::Layout) -> Self {
        assert!(chunk_len.is_multiple_of(layout.width()), "a chunk must have whole elements");
        let elements = (chunk_len / layout.width()) as u64;
        match number.checked_mul(elements) {
            Some(elements) => Self { elements },
            None => panic!("a position must be within 64 bits"),
        }
    }

    /// Counts the elements of the tensor that come before.
    pub const fn elements(self) -> u64 {
        self.elements
    }

    /// Whether `n` elements from here on stay within 64 bits.
    pub(crate) const fn has_room(self, n: usize) -> bool {
        self.elements.checked_add(n as u64).is_some()
    }
}
