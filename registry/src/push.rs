//! Pushing: files become a commit of a branch, whole or not at all.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use at1w_container::{Digest, Level, Progress};

use crate::bases::{CARD, CARD_LEN};
use crate::entry::{Action, Commit, Entry, Proposal, Ref, State};
use crate::error::{Error, Result};
use crate::keys;
use crate::lease::Lease;
use crate::log::{self, Appended, Head};
use crate::name::{MAIN, RepoName, check_no_git, check_path, check_ref};
use crate::proposal::{merged, proposal_number};
use crate::refs::{check_no_commit, check_room};
use crate::stage::Stage;
use crate::store::Store;
use crate::tree::{File, Tree};
use crate::walk::{Source, SourceFile, walk};

/// How files are pushed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PushOptions<'a> {
    /// The branch.
    pub branch: &'a str,
    /// The message of the commit.
    pub message: &'a str,
    /// The revision that the push is made for: files that somebody else has changed since are not
    /// replaced. `None` is the head of the branch when the push begins.
    pub parent: Option<&'a str>,
    /// An entry of the repository that the commit is for. Without one the repository is made if
    /// there is none.
    pub of: Option<&'a Entry>,
    /// Where the branch has to be when the commit is made.
    pub expected: Expected<'a>,
    /// Whether the branch becomes what the source is: files that are not there are removed.
    pub delete: bool,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// Whether [`Store::push`] stores new tensors as differences to those of the revision before,
    /// or of models that the card names as its base, where that takes less.
    pub differences: bool,
    /// The key of the request: where the last entry has the same, nothing is done again.
    pub request: Option<&'a str>,
    /// Whether the repository is private from then on; `None` leaves it as it is.
    pub private: Option<bool>,
    /// The proposal that the branch, a new one, is of.
    pub proposal: Option<&'a Proposal>,
    /// The proposal whose changes are made, and the commit that its branch is at.
    pub(crate) merging: Option<(u64, &'a str)>,
    /// Signs the message over a tree ([`signed_tree`]); returns the signature.
    pub sign: Option<&'a Signer<'a>>,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

/// Where a branch has to be when a commit is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Anywhere: changes of other files are kept.
    #[default]
    Any,
    /// At this commit.
    At(&'a str),
    /// It is not there yet, and begins at this commit; without one, with no files.
    New(Option<&'a str>),
}

/// Signs a message; returns the signature, or why there is none.
pub type Signer<'a> = dyn Fn(&str) -> Result<String, String> + Sync + 'a;

impl Default for PushOptions<'_> {
    fn default() -> Self {
        Self {
            branch: MAIN,
            message: "",
            parent: None,
            of: None,
            expected: Expected::Any,
            delete: false,
            level: Level::default(),
            differences: true,
            request: None,
            private: None,
            proposal: None,
            merging: None,
            sign: None,
            progress: &(),
        }
    }
}

impl fmt::Debug for PushOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushOptions")
            .field("branch", &self.branch)
            .field("parent", &self.parent)
            .field("delete", &self.delete)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl<'a> PushOptions<'a> {
    /// Returns the defaults: files are added to the branch `main`, or replaced there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the branch.
    #[must_use]
    pub fn branch(self, branch: &'a str) -> Self {
        Self { branch, ..self }
    }

    /// Sets the message of the commit.
    #[must_use]
    pub fn message(self, message: &'a str) -> Self {
        Self { message, ..self }
    }

    /// Sets the revision that the push is made for.
    #[must_use]
    pub fn parent(self, parent: impl Into<Option<&'a str>>) -> Self {
        Self { parent: parent.into(), ..self }
    }

    /// Sets the repository that the commit is for, by an entry of it: if it is removed or renamed
    /// meanwhile, nothing is committed, to no other one of its name either.
    #[must_use]
    pub fn of(self, entry: &'a Entry) -> Self {
        Self { of: Some(entry), ..self }
    }

    /// Sets where the branch has to be when the commit is made.
    #[must_use]
    pub fn expected(self, expected: Expected<'a>) -> Self {
        Self { expected, ..self }
    }

    /// Sets whether files that are not in the source are removed.
    #[must_use]
    pub fn delete(self, delete: bool) -> Self {
        Self { delete, ..self }
    }

    /// Sets how hard to look for a small encoding.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Sets whether new tensors are stored as differences where that takes less.
    #[must_use]
    pub fn differences(self, differences: bool) -> Self {
        Self { differences, ..self }
    }

    /// Sets the key of the request.
    #[must_use]
    pub fn request(self, request: impl Into<Option<&'a str>>) -> Self {
        Self { request: request.into(), ..self }
    }

    /// Sets whether the repository is private from then on.
    #[must_use]
    pub fn private(self, private: impl Into<Option<bool>>) -> Self {
        Self { private: private.into(), ..self }
    }

    /// Sets the proposal that the branch, a new one, is of.
    #[must_use]
    pub fn proposal(self, proposal: impl Into<Option<&'a Proposal>>) -> Self {
        Self { proposal: proposal.into(), ..self }
    }

    /// Sets the proposal whose changes are made, and the commit that its branch is at.
    pub(crate) fn merging(self, number: u64, at: &'a str) -> Self {
        Self { merging: Some((number, at)), ..self }
    }

    /// Sets what signs the commit.
    #[must_use]
    pub fn sign(self, sign: impl Into<Option<&'a Signer<'a>>>) -> Self {
        Self { sign: sign.into(), ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}

/// Returns the message that is signed for a commit.
pub fn signed_tree(tree: &Digest) -> String {
    format!("at1w tree v1 {tree}\n")
}

/// The outcome of a push.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// The commit that the branch is at.
    pub commit: String,
    /// The SHA-256 of its tree.
    pub tree: Digest,
    /// Whether there is a new commit; otherwise all was there already.
    pub new: bool,
    /// The number of files that were pushed.
    pub files: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// The number of bytes that were stored for them.
    pub stored: u64,
    /// The packed ones that the revision before did not have.
    pub weights: Vec<Digest>,
    /// The number of tensors in them.
    pub tensors: u64,
    /// The number of tensors that the store did not have.
    pub new_tensors: u64,
    /// The number of damaged places that the push brought good copies for.
    pub healed: u64,
    /// The files of which tensors are stored by themselves because their bases are damaged, with
    /// the numbers of these tensors.
    pub bases_lost: Vec<(String, u64)>,
    /// The files whose names say weights and that hold none, with what they are.
    pub faults: Vec<(String, String)>,
    /// The paths of what Git or a hub cache keeps for itself, and that were not pushed.
    pub left_out: Vec<String>,
}

/// The files that a push changes.
pub(crate) struct Changes<'a> {
    pub(crate) repo: &'a RepoName,
    pub(crate) branch: &'a str,
    /// The name of the revision that they are made for, and its tree.
    pub(crate) base: (String, Tree),
    pub(crate) files: Vec<(String, File)>,
    /// The paths that are removed.
    pub(crate) removed: Vec<String>,
    /// Whether everything else is removed.
    pub(crate) delete: bool,
}

/// The name of the revision before the first one.
const NOTHING: &str = "nothing";

/// The place of a new entry.
struct Place {
    /// The last entry of a log that has to end first, and the one that ends it.
    end: Option<(Head, Entry)>,
    log: String,
    birth: u32,
    /// The entry, to be filled in.
    entry: Entry,
}

impl Changes<'_> {
    fn conflict(&self, what: String) -> Error {
        Error::Conflict {
            repo: self.repo.to_string(),
            branch: self.branch.into(),
            parent: self.base.0.clone(),
            what,
        }
    }

    /// Returns the tree of a branch whose tree is `current`, with the changes.
    fn apply(&self, current: &Tree) -> Result<Tree> {
        let moved = self.base.1.changes(current);
        let conflict = |what| self.conflict(what);
        let mut tree = Tree::default();
        if self.delete {
            if !moved.is_empty() {
                return Err(conflict(format!("{} files have changed since", moved.len())));
            }
        } else {
            tree.clone_from(current);
        }
        for path in &self.removed {
            if moved.binary_search(&path.as_str()).is_ok() && current.files.contains_key(path) {
                return Err(conflict(format!("{path} was changed there as well")));
            }
            tree.files.remove(path);
        }
        for (path, file) in &self.files {
            let there = current.files.get(path);
            let same = there.is_some_and(|there| there.sha256 == file.sha256);
            if moved.binary_search(&path.as_str()).is_ok() && !same {
                return Err(conflict(format!("{path} was changed there as well")));
            }
            tree.files.insert(path.clone(), file.clone());
        }
        if let Some((a, b)) = nested(&tree) {
            let ours = |path: &str| self.files.iter().any(|(own, _)| own == path);
            if ours(a) && ours(b) {
                let problem = format!("would lie in the file {a}");
                return Err(Error::Name { name: b.into(), problem });
            }
            return Err(conflict(format!("{b} would lie in the file {a}")));
        }
        if let Some((a, b)) = case_clash(&tree, current) {
            let problem = format!(
                "differs from {a:?} by case only, and some systems take one \
                                   for the other"
            );
            return Err(Error::Name { name: b.into(), problem });
        }
        Ok(tree)
    }
}

/// Checks that a branch is where a commit expects it.
fn check_expected(
    changes: &Changes<'_>,
    found: Option<&Ref>,
    expected: Expected<'_>,
) -> Result<()> {
    let (repo, branch) = (changes.repo.to_string(), changes.branch);
    match (expected, found) {
        (Expected::New(_), Some(_)) => Err(Error::Exists(format!("{repo}@{branch}"))),
        (Expected::At(commit), found) if found.is_none_or(|found| found.commit != commit) => {
            let what = "the commit was to follow that one".into();
            Err(Error::Conflict { repo, branch: branch.into(), parent: commit.into(), what })
        }
        _ => Ok(()),
    }
}

/// Finds a file that another one would lie in.
fn nested(tree: &Tree) -> Option<(&str, &str)> {
    tree.files.keys().find_map(|path| {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        let found = folders.into_iter().find(|folder| tree.files.contains_key(*folder));
        let folder = found?;
        Some((folder, path.as_str()))
    })
}

/// Finds a new file whose path differs from that of another one by case only.
fn case_clash<'a>(tree: &'a Tree, before: &Tree) -> Option<(&'a str, &'a str)> {
    let (old, new): (Vec<_>, Vec<_>) =
        tree.files.keys().partition(|path| before.files.contains_key(*path));
    let mut seen: HashMap<_, _> = old.iter().map(|path| (path.to_lowercase(), *path)).collect();
    new.into_iter()
        .find_map(|path| Some((seen.insert(path.to_lowercase(), path)?.as_str(), &**path)))
}

impl Store {
    /// Pushes a file, or the files of a directory, as one commit. Makes the store at an absent or
    /// empty place, and the repository if there is none.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody else changed the same files, [`Error::NotEmpty`],
    /// [`Error::Name`], [`Error::NoRevision`], and those of reading and storing. Nothing is
    /// committed then; but for [`Error::Unknown`], where the store did not say.
    pub fn push(
        &self,
        source: &Path,
        repo: &RepoName,
        options: &PushOptions<'_>,
    ) -> Result<Pushed> {
        check_ref(options.branch)?;
        let Source { files, left_out } = walk(source, options.progress)?;
        options.progress.begin(files.iter().fold(0, |sum, file| sum.saturating_add(file.len)));
        self.init()?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let head = Head::find(&self.objects, repo)?;
        if let Some(commit) = head.as_ref().and_then(|head| head.entry.done_for(options.request)) {
            return Ok(Pushed::before(commit));
        }
        let base = self.base(repo, head.as_ref(), options)?;
        let (namespace, level) = (&repo.namespace, options.level);
        let mut stage = Stage::new(self, namespace, &lease, level, &|_| true, options.progress)?;
        // The files of an older revision may be collected by now; those of the head are not.
        let nothing = Tree::default();
        let before = if options.parent.is_none() { &base.1 } else { &nothing };
        if options.differences {
            let private = head.as_ref().is_some_and(|head| head.entry.private);
            let private = options.private.unwrap_or(private);
            stage.take_bases(self.bases_by_card((repo, private), &files, before)?);
        }
        let files = stage.add_all(&files, before)?;
        let (branch, removed) = (options.branch, Vec::new());
        let changes = Changes { repo, branch, base, files, removed, delete: options.delete };
        let pushed = self.finish(head, changes, &lease, stage, options)?;
        Ok(Pushed { left_out, ..pushed })
    }

    /// Returns the revisions of the namespace that the card of a model names as its base.
    fn bases_by_card(
        &self,
        (repo, private): (&RepoName, bool),
        files: &[SourceFile],
        before: &Tree,
    ) -> Result<Vec<Tree>> {
        let card = match (files.iter().find(|file| file.path == CARD), before.files.get(CARD)) {
            (Some(file), _) if file.len <= CARD_LEN => fs::read(&file.full).unwrap_or_default(),
            (None, Some(file)) if file.size <= CARD_LEN => self.read_card(&repo.namespace, file),
            _ => Vec::new(),
        };
        self.base_trees(&repo.namespace, (&repo.to_string(), private), &card)
    }

    /// Commits changes whose files are stored.
    pub(crate) fn finish(
        &self,
        head: Option<Head>,
        mut changes: Changes<'_>,
        lease: &Lease,
        mut stage: Stage<'_>,
        options: &PushOptions<'_>,
    ) -> Result<Pushed> {
        stage.name_recipes(lease.now());
        for (_, file) in &mut changes.files {
            file.recipe = stage.recipe_name(file.sha256).cloned().or(file.recipe.take());
        }
        let had: HashSet<_> = changes.base.1.files.values().map(|file| file.sha256).collect();
        let packed = changes.files.iter().filter(|(_, file)| file.root.is_some());
        let weights = packed.map(|(_, file)| file.sha256).filter(|file| !had.contains(file));
        let weights = weights.collect();
        let lens = changes.files.iter().map(|(_, file)| file.size);
        let bytes = lens.fold(0, u64::saturating_add);
        let (commit, new) = self.commit(head, &changes, lease, &mut stage, options)?;
        Ok(Pushed {
            commit: commit.id,
            tree: commit.tree,
            new,
            files: changes.files.len() as u64,
            bytes,
            stored: stage.written(),
            weights,
            tensors: stage.tensors.0,
            new_tensors: stage.tensors.1,
            healed: stage.healed.len() as u64,
            bases_lost: stage.bases_lost,
            faults: stage.faults,
            left_out: Vec::new(),
        })
    }

    /// Checks that a repository is the one with an entry, and is there.
    pub(crate) fn check_same(
        &self,
        head: Option<&Head>,
        repo: &RepoName,
        entry: Option<&Entry>,
    ) -> Result<()> {
        let Some(entry) = entry else { return Ok(()) };
        let gone = || {
            let hint = ": it was removed, or renamed, a moment ago".into();
            Error::NoRepo { repo: repo.to_string(), hint }
        };
        let head = head.filter(|head| head.is_live()).ok_or_else(gone)?;
        let same = match head.entry.seq.cmp(&entry.seq) {
            Ordering::Less => false,
            Ordering::Equal => head.entry.id == entry.id,
            Ordering::Greater => {
                Head::at(&self.objects, &keys::entry(&head.log, entry.seq))?.entry.id == entry.id
            }
        };
        if same { Ok(()) } else { Err(gone()) }
    }

    /// Returns the revision that a push is made for.
    pub(crate) fn base(
        &self,
        repo: &RepoName,
        head: Option<&Head>,
        options: &PushOptions<'_>,
    ) -> Result<(String, Tree)> {
        let missing = |revision: &str| Error::NoRevision {
            repo: repo.to_string(),
            revision: revision.into(),
        };
        let Some(head) = head.filter(|head| head.is_live()) else {
            return match options.parent {
                Some(parent) => Err(missing(parent)),
                None => Ok((NOTHING.into(), Tree::default())),
            };
        };
        head.check_spelling(repo)?;
        let branches = &head.entry.branches;
        if options.parent.is_none() && branches.is_empty() && options.branch == MAIN {
            // Its branches were removed.
            return Ok((NOTHING.into(), Tree::default()));
        }
        let found = match (options.parent, options.expected) {
            (Some(parent), _) | (None, Expected::New(Some(parent))) => {
                self.resolve(head, repo, parent)?
            }
            (None, Expected::New(None)) => return Ok((NOTHING.into(), Tree::default())),
            (None, _) => {
                let found = branches.get(options.branch);
                found.cloned().ok_or_else(|| missing(options.branch))?
            }
        };
        let tree = Tree::read(&self.objects, &repo.namespace, found.tree, &found.copy)?;
        Ok((found.commit, tree))
    }

    /// Writes what is left of a push, and appends its commit to the log, after whatever others have
    /// appended meanwhile.
    pub(crate) fn commit(
        &self,
        head: Option<Head>,
        changes: &Changes<'_>,
        lease: &Lease,
        stage: &mut Stage<'_>,
        options: &PushOptions<'_>,
    ) -> Result<(Commit, bool)> {
        let committed = self.append_commit(head, changes, lease, stage, options);
        stage.settle(committed, lease)
    }

    fn append_commit(
        &self,
        mut head: Option<Head>,
        changes: &Changes<'_>,
        lease: &Lease,
        stage: &mut Stage<'_>,
        options: &PushOptions<'_>,
    ) -> Result<(Commit, bool)> {
        let repo = changes.repo;
        let mut written: Option<(Digest, String)> = None;
        loop {
            let last = head.as_ref().map(|head| &head.entry);
            if let Some(commit) = last.and_then(|entry| entry.done_for(options.request)) {
                // The same request was faster, by way of another server maybe.
                return Ok((commit.clone(), false));
            }
            self.check_same(head.as_ref(), repo, options.of)?;
            let Place { end, log, birth, mut entry } =
                self.place(head.as_ref(), repo, lease.now())?;
            let before = entry.branches.get(changes.branch).cloned();
            check_expected(changes, before.as_ref(), options.expected)?;
            if before.is_none() {
                check_no_commit(changes.branch)?;
                check_room(&entry)?;
            }
            let new = matches!(options.expected, Expected::New(_));
            if before.is_none() && !new && changes.base.0 != NOTHING && options.parent.is_none() {
                return Err(changes.conflict("it was removed meanwhile".into()));
            }
            let current = match &before {
                Some(found) => Tree::read(&self.objects, &repo.namespace, found.tree, &found.copy)?,
                None if new => changes.base.1.clone(),
                None => Tree::default(),
            };
            let tree = changes.apply(&current)?;
            tree.files.keys().try_for_each(|path| check_path(path))?;
            // One that is there from before can be removed only if all others stay.
            changes.files.iter().try_for_each(|(path, _)| check_no_git(path))?;
            if let Some(before) = &before
                && tree.changes(&current).is_empty()
                && options.merging.is_none()
                && (options.sign.is_none() || self.is_signed(&log, before)?)
            {
                let commit = Commit {
                    id: before.commit.clone(),
                    parent: None,
                    tree: before.tree,
                    copy: before.copy.clone(),
                    message: String::new(),
                    time: entry.time.clone(),
                    author: String::new(),
                    files: tree.files.len() as u64,
                    bytes: tree.bytes(),
                    stored: 0,
                    signature: None,
                };
                stage.write(None, lease)?;
                return Ok((commit, false));
            }
            let (bytes, digest) = tree.to_bytes();
            // Nothing is committed that cannot be read.
            let readable = Tree::parse(&bytes, digest);
            readable.map_err(|problem| Error::damaged(repo.to_string(), problem))?;
            let copy = match &written {
                Some((same, copy)) if *same == digest => copy.clone(),
                _ => {
                    let copy = keys::next(None);
                    let folder = keys::tree(&repo.namespace, digest);
                    stage.write(Some((format!("{folder}/{copy}"), bytes)), lease)?;
                    written = Some((digest, copy.clone()));
                    copy
                }
            };
            let signature = match options.sign {
                Some(sign) => Some(sign(&signed_tree(&digest)).map_err(Error::Unfit)?),
                None => None,
            };
            let commit = Commit {
                id: String::new(),
                parent: match options.expected {
                    Expected::New(from) => from.map(str::to_owned),
                    _ => before.map(|before| before.commit),
                },
                tree: digest,
                copy,
                message: options.message.into(),
                time: entry.time.clone(),
                author: self.actor.clone(),
                files: tree.files.len() as u64,
                bytes: tree.bytes(),
                stored: stage.written(),
                signature,
            };
            let commit = commit.named(&entry.id);
            entry.branches.insert(changes.branch.into(), Ref::to(&commit, entry.seq));
            if let (Some(proposal), Some(number)) =
                (options.proposal, proposal_number(changes.branch))
            {
                entry.proposals.insert(number, proposal.clone());
            }
            if let Some(merging) = options.merging {
                merged(&mut entry, repo, merging, &commit.id)?;
            }
            entry.commit = Some(commit.clone());
            entry.request = options.request.map(str::to_owned);
            entry.private = options.private.unwrap_or(entry.private);
            if let Some((old, end)) = end {
                let at = (&*old.log, old.birth);
                if let Appended::Behind(known) = self.append_recorded(lease, at, &end)? {
                    head = Some(Head::find_after(&self.objects, repo, known)?);
                    continue;
                }
            }
            match self.append_recorded(lease, (&log, birth), &entry)? {
                Appended::Done(_) => return Ok((commit, true)),
                Appended::Behind(known) => {
                    head = Some(Head::find_after(&self.objects, repo, known)?);
                }
            }
        }
    }

    /// Returns the place of the next entry. The log of a repository that was removed ends first, so
    /// that nobody restores it any more.
    fn place(&self, head: Option<&Head>, repo: &RepoName, now: SystemTime) -> Result<Place> {
        let new = |birth: u32, end| {
            let (log, entry) = (keys::log(repo, birth), log::first(repo, &self.actor, now));
            Place { end, log, birth, entry }
        };
        let Some(found) = head else { return Ok(new(0, None)) };
        match found.entry.state {
            State::Live => {
                found.check_spelling(repo)?;
                let entry = found.next(Action::Push, &self.actor, now);
                Ok(Place { end: None, log: found.log.clone(), birth: found.birth, entry })
            }
            State::Ended => Ok(new(found.birth + 1, None)),
            State::Deleted => {
                let mut end = found.next(Action::End, &self.actor, now);
                end.state = State::Ended;
                Ok(new(found.birth + 1, Some((found.clone(), end))))
            }
        }
    }

    /// Whether the commit that a branch is at is signed.
    fn is_signed(&self, log: &str, found: &Ref) -> Result<bool> {
        let entry = Head::at(&self.objects, &keys::entry(log, found.seq))?.entry;
        Ok(entry.commit.is_some_and(|commit| commit.signature.is_some()))
    }
}

impl Pushed {
    /// Returns the outcome of a request that was done before.
    pub(crate) fn before(commit: &Commit) -> Self {
        let Commit { id, tree, files, bytes, .. } = commit.clone();
        Self { commit: id, tree, files, bytes, ..Self::nothing(Vec::new()) }
    }

    /// Returns the outcome of a push of which nothing is done yet.
    pub fn nothing(left_out: Vec<String>) -> Self {
        Self {
            commit: String::new(),
            tree: Digest([0; 32]),
            new: false,
            files: 0,
            bytes: 0,
            stored: 0,
            weights: Vec::new(),
            tensors: 0,
            new_tensors: 0,
            healed: 0,
            bases_lost: Vec::new(),
            faults: Vec::new(),
            left_out,
        }
    }
}

impl Store {
    /// Returns the time of the store's clock.
    pub(crate) fn now(&self) -> Result<SystemTime> {
        let key = format!("{}/{}", keys::PROBES, keys::random());
        self.objects.put_unsynced(&key, Vec::new())?;
        let meta = self.objects.head(&key)?;
        self.objects.delete(std::slice::from_ref(&key))?;
        let meta =
            meta.ok_or_else(|| Error::damaged(&key, "an object that was written is gone"))?;
        Ok(meta.modified)
    }
}
