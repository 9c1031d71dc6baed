//! The top 16 bits of scaled elements, from which symbols are made.

/// The top bits of some elements of a tensor.
pub(crate) struct Tops<'a> {
    /// Bits below the symbol.
    pub(crate) shift: u8,
    /// Elements of a row.
    pub(crate) row_len: u64,
    /// How many elements of the tensor come before.
    pub(crate) position: u64,
    /// The top 16 bits of each element.
    pub(crate) tops: &'a [u16],
}

/// Takes the top 16 bits of each of the little-endian words.
pub(crate) fn take(width: usize, words: &[u8], tops: &mut Vec<u16>) {
    tops.clear();
    let top = |word: &[u8]| u16::from_le_bytes([word[width - 2], word[width - 1]]);
    tops.extend(words.chunks_exact(width).map(top));
}
