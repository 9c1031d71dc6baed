//! The choice between speed and size.

/// The time that encoding, and then decoding, may take to save bytes. All levels have one format.
///
/// ```
/// use at1w_codec::Level;
///
/// assert_eq!(Level::default(), Level::Default);
/// assert!(Level::Fast < Level::Max);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
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
