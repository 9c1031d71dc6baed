//! What can be wrong with a call, and with encoded bytes.

use thiserror::Error;

/// Why a chunk was not encoded. Each is a mistake of the caller; any bytes can be encoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The raw bytes are no whole number of elements.
    #[error("{len} raw bytes are no whole number of {width}-byte elements")]
    Ragged {
        /// Raw bytes.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The raw bytes are more than one chunk may hold.
    #[error("{len} raw bytes are more than the {max} that one chunk may hold: split them")]
    TooLong {
        /// Raw bytes.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The output buffer could be too small.
    #[error("the output buffer has {len} bytes, encoding may need {needed}")]
    OutputTooSmall {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes that are always enough.
        needed: usize,
    },
}

/// Why encoded bytes were not decoded: they are damaged, hostile, or belong to another model.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end early.
    #[error("the encoded bytes end early")]
    Truncated,
    /// There are more bytes than the content takes.
    #[error("{extra} bytes are left over after the content")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The destination is no whole number of elements.
    #[error("a destination of {len} bytes is no whole number of {width}-byte elements")]
    Ragged {
        /// Bytes of the destination.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The destination has not the size of the content.
    #[error("the content has {raw_len} bytes, the destination {len}")]
    WrongLength {
        /// Bytes of the content.
        raw_len: u64,
        /// Bytes of the destination.
        len: usize,
    },
    /// A chunk method that this version does not know.
    #[error("unknown chunk method {0}")]
    UnknownMethod(u8),
    /// A plane mode that this version does not know.
    #[error("unknown mode {mode} of plane {plane}")]
    UnknownMode {
        /// Index of the plane, 0 the least significant byte.
        plane: usize,
        /// The mode byte.
        mode: u8,
    },
    /// A plane wants the table of the model, which has none for it.
    #[error("plane {plane} refers to a table that the model does not have")]
    NoTable {
        /// Index of the plane.
        plane: usize,
    },
    /// A table kind that this version does not know.
    #[error("unknown table kind {kind} of plane {plane}")]
    UnknownTable {
        /// Index of the plane.
        plane: usize,
        /// The kind byte.
        kind: u8,
    },
    /// A model with bytes that says nothing; such a one has no bytes.
    #[error("the model has bytes but says nothing")]
    EmptyModel,
    /// A model that this version does not know, or that does not go with the layout.
    #[error("unknown model {0:#04x} of elements of this layout")]
    UnknownModel(u8),
    /// Offsets of rows and columns whose step or row length is out of range.
    #[error("invalid step or row length of the scale")]
    Scale,
    /// Contexts that are out of range, or whose tables do not add up.
    #[error("invalid contexts of columns")]
    Contexts,
    /// A prediction of columns that is out of range, or of a chunk of other than whole rows.
    #[error("invalid prediction of columns")]
    Prediction,
    /// A chunk wants the contexts of the model, which has none.
    #[error("a chunk refers to contexts that the model does not have")]
    NoContexts,
    /// A packed plane whose field does not lie in a byte, or that has bits set beyond its symbols.
    #[error("invalid packing of bits")]
    Packing,
    /// Exceptions of a packed plane that lie beyond its symbols, or are not as many as announced.
    #[error("the exceptions of a packed plane do not fit its symbols")]
    Exceptions,
    /// A table of Huffman code lengths that is not complete or not in its one spelling.
    #[error("invalid Huffman table")]
    HuffmanTable,
    /// A table of lane frequencies that does not add up or is not in its one spelling.
    #[error("invalid lane table")]
    LaneTable,
    /// A Huffman stream that does not end where its symbols end, or has bits set in its padding.
    #[error("a Huffman stream does not end with its last symbol")]
    HuffmanEnd,
    /// A lane that begins below its range.
    #[error("a lane state is below 256")]
    LaneState,
    /// A lane stream whose lanes do not return to their start, or that has bytes left over.
    #[error("a lane stream does not end in the start state")]
    LaneEnd,
    /// Matches that reach back before the chunk or on beyond it, that are too many, or that flip
    /// more than a sign.
    #[error("a repeat reaches out of the chunk or is not valid")]
    Matches,
    /// More or fewer escaped symbols than the stream announces.
    #[error("the escaped symbols are not as many as announced")]
    Escapes,
    /// A length in more bytes than it needs, or beyond 64 bits.
    #[error("a length is not in its shortest form")]
    Varint,
    /// An element layout that this version does not know.
    #[error("unknown element layout {0}")]
    UnknownLayout(u8),
}
