//! Packing and restoring files where they are, under the names that they have.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use super::listed::{is_repository, total};
use super::manifest::{MANIFEST_NAME, Manifest, ancestors};
use super::names::AT1W;
use super::options::Options;
use super::pack::{source_problem, walk_of};
use super::plan::holds_weights;
use super::summary::PackedFile;
use super::tree::{Inode, Tree, TreeFile, Walk, inode};
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, link_over, write_with_mode};
use crate::fs::identity::Identity;
use crate::kind::Wanted;
use crate::progress;
use crate::read::options::OpenOptions;
use crate::read::reader::Reader;
use crate::recognise::{is_packed, open_file};
use crate::summary::Summary;
use crate::write::options::PackOptions;
use crate::write::pack::pack;

/// The outcome of packing or restoring files in place.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct InPlace {
    /// The files that were replaced, in the order in which they were.
    pub replaced: Vec<PackedFile>,
    /// The number of files that were in the wanted form already.
    pub unchanged: u64,
    /// The number of other files, which hold no weights.
    pub others: u64,
    /// The files that could not be replaced, which are as they were.
    pub faults: Vec<Fault>,
}

/// The direction of the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Packed,
    Restored,
}

/// Replaces each safetensors file of `path`, a directory or a file, by its packed form, under the
/// same name. It was decoded and compared before. It keeps its permissions, its owner and its
/// times; other names of the file in the directory become names of the packed one. What is packed
/// already stays, so that an interrupted run is finished by another one.
///
/// Of `options`, `level`, `all`, `filter` and `progress` count. [`Progress::replaced`] tells of
/// each file.
///
/// # Errors
/// Those of writing, after which the files of [`Progress::replaced`] are packed and all others as
/// they were; [`Error::AlreadyPacked`] for a packed repository. A file that cannot be taken is a
/// [`Fault`].
///
/// [`Progress::replaced`]: crate::Progress::replaced
pub fn pack_in_place(path: &Path, options: &Options<'_>) -> Result<InPlace> {
    run(path, options, Wish::Packed)
}

/// Replaces each packed file of `path` by its original, as [`pack_in_place`] does the other way. A
/// packed file whose name ends in `.at1w` never was under its name what it would be restored to: it
/// is left as it is.
///
/// # Errors
/// As [`pack_in_place`], and for a packed repository, whose manifest would be wrong,
/// [`Error::Manifest`].
pub fn unpack_in_place(path: &Path, options: &Options<'_>) -> Result<InPlace> {
    run(path, options, Wish::Restored)
}

/// Whether `path` is, holds, or lies in a hub cache, which other programs may share.
///
/// # Errors
/// Those of walking `path`.
pub fn is_hub_cache(path: &Path, options: &Options<'_>) -> Result<bool> {
    let real = fs::canonicalize(path).map_err(Error::io(path))?;
    let within = |folder: &Path| folder.join("snapshots").is_dir() && folder.join("blobs").is_dir();
    Ok(real.ancestors().any(within) || path.is_dir() && walk(path, options)?.has_hub_cache)
}

fn walk(path: &Path, options: &Options<'_>) -> Result<Tree> {
    Tree::walk(path, Walk { follow: &|_| false, tidy: true, ..walk_of(options) })
}

fn run(path: &Path, options: &Options<'_>, wish: Wish) -> Result<InPlace> {
    if is_repository(path) {
        return Err(match wish {
            Wish::Packed => Error::AlreadyPacked.in_file(&Manifest::path_in(path)),
            Wish::Restored => {
                let problem = "would be wrong after restoring the files beside it in place";
                Error::Manifest(problem.into()).in_file(&Manifest::path_in(path))
            }
        });
    }
    let tree = if path.is_dir() { walk(path, options)? } else { Tree::of_file(path)? };
    let mut done = InPlace { faults: tree.faults, ..InPlace::default() };
    let files = wanted(&tree.files, wish, options, &mut done)?;
    options.progress.begin(total(files.iter().map(|names| names[0].len)));
    for names in files {
        let file = names[0];
        match replace(file, wish, options) {
            Ok(summary) => {
                let (path, packed_path) = (file.path.clone(), file.path.clone());
                options.progress.replaced(&path, &summary);
                done.replaced.push(PackedFile { path, packed_path, summary });
                // A name that is another file by now stays as it is, and is told.
                for other in &names[1..] {
                    let linked = check_name(file, &other.full)
                        .and_then(|()| link_over(&file.full, &other.full));
                    if let Err(error) = linked {
                        let problem = source_problem(error, &other.full)?;
                        done.faults.push(Fault { path: other.path.clone(), problem });
                    }
                }
            }
            Err(error) => {
                let problem = source_problem(error, &file.full)?;
                done.faults.push(Fault { path: file.path.clone(), problem });
            }
        }
    }
    done.faults.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(done)
}

/// Returns the files that are not as they are wanted, each with its other names.
fn wanted<'t>(
    files: &'t [TreeFile],
    wish: Wish,
    options: &Options<'_>,
    done: &mut InPlace,
) -> Result<Vec<Vec<&'t TreeFile>>> {
    let mut found: Vec<Vec<&TreeFile>> = Vec::new();
    let mut places = HashMap::new();
    for file in files {
        progress::check(options.progress)?;
        if let Some(&place) = file.inode.and_then(|inode| places.get(&inode.id)) {
            let names: &mut Vec<_> = &mut found[place];
            names.push(file);
            continue;
        }
        let packed = is_packed(&file.full).unwrap_or(false);
        match wish {
            Wish::Packed if packed => done.unchanged += 1,
            Wish::Packed if holds_weights(file) => found.push(vec![file]),
            Wish::Restored if packed && file.path.ends_with(AT1W) => done.unchanged += 1,
            Wish::Restored if packed => found.push(vec![file]),
            _ => done.others += 1,
        }
        if let (Some(inode), Some([last])) = (file.inode, found.last().map(Vec::as_slice))
            && last.path == file.path
        {
            places.insert(inode.id, found.len() - 1);
        }
    }
    let repositories: HashSet<&str> = files
        .iter()
        .filter_map(|file| file.path.rsplit_once('/').filter(|(_, name)| *name == MANIFEST_NAME))
        .map(|(folder, _)| folder)
        .collect();
    found.retain(|names| {
        let listed = |file: &&&TreeFile| ancestors(&file.path).any(|f| repositories.contains(f));
        if let Some(file) = names.iter().find(listed) {
            done.faults.push(Fault { path: file.path.clone(), problem: Problem::Listed });
            return false;
        }
        let known = names.len() as u64;
        let Some(Inode { names: count, .. }) = names[0].inode.filter(|i| i.names > known) else {
            return true;
        };
        let problem = Problem::OtherNames { count: count - known };
        done.faults.push(Fault { path: names[0].path.clone(), problem });
        false
    });
    Ok(found)
}

/// Replaces a file under its first name.
fn replace(file: &TreeFile, wish: Wish, options: &Options<'_>) -> Result<Summary> {
    let source = open_file(&file.full, Wanted::Weights)?;
    let before = Identity::of(&source, &file.full)?;
    let mode = Mode::like(&file.full)?;
    write_with_mode(mode, &file.full, true, |out| {
        let summary = match wish {
            Wish::Packed => pack_checked(&source, out, options),
            Wish::Restored => restore(source.try_clone(), out, options),
        };
        let summary = summary.map_err(|error| match error {
            Error::Write(_) => error,
            error => error.in_file(&file.full),
        })?;
        look_like(&source, out).map_err(Error::Write)?;
        before.check(&source, &file.full)?;
        // Most programs replace a file in the place of writing to it.
        check_name(file, &file.full)?;
        Ok(summary)
    })
}

/// Checks that a path is still a name of `file`.
fn check_name(file: &TreeFile, path: &Path) -> Result<()> {
    let found = fs::symlink_metadata(path).map_err(Error::io(path))?;
    let same = inode(&found).map(|inode| inode.id) == file.inode.map(|inode| inode.id);
    if same && found.is_file() && found.len() == file.len {
        return Ok(());
    }
    let problem = "another file has its name now: do it again";
    Err(Error::SourceChanged(problem.into()).in_file(path))
}

/// Packs a file, and decodes all of the result.
fn pack_checked(source: &File, out: &mut File, options: &Options<'_>) -> Result<Summary> {
    let how = PackOptions::new().level(options.level).progress(options.progress);
    let mut buffered = BufWriter::with_capacity(64 << 10, &mut *out);
    let summary = pack(source, &mut buffered, &how)?;
    buffered.flush().map_err(Error::Write)?;
    drop(buffered);
    let packed = out.try_clone().map_err(Error::Write)?;
    let reader = Reader::new(Box::new(packed), &OpenOptions::new().root(summary.root))?;
    // The digest is that of the bytes that were read, and of those that come back.
    reader.verify_original(&Silent(options))?;
    Ok(summary)
}

fn restore(
    source: std::io::Result<File>,
    out: &mut File,
    options: &Options<'_>,
) -> Result<Summary> {
    let source = source.map_err(|cause| Error::Read { offset: 0, cause })?;
    let reader = Reader::new(Box::new(source), &OpenOptions::new())?;
    reader.restore(out, options.progress)?;
    Ok(reader.summary())
}

/// A listener that only hears whether to stop: the bytes are counted once.
struct Silent<'a>(&'a Options<'a>);

impl progress::Progress for Silent<'_> {
    fn cancelled(&self) -> bool {
        self.0.progress.cancelled()
    }
}

/// Gives a new file the owner and the times of the one that it replaces.
fn look_like(source: &File, new: &File) -> std::io::Result<()> {
    let metadata = source.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let (old, new_metadata) = (&metadata, new.metadata()?);
        if (old.uid(), old.gid()) != (new_metadata.uid(), new_metadata.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
    }
    let times = fs::FileTimes::new().set_modified(metadata.modified()?);
    new.set_times(metadata.accessed().map_or(times, |accessed| times.set_accessed(accessed)))
}
