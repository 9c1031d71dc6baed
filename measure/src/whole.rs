//! Measures a file whole: packs it into a scratch file, reads everything back and compares it.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use at1w_container::{
    Error, Level, OpenOptions, PackOptions, Progress, Reader, Wanted, open_file, pack,
};
use sha2::{Digest as _, Sha256};

use crate::compare::Compare;
use crate::fault::Fault;
use crate::fetch;
use crate::groups::Groups;
use crate::read_back::{Counts, ReadBack};
use crate::result::{FileResult, LevelResult, TensorResult};
use crate::rival::Rival;
use crate::source::SourceFile;

/// A file that could not be measured.
pub(crate) enum Failed {
    /// The caller asked to stop.
    Cancelled,
    /// Anything else, after which the work goes on with other files.
    Fault(Fault),
}

/// The work on a file.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    /// The levels, the one that is reported by tensor first.
    pub(crate) levels: &'a [Level],
    /// Other compressors, to compare with.
    pub(crate) against: &'a [Rival],
    /// Whether single tensors are fetched.
    pub(crate) fetches: bool,
    pub(crate) scratch: &'a Path,
    pub(crate) progress: &'a dyn Progress,
}

/// Packs a file at each level, and reads it back.
pub(crate) fn measure(file: &SourceFile, work: Work<'_>) -> Result<FileResult, Failed> {
    let (scratch, mut different) = (work.scratch, None);
    let measured = of_levels(file, work, &mut different);
    match (measured, different) {
        (Err(Error::Cancelled), _) => Err(Failed::Cancelled),
        (Ok(result), None) => Ok(result),
        (Err(Error::SourceChanged(problem)), _) => {
            let error = Error::SourceChanged(problem);
            Err(Failed::Fault(Fault::new(&file.path, &error)))
        }
        (_, Some(offset)) => {
            let message = format!("byte {offset} did not come back as it was: please report this");
            Err(Failed::Fault(Fault { path: file.path.clone(), message, damaged: true }))
        }
        (Err(error), None) => {
            let mut fault = Fault::new(&file.path, &error);
            fault.damaged = error.is_integrity() || matches!(error, Error::Encoded { .. });
            if let Error::Write(cause) = error.innermost() {
                let scratch = scratch.display();
                fault.message = format!("the scratch folder {scratch}: {cause}");
                if cause.kind() == io::ErrorKind::StorageFull {
                    fault.message += ": it needs room for what each file is packed to";
                }
            }
            Err(Failed::Fault(fault))
        }
    }
}

fn of_levels(
    file: &SourceFile,
    work: Work<'_>,
    different: &mut Option<u64>,
) -> Result<FileResult, Error> {
    let Work { levels, against, fetches, scratch, progress } = work;
    let local = file.place.local(scratch, progress)?;
    let path = local.path();
    let source = open_file(path, Wanted::Safetensors)?;
    let before = Stamp::of(&source, path)?;
    let mut result = FileResult::new(file);
    for &level in levels {
        let mut packed = tempfile::tempfile_in(scratch).map_err(Error::Write)?;
        let start = Instant::now();
        let options = PackOptions::new().level(level).progress(progress);
        let mut out = BufWriter::with_capacity(64 << 10, &mut packed);
        let done = pack(&source, &mut out, &options);
        let summary = done.and_then(|summary| out.flush().map(|()| summary).map_err(Error::Write));
        drop(out);
        // An error of a source that changes may be any error.
        let summary = before.or_changed(&source, path, summary)?;
        let pack_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let packed = Arc::new(packed);
        let reader = Reader::new(Box::new(packed.clone()), &OpenOptions::new())?;
        // The first level is reported by tensor.
        let is_first = result.levels.is_empty();
        let back = ReadBack::new(&source, is_first);
        let read = back.all(&reader, progress);
        *different = back.different();
        before.or_changed(&source, path, read)?;
        let read_seconds = start.elapsed().as_secs_f64() - back.counting_seconds();
        result.levels.push(LevelResult {
            level: level.name().into(),
            packed_bytes: summary.packed_len,
            pack_seconds,
            read_seconds,
        });
        if is_first {
            // It may have grown since it was listed.
            result.raw_bytes = summary.original_len;
            add_tensors(&mut result, &reader, back.into_counts());
            if fetches {
                let fetched = fetch::measure(&reader, &packed, path, progress);
                result.fetches = before.or_changed(&source, path, fetched)?;
            }
            before.check(&source, path)?;
        }
    }
    for rival in against {
        let mut compare = Compare::new(&source);
        let done = rival.measure(path, result.main_dtype(), scratch, &mut compare, progress);
        match before.or_changed(&source, path, done) {
            Ok(done) => {
                result.against.push(LevelResult { level: rival.name().into(), ..done });
            }
            Err(error @ (Error::Cancelled | Error::SourceChanged(_))) => return Err(error),
            // The file is measured all the same.
            Err(error) => result.problems.push(format!("{}: {error}", rival.name())),
        }
    }
    Ok(result)
}

/// Adds the tensors of a packed file, and their statistics.
fn add_tensors(result: &mut FileResult, reader: &Reader, counts: Counts) {
    result.header_bytes = 8 + reader.header().bytes().len() as u64;
    let mut groups = Groups::default();
    for (info, tensor) in reader.header().tensors().iter().zip(reader.tensors()) {
        let bits = counts.bound_bits.get(info.name()).copied().unwrap_or_default();
        groups.add(info, tensor.stored_len(), bits / 8.0);
        result.tensors.push(TensorResult {
            identity: identity(tensor.dtype_name(), tensor.shape(), tensor.digest().0),
            raw_bytes: tensor.raw_len(),
            packed_bytes: tensor.stored_len(),
        });
    }
    result.groups = groups.into();
    result.exponents = counts.exponents;
}

/// Returns the identity of a tensor: a store keeps those of one dtype, shape and content once.
fn identity(dtype: &str, shape: &[u64], digest: [u8; 32]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(dtype);
    shape.iter().for_each(|dim| hasher.update(dim.to_le_bytes()));
    hasher.update(digest);
    let digest: [u8; 32] = hasher.finalize().into();
    u128::from_le_bytes(*digest.first_chunk().expect("32 bytes"))
}

/// The properties of a file that change when somebody writes to it.
#[derive(PartialEq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(file: &File, path: &Path) -> Result<Self, Error> {
        let metadata: Metadata =
            file.metadata().map_err(|cause| Error::Io { path: path.into(), cause })?;
        Ok(Self { len: metadata.len(), modified: metadata.modified().ok() })
    }

    fn check(&self, file: &File, path: &Path) -> Result<(), Error> {
        match *self == Self::of(file, path)? {
            true => Ok(()),
            false => {
                let problem = "its size or time of change is another: measure it again";
                Err(Error::SourceChanged(problem.into()))
            }
        }
    }

    /// Returns what was done, or says that the source has changed, which may be why it failed.
    fn or_changed<T>(&self, file: &File, path: &Path, done: Result<T, Error>) -> Result<T, Error> {
        if !matches!(done, Err(Error::Cancelled)) {
            self.check(file, path)?;
        }
        done
    }
}
