//! What is in use: the commits of all logs, and everything that they name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, SystemTime};

use at1w_container::Digest;
use at1w_remote::Meta;

use crate::entry::{Commit, State};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::log::check_chain;
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
    let log_of = |meta: &Meta| meta.key.rsplit_once('/').map_or("", |(log, _)| log).to_owned();
    for log in listed.chunk_by(|a, b| log_of(a) == log_of(b)) {
        let folder = log_of(&log[0]);
        let namespace = folder.split('/').nth(1).unwrap_or_default().to_owned();
        let marked = namespaces.entry(namespace.clone()).or_default();
        mark_log(store, &namespace, &folder, log, now, grace, marked)?;
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
    log: &[Meta],
    now: SystemTime,
    grace: Duration,
    marked: &mut Marked,
) -> Result<()> {
    let last = log.last().map_or(0, |meta| number(&meta.key));
    let keys: Vec<_> = (0..=last).map(|seq| keys::entry(folder, seq)).collect();
    let bytes = store.objects.get_all(&keys)?;
    let entries = check_chain(folder, bytes.iter().map(|bytes| bytes.as_deref()))?;
    // The time at which an entry stopped being the last one, by the clock of the store.
    let times: HashMap<_, _> = log.iter().map(|meta| (number(&meta.key), meta.modified)).collect();
    let young = |seq: u64| {
        let time = times.get(&seq);
        time.is_none_or(|time| now.duration_since(*time).unwrap_or_default() < grace)
    };
    let mut from = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let counts = match entries.get(at + 1) {
            // What a later entry has removed is kept for a while.
            Some(next) => young(next.seq),
            None => entry.state == State::Live || entry.state == State::Deleted && young(entry.seq),
        };
        if counts {
            from.extend(tips(entry));
        }
    }
    let Some(head) = entries.last() else { return Ok(()) };
    marked.repos += u64::from(head.state == State::Live);
    for commit in ancestors(&commits(&entries), from.into_iter()) {
        let tree = Tree::read(&store.objects, namespace, commit.tree, &commit.copy)?;
        let (repo, commit) = (head.name.clone(), commit.clone());
        marked.commits.push(InUse { repo, commit, tree });
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
    let mut wanted: HashSet<Digest> = HashSet::new();
    for InUse { commit, tree, .. } in &marked.commits {
        marked.keys.insert(format!("{}/{}", keys::tree(namespace, commit.tree), commit.copy));
        wanted.extend(tree.files.values().map(|file| file.sha256));
    }
    let mut newest = newest(&store.objects.list(&keys::files(namespace))?);
    newest.retain(|sha256, _| wanted.contains(sha256));
    if let Some(missing) = wanted.iter().find(|sha256| !newest.contains_key(*sha256)) {
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
