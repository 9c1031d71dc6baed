//! The search for bases in folders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::base::{FindBase, FoundBase, WantedBase};
use super::options::OpenOptions;
use super::weights::Weights;
use crate::digest::Digest;
use crate::error::Result;

/// A search for bases among the `.at1w` and `.safetensors` files of folders, by what they hold and
/// not by their names.
///
/// Every file is looked into at most once. Files that cannot be read are no bases; the error for a
/// base that is not found names them.
#[derive(Clone, Debug)]
pub struct Folders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folders: Vec<PathBuf>,
    options: OpenOptions,
    files: Mutex<Option<Vec<Candidate>>>,
}

/// A file that may have bases.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    /// Held by those who read it.
    opened: Weak<Weights>,
    contents: Contents,
}

/// What is known of a file.
#[derive(Debug)]
enum Contents {
    Unknown,
    /// The tensors of a packed file and their depths, by their content digests: several have one
    /// content, of other shapes maybe.
    Packed(HashMap<Digest, Vec<(usize, u8)>>),
    /// A safetensors file, whose tensors are hashed when they may be wanted. It needs no bases, so
    /// it may be kept open.
    Plain(Arc<Weights>),
    /// Why the file was not read.
    Unreadable(String),
}

impl Folders {
    /// Looks in these folders, in their order, and not in folders within them.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>, options: OpenOptions) -> Self {
        // The file that is read may be pinned, its bases are not.
        let options = options.root(None).tail_len(None);
        let mut list: Vec<PathBuf> = Vec::new();
        for folder in folders {
            if !list.contains(&folder) {
                list.push(folder);
            }
        }
        Self(Arc::new(Inner { folders: list, options, files: Mutex::new(None) }))
    }

    /// Looks in the folder of a file, and in those that the environment variable `AT1W_BASES` lists
    /// as `PATH` lists folders.
    pub fn beside(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::new(std::iter::once(folder).chain(Self::listed()), OpenOptions::new())
    }

    /// Returns the folders that the environment variable `AT1W_BASES` lists.
    pub fn listed() -> Vec<PathBuf> {
        let folders = std::env::var_os("AT1W_BASES").unwrap_or_default();
        std::env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty()).collect()
    }

    fn files(&self) -> MutexGuard<'_, Option<Vec<Candidate>>> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file, or takes the one that is open.
    fn open(&self, candidate: &mut Candidate) -> Result<Arc<Weights>> {
        if let Some(weights) = candidate.opened.upgrade() {
            return Ok(weights);
        }
        let weights = Weights::open(&candidate.path, &self.0.options)?;
        let weights = Arc::new(weights.with_bases(Arc::new(self.clone())));
        candidate.opened = Arc::downgrade(&weights);
        Ok(weights)
    }

    /// Looks into one file.
    fn look(
        &self,
        candidate: &mut Candidate,
        wanted: &WantedBase<'_>,
    ) -> Result<Option<(Arc<Weights>, usize)>> {
        if matches!(candidate.contents, Contents::Unknown) {
            candidate.contents = match self.open(candidate) {
                Err(error) => Contents::Unreadable(error.to_string()),
                Ok(weights) => {
                    let tensors = weights.content_digests().map(|digests| of(&weights, digests));
                    tensors.map_or_else(|| Contents::Plain(weights.clone()), Contents::Packed)
                }
            };
        }
        let tensors: Vec<usize> = match &candidate.contents {
            Contents::Packed(tensors) => {
                let tensors = tensors.get(&wanted.digest).into_iter().flatten();
                tensors
                    .filter(|(_, depth)| *depth < wanted.depth)
                    .map(|(index, _)| *index)
                    .collect()
            }
            Contents::Plain(weights) => {
                let Ok(index) = weights.header().index_of(wanted.tensor) else { return Ok(None) };
                let found = wanted.fits(&weights.header().tensors()[index])
                    && weights.content_digest(index)? == wanted.digest;
                return Ok(found.then(|| (weights.clone(), index)));
            }
            Contents::Unknown | Contents::Unreadable(_) => return Ok(None),
        };
        if tensors.is_empty() {
            return Ok(None);
        }
        let weights = match self.open(candidate) {
            Ok(weights) => weights,
            Err(error) => {
                candidate.contents = Contents::Unreadable(error.to_string());
                return Ok(None);
            }
        };
        // The file may be another one by now, with fewer tensors.
        let fits = |index: &usize| {
            weights.header().tensors().get(*index).is_some_and(|tensor| wanted.fits(tensor))
        };
        let found = tensors.into_iter().find(fits);
        Ok(found.map(|index| (weights, index)))
    }
}

impl FindBase for Folders {
    fn find(&self, wanted: &WantedBase<'_>) -> Result<Option<FoundBase>> {
        let mut files = self.files();
        let files = files.get_or_insert_with(|| list(&self.0.folders));
        // The name is a hint of where to look first.
        let named = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_str() == Some(wanted.file))
                || path.file_stem() == Path::new(wanted.file).file_stem()
        };
        let mut order: Vec<_> = (0..files.len()).collect();
        order.sort_by_key(|&i| !named(&files[i].path));
        for i in order {
            if let Some((weights, index)) = self.look(&mut files[i], wanted)? {
                let label = files[i].path.display().to_string();
                return Ok(Some(weights.base_at(index, label)));
            }
        }
        Ok(None)
    }

    fn places(&self) -> String {
        let shown = |path: &PathBuf| match path.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => path.display().to_string(),
        };
        let mut places = self.0.folders.iter().map(shown).collect::<Vec<_>>().join(", ");
        for candidate in self.files().iter().flatten() {
            if let Contents::Unreadable(problem) = &candidate.contents {
                places += &format!("; {problem}");
            }
        }
        places
    }
}

/// Returns the tensors of a packed file by their content digests, of equal ones the least deep
/// first.
fn of(
    weights: &Weights,
    digests: impl Iterator<Item = Digest>,
) -> HashMap<Digest, Vec<(usize, u8)>> {
    let mut tensors: HashMap<_, Vec<_>> = HashMap::new();
    for (index, digest) in digests.enumerate() {
        tensors.entry(digest).or_default().push((index, weights.depth(index)));
    }
    tensors.values_mut().for_each(|equal| equal.sort_by_key(|&(_, depth)| depth));
    tensors
}

/// Lists the files of folders that may have bases; those that cannot be listed have none.
fn list(folders: &[PathBuf]) -> Vec<Candidate> {
    let mut files = Vec::new();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = folder.read_dir().into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("at1w" | "safetensors")) && path.is_file()
        });
        // Packed files first: of these it is known what they hold.
        paths.sort_by_key(|path| (path.extension() != Some("at1w".as_ref()), path.clone()));
        files.extend(paths.into_iter().map(|path| Candidate {
            path,
            opened: Weak::new(),
            contents: Contents::Unknown,
        }));
    }
    files
}
