//! What packing a repository would do, without doing it.

use std::path::Path;

use at1w_codec::Level;

use super::left_out::LeftOut;
use super::listed::{is_repository, total};
use super::manifest::Manifest;
use super::options::Options;
use super::pack::find_faults;
use super::plan::{Action, plan};
use super::target::check_apart;
use super::tree::{Tree, Walk};
use crate::error::fault::Fault;
use crate::error::{Error, Result};
use crate::estimate::{Estimate, estimate};
use crate::kind::Wanted;
use crate::recognise::open_file;

/// What packing a repository would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Forecast {
    /// The files that would be packed, with their sizes as far as samples tell.
    pub packed: Vec<(String, Estimate)>,
    /// The number of files that would be carried over as they are.
    pub carried: u64,
    /// The number of files of the target that would be left as they are.
    pub unchanged: u64,
    /// The number of symbolic links.
    pub links: u64,
    /// All files together. A file with several names counts once.
    pub total: Estimate,
    /// The files and directories that would be left out.
    pub left_out: Vec<LeftOut>,
    /// The paths in the target that would be removed, since their sources are gone.
    pub pruned: Vec<String>,
    /// The number of files of the target that would stay, though their sources are gone.
    pub gone: u64,
    /// The files of the source that are missing or are not what they should be.
    pub faults: Vec<Fault>,
}

/// Returns what [`pack`](super::pack) would do with the same options, or
/// [`pack_in_place`](super::pack_in_place) where there is no target. The sizes are estimated by
/// packing a share of each file, from 0 to 1, which `share` returns for the bytes of all. Nothing is
/// written.
///
/// # Errors
/// As [`pack`](super::pack), but for those of writing.
pub fn forecast(
    source: &Path,
    target: Option<&Path>,
    options: &Options<'_>,
    share: impl FnOnce(u64) -> f64,
) -> Result<Forecast> {
    if let Some(target) = target {
        check_apart(source, target)?;
    }
    if is_repository(source) {
        return Err(Error::AlreadyPacked.in_file(&Manifest::path_in(source)));
    }
    let Options { all, ref filter, progress, .. } = *options;
    let walk = Walk { all, filter, tidy: false, progress };
    let mut tree = if source.is_dir() { Tree::walk(source, walk)? } else { Tree::of_file(source)? };
    let there = target.filter(|target| is_repository(target));
    let old = there.and_then(|target| Manifest::read(target).ok());
    let target = target.unwrap_or(source);
    let mut faults = std::mem::take(&mut tree.faults);
    let left_out = std::mem::take(&mut tree.left_out);
    let plan = plan(&tree, source, target, old.as_ref(), options)?;
    faults.extend(find_faults(&tree, &plan, options)?.faults);
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    let (pruned, gone) = (plan.pruned.clone(), plan.gone);
    let links = tree.links.len() as u64;
    let mut forecast = Forecast { links, left_out, pruned, gone, faults, ..Forecast::default() };
    let to_pack = plan.steps.iter().filter(|step| matches!(step.action, Action::Pack(_)));
    let share = share(total(to_pack.map(|step| step.file.len)));
    for step in &plan.steps {
        let len = step.file.len;
        match &step.action {
            Action::Keep(entry) => {
                forecast.unchanged += 1;
                forecast.total += Estimate::exact(len, entry.stored_len().unwrap_or(len));
            }
            Action::Carry => {
                forecast.carried += 1;
                forecast.total += Estimate::exact(len, len);
            }
            Action::Link { .. } => {}
            Action::Pack(_) => {
                let done = of_file(&step.file.full, options.level, share, options);
                let done = done.map_err(|error| error.in_file(&step.file.full))?;
                forecast.total += done;
                forecast.packed.push((step.file.path.clone(), done));
            }
        }
    }
    Ok(forecast)
}

fn of_file(path: &Path, level: Level, share: f64, options: &Options<'_>) -> Result<Estimate> {
    estimate(&open_file(path, Wanted::Safetensors)?, level, share, options.progress)
}
