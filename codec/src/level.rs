//! The choice between speed and size.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// The time that encoding, and then decoding, may take to save bytes. All levels have one format.
///
/// ```
/// use at1w_codec::Level;
///
/// assert_eq!(Level::default(), Level::Default);
/// assert!(Level::Fast < Level::Max);
/// assert_eq!("max".parse(), Ok(Level::Max));
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

impl Level {
    /// All levels, from the fastest on.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Default, Self::Max];

    /// Returns the name of the level: "fast", "default" or "max".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Max => "max",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Returns the level of a name.
    ///
    /// # Errors
    /// [`UnknownLevel`] if no level has the name.
    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let known = Self::ALL.into_iter().find(|level| level.name() == name);
        known.ok_or_else(|| UnknownLevel(name.into()))
    }
}

/// A name that no level has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(pub String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [fast, default, max] = Level::ALL.map(Level::name);
        write!(f, "level {:?} is none of {fast:?}, {default:?}, {max:?}", self.0)
    }
}

impl Error for UnknownLevel {}
