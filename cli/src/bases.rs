//! The bases that a new file is packed on.

use std::path::{Path, PathBuf};

use at1w_container::{OpenOptions, PackBase, ReadAt};
use clap::Args;

use crate::failure::{Failure, Result, report_note, report_warning};
use crate::input::folders;
use crate::output::printable;

/// The files that a new one is packed on.
#[derive(Args)]
pub(crate) struct Bases {
    /// Keep only what differs from these files (.at1w or .safetensors), which are then needed to
    /// read the new one; 'auto DIR' chooses one of a directory
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) base: Vec<PathBuf>,
    /// How many versions the new file may be away from one that stands alone, 1 to 8
    #[arg(long, value_name = "N", default_value_t = 4, requires = "base",
        value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) max_depth: u8,
}

impl Bases {
    /// Opens the files, or chooses one that a source is most like; `own` is never one of them.
    pub(crate) fn open(&self, source: &dyn ReadAt, own: &[&Path]) -> Result<Vec<PackBase>> {
        match &self.base[..] {
            [auto, folders @ ..] if auto == Path::new("auto") => {
                if folders.is_empty() {
                    let problem = "--base auto needs a directory: --base auto DIR";
                    return Err(Failure::Usage(problem.into()));
                }
                let chosen = PackBase::best(source, self.candidates(folders, own)?)?;
                match &chosen {
                    Some(base) => report_note(&format!("on {}", base.path().display())),
                    None => report_note("no file is near enough to be a base: it stands alone"),
                }
                Ok(chosen.into_iter().collect())
            }
            files => files.iter().map(|path| open(path)).collect(),
        }
    }

    /// Opens the files of directories that may be bases; those that may not are named.
    fn candidates(&self, folders: &[PathBuf], own: &[&Path]) -> Result<Vec<PackBase>> {
        let real = |path: &Path| path.canonicalize().ok();
        let own: Vec<_> = own.iter().filter_map(|path| real(path)).collect();
        let mut found = Vec::new();
        for folder in folders {
            let listed = |cause| at1w_container::Error::Io { path: folder.clone(), cause };
            let mut paths = Vec::new();
            for entry in folder.read_dir().map_err(listed)? {
                paths.push(entry.map_err(listed)?.path());
            }
            paths.sort();
            paths.retain(|path| {
                let extension = path.extension().and_then(|extension| extension.to_str());
                matches!(extension, Some("at1w" | "safetensors"))
                    && path.is_file()
                    && !real(path).is_some_and(|path| own.contains(&path))
            });
            for path in paths {
                let shown = printable(&path.display().to_string()).into_owned();
                match open(&path) {
                    Ok(base) if base.depth() >= self.max_depth => report_note(&format!(
                        "{shown}: is {} versions away from a file that stands alone, and no base",
                        base.depth()
                    )),
                    Ok(base) => found.push(base),
                    Err(failure) => report_warning(&format!("is no base: {failure}")),
                }
            }
        }
        Ok(found)
    }
}

/// Opens a file that may have bases itself.
pub(crate) fn open(path: &Path) -> Result<PackBase> {
    Ok(PackBase::open(path, &OpenOptions::new(), folders(path))?)
}
