//! The mistakes of a call, and the damage of encoded bytes.

use std::error::Error;
use std::fmt;

/// Why a chunk was not encoded. Each is a mistake of the caller; any bytes can be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The raw bytes are no whole number of elements.
    Ragged {
        /// Raw bytes.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The raw bytes are more than one chunk may hold.
    TooLong {
        /// Raw bytes.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The last element would be beyond 64 bits.
    Position {
        /// Elements before the chunk.
        elements: u64,
    },
    /// The values have another size than the elements of the dtype.
    WrongElement {
        /// Bytes of a value.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The base is not as long as the raw bytes.
    Base {
        /// Raw bytes.
        len: usize,
        /// Bytes of the base.
        base_len: usize,
    },
    /// The output buffer could be too small.
    OutputTooSmall {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes that are always enough.
        needed: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ragged { len, width } => {
                write!(f, "{len} raw bytes are no whole number of {width}-byte elements")
            }
            Self::TooLong { len, max } => write!(
                f,
                "{len} raw bytes are more than the {max} that one chunk may hold: split them"
            ),
            Self::Position { elements } => {
                write!(f, "no tensor has {elements} elements before a chunk: check the position")
            }
            Self::WrongElement { len, width } => write!(
                f,
                "values of {len} bytes can't be elements of {width} bytes: pass those of the dtype"
            ),
            Self::Base { len, base_len } => {
                write!(f, "a base of {base_len} bytes is no base of {len} raw bytes")
            }
            Self::OutputTooSmall { len, needed } => {
                write!(f, "the output buffer has {len} bytes, encoding may need {needed}")
            }
        }
    }
}

impl Error for EncodeError {}

/// Why encoded bytes were not decoded. [`DecodeError::is_misuse`] tells the mistakes of the caller
/// from bytes that are damaged, hostile, or belong to another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end early.
    Truncated,
    /// There are more bytes than the content takes.
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// The destination is no whole number of elements.
    Ragged {
        /// Bytes of the destination.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The destination of a block has another size than the block says that it needs.
    WrongLength {
        /// Raw bytes of the block.
        raw_len: u64,
        /// Bytes of the destination.
        len: usize,
    },
    /// A block says that it has more raw bytes than the caller, or any chunk, allows.
    TooLong {
        /// Raw bytes of the block.
        raw_len: u64,
        /// The most that are allowed.
        max: usize,
    },
    /// The last element would be beyond 64 bits.
    Position {
        /// Elements before the chunk.
        elements: u64,
    },
    /// The destination has values of another size than the elements of the block.
    WrongElement {
        /// Bytes of a value.
        len: usize,
        /// Bytes of an element.
        width: usize,
    },
    /// The base is not as long as the destination.
    BaseLength {
        /// Bytes of the base.
        base_len: usize,
        /// Bytes of the destination.
        len: usize,
    },
    /// A chunk is made of a base, and none was given.
    NoBase,
    /// A chunk has differences, and the model no tables of them.
    NoDifferences,
    /// Classes of differences that are too many, or whose thresholds don't rise.
    Classes,
    /// The bytes of a checked block don't match its checksum.
    Checksum,
    /// A chunk method that this version does not know.
    UnknownMethod(u8),
    /// A plane mode that this version does not know.
    UnknownMode {
        /// Index of the plane, 0 the least significant byte.
        plane: usize,
        /// The mode byte.
        mode: u8,
    },
    /// A plane needs the table of the model, which has none for it.
    NoTable {
        /// Index of the plane.
        plane: usize,
    },
    /// A table kind that this version does not know.
    UnknownTable {
        /// Index of the plane.
        plane: usize,
        /// The kind byte.
        kind: u8,
    },
    /// A model that has bytes although it is empty.
    EmptyModel,
    /// A model that this version does not know, or that does not go with the layout.
    UnknownModel(u8),
    /// Offsets of rows and columns whose step or row length is out of range.
    Scale,
    /// Contexts that are out of range, or whose tables do not add up.
    Contexts,
    /// A prediction that is out of range, or of a chunk that is not of whole rows.
    Prediction,
    /// A chunk needs the contexts of the model, which has none.
    NoContexts,
    /// A packed plane whose field does not lie in a byte, or that has bits set beyond its symbols.
    Packing,
    /// Exceptions of a packed plane that lie beyond its symbols, or are not as many as announced.
    Exceptions,
    /// A table of Huffman code lengths that is not complete or not in its one spelling.
    HuffmanTable,
    /// A table of lane frequencies that does not add up or is not in its one spelling.
    LaneTable,
    /// A Huffman stream that does not end where its symbols end, or has bits set in its padding.
    HuffmanEnd,
    /// A lane that begins below its range.
    LaneState,
    /// A lane stream whose lanes do not return to their start, or that has bytes left over.
    LaneEnd,
    /// Matches that reach back before the chunk or on beyond it, that are too many, or that flip
    /// more than a sign.
    Matches,
    /// More or fewer escaped symbols than the stream announces.
    Escapes,
    /// A length in more bytes than it needs, or beyond 64 bits.
    Varint,
    /// An element layout that this version does not know.
    UnknownLayout(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.pad("the encoded bytes end early"),
            Self::TrailingBytes { extra } => {
                write!(f, "{extra} bytes are left over after the content")
            }
            Self::Ragged { len, width } => write!(
                f,
                "a destination of {len} bytes is no whole number of {width}-byte elements"
            ),
            Self::WrongLength { raw_len, len } => write!(
                f,
                "the block has {raw_len} raw bytes, the destination {len}: ask for its raw length"
            ),
            Self::TooLong { raw_len, max } => {
                write!(f, "the block has {raw_len} raw bytes, more than the {max} that are allowed")
            }
            Self::Position { elements } => {
                write!(f, "no tensor has {elements} elements before a chunk: check the position")
            }
            Self::WrongElement { len, width } => {
                write!(f, "elements of {width} bytes can't be read into values of {len} bytes")
            }
            Self::BaseLength { base_len, len } => {
                write!(f, "a base of {base_len} bytes is no base of {len} bytes")
            }
            Self::NoBase => f.pad("the chunk needs a base, and there is none"),
            Self::NoDifferences => {
                f.pad("the chunk needs tables of differences that the model does not have")
            }
            Self::Classes => f.pad("the classes of differences are too many or do not rise"),
            Self::Checksum => f.pad("the block does not match its checksum: it is damaged"),
            Self::UnknownMethod(byte) => write!(f, "unknown chunk method {byte}"),
            Self::UnknownMode { plane, mode } => write!(f, "unknown mode {mode} of plane {plane}"),
            Self::NoTable { plane } => {
                write!(f, "plane {plane} needs a table that the model does not have")
            }
            Self::UnknownTable { plane, kind } => {
                write!(f, "unknown table kind {kind} of plane {plane}")
            }
            Self::EmptyModel => f.pad("the model has bytes although it is empty"),
            Self::UnknownModel(byte) => {
                write!(f, "unknown model {byte:#04x} for elements of this layout")
            }
            Self::Scale => f.pad("the scale has an invalid step or row length"),
            Self::Contexts => f.pad("the contexts are out of range or do not add up"),
            Self::Prediction => {
                f.pad("the prediction is out of range, or the chunk is not of whole rows")
            }
            Self::NoContexts => f.pad("the chunk needs contexts that the model does not have"),
            Self::Packing => f.pad("a packed plane has an invalid field or padding"),
            Self::Exceptions => f.pad("the exceptions of a packed plane do not fit its symbols"),
            Self::HuffmanTable => {
                f.pad("a Huffman table is not complete or not in its one spelling")
            }
            Self::LaneTable => f.pad("a lane table does not add up or is not in its one spelling"),
            Self::HuffmanEnd => f.pad("a Huffman stream does not end with its last symbol"),
            Self::LaneState => f.pad("a lane state is below its range"),
            Self::LaneEnd => f.pad("a lane stream does not end in the start state"),
            Self::Matches => f.pad("a match reaches out of the chunk or is not valid"),
            Self::Escapes => f.pad("the escaped symbols are not as many as announced"),
            Self::Varint => f.pad("a length is not in its shortest form"),
            Self::UnknownLayout(byte) => write!(f, "unknown element layout {byte}"),
        }
    }
}

impl Error for DecodeError {}

impl DecodeError {
    /// Whether the call was wrong whatever the bytes are: its lengths or its position. All other
    /// errors say that the bytes are damaged, or belong to another model, position or length.
    pub const fn is_misuse(self) -> bool {
        matches!(
            self,
            Self::Ragged { .. }
                | Self::WrongLength { .. }
                | Self::WrongElement { .. }
                | Self::BaseLength { .. }
                | Self::Position { .. }
        )
    }
}
