//! What is in use: the commits of all logs, and everything that they name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use at1w_container::Digest;
use at1w_remote::Meta;

use crate::entry::{Commit, State};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::log;
use crate::recipe::{Location, Recipe};
use crate::relocate::newest;
use crate::store::Store;
use crate::tree::Tree;

/// A commit that is in use.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    /// The repository, as its last entry names it.
    pub(crate) repo: String,
    pub(crate) commit: Commit,
    pub(crate) tree: Tree,
    /// Whether a branch or a tag leads to it now; otherwise one did that was removed lately.
    pub(crate) current: bool,
}

/// What is in use in a namespace.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    pub(crate) commits: Vec<InUse>,
    /// The newest recipe of each file in use, with its key.
    pub(crate) recipes: HashMap<Digest, (String, Recipe)>,
    /// The keys of all objects in use.
    pub(crate) keys: HashSet<String>,
    /// The places in use, by pack.
    pub(crate) places: HashMap<String, HashSet<Location>>,
    /// The number of repositories.
    pub(crate) repos: u64,
}

/// Reads all logs, and marks what is in use in each namespace. What was removed within `grace`
/// counts as in use.
pub(crate) fn mark(
    store: &Store,
    now: SystemTime,
    grace: Duration,
) -> Result<BTreeMap<String, Marked>> {
    let listed = store.objects.list(keys::REPOS)?;
    let mut namespaces: BTreeMap<String, Marked> = BTreeMap::new();
    for log in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
        let folder = keys::parent(&log[0].key);
        let namespace = folder.split('/').nth(1).unwrap_or_default().to_owned();
        let marked = namespaces.entry(namespace.clone()).or_default();
        mark_log(store, &namespace, folder, log, now, grace, marked)?;
    }
    for (namespace, marked) in &mut namespaces {
        mark_files(store, namespace, marked)?;
    }
    Ok(namespaces)
}

fn mark_log(
    store: &Store,
    namespace: &str,
    folder: &str,
    listed: &[Meta],
    now: SystemTime,
    grace: Duration,
    marked: &mut Marked,
) -> Result<()> {
    let last = listed.last().map_or(0, |meta| number(&meta.key));
    let entries = log::read_all(&store.objects, folder, last)?;
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
    for (commit, current) in all.chain(removed.map(|commit| (commit, false))) {
        let tree = match Tree::read(&store.objects, namespace, commit.tree, &commit.copy) {
            // It was collected before, with a shorter grace.
            Err(Error::Damaged { .. }) if !current => continue,
            tree => tree?,
        };
        let (repo, commit) = (head.name.clone(), commit.clone());
        marked.commits.push(InUse { repo, commit, tree, current });
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
    for InUse { commit, tree, current, .. } in &marked.commits {
        marked.keys.insert(format!("{}/{}", keys::tree(namespace, commit.tree), commit.copy));
        for file in tree.files.values() {
            *wanted.entry(file.sha256).or_default() |= current;
        }
    }
    let mut newest = newest(&store.objects.list(&keys::files(namespace))?);
    newest.retain(|sha256, _| wanted.contains_key(sha256));
    let missing = |(sha256, current): &(&Digest, &bool)| **current && !newest.contains_key(*sha256);
    if let Some((missing, _)) = wanted.iter().find(missing) {
        let recipe = format!("recipe {}", keys::recipes(namespace, *missing));
        return Err(Error::damaged(recipe, "it is missing, and nothing is collected"));
    }
    let newest: Vec<_> = newest.into_iter().collect();
    let listed: Vec<_> = newest.iter().map(|(_, key)| key.clone()).collect();
    for ((sha256, key), bytes) in newest.into_iter().zip(store.objects.get_all(&listed)?) {
        let (key, recipe) = match bytes {
            Some(bytes) => {
                let recipe = Recipe::parse_for(&bytes, sha256);
                let recipe = recipe.map_err(|problem| Error::damaged(&key, problem))?;
                (key, recipe)
            }
            // It was superseded meanwhile.
            None => {
                let newest = Recipe::newest(&store.objects, namespace, sha256)?;
                let newest = newest.ok_or_else(|| Error::damaged(&key, "it is gone"))?;
                (format!("{}/{}", keys::recipes(namespace, sha256), newest.0), newest.1)
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
