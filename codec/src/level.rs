//! How hard to look for a small encoding.

/// How much time encoding, and then decoding, may take to save bytes. The format is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Tables for each plane: decodes as fast as memory is copied.
    Fast,
    /// Scales of rows and columns, and the top bit of the mantissa beside the exponent: up to two
    /// points smaller, and still faster to decode than to verify.
    #[default]
    Default,
    /// Contexts of columns, with probabilities for sign, exponent and mantissa together: up to two
    /// points smaller again, several times as long to decode.
    Max,
}
