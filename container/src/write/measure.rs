//! The model of a large tensor: passes over its chunks before they are encoded.

use std::borrow::Cow;
use std::ops::Range;

use at1w_codec::{Backend, Level, Model, ModelBuilder, Next, Position};
use rayon::prelude::*;

use crate::error::Result;
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::progress::{self, Progress};
use crate::source::{self, ReadAt};

/// The number of chunks from which on one in four is enough to make the model of a tensor from.
const MANY_CHUNKS: u64 = 32;

/// Makes the model of a tensor, from all of its chunks or from a part of many: they are much alike,
/// and a chunk that is not gets tables of its own.
pub(super) fn measure(
    backend: Backend,
    source: &dyn ReadAt,
    header: &Header,
    tensor: usize,
    level: Level,
    progress: &dyn Progress,
) -> Result<Model> {
    let info = &header.tensors()[tensor];
    let mut builder = ModelBuilder::new(info.coded_as(), level, &info.shape).with_backend(backend);
    loop {
        match pass(source, header, tensor, &builder, progress)?.next() {
            Next::Pass(next) => builder = *next,
            Next::Done(model) => return Ok(model),
        }
    }
}

/// Passes over the tensor once: adds its chunks to copies of `empty` on all threads, and merges the
/// copies.
fn pass(
    source: &dyn ReadAt,
    header: &Header,
    tensor: usize,
    empty: &ModelBuilder,
    progress: &dyn Progress,
) -> Result<ModelBuilder> {
    let info = &header.tensors()[tensor];
    let chunking = Chunking::of(info);
    let start = header.data_start() + info.data.start;
    let width = info.coded_as().layout().width() as u64;
    let new = || (empty.clone(), Vec::new());
    let stride = if chunking.count() < MANY_CHUNKS { 1 } else { 4 };
    let (builder, _) = (0..chunking.count().div_ceil(stride))
        .into_par_iter()
        .try_fold(new, |(mut builder, mut buffer), i| -> Result<_> {
            progress::check(progress)?;
            let Range { start: from, end: to } = chunking.range(i * stride);
            let raw = source::read_into(source, start + from..start + to, buffer)?;
            builder
                .add(Position::after_elements(from / width), &raw)
                .expect("chunks are whole elements and short");
            buffer = match raw {
                Cow::Owned(buffer) => buffer,
                Cow::Borrowed(_) => Vec::new(),
            };
            Ok((builder, buffer))
        })
        .try_reduce(new, |(mut a, buffer), (b, _)| {
            a.merge(&b);
            Ok((a, buffer))
        })?;
    Ok(builder)
}
