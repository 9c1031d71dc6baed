//! Packing a repository.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::mem;
use std::path::Path;

use super::carry::carry;
use super::completeness::{Findings, inspect, is_not_weights};
use super::earlier_runs::{Now, Settled, settle};
use super::listed::{is_repository, total, unlisted};
use super::manifest::{
    FileEntry, LinkEntry, MANIFEST_NAME, Manifest, Packed, README, README_NAME, SIGNATURE_NAME,
    ancestors,
};
use super::options::{Options, Update};
use super::plan::{Action, Before, Step, plan, take_case_clashes};
use super::summary::{PackedFile, Summary};
use super::target::{Staging, check_apart, symlink};
use super::tree::{Tree, TreeFile, Walk, refused};
use crate::error::fault::{Fault, Problem};
use crate::error::{Error, Result};
use crate::fs::atomic::{mode_like, permissions, set_permissions};
use crate::write::options::PackOptions;
use crate::write::pack::pack_file_with_mode;

/// Packs the repository `source` into the directory `target`.
///
/// A new target appears only when it is complete. With [`Options::overwrite`] or
/// [`Options::update`] the target may exist: new files take the places of old ones only when all
/// are there, and the manifest comes last. Files that the manifest lists and that are gone at the
/// source stay, and stay listed, unless [`Options::prune`] removes them. Other files there stay.
///
/// Links that lead to a place in the source stay links; any other is followed. Files with several
/// names are packed once.
///
/// # Errors
/// Those of the target, [`Error::Incomplete`] for [`Options::strict`], [`Error::Busy`],
/// [`Error::NothingLeft`], [`Error::Manifest`]. A file that cannot be taken, or is not what its
/// name says, is a [`Fault`](super::Fault).
pub fn pack(source: &Path, target: &Path, options: &Options<'_>) -> Result<Summary> {
    check_apart(source, target)?;
    for name in [MANIFEST_NAME, SIGNATURE_NAME] {
        let path = source.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(Error::AlreadyPacked.in_file(&path));
        }
    }
    let mut tree = Tree::walk(source, Walk { target: Some(target), ..walk_of(options) })?;
    let may_empty = !options.prune || options.prune_all || !tree.is_empty();
    // The steps borrow the files.
    let (mut faults, left_out) = (mem::take(&mut tree.faults), mem::take(&mut tree.left_out));
    let staging = Staging::new(source, target, may_exist(target, options)?)?;
    let old = if staging.is_merge() { Old::read(target, options)? } else { None };
    if old.as_ref().is_some_and(|old| !old.manifest.files.is_empty()) && !may_empty {
        return Err(Error::NothingLeft(source.into()));
    }
    let manifest = old.as_ref().map(|old| &old.manifest);
    let before = Before { target, manifest, doubtful: staging.doubtful };
    let mut steps = plan(&tree, &before, options)?;
    if staging.folds_case {
        faults.append(&mut take_case_clashes(&mut steps));
    }
    let findings = find_faults(&tree, &steps, options)?;
    faults.extend(findings.faults);
    let mut packing = Packing::new(source, &staging, manifest, options);
    packing.run(&steps)?;
    let Packing { mut entries, mut summary, faults: found, .. } = packing;
    faults.extend(found);
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    if options.strict && !faults.is_empty() {
        return Err(Error::Incomplete(faults));
    }

    let files = entries.iter().map(|entry| (&*entry.path, entry.stored_path())).collect();
    let folds_case = staging.folds_case;
    let now = Now {
        source,
        target,
        tree: &tree,
        left_out: &left_out,
        faults: &faults,
        files,
        folds_case,
        options,
    };
    let settled = manifest.map_or(Ok(Settled::default()), |old| settle(old, &now))?;
    let links = tree.links.iter();
    let links = links.map(|l| LinkEntry { path: l.path.clone(), target: l.target.clone() });
    let links: Vec<_> = links.chain(settled.links).collect();
    for link in &links {
        symlink(&link.target, &staging.path(source, &link.path)?)?;
    }
    staging.create_directories(source, &tree.empty_directories)?;
    summary.links = links.len() as u64;
    summary.gone = settled.gone;
    summary.pruned = settled.pruned;
    entries.extend(settled.files);
    check_hard_links(&mut entries);
    let timeless = options.update == Update::Nothing && !manifest.is_some_and(Manifest::has_times);
    // A directory that holds nothing any more may hold files that stay.
    let paths = entries.iter().map(|entry| entry.path.as_str());
    let held: HashSet<&str> =
        paths.chain(links.iter().map(|link| link.path.as_str())).flat_map(ancestors).collect();
    let directories = tree.empty_directories.iter();
    let directories = directories.filter(|path| !held.contains(path.as_str())).cloned().collect();
    let new = Manifest::new(entries, links, directories, left_out.clone(), timeless);
    let bytes = new.to_bytes()?;
    // A manifest that could not be read would take everything with it.
    new.check().map_err(|error| error.in_file(&Manifest::path_in(target)))?;
    let same = old.as_ref().is_some_and(|old| {
        old.bytes == bytes
            && settled.removed.is_empty()
            && !staging.doubtful
            && steps.iter().all(|step| matches!(step.action, Action::Keep(_)))
            && new.is_there(target)
    });
    if same {
        drop(staging);
    } else {
        staging.write(MANIFEST_NAME, &bytes)?;
        if new.has_readme() {
            staging.write(README_NAME, README.as_bytes())?;
        }
        staging.finish(source, &settled.removed, &[MANIFEST_NAME])?;
    }

    summary.left_out = left_out;
    summary.faults = faults;
    let renamed = summary.packed.iter().filter(|file| file.path != file.packed_path);
    let paths = renamed.map(|file| &file.path);
    summary.singles = paths.filter(|path| !findings.shards.contains(*path)).cloned().collect();
    let strangers = unlisted(target, &new, options.progress)?;
    let faults = strangers.faults.into_iter().map(|fault| fault.path);
    for path in strangers.paths.into_iter().chain(faults) {
        options.progress.warn(&format!(
            "{}: was there before and is not part of the repository",
            target.join(path).display()
        ));
    }
    Ok(summary)
}

/// Returns how a source is walked.
pub(super) fn walk_of<'a>(options: &'a Options<'_>) -> Walk<'a> {
    let Options { all, ref filter, progress, .. } = *options;
    Walk { all, filter, follow: &|_| true, target: None, tidy: false, progress }
}

/// The manifest of a target that exists.
struct Old {
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl Old {
    fn read(target: &Path, options: &Options<'_>) -> Result<Option<Self>> {
        if !is_repository(target) {
            return Ok(None);
        }
        let bytes = Manifest::read_bytes(target)?;
        match Manifest::from_bytes(target, &bytes) {
            Ok(manifest) => Ok(Some(Self { bytes, manifest })),
            Err(error) if options.overwrite => {
                options.progress.warn(&format!("{error}; everything is packed again"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the target may exist.
fn may_exist(target: &Path, options: &Options<'_>) -> Result<bool> {
    if options.overwrite || options.update == Update::Nothing {
        return Ok(options.overwrite);
    }
    let Ok(mut entries) = fs::read_dir(target) else { return Ok(false) };
    if is_repository(target) || entries.next().is_none() {
        return Ok(true);
    }
    Err(refused(target, "is no packed repository, so there is nothing to update"))
}

/// Finds missing files, and those that are not what their names say. Files that were packed before
/// and have not changed are not read again.
pub(super) fn find_faults(
    tree: &Tree,
    steps: &[Step<'_>],
    options: &Options<'_>,
) -> Result<Findings> {
    let files: HashMap<&str, &TreeFile> =
        tree.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let packed_before =
        |step: &&Step<'_>| matches!(&step.action, Action::Keep(entry) if entry.packed.is_some());
    let mut sound: HashSet<&str> =
        steps.iter().filter(packed_before).map(|step| step.file.path.as_str()).collect();
    let links = tree.links.iter().filter_map(|link| {
        let file = files.get(link.leads_to.as_deref()?)?;
        Some((link.path.as_str(), *file))
    });
    let links: Vec<_> = links.collect();
    let sound_links = links.iter().filter(|(_, file)| sound.contains(file.path.as_str()));
    let sound_links: Vec<_> = sound_links.map(|&(path, _)| path).collect();
    sound.extend(sound_links);
    let files = tree.files.iter().map(|file| (file.path.as_str(), file));
    let present: Vec<_> = files.chain(links).map(|(path, file)| file.present_at(path)).collect();
    inspect(&present, &sound, options.progress)
}

/// The files of a repository as they are packed.
struct Packing<'a> {
    source: &'a Path,
    staging: &'a Staging,
    options: &'a Options<'a>,
    /// The entries of the target before, by path.
    old: HashMap<&'a str, &'a FileEntry>,
    entries: Vec<FileEntry>,
    /// The places of the entries by path.
    places: HashMap<String, usize>,
    summary: Summary,
    faults: Vec<Fault>,
}

impl<'a> Packing<'a> {
    fn new(
        source: &'a Path,
        staging: &'a Staging,
        old: Option<&'a Manifest>,
        options: &'a Options<'a>,
    ) -> Self {
        let old = old.iter().flat_map(|old| &old.files).map(|file| (&*file.path, file)).collect();
        let (entries, places, summary, faults) = Default::default();
        Self { source, staging, options, old, entries, places, summary, faults }
    }

    fn run(&mut self, steps: &[Step<'_>]) -> Result<()> {
        let work = |step: &&Step<'_>| matches!(step.action, Action::Pack(_) | Action::Carry);
        let work = steps.iter().filter(work);
        self.options.progress.begin(total(work.map(|step| step.file.len)));
        for step in steps {
            self.take(step)?;
        }
        Ok(())
    }

    /// Takes one file. One that cannot be read is a fault.
    fn take(&mut self, step: &Step<'_>) -> Result<()> {
        let file = step.file;
        let mut attempts = 2;
        let entry = loop {
            let taken = match &step.action {
                Action::Keep(entry) => {
                    self.summary.unchanged += 1;
                    if entry.hard_link.is_none() {
                        let len = entry.stored_len().unwrap_or(entry.size);
                        self.summary.count(entry.size, len);
                    }
                    restrict(&self.staging.target(entry.stored_path()), &file.full)?;
                    Ok(entry.clone())
                }
                Action::Pack(stored) => match self.pack(file, stored) {
                    // It was changed since it was looked at.
                    Err(error) if is_not_weights(&error) => self.carry(file),
                    packed => packed,
                },
                Action::Carry => self.carry(file),
                Action::Link { first, stored } => self.link(file, first, stored),
            };
            attempts -= 1;
            match taken.map_err(|error| source_problem(error, &file.full)) {
                Ok(entry) => break entry,
                Err(Ok(Problem::Changed(_))) if attempts > 0 => {}
                Err(Ok(problem)) => {
                    self.faults.push(Fault { path: file.path.clone(), problem });
                    // The target keeps the file as it was.
                    self.entries.extend(self.old.get(&*file.path).map(|&old| old.clone()));
                    return Ok(());
                }
                Err(Err(error)) if matches!(error.innermost(), Error::Write(_)) => {
                    let target = self.staging.target(step.stored_path());
                    return Err(error.without_file().in_file(&target));
                }
                Err(Err(error)) => return Err(error),
            }
        };
        self.places.insert(file.path.clone(), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    fn pack(&mut self, file: &TreeFile, stored: &str) -> Result<FileEntry> {
        let (to, mode) = self.staging.place(self.source, stored, &file.full)?;
        let options = PackOptions::new().level(self.options.level).progress(self.options.progress);
        let done = pack_file_with_mode(&file.full, &to, mode, &options)?;
        self.summary.count(done.original_len, done.packed_len);
        let packed =
            Packed { path: stored.to_owned(), size: Some(done.packed_len), root: done.root };
        let entry = FileEntry {
            path: file.path.clone(),
            size: done.original_len,
            sha256: done.original_digest,
            modified: file.noted_time(),
            hard_link: None,
            packed: Some(packed),
        };
        let (path, packed_path) = (file.path.clone(), stored.to_owned());
        self.summary.packed.push(PackedFile { path, packed_path, summary: done });
        Ok(entry)
    }

    fn carry(&mut self, file: &TreeFile) -> Result<FileEntry> {
        let place = self.staging.place(self.source, &file.path, &file.full)?;
        let same = |size, _| {
            if size == file.len {
                return Ok(());
            }
            let problem = format!("it had {} bytes, and has another size now", file.len);
            Err(Error::SourceChanged(problem).in_file(&file.full))
        };
        let (size, sha256) = carry(&file.full, place, None, self.options.progress, same)?;
        self.summary.carried += 1;
        self.summary.count(size, size);
        let (path, modified) = (file.path.clone(), file.noted_time());
        Ok(FileEntry { path, size, sha256, modified, hard_link: None, packed: None })
    }

    /// Makes a file another name of one that was taken before. Where that cannot be, takes it for
    /// itself.
    fn link(&mut self, file: &TreeFile, first: &str, stored: &str) -> Result<FileEntry> {
        let first = self.places.get(first).map(|&index| self.entries[index].clone());
        let to = self.staging.path(self.source, stored)?;
        let linked = first.filter(|first| {
            let from = self.staging.find(first.stored_path());
            (first.packed.is_some() || stored == file.path)
                && from.is_some_and(|from| fs::hard_link(from, &to).is_ok())
        });
        match linked {
            Some(first) => {
                let packed = first.packed.map(|p| Packed { path: stored.to_owned(), ..p });
                let hard_link = first.hard_link.or(Some(first.path));
                Ok(FileEntry { path: file.path.clone(), hard_link, packed, ..first })
            }
            None if stored == file.path => self.carry(file),
            None => self.pack(file, stored),
        }
    }
}

/// Takes permissions from a file of the target that its source does not have any more.
fn restrict(target: &Path, source: &Path) -> Result<()> {
    let (Ok(has), Ok(may)) = (permissions(target), mode_like(source)) else { return Ok(()) };
    if has & !may == 0 {
        return Ok(());
    }
    set_permissions(target, has & may)
}

/// Clears names of files that are not names of the same file any more: one of them was changed, or
/// is gone.
fn check_hard_links(entries: &mut [FileEntry]) {
    let firsts = entries.iter().filter(|entry| entry.hard_link.is_none());
    let firsts: HashMap<_, _> =
        firsts.map(|e| (e.path.clone(), (e.sha256, e.packed.is_some()))).collect();
    for entry in entries {
        let this = (entry.sha256, entry.packed.is_some());
        entry.hard_link = entry.hard_link.take().filter(|first| firsts.get(first) == Some(&this));
    }
}

/// Returns the problem with a source that cannot be read; any other error as it is.
pub(super) fn source_problem(error: Error, source: &Path) -> Result<Problem, Error> {
    match error.innermost() {
        Error::Io { path, .. } if path == source => {}
        Error::Read { .. } | Error::SourceChanged(_) => {}
        _ => return Err(error.in_file(source)),
    }
    match error.without_file() {
        Error::Io { cause, .. } | Error::Read { cause, .. } => Ok(Problem::Unreadable(cause)),
        Error::SourceChanged(problem) => Ok(Problem::Changed(problem)),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::progress::Progress;
    use crate::read::reader::Reader;
    use crate::repository::verify;

    /// Writes another version of a file each of the first `times` times that some of it is read.
    struct Meddler {
        path: PathBuf,
        times: usize,
        done: AtomicUsize,
    }

    impl Progress for Meddler {
        fn advance(&self, _: u64) {
            let done = self.done.fetch_add(1, Ordering::Relaxed);
            if done < self.times {
                fs::write(&self.path, file(done + 2)).unwrap();
            }
        }
    }

    /// A safetensors file of one tensor, each version longer than the one before.
    fn file(version: usize) -> Vec<u8> {
        let len = 1000 + version;
        let header =
            format!(r#"{{"w":{{"dtype":"U8","shape":[{len}],"data_offsets":[0,{len}]}}}}"#);
        let data = vec![version as u8; len];
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_taken_again_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
        fs::create_dir(&source).unwrap();
        let path = source.join("a.safetensors");
        fs::write(&path, file(1)).unwrap();
        let run = |times| {
            let meddler = Meddler { path: path.clone(), times, done: AtomicUsize::new(0) };
            let options = Options::new().update(Update::ByTime).progress(&meddler);
            pack(&source, &target, &options).unwrap().faults
        };
        let packed = || Reader::open(&target.join("a.at1w")).unwrap().info().original_len;
        assert!(run(1).is_empty());
        assert_eq!(packed(), file(2).len() as u64);

        fs::write(&path, file(7)).unwrap();
        let faults = run(usize::MAX);
        assert!(matches!(faults[..], [Fault { problem: Problem::Changed(_), .. }]), "{faults:?}");
        // The target keeps the file as it was.
        assert_eq!(packed(), file(2).len() as u64);
        let check = verify(&target, true, &()).unwrap();
        assert!(check.files.iter().all(|file| file.outcome.is_ok()));
        assert!(run(0).is_empty());
        assert_eq!(packed(), fs::metadata(&path).unwrap().len());
    }

    #[test]
    fn names_that_a_target_does_not_tell_apart_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["Model.safetensors", "model.safetensors", "notes.txt"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), file(1)).unwrap());
        let tree = Tree::walk_all(folder.path(), &|_| true, &()).unwrap();
        if tree.files.len() < names.len() {
            // This file system is such a one itself.
            return;
        }
        let target = folder.path().join("target");
        let before = Before { target: &target, manifest: None, doubtful: false };
        let mut steps = plan(&tree, &before, &Options::new()).unwrap();
        let faults = take_case_clashes(&mut steps);
        let [Fault { path, problem }] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!(path, "model.safetensors");
        assert!(matches!(problem, Problem::CaseClash { other } if other == "Model.safetensors"));
        assert_eq!(steps.len(), 2);
    }
}
