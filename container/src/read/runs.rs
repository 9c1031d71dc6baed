//! Where the bytes of a slice are within its tensor.

use std::num::NonZeroU64;
use std::ops::Range;

use super::slice::{Index, Slice};
use crate::error::{Error, Result};
use crate::format::chunking::Chunking;
use crate::format::tensor_info::TensorInfo;

/// The positions of one dimension that a slice takes.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    /// The number of positions.
    extent: u64,
    /// The distance from one of them to the next, in positions.
    step: u64,
    /// The distance from one position of the dimension to the next, in bits.
    stride: u64,
}

/// The bytes that a slice touches: runs of equal length, in rising order.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    /// The length of each run, in bytes.
    len: u64,
    count: u64,
    starts: Starts,
}

/// Where runs begin, in bytes.
#[derive(Clone, Debug)]
enum Starts {
    /// The offset of the first run, and the dimensions that lead to the others, outermost first;
    /// strides in bytes.
    Grid(u64, Vec<Part>),
    /// The offset of each.
    List(Vec<u64>),
}

impl Runs {
    /// Returns one run of `len` bytes from `start`.
    pub(crate) fn contiguous(start: u64, len: u64) -> Self {
        Self { len, count: 1, starts: Starts::Grid(start, Vec::new()) }
    }

    /// Returns runs of `len` bytes from rising offsets, which do not overlap.
    pub(super) fn listed(starts: Vec<u64>, len: u64) -> Self {
        Self { len, count: starts.len() as u64, starts: Starts::List(starts) }
    }

    /// Returns the shape of a slice of a tensor, and its runs.
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

    /// [`Runs::of`] for a tensor of this shape with elements of `bits` bits, whose size in bits
    /// fits a `u64`. The error says in words what is wrong with the slice.
    fn of_shape(slice: &Slice, shape: &[u64], bits: u64) -> Result<(Vec<u64>, Self), String> {
        let (mut parts, result) = resolve(slice, shape)?;
        if result.contains(&0) || parts.iter().any(|p| p.extent == 0) {
            return Ok((result, Self::listed(Vec::new(), 0)));
        }
        let mut stride = bits;
        for (part, &dim) in parts.iter_mut().zip(shape).rev() {
            part.stride = stride;
            stride *= dim;
        }
        let base: u64 = parts.iter().map(|p| p.start * p.stride).sum();
        // From the innermost dimension outwards, runs grow as long as dimensions are whole.
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
        Ok((result, Self { len: len / 8, count, starts: Starts::Grid(base / 8, parts) }))
    }

    /// Returns the length of all runs together, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.count * self.len
    }

    /// Returns the offset of run `index`.
    fn start(&self, mut index: u64) -> u64 {
        match &self.starts {
            Starts::Grid(first, outer) => {
                let mut start = *first;
                for part in outer.iter().rev() {
                    start += index % part.extent * part.stride;
                    index /= part.extent;
                }
                start
            }
            Starts::List(starts) => starts[index as usize],
        }
    }

    /// Returns the range from the first to the last touched byte; empty if none is touched.
    pub(crate) fn span(&self) -> Range<u64> {
        match self.total() {
            0 => 0..0,
            _ => self.start(0)..self.start(self.count - 1) + self.len,
        }
    }

    /// Returns the number of touched bytes before `offset`.
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

    /// Returns the chunks that are touched, in rising order.
    pub(crate) fn chunks(&self, chunking: Chunking) -> impl Iterator<Item = u64> + '_ {
        let Range { start, end } = self.span();
        let chunks = match start < end {
            true => chunking.chunk_of(start)..chunking.chunk_of(end - 1) + 1,
            false => 0..0,
        };
        chunks.filter(move |&chunk| {
            let Range { start, end } = chunking.range(chunk);
            self.bytes_before(end) > self.bytes_before(start)
        })
    }

    /// Copies the touched bytes of `range`, whose bytes are `raw`, one after the other to `out`.
    pub(crate) fn gather(&self, range: Range<u64>, raw: &[u8], mut out: &mut [u8]) {
        for piece in self.within(range) {
            let (to, rest) = std::mem::take(&mut out).split_at_mut(piece.len());
            to.copy_from_slice(&raw[piece]);
            out = rest;
        }
    }

    /// Returns the touched parts of `range` in order, as ranges within it.
    fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<usize>> + '_ {
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

/// Returns the parts of all dimensions, without strides, and the shape of the result.
fn resolve(slice: &Slice, shape: &[u64]) -> Result<(Vec<Part>, Vec<u64>), String> {
    let mut parts = Vec::with_capacity(shape.len());
    let mut result = Vec::with_capacity(shape.len());
    for (dimension, (index, &size)) in
        expand(slice, shape.len())?.into_iter().zip(shape).enumerate()
    {
        let part = take(index, size).map_err(|at| {
            format!("{at} is out of range for dimension {dimension} of size {size}")
        })?;
        if !matches!(index, Index::At(_)) {
            result.push(part.extent);
        }
        parts.push(part);
    }
    Ok((parts, result))
}

/// Returns an index for each of `dimensions` dimensions, and none is an ellipsis.
fn expand(slice: &Slice, dimensions: usize) -> Result<Vec<Index>, String> {
    const WHOLE: Index = Index::Range(None, None);
    let ellipses = slice.0.iter().filter(|i| **i == Index::Ellipsis).count();
    let named = slice.0.len() - ellipses;
    if ellipses > 1 {
        return Err("'...' can stand only once".into());
    }
    if named > dimensions {
        return Err(format!("{named} indices for {dimensions} dimensions"));
    }
    let mut indices = Vec::with_capacity(dimensions);
    for &index in &slice.0 {
        match index {
            Index::Ellipsis => indices.resize(indices.len() + dimensions - named, WHOLE),
            index => indices.push(index),
        }
    }
    indices.resize(dimensions, WHOLE);
    Ok(indices)
}

/// Returns the positions that `index` takes of a dimension of `size`. The error is the number that
/// is out of range.
fn take(index: Index, size: u64) -> Result<Part, i64> {
    // Returns a position from 0 to `limit`, counted from the end where it is negative.
    let position = |at: i64, limit: u64| {
        let from_start = if at < 0 { size.checked_sub(at.unsigned_abs()) } else { Some(at as u64) };
        from_start.filter(|&at| at <= limit).ok_or(at)
    };
    let steps = |start: Option<i64>, stop: Option<i64>, step: NonZeroU64| {
        let start = start.map_or(Ok(0), |at| position(at, size))?;
        let stop = stop.map_or(Ok(size), |at| position(at, size))?;
        let extent = stop.saturating_sub(start).div_ceil(step.get());
        // A step that is never taken may be of any size.
        let step = if extent > 1 { step.get() } else { 1 };
        Ok(Part { start, extent, step, stride: 0 })
    };
    match index {
        Index::At(at) => {
            let start = position(at, size.checked_sub(1).ok_or(at)?)?;
            Ok(Part { start, extent: 1, step: 1, stride: 0 })
        }
        Index::Range(start, stop) => steps(start, stop, NonZeroU64::MIN),
        Index::Steps(start, stop, step) => steps(start, stop, step),
        Index::Ellipsis => unreachable!("`expand` leaves none"),
    }
}
