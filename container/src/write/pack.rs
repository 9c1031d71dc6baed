//! From safetensors to `.at1w`, in one forward pass over the output.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;

use super::batch_encoder::BatchEncoder;
use super::buffers::Buffers;
use super::dedup;
use super::depths::Depths;
use super::known::Known;
use super::options::PackOptions;
use super::output::{Finished, Output};
use super::versions::{self, Version};
use crate::backend::chosen;
use crate::batches::{MAX_TENSORS, batches};
use crate::error::{Error, Result};
use crate::format::header::Header;
use crate::format::magic::MAGIC;
use crate::fs::atomic::{Mode, check_distinct, write_with_mode};
use crate::fs::identity::Identity;
use crate::kind::Wanted;
use crate::pool;
use crate::recognise::{explain, open_file};
use crate::source::ReadAt;
use crate::summary::Summary;

/// Packs the safetensors file `source` into `target`, which appears whole or not at all.
///
/// The output depends on the source and the level alone, not on threads or machine. It gets no
/// permissions that the source does not have.
///
/// # Errors
/// [`Error::Safetensors`], [`Error::WrongKind`], [`Error::AlreadyPacked`], [`Error::Exists`],
/// [`Error::SameFile`], [`Error::Cancelled`], [`Error::Backend`],
/// [`Error::SourceChanged`] and those of reading and writing; all name the file.
pub fn pack_file(source: &Path, target: &Path, options: &PackOptions<'_>) -> Result<Summary> {
    check_distinct(source, target)?;
    options.bases.iter().try_for_each(|base| base.check_target(target))?;
    let before = (!options.bases.is_empty()).then(|| Depths::of(target));
    let summary = pack_file_with_mode(source, target, Mode::like(source)?, options)?;
    before.map_or(Ok(()), |before| before.warn_if_deeper(target, options.progress))?;
    Ok(summary)
}

/// [`pack_file`] with a rule for the permissions of the target.
pub(crate) fn pack_file_with_mode(
    source: &Path,
    target: &Path,
    mode: Mode,
    options: &PackOptions<'_>,
) -> Result<Summary> {
    let file = open_file(source, Wanted::Safetensors)?;
    let before = Identity::of(&file, source)?;
    // Refuse what is no safetensors before there is a temporary file.
    let header = Header::read(&file)
        .map_err(|error| explain(&file, error, Wanted::Safetensors).in_file(source))?;
    write_with_mode(mode, target, options.overwrite, |out| {
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let packed = whole(&file, &header, &mut out, options).map_err(|error| match error {
            Error::Write(_) => error,
            error => error.in_file(source),
        })?;
        out.flush().map_err(Error::Write)?;
        before.check(&file, source)?;
        Ok(packed)
    })
}

/// Packs a safetensors file from any source into any sink.
///
/// # Errors
/// As [`pack_file`], but for those of files.
///
/// # Examples
/// ```
/// use at1w_container::{Level, PackOptions, pack};
///
/// let mut original = 56_u64.to_le_bytes().to_vec();
/// original.extend(br#"{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}   "#);
/// original.extend([1, 2, 3, 4]);
/// let mut packed = Vec::new();
/// let summary = pack(&original, &mut packed, &PackOptions::new().level(Level::Max))?;
/// assert_eq!((summary.tensors, summary.packed_len), (1, packed.len() as u64));
/// # Ok::<(), at1w_container::Error>(())
/// ```
pub fn pack(
    source: &dyn ReadAt,
    sink: &mut (dyn Write + Send),
    options: &PackOptions<'_>,
) -> Result<Summary> {
    let header =
        Header::read(source).map_err(|error| explain(source, error, Wanted::Safetensors))?;
    whole(source, &header, sink, options)
}

/// Writes the whole file.
fn whole(
    source: &dyn ReadAt,
    header: &Header,
    sink: &mut (dyn Write + Send),
    options: &PackOptions<'_>,
) -> Result<Summary> {
    sink.write_all(&MAGIC).map_err(Error::Write)?;
    let shared = dedup::find(source, header)?;
    let versions = find_versions(source, header, &shared, options)?;
    let before = Before { shared, known: &[], versions: &versions };
    let file = encode(source, header, sink, before, options)?;
    sink.write_all(&file.tail).map_err(Error::Write)?;
    Ok(file.summary)
}

/// The facts about the tensors of a file that are found before they are encoded.
pub(super) struct Before<'a> {
    /// For each tensor with the content of an earlier one, the index of the earlier one.
    pub(super) shared: HashMap<usize, u32>,
    /// For each tensor that is stored elsewhere, its stored bytes.
    pub(super) known: &'a [Option<Known>],
    /// For each tensor that may be a version of another, its base.
    pub(super) versions: &'a [Option<Version<'a>>],
}

/// Encodes batch after batch: while one is encoded, the one before is hashed and written. Writes
/// the stored bytes of all tensors but those that are shared or known.
pub(super) fn encode(
    source: &dyn ReadAt,
    header: &Header,
    sink: &mut (dyn Write + Send),
    Before { shared, known, versions }: Before<'_>,
    options: &PackOptions<'_>,
) -> Result<Finished> {
    let backend = chosen(options.backend)?;
    let mut encoder = BatchEncoder::new(backend, source, header, known, shared, versions, options);
    let mut output = Output::new(backend, sink, header, versions);
    let buffers = Buffers::default();
    let mut pending = Vec::new();
    for batch in batches(header, MAX_TENSORS) {
        let (encoded, written) = pool::run(|| {
            Ok(rayon::join(
                || encoder.encode(batch, &buffers),
                || output.append(&mut pending, &buffers, options.progress),
            ))
        })?;
        written?;
        pending = encoded?;
    }
    output.append(&mut pending, &buffers, options.progress)?;
    output.finish(header)
}

/// Finds the base of each tensor that is stored here, if there are files that may have some.
fn find_versions<'a>(
    source: &dyn ReadAt,
    header: &Header,
    shared: &HashMap<usize, u32>,
    options: &PackOptions<'a>,
) -> Result<Vec<Option<Version<'a>>>> {
    if options.bases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = chosen(options.backend)?;
    versions::check(options)?;
    let find = |(index, info)| {
        if shared.contains_key(&index) {
            return Ok(None);
        }
        versions::find(backend, source, header, info, options)
    };
    let found: Result<Vec<_>> =
        pool::run(|| header.tensors().par_iter().enumerate().map(find).collect());
    let mut found = found?;
    versions::drop_unless_worth_it(header.data_len(), &mut found)?;
    Ok(found)
}
