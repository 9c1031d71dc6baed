//! Slices of a tensor, as text and as runs of bytes.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::format::header::TensorInfo;
use crate::{Error, Result};

/// What to take of a tensor: an entry for each dimension from the first; dimensions that are not
/// named are taken whole. Parses from text such as `0:16, :`, `3`, `..., -1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice(pub Vec<Index>);

/// What to take of one dimension. Negative numbers count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One position; the dimension is dropped.
    At(i64),
    /// From the first up to but without the second; to either end where there is none.
    Range(Option<i64>, Option<i64>),
    /// Of such a range the first position and, from it on, each that is a whole number of steps
    /// away.
    Steps(Option<i64>, Option<i64>, NonZeroU64),
    /// As many whole dimensions as are left over; once at most.
    Ellipsis,
}

/// Text that is no slice.
#[derive(Debug, thiserror::Error)]
#[error("{part:?} is no index: {problem}")]
pub struct ParseSliceError {
    part: String,
    problem: &'static str,
}

impl FromStr for Slice {
    type Err = ParseSliceError;

    fn from_str(text: &str) -> Result<Self, ParseSliceError> {
        // Nothing is the slice of a scalar; a comma may end a slice, as in Python.
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

/// A dimension of which a part is taken.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    /// How many positions.
    extent: u64,
    /// From one of them to the next.
    step: u64,
    /// Bits from one position of the dimension to the next.
    stride: u64,
}

/// Runs of bytes of equal length, in rising order: what a slice touches.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    /// Where the first one begins, in bytes.
    base: u64,
    /// Bytes of each.
    len: u64,
    count: u64,
    /// How the others are reached, outermost first; strides in bytes.
    outer: Vec<Part>,
}

impl Runs {
    /// One run of `len` bytes from `start`.
    pub(crate) fn contiguous(start: u64, len: u64) -> Self {
        Self { base: start, len, count: 1, outer: Vec::new() }
    }

    /// The runs of a slice of a tensor, and the shape of the slice.
    ///
    /// # Errors
    /// [`Error::Slice`].
    pub(crate) fn of(slice: &Slice, tensor: &TensorInfo) -> Result<(Vec<u64>, Self)> {
        let shape = tensor.shape();
        let runs = match tensor.dtype() {
            Some(dtype) => Self::of_shape(slice, shape, dtype.bits().into()),
            None => Err(format!("its dtype {} is unknown, read it whole", tensor.dtype_name())),
        };
        runs.map_err(|problem| Error::Slice {
            name: tensor.name().into(),
            shape: shape.into(),
            problem,
        })
    }

    /// [`Runs::of`] a tensor of this shape with elements of `bits` bits, whose size in bits must
    /// fit a `u64`. The error says in words what is wrong with the slice.
    fn of_shape(slice: &Slice, shape: &[u64], bits: u64) -> Result<(Vec<u64>, Self), String> {
        let (mut parts, result) = resolve(slice, shape)?;
        if result.contains(&0) || parts.iter().any(|p| p.extent == 0) {
            return Ok((result, Self { base: 0, len: 0, count: 0, outer: Vec::new() }));
        }
        let mut stride = bits;
        for (part, &dim) in parts.iter_mut().zip(shape).rev() {
            part.stride = stride;
            stride *= dim;
        }
        let base: u64 = parts.iter().map(|p| p.start * p.stride).sum();
        // From the innermost dimension out, runs grow as long as dimensions are whole.
        let mut len = bits;
        let mut outer = parts.len();
        for (part, &dim) in parts.iter().zip(shape).rev() {
            if part.step > 1 {
                break;
            }
            len = part.extent * part.stride;
            outer -= 1;
            if part.extent != dim {
                break;
            }
        }
        parts.truncate(outer);
        parts.retain(|p| p.extent > 1);
        parts.iter_mut().for_each(|p| p.stride *= p.step);
        let whole = |bits: u64| bits.is_multiple_of(8);
        if !(whole(base) && whole(len) && parts.iter().all(|p| whole(p.stride))) {
            return Err(format!(
                "elements of {bits} bits do not begin and end at whole bytes there"
            ));
        }
        parts.iter_mut().for_each(|p| p.stride /= 8);
        let count = parts.iter().map(|p| p.extent).product();
        Ok((result, Self { base: base / 8, len: len / 8, count, outer: parts }))
    }

    /// Bytes of all runs.
    pub(crate) fn total(&self) -> u64 {
        self.count * self.len
    }

    /// Where run `index` begins.
    fn start(&self, mut index: u64) -> u64 {
        let mut start = self.base;
        for part in self.outer.iter().rev() {
            start += index % part.extent * part.stride;
            index /= part.extent;
        }
        start
    }

    /// The bytes from the first to the last one that is touched; empty if none is.
    pub(crate) fn span(&self) -> std::ops::Range<u64> {
        match self.total() {
            0 => 0..0,
            _ => self.base..self.start(self.count - 1) + self.len,
        }
    }

    /// How many of the touched bytes lie before `offset`.
    pub(crate) fn bytes_before(&self, offset: u64) -> u64 {
        // The first run that ends behind the offset.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle) + self.len <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let within = if low < self.count { offset.saturating_sub(self.start(low)) } else { 0 };
        low * self.len + within
    }

    /// Copies what is touched of `range`, whose bytes are `raw`, one after the other to `out`.
    pub(crate) fn gather(&self, range: std::ops::Range<u64>, raw: &[u8], mut out: &mut [u8]) {
        for piece in self.within(range) {
            let (to, rest) = std::mem::take(&mut out).split_at_mut(piece.len());
            to.copy_from_slice(&raw[piece]);
            out = rest;
        }
    }

    /// The touched parts of `range`, as ranges within it, in order.
    fn within(
        &self,
        range: std::ops::Range<u64>,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let first = self.bytes_before(range.start).checked_div(self.len).unwrap_or(self.count);
        (first..self.count)
            .map(|index| self.start(index))
            .take_while({
                let end = range.end;
                move |&start| start < end
            })
            .map(move |start| {
                let from = start.max(range.start) - range.start;
                let to = (start + self.len).min(range.end) - range.start;
                from as usize..to as usize
            })
    }
}

/// The parts of all dimensions (strides to be set), and the shape of the result.
fn resolve(slice: &Slice, shape: &[u64]) -> Result<(Vec<Part>, Vec<u64>), String> {
    let ellipses = slice.0.iter().filter(|i| **i == Index::Ellipsis).count();
    let named = slice.0.len() - ellipses;
    if ellipses > 1 {
        return Err("'...' can stand only once".into());
    }
    if named > shape.len() {
        return Err(format!("{named} indices for {} dimensions", shape.len()));
    }
    let mut indices = Vec::with_capacity(shape.len());
    for &index in &slice.0 {
        match index {
            Index::Ellipsis => {
                indices.extend(vec![Index::Range(None, None); shape.len() - named]);
            }
            index => indices.push(index),
        }
    }
    indices.resize(shape.len(), Index::Range(None, None));

    let mut parts = Vec::with_capacity(shape.len());
    let mut result = Vec::with_capacity(shape.len());
    for (dimension, (index, &size)) in indices.into_iter().zip(shape).enumerate() {
        // A position from 0 to `limit`, counted from the end where it is negative.
        let position = |at: i64, limit: u64| {
            let at = if at < 0 { size.checked_sub(at.unsigned_abs()) } else { Some(at as u64) };
            at.filter(|&at| at <= limit)
        };
        let bad =
            |what: i64| format!("{what} is out of range for dimension {dimension} of size {size}");
        let steps = |start: Option<i64>, stop: Option<i64>, step: NonZeroU64| {
            let resolved = |at: Option<i64>, default| match at {
                Some(at) => position(at, size).ok_or_else(|| bad(at)),
                None => Ok(default),
            };
            let (start, stop) = (resolved(start, 0)?, resolved(stop, size)?);
            let extent = stop.saturating_sub(start).div_ceil(step.get());
            // A step that is never taken may be of any size.
            let step = if extent > 1 { step.get() } else { 1 };
            Ok::<_, String>(Part { start, extent, step, stride: 0 })
        };
        let part = match index {
            Index::At(at) => {
                let limit = size.checked_sub(1).ok_or_else(|| bad(at))?;
                let start = position(at, limit).ok_or_else(|| bad(at))?;
                Part { start, extent: 1, step: 1, stride: 0 }
            }
            Index::Range(start, stop) => steps(start, stop, NonZeroU64::MIN)?,
            Index::Steps(start, stop, step) => steps(start, stop, step)?,
            Index::Ellipsis => unreachable!("replaced above"),
        };
        if !matches!(index, Index::At(_)) {
            result.push(part.extent);
        }
        parts.push(part);
    }
    Ok((parts, result))
}
