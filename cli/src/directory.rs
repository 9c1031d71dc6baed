//! The files of weights in a directory, packed or not.

use std::path::Path;

use at1w_container::repository::{ContentFile, Contents};
use at1w_container::{Error, Weights};
use serde::Serialize;

use crate::Global;
use crate::failure::{Failure, Reported, Result, path_of, report_file, report_note};

/// A directory, and the faults that were reported of its files.
pub(crate) struct Directory {
    pub(crate) contents: Contents,
    worst: Option<Reported>,
    pub(crate) faults: Vec<FaultRow>,
}

/// A file that is missing, damaged, or not what its name says.
#[derive(Serialize)]
pub(crate) struct FaultRow {
    pub(crate) path: Option<String>,
    pub(crate) message: String,
}

/// The files that hold no weights, counted.
#[derive(Default, Serialize)]
pub(crate) struct Others {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Directory {
    /// Lists the files of a directory. Reports those that cannot be looked at, and goes on.
    pub(crate) fn read(path: &Path, global: &Global) -> Result<Self> {
        let mut contents = Contents::read(path, &())?;
        if !contents.left_out.is_empty() && !global.quiet {
            let paths = contents.left_out.join(", ");
            report_note(&format!("{}: left out: {paths}", path.display()));
        }
        let errors = std::mem::take(&mut contents.errors);
        let mut directory = Self { contents, worst: None, faults: Vec::new() };
        errors.iter().for_each(|error| directory.report(error));
        Ok(directory)
    }

    /// Reports what is wrong with one file.
    pub(crate) fn report(&mut self, error: &Error) {
        self.worst = self.worst.max(Some(report_file(error, self.contents.has_manifest)));
        let path = path_of(error).map(|path| path.display().to_string());
        self.faults.push(FaultRow { path, message: error.to_string() });
    }

    /// Opens each file of weights in turn, one at a time, and counts the others. Reports those that
    /// cannot be opened, and what `visit` finds wrong.
    pub(crate) fn each(
        &mut self,
        mut visit: impl FnMut(&ContentFile, Weights) -> Result<(), Error>,
    ) -> Others {
        let (mut others, mut errors) = (Others::default(), Vec::new());
        for file in self.contents.distinct() {
            match file.open() {
                Ok(Some(weights)) => {
                    if let Err(error) = visit(file, weights) {
                        errors.push(error.in_file(&file.full));
                    }
                }
                Ok(None) => {
                    others.files += 1;
                    others.bytes += file.len;
                }
                Err(error) => errors.push(error),
            }
        }
        errors.iter().for_each(|error| self.report(error));
        others
    }

    /// Says how the files are pinned.
    pub(crate) fn pinned_by(&self) -> &'static str {
        if self.contents.has_manifest {
            "pinned by at1w-manifest.json"
        } else {
            "no manifest pins them"
        }
    }

    /// Returns the worst that was reported.
    pub(crate) fn worst(&self) -> Option<Reported> {
        self.worst
    }

    /// Returns the failure that was reported, if there was one.
    pub(crate) fn outcome(&self) -> Result<()> {
        self.worst.map_or(Ok(()), |worst| Err(Failure::Reported(worst)))
    }
}
