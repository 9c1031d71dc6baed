//! What is in use: the commits of all logs, and everything that they name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use at1w_container::Digest;
use at1w_remote::{Meta, Objects};

use crate::entry::{Commit, Entry, State};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::log;
use crate::recipe::{Location, Recipe};
use crate::relocate::newest;
use crate::sets::{Set, Sets};
use crate::store::Store;
use crate::tree::{Facts, Tree};

/// The number of trees that are read at a time, and of files in them.
const TREES: usize = 256;
const FILES: u64 = 1 << 16;

/// A commit that is in use.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    /// The repository, as its last entry names it.
    pub(crate) repo: String,
    pub(crate) commit: Commit,
    /// The files of its tree.
    pub(crate) files: Set,
    /// The length of their originals: a file counts for each of its paths.
    pub(crate) bytes: u64,
    /// Whether the repository is private.
    pub(crate) private: bool,
    /// Whether a branch or a tag leads to it now; otherwise one did that was removed lately.
    pub(crate) current: bool,
}

/// The files of trees, by numbers. Trees themselves do not stay in memory.
#[derive(Debug, Default)]
struct Files {
    all: Vec<Facts>,
    numbers: HashMap<Facts, u32>,
    sets: Sets,
}

impl Files {
    fn add(&mut self, tree: &Tree) -> Set {
        let files = tree.files.values().map(|file| {
            *self.numbers.entry(file.facts()).or_insert_with_key(|facts| {
                self.all.push(*facts);
                self.all.len() as u32 - 1
            })
        });
        let files = files.collect();
        self.sets.add(files)
    }
}

/// What is in use in a namespace.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) commits: Vec<InUse>,
    files: Files,
    /// The newest recipe of each file in use, with its key.
    pub(crate) recipes: HashMap<Digest, (String, Recipe)>,
    /// The keys of all objects in use.
    pub(crate) keys: HashSet<String>,
    /// The places in use, by pack.
    pub(crate) places: HashMap<String, HashSet<Location>>,
    /// The number of repositories.
    pub(crate) repos: u64,
    /// What is broken. What it names is not marked.
    pub(crate) broken: Vec<Broken>,
}

impl Marked {
    /// Returns the files of some commits, each once for all that is said about it.
    pub(crate) fn files(&self, of: impl Fn(&InUse) -> bool) -> impl Iterator<Item = &Facts> {
        let sets = self.commits.iter().filter(|in_use| of(in_use)).map(|in_use| &in_use.files);
        let numbers = self.files.sets.union(sets);
        numbers.into_iter().map(|number| &self.files.all[number as usize])
    }

    /// Returns the commits that have none of some files.
    pub(crate) fn without(&self, files: &HashSet<Digest>) -> impl Iterator<Item = &InUse> {
        let is_one = |number: u32| files.contains(&self.files.all[number as usize].sha256);
        let sets = &self.files.sets;
        let has = |part: u32| sets.part(part).iter().any(|&number| is_one(number));
        let parts: HashSet<u32> = (0..sets.len()).filter(|&part| has(part)).collect();
        let lacks =
            move |in_use: &&InUse| !in_use.files.parts().iter().any(|part| parts.contains(part));
        self.commits.iter().filter(lacks)
    }

    fn lost_tree(&mut self, tree: Digest, lost: Vec<String>, error: Error) {
        let known = self.broken.iter_mut().find_map(|broken| match &mut broken.part {
            Part::Tree(known, revisions) if *known == tree => Some(revisions),
            _ => None,
        });
        match known {
            Some(revisions) => revisions.extend(lost),
            None => self.broken.push(Broken { part: Part::Tree(tree, lost), error }),
        }
    }
}

/// Returns what names a commit in messages.
pub(crate) fn revision(repo: &str, commit: &Commit) -> String {
    format!("{repo}@{:.12}", commit.id)
}

/// A log, a tree or a recipe that is missing or damaged: what it names cannot be told.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) part: Part,
    pub(crate) error: Error,
}

/// What is broken.
#[derive(Debug)]
pub(crate) enum Part {
    /// A log, by its folder.
    Log(String),
    /// A tree, with the revisions that need it.
    Tree(Digest, Vec<String>),
    /// The recipe of a file.
    Recipe(Digest),
}

/// Marks what is in use in each namespace, or in one. What was removed within `grace` counts as in
/// use.
///
/// # Errors
/// [`Error::Log`] and [`Error::Damaged`] where it cannot be told.
pub(crate) fn mark(
    store: &Store,
    namespace: Option<&str>,
    now: SystemTime,
    grace: Duration,
) -> Result<BTreeMap<String, Marked>> {
    let mut all = survey(store, namespace, now, grace, log::read_all)?;
    match all.values_mut().find_map(|marked| marked.broken.pop()) {
        Some(Broken { error, .. }) => Err(error),
        None => Ok(all),
    }
}

/// Reads the entries of a log up to a number: [`log::read_all`] or [`log::read_each`].
pub(crate) type ReadLog = fn(&Objects, &str, u64) -> Result<Vec<Entry>>;

/// [`mark`] for those who go on where something is broken.
pub(crate) fn survey(
    store: &Store,
    namespace: Option<&str>,
    now: SystemTime,
    grace: Duration,
    read: ReadLog,
) -> Result<BTreeMap<String, Marked>> {
    let folder = namespace.map_or(keys::REPOS.into(), |name| format!("{}/{name}", keys::REPOS));
    let listed = store.objects.list(&folder)?;
    if let (Some(namespace), true) = (namespace, listed.is_empty()) {
        let hint = ": its namespace has none".into();
        return Err(Error::NoRepo { repo: format!("{namespace}/*"), hint });
    }
    let mut namespaces: BTreeMap<String, Marked> = BTreeMap::new();
    for log in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
        let folder = keys::parent(&log[0].key);
        let namespace = folder.split('/').nth(1).unwrap_or_default().to_owned();
        let marked = namespaces.entry(namespace.clone()).or_default();
        match mark_log(store, &namespace, log, (now, grace), read, marked) {
            Err(error) if error.is_integrity() => {
                marked.broken.push(Broken { part: Part::Log(folder.into()), error });
            }
            done => done?,
        }
    }
    for (namespace, marked) in &mut namespaces {
        mark_files(store, namespace, marked)?;
    }
    Ok(namespaces)
}

fn mark_log(
    store: &Store,
    namespace: &str,
    listed: &[Meta],
    (now, grace): (SystemTime, Duration),
    read: ReadLog,
    marked: &mut Marked,
) -> Result<()> {
    let folder = keys::parent(&listed[0].key);
    let last = log::last_of(folder, listed)?;
    let entries = read(&store.objects, folder, last)?;
    // The time at which an entry stopped being the last one, by the clock of the store.
    let times: HashMap<_, _> =
        listed.iter().map(|meta| (number(&meta.key), meta.modified)).collect();
    let young = |seq: u64| {
        let time = times.get(&seq);
        time.is_none_or(|time| now.duration_since(*time).unwrap_or_default() < grace)
    };
    let (mut current, mut removed) = (Vec::new(), Vec::new());
    for (at, entry) in entries.iter().enumerate() {
        match entries.get(at + 1) {
            // What a later entry has removed is kept for a while.
            Some(next) if young(next.seq) => removed.extend(tips(entry)),
            Some(_) => {}
            None if entry.state == State::Live => current.extend(tips(entry)),
            None if entry.state == State::Deleted && young(entry.seq) => {
                removed.extend(tips(entry))
            }
            None => {}
        }
    }
    let Some(head) = entries.last() else { return Ok(()) };
    marked.repos += u64::from(head.state == State::Live);
    let commits = commits(&entries);
    let current = ancestors(&commits, current.into_iter());
    let known: HashSet<_> = current.iter().map(|commit| commit.id.as_str()).collect();
    let removed = ancestors(&commits, removed.into_iter());
    let removed = removed.into_iter().filter(|commit| !known.contains(commit.id.as_str()));
    let all = current.iter().map(|commit| (*commit, true));
    let all: Vec<_> = all.chain(removed.map(|commit| (commit, false))).collect();
    let (mut trees, mut lost) = (HashMap::new(), Vec::new());
    read_trees(store, namespace, all.iter().map(|(commit, _)| *commit), |commit, tree| {
        match tree {
            Ok(tree) => drop(trees.insert(commit.tree, (marked.files.add(&tree), tree.bytes()))),
            Err(error) => lost.push((commit.tree, error)),
        }
        Ok(())
    })?;
    for (tree, error) in lost {
        // One that was removed was collected before, with a shorter grace.
        let lost = all.iter().filter(|(commit, current)| *current && commit.tree == tree);
        let lost: Vec<_> = lost.map(|(commit, _)| revision(&head.name, commit)).collect();
        if !lost.is_empty() {
            marked.lost_tree(tree, lost, error);
        }
    }
    for (commit, current) in all {
        let Some((files, bytes)) = trees.get(&commit.tree) else { continue };
        marked.commits.push(InUse {
            repo: head.name.clone(),
            commit: commit.clone(),
            files: files.clone(),
            bytes: *bytes,
            private: head.private,
            current,
        });
    }
    Ok(())
}

/// Reads the trees of commits, each once and some of them side by side, and hands each on with the
/// first of its commits; the error instead where no copy of it is good. No more than those that are
/// read at a time are in memory.
pub(crate) fn read_trees<'a>(
    store: &Store,
    namespace: &str,
    commits: impl Iterator<Item = &'a Commit>,
    mut each: impl FnMut(&Commit, Result<Tree>) -> Result<()>,
) -> Result<()> {
    let mut seen = HashSet::new();
    let commits: Vec<_> = commits.filter(|commit| seen.insert(commit.tree)).collect();
    let copy = |commit: &&Commit| format!("{}/{}", keys::tree(namespace, commit.tree), commit.copy);
    let mut rest = &commits[..];
    while !rest.is_empty() {
        let mut files = 0_u64;
        let fit = rest.iter().take(TREES).take_while(|commit| {
            files = files.saturating_add(commit.files);
            files <= FILES
        });
        let (some, others) = rest.split_at(fit.count().max(1));
        let keys: Vec<_> = some.iter().map(copy).collect();
        for (commit, bytes) in some.iter().zip(store.objects.get_all(&keys)?) {
            let tree = match bytes.map(|bytes| Tree::parse(&bytes, commit.tree)) {
                Some(Ok(tree)) => Ok(tree),
                // Another copy may be good.
                _ => Tree::read(&store.objects, namespace, commit.tree, &commit.copy),
            };
            match tree {
                Err(error) if !error.is_integrity() => return Err(error),
                tree => each(commit, tree)?,
            }
        }
        rest = others;
    }
    Ok(())
}

fn number(key: &str) -> u64 {
    keys::last_part(key).parse().unwrap_or(0)
}

/// Marks the objects that the commits of a namespace name.
fn mark_files(store: &Store, namespace: &str, marked: &mut Marked) -> Result<()> {
    // Any copy of a tree is as good as another: the last one is kept, and what commits name.
    let trees: HashSet<Digest> = marked.commits.iter().map(|in_use| in_use.commit.tree).collect();
    for (sha256, key) in newest(&store.objects.list(&keys::trees(namespace))?) {
        if trees.contains(&sha256) {
            marked.keys.insert(key);
        }
    }
    // The files in use, and whether they are now.
    let mut wanted: HashMap<Digest, bool> = HashMap::new();
    wanted.extend(marked.files(|_| true).map(|file| (file.sha256, false)));
    wanted.extend(marked.files(|in_use| in_use.current).map(|file| (file.sha256, true)));
    for InUse { commit, .. } in &marked.commits {
        marked.keys.insert(format!("{}/{}", keys::tree(namespace, commit.tree), commit.copy));
    }
    let mut newest = newest(&store.objects.list(&keys::files(namespace))?);
    newest.retain(|sha256, _| wanted.contains_key(sha256));
    let listed: Vec<_> = newest.values().cloned().collect();
    let read: HashMap<_, _> = listed.iter().zip(store.objects.get_all(&listed)?).collect();
    // Listed last: what a recipe names is there before the recipe.
    let packs = store.objects.list(&keys::packs(namespace))?;
    let packs: HashMap<_, _> =
        packs.iter().map(|meta| (keys::last_part(&meta.key), meta.len)).collect();
    let whole =
        |recipe: &Recipe| recipe.packs.iter().all(|pack| packs.get(&*pack.id) == Some(&pack.len));
    for (sha256, current) in wanted {
        let key = newest.get(&sha256);
        let bytes = key.and_then(|key| read.get(key)?.as_ref());
        let (key, recipe) = match (key, bytes.map(|bytes| Recipe::parse_for(bytes, sha256))) {
            (Some(key), Some(Ok(recipe))) if whole(&recipe) => (key.clone(), recipe),
            // It was collected before, with a shorter grace.
            (None, _) if !current => continue,
            // It was superseded meanwhile, is damaged, or names packs that are gone; an older one
            // may be good.
            _ => {
                match Recipe::newest_whole(&store.objects, namespace, sha256, &whole).transpose() {
                    Some(Ok((name, recipe))) => {
                        (format!("{}/{name}", keys::recipes(namespace, sha256)), recipe)
                    }
                    Some(Err(error)) if !error.is_integrity() => return Err(error),
                    _ if !current => continue,
                    found => {
                        let recipes = keys::recipes(namespace, sha256);
                        let error = found.and_then(Result::err);
                        let error = error
                            .unwrap_or_else(|| Error::damaged(recipes, "the recipe is missing"));
                        marked.broken.push(Broken { part: Part::Recipe(sha256), error });
                        continue;
                    }
                }
            }
        };
        for location in recipe.locations() {
            marked.keys.insert(keys::pack(namespace, &location.pack));
            marked.places.entry(location.pack.clone()).or_default().insert(location);
        }
        marked.keys.insert(key.clone());
        marked.recipes.insert(sha256, (key, recipe));
    }
    Ok(())
}
