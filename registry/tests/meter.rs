//! The usage of a store, held against what its pushes and deletes should add up to.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use at1w_container::Level;
use at1w_registry::{
    Change, CollectOptions, MAIN, PushOptions, RepoName, Revision, Series, Store, Three,
};
use at1w_remote::Objects;
use common::{Hooked, Place, Random, model};

#[test]
fn a_name_that_is_taken_again_has_sizes_of_its_own() {
    let place = Place::new();
    place.push("lab/x", &[("a", vec![1; 1000])]);
    place.real().remove(&"lab/x".parse().unwrap()).unwrap();
    place.push("lab/X", &[("b", vec![2; 10])]);
    let usage = place.real().usage(None).unwrap();
    let [repo] = &usage.namespaces[0].repos[..] else { panic!("{usage:?}") };
    assert_eq!((repo.name.as_str(), repo.last.end().unique), ("lab/X", 10));
    assert!(repo.last.steps().iter().all(|(_, sizes)| sizes.unique <= 10), "{usage:?}");
    assert_eq!(repo.series.end(), repo.last.end());
}

/// The number of steps of the random history.
const STEPS: usize = 1_000;

/// The logical and the unique bytes.
type Both = (u64, u64);

/// The files that the steps take theirs from.
struct Pool {
    _folder: tempfile::TempDir,
    files: Vec<(PathBuf, u64)>,
}

impl Pool {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for at in 0..24 {
            let bytes = match at % 3 {
                // Weights that share tensors, and so are stored in less.
                0 => model(&[("a", 1 + at / 6, 400), ("b", 9, 300)], &at.to_string()),
                _ => vec![at as u8; 1 + 137 * at as usize],
            };
            let path = folder.path().join(at.to_string());
            fs::write(&path, &bytes).unwrap();
            files.push((path, bytes.len() as u64));
        }
        Self { _folder: folder, files }
    }

    /// Returns the path of a file in a commit.
    fn path(file: usize) -> String {
        if file.is_multiple_of(3) { format!("{file}.safetensors") } else { format!("{file}.bin") }
    }
}

/// A commit: its parent, and its files by path.
#[derive(Clone)]
struct Made {
    parent: Option<usize>,
    files: BTreeMap<String, usize>,
}

/// A repository: its branches and tags.
#[derive(Clone, Default)]
struct Repo {
    refs: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Model {
    commits: Vec<Made>,
    repos: BTreeMap<String, Repo>,
    removed: BTreeMap<String, Repo>,
}

impl Model {
    fn live(&self, repo: &Repo) -> BTreeSet<usize> {
        let mut live = BTreeSet::new();
        for &tip in repo.refs.values() {
            let mut next = Some(tip);
            while let Some(commit) = next.filter(|commit| live.insert(*commit)) {
                next = self.commits[commit].parent;
            }
        }
        live
    }

    /// The logical and the unique bytes of the repositories whose names begin with something.
    fn sizes(&self, pool: &Pool, prefix: &str) -> Both {
        let (mut logical, mut unique) = (0, BTreeSet::new());
        for (_, repo) in self.repos.iter().filter(|(name, _)| name.starts_with(prefix)) {
            for commit in self.live(repo) {
                for &file in self.commits[commit].files.values() {
                    logical += pool.files[file].1;
                    unique.insert(file);
                }
            }
        }
        (logical, unique.into_iter().map(|file| pool.files[file].1).sum())
    }
}

/// The time of the last entry of the last log of a name.
fn last_time(objects: &Objects, repo: &RepoName) -> u64 {
    let listed = objects.list(&format!("repos/{repo}")).unwrap();
    let bytes = objects.get(&listed.last().unwrap().key).unwrap().unwrap();
    let entry: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let time = entry["time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
    time.unwrap().timestamp() as u64
}

/// Sums the sizes of a history over a period, change by change.
fn integrated(history: &[(u64, Both)], period: &Range<u64>) -> (u128, u128) {
    let mut sum = (0, 0);
    for (at, &(time, sizes)) in history.iter().enumerate() {
        let until = history.get(at + 1).map_or(period.end, |next| next.0);
        let (from, to) = (time.max(period.start), until.min(period.end));
        let seconds = u128::from(to.saturating_sub(from));
        sum.0 += u128::from(sizes.0) * seconds;
        sum.1 += u128::from(sizes.1) * seconds;
    }
    sum
}

/// Does a random step; returns the repository that it has changed.
fn step(store: &Store, pool: &Pool, model: &mut Model, random: &mut Random) -> Option<RepoName> {
    let name = format!("{}/r{}", ["lab", "team"][random.below(2)], random.below(3));
    let repo: RepoName = name.parse().unwrap();
    let revision = |name: Option<String>| Revision { repo: repo.clone(), revision: name };
    let there = model.repos.get(&name).cloned();
    match random.below(20) {
        0..11 => {
            let before = there.as_ref().and_then(|repo| repo.refs.get(MAIN)).copied();
            if there.is_some() && before.is_none() {
                return None;
            }
            let mut files = before.map_or_else(BTreeMap::new, |at| model.commits[at].files.clone());
            let mut changes = BTreeMap::new();
            for _ in 0..1 + random.below(3) {
                let file = random.below(pool.files.len());
                let path = Pool::path(file);
                if files.contains_key(&path) && random.below(2) == 0 {
                    files.remove(&path);
                    let was = before.is_some_and(|at| model.commits[at].files.contains_key(&path));
                    if was {
                        changes.insert(path, Change::Remove);
                    } else {
                        changes.remove(&path);
                    }
                } else {
                    changes.insert(path.clone(), Change::Add(pool.files[file].0.clone()));
                    files.insert(path, file);
                }
            }
            let changes: Vec<_> = changes.into_iter().collect();
            let pushed = store.apply(&repo, &changes, &PushOptions::new()).unwrap();
            if !pushed.new {
                return None;
            }
            model.removed.remove(&name);
            model.commits.push(Made { parent: before, files });
            let at = model.commits.len() - 1;
            model.repos.entry(name).or_default().refs.insert(MAIN.into(), at);
        }
        11..13 => {
            let tag = format!("t{}", random.below(4));
            let at = *there?.refs.get(MAIN)?;
            store.tag(&revision(Some(MAIN.into())), &tag).ok()?;
            model.repos.get_mut(&name)?.refs.insert(tag, at);
        }
        13..16 => {
            let refs = there?.refs;
            let which = refs.keys().nth(random.below(refs.len().max(1)))?.clone();
            store.remove(&revision(Some(which.clone()))).unwrap();
            model.repos.get_mut(&name)?.refs.remove(&which);
        }
        16 => {
            there?;
            store.remove(&revision(None)).unwrap();
            let removed = model.repos.remove(&name)?;
            model.removed.insert(name, removed);
        }
        17 => {
            let removed = model.removed.remove(&name)?;
            store.restore(&revision(None)).unwrap();
            model.repos.insert(name, removed);
        }
        18 => {
            let to = format!("r{}", random.below(3));
            let target = format!("{}/{to}", repo.namespace);
            if there.is_none() || model.repos.contains_key(&target) {
                return None;
            }
            store.rename(&repo, &to).unwrap();
            let moved = model.repos.remove(&name)?;
            model.removed.insert(name, moved.clone());
            model.removed.remove(&target);
            model.repos.insert(target.clone(), moved);
            return Some(target.parse().unwrap());
        }
        _ => {
            store.collect(&CollectOptions::new().grace(std::time::Duration::ZERO)).unwrap();
            // What was removed is collected, and cannot come back.
            model.removed.clear();
            return None;
        }
    }
    Some(repo)
}

#[test]
fn usage_equals_what_a_thousand_steps_add_up_to() {
    let ahead = Arc::new(AtomicU64::new(0));
    let store = Store::new(Hooked::clocked(&ahead));
    store.init().unwrap();
    let (pool, mut model, mut random) = (Pool::new(), Model::default(), Random(0x5EED));
    let scopes: Vec<String> = ["lab/", "team/"]
        .into_iter()
        .flat_map(|ns| {
            std::iter::once(ns.to_owned()).chain((0..3).map(move |at| format!("{ns}r{at}")))
        })
        .collect();
    let mut histories: BTreeMap<&str, Vec<(u64, Both)>> = BTreeMap::new();
    let (mut stored, mut end) = (Vec::new(), 0);
    let mut done = 0;
    while done < STEPS {
        ahead.fetch_add(1 + random.next() % 5_000, Ordering::Relaxed);
        let Some(repo) = step(&store, &pool, &mut model, &mut random) else { continue };
        done += 1;
        end = last_time(store.objects(), &repo);
        for scope in &scopes {
            let sizes = model.sizes(&pool, scope);
            histories.entry(scope).or_default().push((end, sizes));
        }
        if done.is_multiple_of(25) {
            stored.push((end, store.stats().unwrap()));
        }
    }
    let usage = store.usage(None).unwrap();
    assert!(usage.faults.is_empty(), "{:?}", usage.faults);
    let mut series: BTreeMap<String, &Series> = BTreeMap::new();
    for namespace in &usage.namespaces {
        series.insert(format!("{}/", namespace.name), &namespace.series);
        series.extend(namespace.repos.iter().map(|repo| (repo.name.clone(), &repo.series)));
    }
    let first = histories["lab/"][0].0;
    let mut periods = vec![0..end + 1_000, first..end];
    for _ in 0..50 {
        let from = first + random.next() % (end - first);
        periods.push(from..from + random.next() % (end - from + 1_000));
    }
    for (scope, history) in &histories {
        for period in &periods {
            let over = series[*scope].over(period.clone());
            let expected = integrated(history, period);
            let found = (over.byte_seconds.logical, over.byte_seconds.unique);
            assert_eq!(found, expected, "{scope} {period:?}");
        }
    }
    for (time, summaries) in stored {
        for (name, summary) in summaries {
            let sizes = series[&format!("{name}/")].at(time);
            let expected = (summary.logical, summary.unique, summary.used);
            assert_eq!((sizes.logical, sizes.unique, sizes.stored), expected, "{name} at {time}");
        }
    }
    let total = usage.total();
    let sum = |time| {
        let zero = Three { logical: 0, unique: 0, stored: 0 };
        let sizes = usage.namespaces.iter().map(|namespace| namespace.series.at(time));
        sizes.fold(zero, |sum, sizes| sum.with(sizes, |a, b| a + b))
    };
    assert!(periods.iter().all(|period| total.at(period.start) == sum(period.start)));
}

#[test]
fn what_was_collected_and_repacked_stays_in_the_bill_as_it_was() {
    let place = Place::new();
    // Level max finds what repeats.
    let data = common::tensor(1, 1_000).repeat(60);
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![60_000], &data);
    let weights = safetensors::serialize([("a", view.unwrap())], None).unwrap();
    let (store, repo) = (place.store(), "lab/model".parse::<RepoName>().unwrap());
    let source = place.source("source", &[("model.safetensors", weights), ("a.bin", vec![1; 99])]);
    store.push(&source, &repo, &PushOptions::new().level(Level::Fast)).unwrap();
    let pushed = store.usage(None).unwrap().namespaces.remove(0);
    let first = pushed.series.end();
    // Each change has a second of its own.
    let wait = || std::thread::sleep(std::time::Duration::from_millis(1_100));
    wait();
    store.repack("lab", None, Level::Max, &()).unwrap();
    let repacked = store.usage(None).unwrap().namespaces.remove(0).series;
    assert_eq!(repacked.steps().len(), 2, "{repacked:?}");
    assert!(repacked.end().stored < first.stored, "{repacked:?}");
    assert_eq!(repacked.steps()[0].1, first);
    wait();
    store.remove(&Revision { repo, revision: None }).unwrap();
    let removed = store.usage(None).unwrap();
    store.collect(&CollectOptions::new().grace(std::time::Duration::ZERO)).unwrap();
    assert!(place.keys("packs/").is_empty() && place.keys("trees/").is_empty());
    let collected = store.usage(None).unwrap();
    assert!(collected.faults.is_empty(), "{:?}", collected.faults);
    let series = |usage: &at1w_registry::Usage| usage.namespaces[0].series.clone();
    assert_eq!(series(&collected), series(&removed));
    assert_eq!(series(&collected).end().logical, 0);
    assert_eq!(series(&collected).steps()[..2], *repacked.steps());
    for key in place.keys("past/") {
        fs::write(place.root().join(key), "{").unwrap();
    }
    let damaged = store.usage(None).unwrap();
    assert!(damaged.faults[0].contains("past/lab/"), "{:?}", damaged.faults);
    assert_eq!(series(&damaged).over(0..u64::MAX).end.logical, 0);
}

#[test]
fn damage_is_a_fault_of_the_report_and_keeps_nobody_else_from_it() {
    let place = Place::new();
    place.push("lab/a", &[("a.bin", vec![1; 1000])]);
    place.push("lab/b", &[("b.bin", vec![2; 500])]);
    let entry = place.keys("repos/lab/a/").remove(0);
    fs::write(place.root().join(entry), "{}").unwrap();
    let usage = place.store().usage(Some("lab")).unwrap();
    assert_eq!(usage.namespaces[0].series.end().unique, 500);
    assert!(usage.faults[0].contains("lab/a"), "{:?}", usage.faults);
}
