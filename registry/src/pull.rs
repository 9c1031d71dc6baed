//! Pulling: the files of a revision, byte for byte, each checked before it has its name.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use at1w_container::fs::write_atomically;
use at1w_container::repository::{self, Layout};
use at1w_container::{Digest, Error as Packing, OpenOptions, Progress, ReadAt, Reader};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::name::{Revision, check_no_git};
use crate::original::{Original, PlainFile};
use crate::store::Store;
use crate::tree::{File, Tree};

/// The number of bytes that are read at a time.
const PIECE: u64 = 8 << 20;

/// How a revision is pulled.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PullOptions<'a> {
    /// Whether files are laid down packed, as packing the directory does.
    pub packed: bool,
    /// The SHA-256 that the tree must have, or the root of its one packed file.
    pub root: Option<Digest>,
    /// The SHA-256 that the tree must have, whatever the root is: that of a signature.
    pub tree: Option<Digest>,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for PullOptions<'_> {
    fn default() -> Self {
        Self { packed: false, root: None, tree: None, progress: &() }
    }
}

impl fmt::Debug for PullOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullOptions")
            .field("packed", &self.packed)
            .field("root", &self.root)
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

impl<'a> PullOptions<'a> {
    /// Returns the defaults: the originals, of any root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether files are laid down packed.
    #[must_use]
    pub fn packed(self, packed: bool) -> Self {
        Self { packed, ..self }
    }

    /// Sets the SHA-256 that the tree must have, or the root of its one packed file.
    #[must_use]
    pub fn root(self, root: impl Into<Option<Digest>>) -> Self {
        Self { root: root.into(), ..self }
    }

    /// Sets the SHA-256 that the tree must have, whatever the root is.
    #[must_use]
    pub fn tree(self, tree: impl Into<Option<Digest>>) -> Self {
        Self { tree: tree.into(), ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}

/// The outcome of a pull.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// The commit.
    pub commit: String,
    /// The SHA-256 of its tree.
    pub tree: Digest,
    /// The number of files.
    pub files: u64,
    /// The length of their originals, in bytes.
    pub bytes: u64,
    /// The number of files that were there already, whole.
    pub kept: u64,
}

impl Store {
    /// Writes the files of a revision into a directory. Files that are there already and are right
    /// stay, so that a pull that was ended goes on; others of the same names are replaced.
    ///
    /// # Errors
    /// [`Error::NoRepo`], [`Error::NoRevision`], [`Error::Root`], [`Error::Damaged`], and those of
    /// reading and writing.
    pub fn pull(
        &self,
        revision: &Revision,
        target: &Path,
        options: &PullOptions<'_>,
    ) -> Result<Pulled> {
        let (found, tree) = self.tree(revision)?;
        let files = InStore { store: self, namespace: &revision.repo.namespace };
        lay_down(revision, (&found.commit, found.tree), &tree, &files, target, options)
    }
}

/// The place that the files of a revision are read from.
pub trait Files {
    /// Opens the packed form of a file; returns how it is opened as such, too.
    ///
    /// # Errors
    /// Those of reading.
    fn packed(&self, path: &str, file: &File) -> Result<(Box<dyn ReadAt>, OpenOptions)>;

    /// Opens the original of a file.
    ///
    /// # Errors
    /// Those of reading; damage, for a packed file.
    fn original(&self, path: &str, file: &File) -> Result<Original>;
}

struct InStore<'a> {
    store: &'a Store,
    namespace: &'a str,
}

impl Files for InStore<'_> {
    fn packed(&self, _: &str, file: &File) -> Result<(Box<dyn ReadAt>, OpenOptions)> {
        let (source, open) = self.store.stored(self.namespace, file)?;
        Ok((Box::new(source), open))
    }

    fn original(&self, _: &str, file: &File) -> Result<Original> {
        self.store.original(self.namespace, file)
    }
}

/// Writes the files of a tree into a directory, as [`Store::pull`] does. `commit` is the commit of
/// the revision with the SHA-256 of its tree.
///
/// # Errors
/// Those of [`Store::pull`].
pub fn lay_down(
    revision: &Revision,
    commit: (&str, Digest),
    tree: &Tree,
    files: &dyn Files,
    target: &Path,
    options: &PullOptions<'_>,
) -> Result<Pulled> {
    check_pins(revision, &commit.1, tree, options)?;
    let layout = options.packed.then(|| layout(tree)).transpose()?;
    options.progress.begin(tree.bytes());
    fs::create_dir_all(target).map_err(Error::io(target))?;
    let mut pulled = Pulled {
        commit: commit.0.into(),
        tree: commit.1,
        files: tree.files.len() as u64,
        bytes: tree.bytes(),
        kept: 0,
    };
    let places: Vec<_> = match &layout {
        Some(layout) => layout.files().collect(),
        None => tree.files.keys().map(|path| (path.as_str(), path.as_str())).collect(),
    };
    for (path, stored) in places {
        if options.progress.cancelled() {
            return Err(Packing::Cancelled.into());
        }
        let place = place(target, stored)?;
        let file = &tree.files[path];
        if is_there(file, &place, options.packed) {
            options.progress.advance(file.size);
            pulled.kept += 1;
        } else {
            write_file(files, (path, file), &place, options)?;
        }
    }
    if let Some(layout) = layout {
        layout.write_manifest(target)?;
    }
    Ok(pulled)
}

/// Writes the file at a path of a tree.
fn write_file(
    files: &dyn Files,
    (path, file): (&str, &File),
    place: &Path,
    options: &PullOptions<'_>,
) -> Result<()> {
    let fail = |error: Packing| Error::from(error.in_file(place));
    if options.packed && file.root.is_some() {
        let (source, open) = files.packed(path, file)?;
        let write = |out: &mut fs::File| {
            copy(&*source, out, &())?;
            // All of it is read back: the copy is what was promised, or there is none.
            let again = out.try_clone().map_err(Packing::Write)?;
            let reader = Reader::new(Box::new(again), &open)?;
            check(reader.info().original_digest, file.sha256)?;
            reader.verify_original(options.progress)
        };
        return write_atomically(place, true, write).map_err(fail);
    }
    let original = files.original(path, file)?;
    let write = |out: &mut fs::File| match &original {
        Original::Plain(PlainFile(source)) => {
            check(copy(&**source, out, options.progress)?, file.sha256)
        }
        Original::Packed(reader) => {
            check(reader.info().original_digest, file.sha256)?;
            reader.restore(out, options.progress)
        }
    };
    write_atomically(place, true, write).map_err(fail)
}

/// Returns the layout of a tree as a packed directory.
fn layout(tree: &Tree) -> Result<Layout> {
    let original = |(path, file): (&String, &File)| {
        let File { size, sha256, root, .. } = *file;
        repository::Original { path: path.clone(), size, sha256, root }
    };
    Ok(Layout::new(tree.files.iter().map(original).collect())?)
}

fn check(actual: Digest, expected: Digest) -> Result<(), Packing> {
    match actual == expected {
        true => Ok(()),
        false => Err(Packing::OtherFile { expected, actual }),
    }
}

/// Checks a tree against what the caller pins: each pin must hold.
fn check_pins(
    revision: &Revision,
    digest: &Digest,
    tree: &Tree,
    options: &PullOptions<'_>,
) -> Result<()> {
    let roots: Vec<_> = tree.files.values().filter_map(|file| file.root).collect();
    let other_tree = options.tree.filter(|expected| expected != digest);
    let other_root = options.root.filter(|root| root != digest && roots != [*root]);
    let Some(expected) = other_tree.or(other_root) else { return Ok(()) };
    let actual = match &roots[..] {
        [root] => format!("{root}, of the tree {digest}"),
        _ => digest.to_string(),
    };
    Err(Error::Root { what: revision.to_string(), expected: expected.to_string(), actual })
}

/// Returns the place of a file in a directory, whose folders are made.
fn place(target: &Path, path: &str) -> Result<std::path::PathBuf> {
    check_no_git(path)?;
    let place = target.join(path);
    if let Some(folder) = place.parent() {
        // A link in a target that exists may lead out of it: no folder is made there either.
        let there = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok());
        let real = |path: &Path| fs::canonicalize(path).map_err(Error::io(path));
        if !real(there.unwrap_or(target))?.starts_with(real(target)?) {
            let problem = "leads out of the target by a symbolic link";
            let cause = io::Error::new(io::ErrorKind::InvalidInput, problem);
            return Err(Error::io(folder)(cause));
        }
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    Ok(place)
}

/// Whether a file is there already, whole and right.
fn is_there(file: &File, place: &Path, packed: bool) -> bool {
    let right = || {
        if !place.symlink_metadata().ok()?.is_file() {
            return None;
        }
        if let (true, Some(root)) = (packed, file.root) {
            let reader = Reader::open_with(place, &OpenOptions::new().root(root)).ok()?;
            reader.verify_original(&()).ok()?;
            return Some(());
        }
        let there = fs::File::open(place).ok()?;
        let same = there.metadata().ok()?.len() == file.size
            && copy(&there, &mut io::sink(), &()).ok()? == file.sha256;
        same.then_some(())
    };
    right().is_some()
}

fn copy(
    source: &dyn ReadAt,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Digest, Packing> {
    let failed = |offset: u64| move |cause: io::Error| Packing::Read { offset, cause };
    let (mut hasher, mut at) = (Sha256::new(), 0);
    let len = source.size().map_err(failed(0))?;
    while at < len {
        if progress.cancelled() {
            return Err(Packing::Cancelled);
        }
        let to = len.min(at + PIECE);
        let bytes = source.read_at(at..to).map_err(failed(at))?;
        hasher.update(&bytes);
        sink.write_all(&bytes).map_err(Packing::Write)?;
        progress.advance(to - at);
        at = to;
    }
    Ok(Digest(hasher.finalize().into()))
}
