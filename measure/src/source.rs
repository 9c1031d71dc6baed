//! The files to measure.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use at1w_container::repository::{ContentFile, Contents, FileId};
use at1w_container::{Error, OpenOptions, Progress, Weights};

use crate::elsewhere::{Found, find, named};
use crate::fault::Fault;
use crate::others::Others;
use crate::place::Place;

/// A file of weights that is not packed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceFile {
    /// The path, with forward slashes, beginning with the one on the command line.
    pub path: String,
    /// Where its bytes lie.
    pub(crate) place: Place,
    /// The length, in bytes.
    pub len: u64,
    /// The model that the file is of, or a part of.
    pub model: String,
    /// The repository that the file lies in.
    pub repository: String,
}

/// All that paths lead to. A file with several names counts once.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Sources {
    /// The files of weights to measure.
    pub files: Vec<SourceFile>,
    /// The files that packing would carry over as they are.
    pub others: Others,
    /// The paths that could not be looked at, or are not what their names say.
    pub faults: Vec<Fault>,
    /// The paths that hold no content of a repository, such as `.git`.
    pub left_out: Vec<String>,
}

impl Sources {
    /// Lists the files that `paths` lead to: files, directories of any kind, stores and their
    /// revisions (`STORE#NS/NAME@REV`), and addresses of files and of buckets.
    ///
    /// # Errors
    /// [`Error::Cancelled`]. Anything else is a fault, and ends nothing.
    pub fn find(paths: &[PathBuf], progress: &dyn Progress) -> Result<Self, Error> {
        let (mut sources, mut seen) = (Self::default(), HashSet::new());
        for path in paths {
            if let Some(named) = named(path) {
                find(&named, progress, &mut |found| sources.add_found(found));
                continue;
            }
            let found = if path.is_dir() {
                sources.add_directory(path, &mut seen, progress)
            } else {
                sources.add_file(path, &mut seen)
            };
            match found {
                Ok(()) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => sources.faults.push(Fault::new(&shown(path), &error)),
            }
        }
        Ok(sources)
    }

    /// Returns the length of all files to measure, in bytes.
    pub fn len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Whether there is nothing to measure.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn add_file(&mut self, path: &Path, seen: &mut HashSet<FileId>) -> Result<(), Error> {
        let weights = Weights::open(path, &OpenOptions::new())?;
        let len = fs::metadata(path).map_err(|cause| io(path, cause))?.len();
        if seen.insert(FileId::of_path(path)?) {
            self.add(&shown(path), path.to_owned(), len, Some(&weights), "");
        }
        Ok(())
    }

    fn add_directory(
        &mut self,
        directory: &Path,
        seen: &mut HashSet<FileId>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let contents = Contents::read(directory, progress)?;
        let root = shown(directory);
        let root = root.trim_end_matches('/');
        let within = |path: &str| format!("{root}/{path}");
        self.left_out.extend(contents.left_out.iter().map(|path| within(path)));
        for error in &contents.errors {
            let path = path_of(error).map_or_else(|| root.to_owned(), shown);
            self.faults.push(Fault::new(&path, error));
        }
        for file in contents.distinct() {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if seen.insert(file.id().clone()) {
                self.add_content(&within(&file.path), file, root);
            }
        }
        Ok(())
    }

    fn add_content(&mut self, path: &str, file: &ContentFile, root: &str) {
        match file.open() {
            Ok(weights) => {
                self.add(path, file.full.clone(), file.len, weights.as_ref(), root);
            }
            Err(error) => {
                self.faults.push(Fault::new(path, &error));
                // Packing carries over whatever it can read.
                if !matches!(error.innermost(), Error::Io { .. }) {
                    self.others.add(file.len);
                }
            }
        }
    }

    fn add(&mut self, path: &str, full: PathBuf, len: u64, weights: Option<&Weights>, root: &str) {
        match weights {
            None => self.others.add(len),
            Some(weights) if weights.packed().is_some() => self.others.add_packed(len),
            Some(_) => {
                self.push(path, names_of(path, root), len, Place::Here(full));
            }
        }
    }

    fn add_found(&mut self, found: Found) {
        match found {
            Found::Other(len) => self.others.add(len),
            Found::Fault(fault) => self.faults.push(fault),
            Found::Weights(file) if file.is_packed => self.others.add_packed(file.len),
            Found::Weights(file) => {
                let place = Place::Away((&file.shown).into(), file.source);
                self.push(&file.shown, names_of(&file.path, ""), file.len, place);
            }
        }
    }

    fn push(&mut self, path: &str, names: (String, String), len: u64, place: Place) {
        let (repository, model) = names;
        self.files.push(SourceFile { path: path.to_owned(), place, len, model, repository });
    }
}

/// Returns the file that an error is about.
fn path_of(error: &Error) -> Option<&Path> {
    match error {
        Error::Io { path, .. } | Error::InFile { path, .. } => Some(path),
        _ => None,
    }
}

fn io(path: &Path, cause: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), cause }
}

/// Returns a path as reports show it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Returns the names of the repository and of the model that the file at `path` belongs to, in the
/// directory `root` that was named on the command line.
fn names_of(path: &str, root: &str) -> (String, String) {
    /// Names that files of weights have in many repositories.
    const USUAL: [&str; 6] = [
        "model",
        "pytorch_model",
        "diffusion_pytorch_model",
        "adapter_model",
        "consolidated",
        "weights",
    ];
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let stem = without_shard(stem);
    let (repository, folder) = match in_hub_cache(folder) {
        Some((repository, revision)) => {
            let short = revision.split('/').next().unwrap_or_default();
            let inner = revision.get(short.len()..).unwrap_or_default();
            let short: String = short.chars().take(7).collect();
            (repository.clone(), format!("{repository}@{short}{inner}"))
        }
        None => (folder.to_owned(), folder.to_owned()),
    };
    let below = folder.strip_prefix(root).unwrap_or(&folder).trim_start_matches('/');
    let model = match (USUAL.contains(&stem), below, folder.as_str()) {
        (true, "", "") => stem.to_owned(),
        (true, "", folder) => folder.rsplit('/').next().unwrap_or(folder).to_owned(),
        (true, below, _) => below.to_owned(),
        (false, "", _) => stem.to_owned(),
        (false, below, _) => format!("{below}/{stem}"),
    };
    (repository, model)
}

/// Removes the number of a shard: `model` of `model-00001-of-00003`.
fn without_shard(stem: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shard = || {
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (rest, number) = rest.rsplit_once('-')?;
        (digits(count) && digits(number)).then_some(rest)
    };
    shard().unwrap_or(stem)
}

/// Returns the name of the repository in a hub cache that a folder belongs to, and the revision
/// with the folders in it.
fn in_hub_cache(folder: &str) -> Option<(String, &str)> {
    let (before, revision) = folder.split_once("/snapshots/")?;
    let cached = before.rsplit('/').next()?;
    let name = cached.strip_prefix("models--")?;
    Some((name.replacen("--", "/", 1), revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_short_names() {
        for (path, root, repository, model) in [
            ("corpus/minilm.safetensors", "corpus", "corpus", "minilm"),
            ("minilm.safetensors", "", "", "minilm"),
            ("llama/model-00001-of-00003.safetensors", "llama", "llama", "llama"),
            ("all/llama/model.safetensors", "all", "all/llama", "llama"),
            ("all/a/unet/wide.safetensors", "all", "all/a/unet", "a/unet/wide"),
            (
                "hub/models--org--name/snapshots/0123456789/unet/model.safetensors",
                "hub",
                "org/name",
                "org/name@0123456/unet",
            ),
        ] {
            let found = names_of(path, root);
            assert_eq!(found, (repository.to_owned(), model.to_owned()), "{path}");
        }
    }
}
