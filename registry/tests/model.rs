//! A model of the store: random steps are held against a map of what should be there, after each.
//! A request of a step fails, or another step runs while it waits.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use at1w_container::Level;
use at1w_registry::{CollectOptions, Error, PushOptions, Revision, ScrubOptions, Store};
use common::{Fate, Hook, LATER, Place, model};
use proptest::prelude::*;

/// The number of repositories, and of tags of each.
const REPOS: usize = 3;
const TAGS: usize = 2;

/// The time after which a push is given up: the shortest grace while one runs is four times that.
const LEASE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    Push { repo: usize, seeds: Vec<u64>, delete: bool, differences: bool },
    Remove { repo: usize },
    Restore { repo: usize },
    Rename { from: usize, to: usize },
    Tag { repo: usize, tag: usize },
    Untag { repo: usize, tag: usize },
    Collect { at_rest: bool },
    Repack { max: bool },
    Rebase,
    Scrub,
}

/// What happens at a request of a step.
#[derive(Clone, Debug)]
enum Event {
    Fails(Fate),
    Waits(Step),
}

fn step() -> impl Strategy<Value = Step> {
    let (repo, tag) = (0..REPOS, 0..TAGS);
    // Some tensors differ from others in a little.
    let seed = (1..4_u64, 0..3_u64).prop_map(|(seed, times)| seed + times * LATER);
    let seeds = prop::collection::vec(seed, 1..4);
    prop_oneof![
        5 => (repo.clone(), seeds, any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(repo, seeds, delete, differences)| {
                Step::Push { repo, seeds, delete, differences }
            }),
        2 => repo.clone().prop_map(|repo| Step::Remove { repo }),
        1 => repo.clone().prop_map(|repo| Step::Restore { repo }),
        2 => (repo.clone(), repo.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (repo.clone(), tag.clone()).prop_map(|(repo, tag)| Step::Tag { repo, tag }),
        1 => (repo, tag).prop_map(|(repo, tag)| Step::Untag { repo, tag }),
        4 => any::<bool>().prop_map(|at_rest| Step::Collect { at_rest }),
        1 => any::<bool>().prop_map(|max| Step::Repack { max }),
        1 => Just(Step::Rebase),
        1 => Just(Step::Scrub),
    ]
}

/// A step, and the number of a request of it at which something happens.
fn disturbed() -> impl Strategy<Value = (Step, Option<(usize, Event)>)> {
    let event = prop_oneof![
        Just(Event::Fails(Fate::Refused)),
        Just(Event::Fails(Fate::Lost)),
        step().prop_map(Event::Waits),
        step().prop_map(Event::Waits),
    ];
    (step(), prop::option::weighted(0.6, (1..60_usize, event)))
}

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a repository, and of its tags.
type Content = (Files, BTreeMap<usize, Files>);

/// What should be there.
#[derive(Clone, Debug, Default)]
struct Expected {
    repos: BTreeMap<usize, Content>,
    /// What was removed, and may be restored.
    removed: BTreeMap<usize, Content>,
}

impl Expected {
    /// Returns what is there after a step that was done; `None` if it could not be done.
    fn after(&self, step: &Step) -> Option<Self> {
        let mut next = self.clone();
        match step {
            Step::Push { repo, seeds, delete, .. } => {
                let (files, _) = next.repos.entry(*repo).or_default();
                if *delete {
                    files.clear();
                }
                files.extend(common::owned(&content(seeds)));
                next.removed.remove(repo);
            }
            Step::Remove { repo } => {
                let removed = next.repos.remove(repo)?;
                next.removed.insert(*repo, removed);
            }
            Step::Restore { repo } => {
                let restored = next.removed.remove(repo)?;
                next.repos.insert(*repo, restored);
            }
            Step::Rename { from, to } if from == to => _ = next.repos.get(from)?,
            Step::Rename { from, to } => {
                let moved = next.repos.remove(from)?;
                if next.repos.insert(*to, moved.clone()).is_some() {
                    return None;
                }
                next.removed.remove(to);
                // The log under the old name is restored like one that was removed.
                next.removed.insert(*from, moved);
            }
            Step::Tag { repo, tag } => {
                let (files, tags) = next.repos.get_mut(repo)?;
                if tags.insert(*tag, files.clone()).is_some() {
                    return None;
                }
            }
            Step::Untag { repo, tag } => _ = next.repos.get_mut(repo)?.1.remove(tag)?,
            Step::Collect { .. } | Step::Repack { .. } | Step::Rebase | Step::Scrub => {}
        }
        Some(next)
    }

    /// Returns the names of files of each repository, for messages.
    fn keys(&self) -> Vec<(usize, Vec<&String>)> {
        self.repos.iter().map(|(repo, (files, _))| (*repo, files.keys().collect())).collect()
    }

    /// Whether a store holds just this.
    fn is_in(&self, place: &Place) -> bool {
        (0..REPOS).all(|repo| {
            let name = name(repo);
            let Some((files, tags)) = self.repos.get(&repo) else {
                let pulled = place.pulled(&name);
                return matches!(pulled, Err(Error::NoRepo { .. } | Error::NoStore(_)));
            };
            let is = |revision: &str, files: &Files| {
                place.pulled(revision).is_ok_and(|pulled| pulled == *files)
            };
            let tag = |tag: usize| match tags.get(&tag) {
                Some(files) => is(&format!("{name}@t{tag}"), files),
                None => {
                    matches!(place.pulled(&format!("{name}@t{tag}")), Err(Error::NoRevision { .. }))
                }
            };
            is(&name, files) && (0..TAGS).all(tag)
        })
    }
}

fn name(repo: usize) -> String {
    format!("lab/r{repo}")
}

fn content(seeds: &[u64]) -> Vec<(&'static str, Vec<u8>)> {
    let tensors: Vec<_> =
        seeds.iter().enumerate().map(|(i, seed)| (["a", "b", "c"][i], *seed, 3000)).collect();
    let name = ["x.safetensors", "y.safetensors"][seeds[0] as usize % 2];
    vec![(name, model(&tensors, "m")), ("config.json", format!("{seeds:?}").into_bytes())]
}

/// Takes a step. `folder` is that of what it pushes.
fn take(place: &Place, store: &Store, step: &Step, folder: &str) -> Result<(), Error> {
    let revision = |repo: &usize| name(*repo).parse::<Revision>().unwrap();
    let tagged = |repo: &usize, tag| format!("{}@t{tag}", name(*repo)).parse::<Revision>().unwrap();
    match step {
        Step::Push { repo, seeds, delete, differences } => {
            let source = place.source(folder, &content(seeds));
            let options = PushOptions::new().delete(*delete).differences(*differences);
            store.push(&source, &revision(repo).repo, &options).map(drop)
        }
        Step::Remove { repo } => store.remove(&revision(repo)),
        Step::Restore { repo } => store.restore(&revision(repo)),
        Step::Rename { from, to } => store.rename(&revision(from).repo, &format!("r{to}")),
        Step::Tag { repo, tag } => store.tag(&revision(repo), &format!("t{tag}")).map(drop),
        Step::Untag { repo, tag } => store.remove(&tagged(repo, tag)),
        Step::Collect { at_rest } => {
            let grace = if *at_rest { Duration::ZERO } else { LEASE * 4 };
            store.collect(&CollectOptions::new().grace(grace)).map(drop)
        }
        Step::Repack { max } => {
            let level = if *max { Level::Max } else { Level::Default };
            store.repack("lab", None, level, &()).map(drop)
        }
        Step::Rebase => store.rebase("lab", None, Level::Default, &()).map(drop),
        Step::Scrub => store.scrub(&ScrubOptions::new()).map(|scrubbed| {
            assert!(scrubbed.damaged.is_empty(), "{scrubbed:?}");
        }),
    }
}

/// What became of a step that was taken while another one waited.
type Within = Arc<Mutex<Option<Result<(), Error>>>>;

/// Returns a hook that has an event happen at a request.
fn happening(place: &Arc<Place>, event: Option<(usize, Event)>, within: &Within) -> Hook {
    let (count, place, within) = (Mutex::new(0), place.clone(), within.clone());
    Box::new(move |_, _| {
        let now = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count
        };
        match &event {
            Some((at, Event::Fails(fate))) if *at == now => *fate,
            Some((at, Event::Waits(step))) if *at == now => {
                let (place, step, within) = (place.clone(), step.clone(), within.clone());
                let other = move || {
                    let done = take(&place, &place.store(), &step, "other");
                    *within.lock().unwrap() = Some(done);
                };
                thread::spawn(other).join().unwrap();
                Fate::Answered
            }
            _ => Fate::Answered,
        }
    })
}

/// Returns what may be there after a step, and one that was taken while it waited.
fn candidates(
    before: &Expected,
    (step, done): (&Step, &Result<(), Error>),
    other: Option<(&Step, &Result<(), Error>)>,
) -> Vec<Expected> {
    let steps = |(step, done)| match done {
        // The step may have been done or not: the store did not say.
        &Err(Error::Unknown { .. } | Error::Expired(_)) => vec![Some(step), None],
        Ok(()) => vec![Some(step)],
        Err(_) => vec![None],
    };
    let others = other.map_or(vec![None], steps);
    let mut found = Vec::new();
    for step in steps((step, done)) {
        for other in &others {
            for order in [[step, *other], [*other, step]] {
                let all = order.into_iter().flatten();
                let after = all.clone().try_fold(before.clone(), |state, step| state.after(step));
                found.extend(after);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn every_live_revision_stays(steps in prop::collection::vec(disturbed(), 1..16)) {
        let place = Arc::new(Place::short(LEASE));
        let mut expected = Expected::default();
        for (step, event) in steps {
            // All that is there is older than any grace.
            place.age("", 3600);
            let within = Within::default();
            let other = match &event {
                Some((_, Event::Waits(step))) => Some(step.clone()),
                _ => None,
            };
            let store = place.hooked(happening(&place, event, &within));
            let done = take(&place, &store, &step, "source");
            drop(store);
            // What a process that died has left behind.
            for key in place.keys("leases") {
                std::fs::remove_file(place.root().join(key)).unwrap();
            }
            let within = within.lock().unwrap();
            let other = other.as_ref().zip(within.as_ref());
            let after = candidates(&expected, (&step, &done), other);
            let found = after.into_iter().find(|after| after.is_in(&place));
            prop_assert!(found.is_some(), "{step:?} {done:?} {other:?} after {:?}", expected.keys());
            expected = found.unwrap();
        }
    }
}
