//! Slices of a tensor, as values and as text.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A part of a tensor: an entry for each dimension from the first. Dimensions without an entry are
/// taken whole. Parses from text such as `0:16, :`, `3`, `..., -1`.
///
/// # Examples
/// ```
/// use at1w_container::{Index, Slice};
///
/// let slice: Slice = "0:16, ..., -1".parse()?;
/// let same = Slice(vec![Index::Range(Some(0), Some(16)), Index::Ellipsis, Index::At(-1)]);
/// assert_eq!(slice, same);
/// assert_eq!(slice.to_string(), "0:16, ..., -1");
/// # Ok::<(), at1w_container::ParseSliceError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice(pub Vec<Index>);

/// A part of one dimension. Negative numbers count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One position; the dimension is dropped.
    At(i64),
    /// The positions from the first number up to but without the second. A missing number is the
    /// start or the end.
    Range(Option<i64>, Option<i64>),
    /// The first position of such a range, and from there on every position that is a whole number
    /// of steps away.
    Steps(Option<i64>, Option<i64>, NonZeroU64),
    /// As many whole dimensions as have no entry. Stands at most once.
    Ellipsis,
}

/// The error for a text that is not a slice.
#[derive(Debug, thiserror::Error)]
#[error("{part:?} is no index: {problem}")]
pub struct ParseSliceError {
    part: String,
    problem: &'static str,
}

impl FromStr for Slice {
    type Err = ParseSliceError;

    fn from_str(text: &str) -> Result<Self, ParseSliceError> {
        // An empty text is the slice of a scalar. A comma may end a slice, as in Python.
        let text = text.trim();
        let text = text.strip_suffix(',').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::default());
        }
        let parts = text.split(',').map(str::trim);
        Ok(Self(parts.map(parse_index).collect::<Result<_, _>>()?))
    }
}

fn parse_index(part: &str) -> Result<Index, ParseSliceError> {
    let wrong = |problem| ParseSliceError { part: part.into(), problem };
    let fail =
        || wrong("write a number, start:stop, start:stop:step, ':' or '...', separated by commas");
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| fail());
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        text => number(text).map(Some),
    };
    match part.split(':').collect::<Vec<_>>()[..] {
        ["..."] => Ok(Index::Ellipsis),
        [at] => Ok(Index::At(number(at)?)),
        [start, stop] => Ok(Index::Range(bound(start)?, bound(stop)?)),
        [start, stop, step] => {
            let step = step.trim().parse().map_err(|_| match number(step) {
                Ok(_) => wrong("steps are positive: read forwards, and reverse what was read"),
                Err(error) => error,
            })?;
            Ok(Index::Steps(bound(start)?, bound(stop)?, step))
        }
        _ => Err(fail()),
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |b: Option<i64>| b.map(|b| b.to_string()).unwrap_or_default();
        for (i, index) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            match *index {
                Index::At(at) => write!(f, "{at}")?,
                Index::Range(start, stop) => write!(f, "{}:{}", bound(start), bound(stop))?,
                Index::Steps(start, stop, step) => {
                    write!(f, "{}:{}:{step}", bound(start), bound(stop))?;
                }
                Index::Ellipsis => f.write_str("...")?,
            }
        }
        Ok(())
    }
}
