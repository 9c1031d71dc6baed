//! Repositories: directories whose `.safetensors` are packed and whose other files are carried
//! over, with a manifest that pins all of them.

mod completeness;
pub(crate) mod manifest;
pub(crate) mod signature;
mod target;
mod tree;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

pub use self::completeness::{Fault, Problem};
use self::completeness::{Findings, Present, inspect, is_not_weights};
use self::target::{check_apart, create_directories, in_target, place, sync_directories};
use self::tree::{Tree, TreeFile, refused};
use crate::digest::Hasher;
use crate::fs::atomic::{permissions, sync_folder, write_like};
use crate::progress::report;
use crate::read::unpack::unpack_opened;
use crate::repository::manifest::{FileEntry, MANIFEST_NAME, Manifest, Packed, SIGNATURE_NAME};
use crate::source::Identity;
use crate::{
    Digest, Error, Level, OpenOptions, PackOptions, Progress, Reader, Result, Summary,
    UnpackOptions, is_packed, pack_file,
};

const SAFETENSORS: &str = ".safetensors";
const AT1W: &str = ".at1w";

/// How the names of files end that programs load weights from, or run, and whether it is weights.
const LOADED: [(&str, bool); 25] = [
    (SAFETENSORS, true),
    (AT1W, true),
    (".bin", true),
    (".ckpt", true),
    (".dll", false),
    (".dylib", false),
    (".gguf", true),
    (".h5", true),
    (".joblib", true),
    (".keras", true),
    (".msgpack", true),
    (".npy", true),
    (".npz", true),
    (".onnx", true),
    (".pb", true),
    (".pickle", true),
    (".pkl", true),
    (".pt", true),
    (".pth", true),
    (".py", false),
    (".pyc", false),
    (".pyd", false),
    (".sh", false),
    (".so", false),
    (".tflite", true),
];

/// Told how the work on a repository goes. `()` is silent and never stops.
pub trait Observer: Progress {
    /// The work is `bytes` raw bytes in all. Called once, before the first of them.
    fn begin(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Something a person should know of, though the work goes on.
    fn warn(&self, message: &str) {
        let _ = message;
    }

    /// Something that may be of interest, and is no fault.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

impl Observer for () {}

/// How a repository is packed or unpacked.
#[derive(Clone, Copy)]
pub struct RepositoryOptions<'a> {
    /// Write into a directory that exists, and replace files there.
    pub overwrite: bool,
    /// Packed files keep the name of their source, so that loaders still find them.
    pub keep_names: bool,
    /// Refuse to pack a repository with a [`Fault`], before anything is written.
    pub strict: bool,
    /// How hard packing looks for a small encoding.
    pub level: Level,
    /// Told about the work.
    pub observer: &'a dyn Observer,
}

impl Default for RepositoryOptions<'_> {
    fn default() -> Self {
        Self {
            overwrite: false,
            keep_names: false,
            strict: false,
            level: Level::default(),
            observer: &(),
        }
    }
}

/// What packing or unpacking a repository did.
#[derive(Debug, Default)]
pub struct RepositorySummary {
    /// The packed files, sorted by path.
    pub packed: Vec<PackedFile>,
    /// How many files were carried over as they are.
    pub carried: u64,
    /// Bytes of those files.
    pub carried_len: u64,
    /// Files of the source that are missing or are not what they should be. Whatever there is was
    /// packed or carried over all the same.
    pub faults: Vec<Fault>,
    /// The packed files that no index names as shards, by their paths in the source: programs look
    /// for these by their names.
    pub singles: Vec<String>,
}

/// One packed file of a repository.
#[derive(Debug)]
pub struct PackedFile {
    /// Its path in the source of the packing, relative, with forward slashes.
    pub path: String,
    /// Its path in the packed repository.
    pub packed_path: String,
    /// What was packed or unpacked.
    pub summary: Summary,
}

/// What verifying a repository showed.
#[derive(Debug)]
pub struct RepositoryCheck {
    /// Each file of the manifest, and others that may be loaded.
    pub files: Vec<FileCheck>,
    /// Files that are missing from the repository as it was packed, or are not what they should be.
    pub faults: Vec<Fault>,
}

/// What verifying one file of a repository showed.
#[derive(Debug)]
pub struct FileCheck {
    /// Its path in the packed repository, relative, with forward slashes.
    pub path: String,
    /// The root of a packed file, nothing for one that is carried over, or what is wrong.
    pub outcome: Result<Option<Digest>>,
}

/// Whether `directory` is a packed repository: whether it holds a manifest.
pub fn is_repository(directory: &Path) -> bool {
    Manifest::path_in(directory).is_file()
}

/// Packs the repository `source` into the directory `target`.
///
/// A new target appears only when it is complete. One that exists is written to file by file, if
/// at all: what is not replaced stays, and its manifest is missing until everything is there.
///
/// # Errors
/// Those of [`pack_file`], and [`Error::Incomplete`] where `strict` is set. A `.safetensors` that is
/// none is a [`Fault`], and is carried over as it is.
pub fn pack_repository(
    source: &Path,
    target: &Path,
    options: &RepositoryOptions<'_>,
) -> Result<RepositorySummary> {
    check_apart(source, target)?;
    let tree = Tree::walk(source, options.observer)?;
    check_packable(&tree, options.keep_names)?;
    let present: Vec<_> = tree.files.iter().map(TreeFile::present).collect();
    let Findings { faults, shards } = inspect(&present, options.observer)?;
    if options.strict && !faults.is_empty() {
        return Err(Error::Incomplete(faults));
    }
    options.observer.begin(total(tree.files.iter().map(|file| file.len)));
    in_target(source, target, options.overwrite, |directory| {
        let removed = remove_manifest(directory)?;
        let mut summary = RepositorySummary { faults, ..RepositorySummary::default() };
        let mut entries = Vec::with_capacity(tree.files.len());
        for file in &tree.files {
            entries.push(pack_one(file, directory, options, &mut summary)?);
        }
        create_directories(directory, &tree.empty_directories)?;
        let manifest = Manifest::new(entries, tree.empty_directories);
        // A manifest that is there after a power cut has all of its files.
        sync_directories(directory)?;
        manifest.write(directory, options.overwrite, removed)?;
        let paths = summary.packed.iter().map(|file| &file.path);
        summary.singles = paths.filter(|path| !shards.contains(*path)).cloned().collect();
        for file in unlisted(directory, &manifest, options.observer)? {
            options.observer.warn(&format!(
                "{}: was there before and is not part of the repository",
                target.join(file.path).display()
            ));
        }
        Ok(summary)
    })
}

/// Restores the packed repository `source` into the directory `target`, checking every file.
/// The target comes into being as with [`pack_repository`].
///
/// # Errors
/// Those of [`crate::unpack_file`], and [`Error::Manifest`].
pub fn unpack_repository(
    source: &Path,
    target: &Path,
    options: &RepositoryOptions<'_>,
) -> Result<RepositorySummary> {
    check_apart(source, target)?;
    let manifest = Manifest::read(source)?;
    for file in &manifest.files {
        check_listed(source, file)?;
    }
    if is_repository(target) {
        return Err(refused(target, "holds a packed repository, which would be damaged"));
    }
    for file in unlisted(source, &manifest, options.observer)? {
        let path = file.full.display();
        options.observer.warn(&format!("{path}: is not in the manifest, so it is left out"));
    }
    options.observer.begin(total(manifest.files.iter().map(|file| file.size)));
    in_target(source, target, options.overwrite, |directory| {
        let mut summary = RepositorySummary::default();
        for file in &manifest.files {
            unpack_one(source, file, directory, options, &mut summary)?;
        }
        create_directories(directory, &manifest.empty_directories)?;
        Ok(summary)
    })
}

/// Verifies every file of the packed repository `directory` against its manifest, and with
/// `original` also that the packed ones restore to the original bytes.
///
/// # Errors
/// Of the manifest itself or of the directory. Faults of files are in the outcomes.
pub fn verify_repository(
    directory: &Path,
    original: bool,
    observer: &dyn Observer,
) -> Result<RepositoryCheck> {
    verify_manifest(directory, &Manifest::read_bytes(directory)?, original, observer)
}

/// [`verify_repository`] against a manifest that the caller has read, and trusts: because of a
/// signature over it, say.
///
/// # Errors
/// As [`verify_repository`].
pub fn verify_manifest(
    directory: &Path,
    manifest: &[u8],
    original: bool,
    observer: &dyn Observer,
) -> Result<RepositoryCheck> {
    let manifest = Manifest::from_bytes(directory, manifest)?;
    observer.begin(total(manifest.files.iter().map(|file| file.size)));
    let mut checks = Vec::with_capacity(manifest.files.len());
    for file in &manifest.files {
        let outcome = verify_one(directory, file, original, observer);
        if matches!(outcome, Err(Error::Cancelled)) {
            return Err(Error::Cancelled);
        }
        checks.push(FileCheck { path: file.stored_path().to_owned(), outcome });
    }
    for file in unlisted(directory, &manifest, observer)? {
        let path = file.path.to_lowercase();
        if LOADED.iter().any(|(suffix, _)| path.ends_with(suffix)) || is_packed(&file.full)? {
            let outcome = Err(mismatch(&file.full, "may be loaded, and is not in the manifest"));
            checks.push(FileCheck { path: file.path, outcome });
        } else {
            observer.warn(&format!("{}: is not in the manifest", file.full.display()));
        }
    }
    let stored: Vec<_> =
        manifest.files.iter().map(|file| directory.join(file.stored_path())).collect();
    let present = manifest.files.iter().zip(&stored);
    let present: Vec<_> =
        present.map(|(file, full)| Present { path: &file.path, full, len: file.size }).collect();
    let faults = inspect(&present, observer)?.faults;
    Ok(RepositoryCheck { files: checks, faults })
}

fn pack_one(
    file: &TreeFile,
    directory: &Path,
    options: &RepositoryOptions<'_>,
    summary: &mut RepositorySummary,
) -> Result<FileEntry> {
    let RepositoryOptions { overwrite, keep_names, level, observer, .. } = *options;
    let path = file.path.clone();
    if let Some(packed_path) = packed_path(&path, keep_names) {
        let to = place(directory, &packed_path)?;
        match pack_file(&file.full, &to, &PackOptions { overwrite, level, progress: observer }) {
            Ok(done) => {
                let packed = Packed { path: packed_path.clone(), root: done.root };
                let (size, sha256) = (done.original_len, done.original_digest);
                let entry = FileEntry { path: path.clone(), size, sha256, packed: Some(packed) };
                summary.packed.push(PackedFile { path, packed_path, summary: done });
                return Ok(entry);
            }
            // It is among the faults, and is carried over.
            Err(error) if is_not_weights(&error) => {}
            Err(error) => return Err(error.in_file(&file.full)),
        }
    }
    let to = place(directory, &path)?;
    let (size, sha256) = carry(&file.full, &to, options, |size, _| {
        if size == file.len {
            return Ok(());
        }
        let problem = format!("it had {} bytes, and has another size now", file.len);
        Err(Error::SourceChanged(problem).in_file(&file.full))
    })?;
    summary.carry(size);
    Ok(FileEntry { path, size, sha256, packed: None })
}

fn unpack_one(
    source: &Path,
    file: &FileEntry,
    directory: &Path,
    options: &RepositoryOptions<'_>,
    summary: &mut RepositorySummary,
) -> Result<()> {
    let from = source.join(file.stored_path());
    let to = place(directory, &file.path)?;
    let Some(packed) = &file.packed else {
        check_size(&from, file)?;
        let (size, _) =
            carry(&from, &to, options, |size, digest| check_carried(&from, file, size, digest))?;
        summary.carry(size);
        return Ok(());
    };
    let reader = open_listed(&from, file, packed)?;
    let write = UnpackOptions { overwrite: options.overwrite, progress: options.observer };
    let done = unpack_opened(&reader, &from, &to, &write).map_err(|error| error.in_file(&from))?;
    let (path, packed_path) = (file.path.clone(), packed.path.clone());
    summary.packed.push(PackedFile { path, packed_path, summary: done });
    Ok(())
}

fn verify_one(
    directory: &Path,
    file: &FileEntry,
    original: bool,
    observer: &dyn Observer,
) -> Result<Option<Digest>> {
    check_listed(directory, file)?;
    let path = directory.join(file.stored_path());
    let Some(packed) = &file.packed else {
        check_size(&path, file)?;
        let (size, digest) = read_through(&path, observer, |_| Ok(()))?;
        check_carried(&path, file, size, digest)?;
        return Ok(None);
    };
    let reader = open_listed(&path, file, packed)?;
    let verified =
        if original { reader.verify_original(observer) } else { reader.verify(observer) };
    verified.map_err(|error| error.in_file(&path))?;
    Ok(Some(packed.root))
}

/// Opens a packed file, which must be the one of the manifest.
fn open_listed(path: &Path, file: &FileEntry, packed: &Packed) -> Result<Reader> {
    let options = OpenOptions { root: Some(packed.root), ..OpenOptions::default() };
    let reader = Reader::open_with(path, &options).map_err(|error| error.in_file(path))?;
    let info = reader.info();
    if (info.original_len, info.original_digest) != (file.size, file.sha256) {
        return Err(mismatch(path, "packs another file than the manifest says"));
    }
    Ok(reader)
}

/// That a file of the manifest is there.
fn check_listed(directory: &Path, file: &FileEntry) -> Result<()> {
    let path = directory.join(file.stored_path());
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(mismatch(&path, "is in the manifest, but is no file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(mismatch(&path, "is in the manifest, but missing"))
        }
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// That a file that was carried over has the size of the manifest: else all of it would be read, or
/// written, for nothing.
fn check_size(path: &Path, file: &FileEntry) -> Result<()> {
    let len = fs::metadata(path).map_err(Error::io(path))?.len();
    if len == file.size {
        return Ok(());
    }
    Err(mismatch(path, &format!("has {len} bytes, the manifest says {}", file.size)))
}

/// That a file that was carried over is the one of the manifest.
fn check_carried(path: &Path, file: &FileEntry, size: u64, digest: Digest) -> Result<()> {
    if (size, digest) == (file.size, file.sha256) {
        return Ok(());
    }
    Err(mismatch(
        path,
        &format!(
            "has {size} bytes with SHA-256 {digest}, the manifest says {} with {}",
            file.size, file.sha256
        ),
    ))
}

/// The files of `directory` that the manifest does not list.
fn unlisted(
    directory: &Path,
    manifest: &Manifest,
    observer: &dyn Observer,
) -> Result<Vec<TreeFile>> {
    let listed: HashSet<_> = manifest.files.iter().map(FileEntry::stored_path).collect();
    let mut files = Tree::walk(directory, observer)?.files;
    files.retain(|file| {
        let path = file.path.as_str();
        path != MANIFEST_NAME && path != SIGNATURE_NAME && !listed.contains(path)
    });
    Ok(files)
}

/// What the file at `path` is called when packed, if it is to be packed.
fn packed_path(path: &str, keep_names: bool) -> Option<String> {
    let stem = path.strip_suffix(SAFETENSORS)?;
    Some(if keep_names { path.to_owned() } else { format!("{stem}{AT1W}") })
}

/// That nothing is packed already, and no two files would land on one name.
fn check_packable(tree: &Tree, keep_names: bool) -> Result<()> {
    let mut sources = HashMap::new();
    for file in &tree.files {
        let ours = [MANIFEST_NAME, SIGNATURE_NAME].contains(&file.path.as_str());
        if ours || is_packed(&file.full)? {
            return Err(Error::AlreadyPacked.in_file(&file.full));
        }
        let name = packed_path(&file.path, keep_names).unwrap_or_else(|| file.path.clone());
        if let Some(other) = sources.insert(name, &file.full) {
            let problem = format!("would land on the same name as {}", other.display());
            return Err(refused(&file.full, &problem));
        }
    }
    Ok(())
}

/// Removes the manifest, and returns its permissions if there was one.
fn remove_manifest(directory: &Path) -> Result<Option<u32>> {
    let path = Manifest::path_in(directory);
    let removed = permissions(&path).ok();
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(directory).map(|()| removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// Copies a file byte for byte; it appears only if `check` accepts its size and digest.
fn carry(
    from: &Path,
    to: &Path,
    options: &RepositoryOptions<'_>,
    check: impl FnOnce(u64, Digest) -> Result<()>,
) -> Result<(u64, Digest)> {
    write_like(from, to, options.overwrite, |output| {
        let (size, digest) = read_through(from, options.observer, |bytes| {
            output.write_all(bytes).map_err(Error::Write)
        })?;
        check(size, digest)?;
        Ok((size, digest))
    })
}

/// Reads a file piece by piece, and gives its size and digest. It must stay as it is meanwhile.
fn read_through(
    path: &Path,
    progress: &dyn Progress,
    mut piece: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(u64, Digest)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let before = Identity::of(&file, path)?;
    // One byte more, for files that have more than they say, such as those of /proc.
    let mut bytes = (&file).take(before.len.saturating_add(1));
    let mut buffer = vec![0; 1 << 20];
    let (mut size, mut hasher) = (0, Hasher::default());
    loop {
        let len = match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io(path)(error)),
        };
        hasher.update(&buffer[..len]);
        piece(&buffer[..len])?;
        size += len as u64;
        report(progress, len as u64)?;
    }
    before.check(&file, path)?;
    if size != before.len {
        let problem = format!("it has {} bytes, but another number was read", before.len);
        return Err(Error::SourceChanged(problem).in_file(path));
    }
    Ok((size, hasher.finish()))
}

impl RepositorySummary {
    fn carry(&mut self, len: u64) {
        self.carried += 1;
        self.carried_len += len;
    }
}

/// Sizes from a manifest may be anything; this only feeds a progress bar.
fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// A file that is not what the manifest says.
fn mismatch(path: &Path, problem: &str) -> Error {
    Error::Manifest(problem.into()).in_file(path)
}
