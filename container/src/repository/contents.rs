//! The files of a directory, packed or not, for those who list and compare them.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::carry::sha256_of;
use super::filter::Filter;
use super::listed::{check_link, check_listed, check_size, is_repository, mismatch};
use super::manifest::Manifest;
use super::names::{AT1W, SAFETENSORS};
use super::shard_index::{self, is_index};
use super::tree::{Present, Tree, TreeFile, Walk, inode, refused};
use crate::digest::Digest;
use crate::error::fault::Fault;
use crate::error::{Error, Result};
use crate::format::header::{MAX_HEADER_LEN, PREFIX};
use crate::format::magic::END_MAGIC;
use crate::progress::Progress;
use crate::read::folders::Folders;
use crate::read::options::OpenOptions;
use crate::read::weights::Weights;
use crate::recognise::begins_packed;
use crate::source;

/// The files of a directory: those of its manifest, or all of them where there is none.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// Whether a manifest lists the files.
    pub has_manifest: bool,
    /// The files, sorted by path.
    pub files: Vec<ContentFile>,
    /// The paths of what is no part of the content and is left out: what Git, a hub cache or at1w
    /// keeps for itself.
    pub left_out: Vec<String>,
    /// The errors of what could not be looked at.
    pub errors: Vec<Error>,
}

/// One file of a directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct ContentFile {
    /// The path in the directory, relative, with forward slashes.
    pub path: String,
    /// The path before packing, as far as it is known.
    pub original_path: String,
    /// The path of the file for the operating system.
    pub full: PathBuf,
    /// The length of the file, in bytes.
    pub len: u64,
    /// The SHA-256 before packing, if a manifest has it.
    pub sha256: Option<Digest>,
    id: FileId,
    state: State,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A manifest says that it is packed, with this root.
    Pinned(Digest),
    /// A manifest says that it is carried over.
    Carried,
    /// No manifest says anything about it.
    Unknown,
}

/// The identity of a file, whatever its name is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileId(Identified);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Identified {
    /// The device, and the number of the file on it.
    Inode((u64, u64)),
    /// The path without links.
    Path(PathBuf),
}

impl Contents {
    /// Lists the files of `directory`. Links are followed to files, and to directories outside of
    /// it. What cannot be looked at is listed, and ends nothing.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Manifest`] of the directory itself, and [`Error::Cancelled`].
    pub fn read(directory: &Path, progress: &dyn Progress) -> Result<Self> {
        if !is_repository(directory) {
            return Self::walk(directory, progress);
        }
        let mut contents = Self { has_manifest: true, ..Self::default() };
        contents.list(directory, &Manifest::read(directory)?);
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }

    /// [`Contents::read`] of all files, also where a manifest lists some: as they lie there.
    ///
    /// # Errors
    /// As [`Contents::read`].
    pub fn walk(directory: &Path, progress: &dyn Progress) -> Result<Self> {
        let mut contents = Self::default();
        contents.take_all(directory, progress)?;
        contents.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(contents)
    }

    /// Adds the files of a manifest.
    fn list(&mut self, directory: &Path, manifest: &Manifest) {
        let mut places = HashMap::new();
        for file in &manifest.files {
            let full = directory.join(file.stored_path());
            let found = check_listed(directory, file)
                .and_then(|()| full.metadata().map_err(Error::io(&full)));
            let metadata = match found {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.errors.push(error);
                    continue;
                }
            };
            if file.packed.is_none()
                && let Err(error) = check_size(&full, file)
            {
                self.errors.push(error);
            }
            places.insert(file.path.as_str(), self.files.len());
            self.files.push(ContentFile {
                path: file.stored_path().to_owned(),
                original_path: file.path.clone(),
                id: FileId::of(&full, inode(&metadata).map(|inode| inode.id)),
                full,
                len: metadata.len(),
                sha256: Some(file.sha256),
                state: match &file.packed {
                    Some(packed) => State::Pinned(packed.root),
                    None => State::Carried,
                },
            });
        }
        for link in &manifest.links {
            let to = manifest.end_of(link);
            let Some(&place) = to.as_deref().and_then(|to| places.get(to)) else { continue };
            if let Err(error) = check_link(directory, link) {
                self.errors.push(error);
                continue;
            }
            let file = &self.files[place];
            self.files.push(ContentFile {
                path: link.path.clone(),
                original_path: link.path.clone(),
                full: directory.join(&link.path),
                id: file.id.clone(),
                ..*file
            });
        }
    }

    /// Adds all files, and the links that lead to them.
    fn take_all(&mut self, root: &Path, progress: &dyn Progress) -> Result<()> {
        let filter = Filter::default();
        let tree = Tree::walk(
            root,
            Walk {
                all: false,
                filter: &filter,
                follow: &|_| true,
                target: None,
                tidy: false,
                progress,
            },
        )?;
        let files: HashMap<&str, &TreeFile> =
            tree.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let links = tree.links.iter().filter_map(|link| {
            Some((&link.path, root.join(&link.path), *files.get(link.leads_to.as_deref()?)?))
        });
        let named = tree.files.iter().map(|file| (&file.path, file.full.clone(), file));
        self.files.extend(named.chain(links).map(|(path, full, file)| ContentFile {
            path: path.clone(),
            original_path: path.clone(),
            full,
            len: file.len,
            sha256: None,
            id: FileId::of(&file.full, file.inode.map(|inode| inode.id)),
            state: State::Unknown,
        }));
        self.left_out = tree.left_out.into_iter().map(|left| left.path).collect();
        let error = |fault: Fault| refused(&root.join(&fault.path), &fault.problem.to_string());
        self.errors.extend(tree.faults.into_iter().map(error));
        Ok(())
    }

    /// Returns the files, each once. Of the names of one file, those that say weights go before
    /// others, as in a hub cache, where a name leads to a blob.
    pub fn distinct(&self) -> Vec<&ContentFile> {
        let mut chosen = HashMap::<&FileId, &ContentFile>::new();
        for file in &self.files {
            let best = chosen.entry(&file.id).or_insert(file);
            if file.says_weights() && !best.says_weights() {
                *best = file;
            }
        }
        let is_chosen = |file: &&ContentFile| std::ptr::eq(chosen[&file.id], *file);
        self.files.iter().filter(is_chosen).collect()
    }

    /// Whether an index of shards beside `file` maps the tensor `name` to it.
    pub fn is_indexed(&self, file: &ContentFile, name: &str) -> bool {
        let split = |path: &'_ str| path.rsplit_once('/').map_or(0, |(folder, _)| folder.len() + 1);
        let (folder, file_name) = file.original_path.split_at(split(&file.original_path));
        // A file that was packed by itself has another name than its index knows.
        let plain = file_name.strip_suffix(AT1W).map(|stem| format!("{stem}{SAFETENSORS}"));
        let beside = |index: &&ContentFile| {
            let path = &index.original_path;
            is_index(path) && path[..split(path)] == *folder
        };
        self.files.iter().filter(beside).any(|index| {
            let ContentFile { original_path, full, len, .. } = index;
            let present = Present { path: original_path.clone(), full: full.clone(), len: *len };
            let Some(Ok(shards)) = shard_index::read(&present) else {
                return false;
            };
            let names = [Some(file_name), plain.as_deref()];
            let mut shards = names.into_iter().flatten().filter_map(|shard| shards.get(shard));
            shards.any(|tensors| tensors.iter().any(|tensor| tensor == name))
        })
    }
}

impl ContentFile {
    /// Opens a file of weights in either format, which has the root that a manifest pins; `None`
    /// for any other file. Files are recognised by their bytes.
    ///
    /// # Errors
    /// Those of [`Weights::open`], for a file that is damaged or whose name says weights.
    pub fn open(&self) -> Result<Option<Weights>> {
        if let State::Pinned(root) = self.state {
            let weights = Weights::open(&self.full, &OpenOptions::new().root(root))?;
            let weights = weights.with_bases(Arc::new(Folders::beside(&self.full)));
            if weights.packed().map(|reader| reader.info().original_digest) != self.sha256 {
                return Err(mismatch(&self.full, "packs another file than the manifest says"));
            }
            return Ok(Some(weights));
        }
        let (packed, plain) = self.looks_like()?;
        let named = self.says_weights();
        if !packed && !plain && !named {
            return Ok(None);
        }
        match Weights::open(&self.full, &OpenOptions::new()) {
            Ok(weights) => Ok(Some(weights.with_bases(Arc::new(Folders::beside(&self.full))))),
            Err(_) if !packed && !named => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the identity of the file, which all its names share.
    pub fn id(&self) -> &FileId {
        &self.id
    }

    /// Returns the SHA-256 before packing that a manifest has, or else that of the file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::SourceChanged`] and [`Error::Cancelled`].
    pub fn digest(&self, progress: &dyn Progress) -> Result<Digest> {
        match self.sha256 {
            Some(digest) => Ok(digest),
            None => sha256_of(&self.full, progress),
        }
    }

    /// Whether a manifest pins the bytes of the file.
    pub fn is_pinned(&self) -> bool {
        !matches!(self.state, State::Unknown)
    }

    /// Whether the name of the file says that it holds weights.
    fn says_weights(&self) -> bool {
        let path = self.path.to_ascii_lowercase();
        path.ends_with(SAFETENSORS) || path.ends_with(AT1W)
    }

    /// Whether the file looks like a packed file, damaged ones too, and like a safetensors file.
    fn looks_like(&self) -> Result<(bool, bool)> {
        let file = File::open(&self.full).map_err(Error::io(&self.full))?;
        let read = |range| source::read(&file, range).map_err(|error| error.in_file(&self.full));
        let len = self.len;
        let start = read(0..len.min(PREFIX + 1))?;
        let end = read(len.saturating_sub(END_MAGIC.len() as u64)..len)?;
        let plain = start.split_first_chunk().is_some_and(|(header, json)| {
            u64::from_le_bytes(*header) <= MAX_HEADER_LEN.min(len) && json == b"{"
        });
        Ok((begins_packed(&start) || *end == END_MAGIC, plain))
    }
}

impl FileId {
    /// Returns the identity of the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_path(path: &Path) -> Result<Self> {
        let metadata = path.metadata().map_err(Error::io(path))?;
        Ok(Self::of(path, inode(&metadata).map(|inode| inode.id)))
    }

    /// Returns the identity of the file at `path`, which has this device and number if they are
    /// known.
    fn of(path: &Path, inode: Option<(u64, u64)>) -> Self {
        match inode {
            Some(inode) => Self(Identified::Inode(inode)),
            None => Self(Identified::Path(path.canonicalize().unwrap_or_else(|_| path.to_owned()))),
        }
    }
}
