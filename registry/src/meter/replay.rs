//! Going through the logs of a namespace: which commits are live when, and what their files take.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use at1w_container::Digest;

use crate::entry::{Commit, Entry, State};
use crate::error::{Error, Result};
use crate::history::{ancestors, commits, tips};
use crate::keys;
use crate::log;
use crate::mark::{read_trees, revision};
use crate::meter::past::{self, Old};
use crate::meter::series::{Series, Sizes};
use crate::meter::usage::{NamespaceUsage, RepoUsage, Usage};
use crate::name::check_namespace;
use crate::recipe::{Location, Recipe};
use crate::sets::{Set, Sets};
use crate::store::Store;
use crate::time::parse_time;

/// The number of recipes that are read at a time.
const RECIPES: usize = 256;

/// A change of what is under management.
enum Change<'a> {
    /// A branch or a tag leads to the commit from now on.
    Comes { log: usize, commit: &'a Commit },
    /// None does any more.
    Goes { log: usize, commit: &'a Commit },
    /// The bytes of a file lie elsewhere.
    Moves { file: u32, places: Rc<[u32]> },
}

impl Store {
    /// Reads all logs, trees and recipes, and returns the usage of all namespaces, or of one: a
    /// file is under management from the commit that adds it until no branch or tag leads to a
    /// revision with it.
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::Name`], and those of the store. Damage is a fault
    /// of the outcome.
    pub fn usage(&self, namespace: Option<&str>) -> Result<Usage> {
        self.require()?;
        let asked = match namespace {
            Some(namespace) => {
                check_namespace(namespace)?;
                vec![namespace.to_owned()]
            }
            None => self.namespaces()?,
        };
        let mut usage = Usage::default();
        for namespace in asked {
            let found = replay(self, &namespace, &mut usage.faults)?;
            usage.namespaces.push(found);
        }
        Ok(usage)
    }
}

/// Goes through the logs of a namespace.
fn replay(store: &Store, namespace: &str, faults: &mut Vec<String>) -> Result<NamespaceUsage> {
    let listed = store.objects.list(&format!("{}/{namespace}", keys::REPOS))?;
    // The logs of each name, in small letters, with the spelling of the last one.
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut repos: Vec<RepoUsage> = Vec::new();
    let (mut logs, mut last) = (Vec::new(), Vec::new());
    for found in listed.chunk_by(|a, b| keys::parent(&a.key) == keys::parent(&b.key)) {
        let folder = keys::parent(&found[0].key);
        let read = log::last_of(folder, found)
            .and_then(|last| log::read_all(&store.objects, folder, last));
        if let Ok(entries) = &read
            && entries.first().is_some_and(Entry::is_of_none)
        {
            continue;
        }
        let name = keys::repo_of(folder).unwrap_or(folder).to_owned();
        let at = *names.entry(name.clone()).or_insert_with(|| {
            repos.push(RepoUsage { name, series: Series::default(), last: Series::default() });
            last.push(None);
            repos.len() - 1
        });
        // The logs of a name are listed in the order of their births.
        last[at] = None;
        let entries = match read {
            Err(error) if error.is_integrity() => {
                faults.push(error.to_string());
                continue;
            }
            entries => entries?,
        };
        if let Some(entry) = entries.iter().find(|entry| parse_time(&entry.time).is_none()) {
            let (entry, time) = (keys::entry(folder, entry.seq), &entry.time);
            faults.push(format!("{entry} has no time, but {time:?}"));
        }
        if let Some(last) = entries.last() {
            repos[at].name.clone_from(&last.name);
        }
        last[at] = Some(logs.len());
        logs.push((at, entries));
    }
    let mut changes: Vec<(u64, Change<'_>)> = Vec::new();
    for (log, (_, entries)) in logs.iter().enumerate() {
        changes.extend(lives(log, entries));
    }
    let names: Vec<_> = logs.iter().map(|&(repo, _)| repos[repo].name.clone()).collect();
    let mut files = Files::default();
    let (trees, past) = files.read_trees(store, namespace, &names, &changes, faults)?;
    let first = files.read_recipes(store, namespace, past, &mut changes, faults)?;
    changes.sort_by_key(|(time, _)| *time);
    let mut all = Held::default();
    let mut held: Vec<Held> = logs.iter().map(|_| Held::default()).collect();
    let mut meter = Meter { files: &files, places: first };
    for same in changes.chunk_by(|a, b| a.0 == b.0) {
        let mut touched = BTreeSet::new();
        for (_, change) in same {
            match change {
                Change::Comes { log, commit } | Change::Goes { log, commit } => {
                    let comes = matches!(change, Change::Comes { .. });
                    for held in [&mut all, &mut held[*log]] {
                        meter.change(held, commit, trees.get(&commit.tree), comes);
                    }
                    touched.insert(*log);
                }
                Change::Moves { file, places } => {
                    let holders = held.iter_mut().enumerate();
                    let holders = holders.filter(|(_, held)| held.files.contains_key(file));
                    for (log, held) in holders {
                        meter.move_to(held, *file, places);
                        touched.insert(log);
                    }
                    if all.files.contains_key(file) {
                        meter.move_to(&mut all, *file, places);
                    }
                    meter.places.insert(*file, places.clone());
                }
            }
        }
        let time = same[0].0;
        touched.into_iter().for_each(|log| held[log].note(time));
        all.note(time);
    }
    for (at, (repo, last)) in repos.iter_mut().zip(last).enumerate() {
        let own = logs.iter().zip(&held).filter(|((repo, _), _)| *repo == at);
        repo.series = Series::sum(own.map(|(_, held)| &held.series));
        repo.last = last.map(|log| held[log].series.clone()).unwrap_or_default();
    }
    Ok(NamespaceUsage { name: namespace.into(), series: all.series, repos })
}

/// Returns when each commit of a log comes to be live, and ceases to be.
fn lives(log: usize, entries: &[Entry]) -> Vec<(u64, Change<'_>)> {
    let known = commits(entries);
    let (mut live, mut before, mut time) = (HashSet::new(), BTreeSet::new(), 0);
    let mut changes = Vec::new();
    for entry in entries {
        let there = entry.state == State::Live;
        let now: BTreeSet<&str> = tips(entry).filter(|_| there).collect();
        let new = entry.commit.as_ref().filter(|commit| now.contains(&*commit.id));
        let parent = new.and_then(|commit| commit.parent.as_deref());
        // As a rule a commit takes the place of its parent, and nothing goes.
        let stays = |tip: &&str| now.contains(*tip) || parent == Some(*tip);
        // One that has none is a fault. It is not as old as 1970.
        time = parse_time(&entry.time).unwrap_or(time);
        let mut comes = Vec::new();
        if before.iter().all(stays) {
            for tip in &now {
                let mut next = Some(*tip);
                while let Some(&commit) = next.and_then(|id| known.get(id)) {
                    if !live.insert(commit.id.as_str()) {
                        break;
                    }
                    comes.push(commit);
                    next = commit.parent.as_deref();
                }
            }
        } else {
            let wanted = ancestors(&known, now.iter().copied());
            let ids: HashSet<&str> = wanted.iter().map(|commit| commit.id.as_str()).collect();
            for id in live.difference(&ids) {
                changes.push((time, Change::Goes { log, commit: known[*id] }));
            }
            comes.extend(wanted.into_iter().filter(|commit| !live.contains(&*commit.id)));
            live = ids;
        }
        changes.extend(comes.into_iter().map(|commit| (time, Change::Comes { log, commit })));
        before = now;
    }
    changes
}

/// The files of a namespace and the places of their stored bytes, by numbers.
#[derive(Default)]
struct Files {
    sets: Sets,
    numbers: HashMap<Digest, u32>,
    sizes: Vec<u64>,
    places: HashMap<Location, u32>,
    lens: Vec<u64>,
}

/// The files of each tree, each once.
type Trees = HashMap<Digest, Set>;

/// The places of recipes that were deleted, by file and name.
type Past = HashMap<(Digest, String), Vec<Location>>;

/// Where the stored bytes of each file lie.
type Places = HashMap<u32, Rc<[u32]>>;

impl Files {
    fn number(&mut self, sha256: Digest, size: u64) -> u32 {
        let new = self.sizes.len() as u32;
        let number = *self.numbers.entry(sha256).or_insert(new);
        if number == new {
            self.sizes.push(size);
        }
        number
    }

    fn place(&mut self, location: Location) -> u32 {
        let (new, len) = (self.lens.len() as u32, location.len);
        let number = *self.places.entry(location).or_insert(new);
        if number == new {
            self.lens.push(len);
        }
        number
    }

    fn set(&mut self, files: impl Iterator<Item = (Digest, u64)>) -> Set {
        let numbers = files.map(|(sha256, size)| self.number(sha256, size)).collect();
        self.sets.add(numbers)
    }

    /// Reads the trees of all commits that ever were live, and what is kept of recipes that were
    /// deleted.
    fn read_trees(
        &mut self,
        store: &Store,
        namespace: &str,
        names: &[String],
        changes: &[(u64, Change<'_>)],
        faults: &mut Vec<String>,
    ) -> Result<(Trees, Past)> {
        let lived = || {
            changes.iter().filter_map(|(_, change)| match change {
                Change::Comes { log, commit } => Some((*log, *commit)),
                _ => None,
            })
        };
        let wanted: HashSet<Digest> = lived().map(|(_, commit)| commit.tree).collect();
        let (mut trees, mut recipes) = (Trees::new(), Past::new());
        let done = past::read(&store.objects, namespace, |old| match old {
            Old::Tree(tree, files) if wanted.contains(&tree) => {
                trees.insert(tree, self.set(files.into_iter()));
            }
            Old::Tree(..) => {}
            Old::Recipe(file, name, places) => drop(recipes.insert((file, name), places)),
        });
        match done {
            Err(error) if error.is_integrity() => faults.push(error.to_string()),
            done => done?,
        }
        let left = lived().map(|(_, commit)| commit);
        let left: Vec<_> = left.filter(|commit| !trees.contains_key(&commit.tree)).collect();
        read_trees(store, namespace, left.into_iter(), |commit, tree| {
            let set = match tree {
                Ok(tree) => self.set(tree.files.values().map(|file| (file.sha256, file.size))),
                Err(error) => {
                    let log = lived().find(|(_, other)| other.tree == commit.tree);
                    let name = log.map_or("", |(log, _)| &names[log]);
                    faults.push(format!("{}: {error}", revision(name, commit)));
                    Set::default()
                }
            };
            trees.insert(commit.tree, set);
            Ok(())
        })?;
        Ok((trees, recipes))
    }

    /// Reads where the bytes of all files lie and have lain; returns where each lay first, and adds
    /// when they moved.
    fn read_recipes(
        &mut self,
        store: &Store,
        namespace: &str,
        past: Past,
        changes: &mut Vec<(u64, Change<'_>)>,
        faults: &mut Vec<String>,
    ) -> Result<Places> {
        let mut found: BTreeMap<u32, BTreeMap<String, Rc<[u32]>>> = BTreeMap::new();
        let mut add = |files: &mut Self, sha256: &Digest, name: &str, places: Vec<Location>| {
            let Some(&number) = files.numbers.get(sha256) else { return };
            let places = places.into_iter().map(|place| files.place(place)).collect();
            found.entry(number).or_default().insert(name.into(), places);
        };
        for ((sha256, name), places) in past {
            add(self, &sha256, &name, places);
        }
        let listed = store.objects.list(&keys::files(namespace))?;
        let listed: Vec<_> = listed.into_iter().map(|meta| meta.key).collect();
        for some in listed.chunks(RECIPES) {
            for (key, bytes) in some.iter().zip(store.objects.get_all(some)?) {
                let Ok(sha256) = keys::last_part(keys::parent(key)).parse() else { continue };
                // Without one that is good the file is a fault, below.
                let recipe = bytes.and_then(|bytes| Recipe::parse_for(&bytes, sha256).ok());
                if let Some(recipe) = recipe {
                    let places = recipe.locations().collect();
                    add(self, &sha256, keys::last_part(key), places);
                }
            }
        }
        let mut first = Places::new();
        for (file, recipes) in found {
            let mut recipes = recipes.into_iter();
            first.extend(recipes.next().map(|(_, places)| (file, places)));
            // The name of a recipe begins with its time.
            let moves = recipes.map(|(name, places)| (keys::millis(&name) / 1000, places));
            changes.extend(moves.map(|(time, places)| (time, Change::Moves { file, places })));
        }
        for (sha256, number) in &self.numbers {
            if !first.contains_key(number) {
                faults.push(
                    Error::damaged(format!("recipe of {sha256}"), "it is missing").to_string(),
                );
            }
        }
        faults.sort();
        Ok(first)
    }
}

/// What is under management.
#[derive(Default)]
struct Held {
    /// The number of live commits with each part of sets of files.
    parts: HashMap<u32, u64>,
    /// The number of these parts with each file.
    files: HashMap<u32, u64>,
    /// The number of times that these files name each place.
    places: HashMap<u32, u64>,
    sizes: Sizes,
    series: Series,
}

impl Held {
    fn note(&mut self, time: u64) {
        self.series.set(time, self.sizes);
    }
}

/// The files, and where their bytes lie at the time that was reached.
struct Meter<'a> {
    files: &'a Files,
    places: Places,
}

/// Counts one more, or one less, of something; returns whether it is the first, or was the last.
fn count(counts: &mut HashMap<u32, u64>, what: u32, more: bool) -> bool {
    let number = counts.entry(what).or_default();
    if more {
        *number += 1;
        return *number == 1;
    }
    *number -= 1;
    let last = *number == 0;
    if last {
        counts.remove(&what);
    }
    last
}

/// Adds to a size, or takes from it.
fn change(size: &mut u64, by: u64, more: bool) {
    *size = if more { size.saturating_add(by) } else { size.saturating_sub(by) };
}

impl Meter<'_> {
    fn change(&self, held: &mut Held, commit: &Commit, tree: Option<&Set>, more: bool) {
        change(&mut held.sizes.logical, commit.bytes, more);
        let parts = tree.into_iter().flat_map(Set::parts);
        let parts: Vec<_> =
            parts.filter(|part| count(&mut held.parts, **part, more)).copied().collect();
        for &file in parts.into_iter().flat_map(|part| self.files.sets.part(part)) {
            if !count(&mut held.files, file, more) {
                continue;
            }
            change(&mut held.sizes.unique, self.files.sizes[file as usize], more);
            if let Some(places) = self.places.get(&file) {
                self.place(held, places, more);
            }
        }
    }

    fn place(&self, held: &mut Held, places: &[u32], more: bool) {
        for &place in places {
            if count(&mut held.places, place, more) {
                change(&mut held.sizes.stored, self.files.lens[place as usize], more);
            }
        }
    }

    fn move_to(&self, held: &mut Held, file: u32, places: &[u32]) {
        self.place(held, places, true);
        if let Some(before) = self.places.get(&file) {
            self.place(held, before, false);
        }
    }
}
