//! The search for bases in folders.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::base::{FindBase, FoundBase, WantedBase};
use super::options::OpenOptions;
use super::weights::Weights;
use crate::digest::Digest;
use crate::error::Result;
use crate::format::bases::MAX_DEPTH;

/// A search for bases among the `.at1w` and `.safetensors` files of folders, by what they hold and
/// not by their names.
///
/// Every file is looked into at most once. Files that cannot be read are no bases; the error for a
/// base that is not found names them.
///
/// Whoever brings a file that names a digest gets the tensor that has it: private models have no
/// place in folders that the files of others are read with.
#[derive(Clone, Debug)]
pub struct Folders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folders: Vec<PathBuf>,
    options: OpenOptions,
    /// A file that is never a base.
    without: Option<PathBuf>,
    files: OnceLock<Vec<Candidate>>,
}

/// A file that may have bases.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct Known {
    /// The file as it is open, held by those who read it: for those who look for bases below each
    /// depth. None holds one of its own depth, so that no files keep each other open.
    opened: [Weak<Weights>; MAX_DEPTH as usize + 1],
    contents: Contents,
}

#[derive(Debug, Default)]
enum Contents {
    #[default]
    Unknown,
    /// The tensors of a packed file and their depths, by their content digests: several have one
    /// content, of other shapes maybe.
    Packed(HashMap<Digest, Vec<(usize, u8)>>),
    /// The names of the tensors of a safetensors file.
    Names(HashSet<Box<str>>),
    /// A safetensors file of which tensors were hashed, so that it stays open.
    Hashed(Arc<Weights>),
    /// Why the file was not read.
    Unreadable(String),
}

impl Contents {
    fn of(weights: &Weights) -> Self {
        match weights.content_digests() {
            Some(digests) => Self::Packed(by_digest(weights, digests)),
            None => {
                Self::Names(weights.header().tensors().iter().map(|t| t.name().into()).collect())
            }
        }
    }

    /// Whether there is no need to open the file for a base.
    fn lacks(&self, wanted: &WantedBase<'_>) -> bool {
        match self {
            Self::Unknown => false,
            Self::Packed(tensors) => !tensors.contains_key(&wanted.digest),
            Self::Names(names) => !names.contains(wanted.tensor),
            Self::Hashed(weights) => weights.header().position(wanted.tensor).is_none(),
            Self::Unreadable(_) => true,
        }
    }
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
        let (without, files) = (None, OnceLock::new());
        Self(Arc::new(Inner { folders: list, options, without, files }))
    }

    /// Looks in the same folders as if a file were not there.
    pub(crate) fn without(&self, path: &Path) -> Self {
        let Inner { folders, options, .. } = &*self.0;
        let without = path.canonicalize().ok();
        let (folders, files) = (folders.clone(), OnceLock::new());
        Self(Arc::new(Inner { folders, options: *options, without, files }))
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

    fn files(&self) -> &[Candidate] {
        self.0.files.get_or_init(|| {
            let mut files = list(&self.0.folders);
            if let Some(without) = &self.0.without {
                files.retain(|file| file.path.canonicalize().ok().as_ref() != Some(without));
            }
            files
        })
    }

    /// Opens a file for those who look for bases below a depth, or takes the one that is open. What
    /// is known of the file is that of the one that was opened last.
    fn open(&self, path: &Path, known: &mut Known, depth: u8) -> Result<Arc<Weights>> {
        let opened = &mut known.opened[usize::from(depth.min(MAX_DEPTH))];
        if let Some(weights) = opened.upgrade() {
            return Ok(weights);
        }
        let weights = Weights::open(path, &self.0.options)?;
        let weights = Arc::new(weights.with_bases(Arc::new(self.clone())));
        *opened = Arc::downgrade(&weights);
        known.contents = Contents::of(&weights);
        Ok(weights)
    }

    /// Finds the tensors of a file that may be a base, those first that are least deep.
    fn look(&self, candidate: &Candidate, wanted: &WantedBase<'_>) -> Option<Found> {
        let mut known = candidate.known();
        if known.contents.lacks(wanted) {
            return None;
        }
        let weights = match &known.contents {
            Contents::Hashed(weights) => weights.clone(),
            _ => match self.open(&candidate.path, &mut known, wanted.depth) {
                Ok(weights) => weights,
                Err(error) => {
                    known.contents = Contents::Unreadable(error.to_string());
                    return None;
                }
            },
        };
        let tensors = weights.header().tensors();
        if let Contents::Packed(by_digest) = &known.contents {
            let equal = by_digest.get(&wanted.digest)?;
            // The open file may be another one than that which was opened last.
            let fits = |&&(tensor, _): &&(usize, u8)| {
                tensors.get(tensor).is_some_and(|tensor| wanted.fits(tensor))
            };
            let (tensor, depth) = *equal.iter().find(fits)?;
            drop(known);
            return Some(Found { weights, tensor, depth });
        }
        let tensor = weights.header().position(wanted.tensor)?;
        if !wanted.fits(&tensors[tensor]) {
            return None;
        }
        known.contents = Contents::Hashed(weights.clone());
        // Others need not wait while it is hashed.
        drop(known);
        match weights.content_digest(tensor) {
            Ok(digest) => (digest == wanted.digest).then_some(Found { weights, tensor, depth: 0 }),
            Err(error) => {
                candidate.known().contents = Contents::Unreadable(error.to_string());
                None
            }
        }
    }
}

/// A tensor that is the base, if it is not too deep.
struct Found {
    weights: Arc<Weights>,
    tensor: usize,
    depth: u8,
}

impl Candidate {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FindBase for Folders {
    fn find(&self, wanted: &WantedBase<'_>) -> Result<Option<FoundBase>> {
        // The name is a hint of where to look first.
        let named = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_str() == Some(wanted.file))
                || path.file_stem() == Path::new(wanted.file).file_stem()
        };
        let mut files: Vec<_> = self.files().iter().collect();
        files.sort_by_key(|file| !named(&file.path));
        let mut too_deep = None;
        for file in files {
            let Some(Found { weights, tensor, depth }) = self.look(file, wanted) else { continue };
            let is_wanted = weights.root() == Some(wanted.root);
            let found = weights.base_at(tensor, file.path.display().to_string());
            if depth < wanted.depth {
                return Ok(Some(found));
            }
            if is_wanted {
                too_deep.get_or_insert(found);
            }
        }
        // The model of the base, packed anew: whoever looks says why it cannot be.
        Ok(too_deep)
    }

    fn places(&self) -> String {
        let shown = |path: &PathBuf| match path.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => path.display().to_string(),
        };
        let mut places = self.0.folders.iter().map(shown).collect::<Vec<_>>().join(", ");
        for candidate in self.files() {
            if let Contents::Unreadable(problem) = &candidate.known().contents {
                places += &format!("; {problem}");
            }
        }
        places
    }
}

/// Returns the tensors of a packed file by their content digests, of equal ones the least deep
/// first.
fn by_digest(
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
        files.extend(paths.into_iter().map(|path| Candidate { path, known: Mutex::default() }));
    }
    files
}
