//! What packing a repository would do, without doing it.

use std::path::Path;

use at1w_codec::Level;

use super::earlier_runs::{Now, Settled, settle};
use super::left_out::LeftOut;
use super::listed::{is_repository, total};
use super::manifest::Manifest;
use super::options::{Options, Update};
use super::pack::{find_faults, walk_of};
use super::plan::{Action, Before, plan};
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
    /// Whether there is a target, which the options do not allow.
    pub in_the_way: bool,
}

/// Returns what [`pack`](super::pack) would do with the same options, or
/// [`pack_in_place`](super::pack_in_place) where there is no target. The sizes are estimated by
/// packing a share of each file, from 0 to 1, which `share` returns for the bytes of all. Nothing
/// is written.
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
    let may_exist = options.overwrite || options.update != Update::Nothing;
    let there = target.is_some_and(|target| target.symlink_metadata().is_ok());
    let walk = Walk { target, ..walk_of(options) };
    let mut tree = if source.is_dir() { Tree::walk(source, walk)? } else { Tree::of_file(source)? };
    let in_the_way = there && !may_exist;
    let there = target.filter(|target| is_repository(target));
    let old = there.and_then(|target| Manifest::read(target).ok());
    let target = target.unwrap_or(source);
    let mut faults = std::mem::take(&mut tree.faults);
    let left_out = std::mem::take(&mut tree.left_out);
    let before = Before { target, manifest: old.as_ref(), doubtful: false };
    let steps = plan(&tree, &before, options)?;
    faults.extend(find_faults(&tree, &steps, options)?.faults);
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    let files = steps.iter().map(|step| (&*step.file.path, step.stored_path())).collect();
    let settled = old.as_ref().map_or(Ok(Settled::default()), |old| {
        let (left_out, faults) = (&left_out, &faults);
        let (tree, folds_case) = (&tree, false);
        settle(old, &Now { source, target, tree, left_out, faults, files, folds_case, options })
    })?;
    let (pruned, gone) = (settled.pruned, settled.gone);
    let links = tree.links.len() as u64;
    let mut forecast =
        Forecast { links, left_out, pruned, gone, faults, in_the_way, ..Forecast::default() };
    let to_pack = steps.iter().filter(|step| matches!(step.action, Action::Pack(_)));
    let share = share(total(to_pack.map(|step| step.file.len)));
    for step in &steps {
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
