//! A model of the store: random steps are held against a map of what should be there, after each.
//! A request of a step fails, or other steps run while it waits; it sleeps so long that the
//! collector gives up on it, or its process dies.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use at1w_container::Level;
use at1w_registry::{CollectOptions, Error, PushOptions, Revision, ScrubOptions, Store};
use common::{Fate, Hook, LATER, Late, Op, Place, model};
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
    /// The collector gives up on the step, and other steps follow.
    Sleeps(Vec<Step>),
    /// This request and all later ones are not done; but a put may be done some steps later.
    Dies(Option<usize>),
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

/// The request of a step at which something happens, by its number: among all, or among those that
/// append to a log.
#[derive(Clone, Copy, Debug)]
enum At {
    Any(usize),
    Log(usize),
}

/// A step, and what happens at which request of it.
fn disturbed() -> impl Strategy<Value = (Step, Option<(At, Event)>)> {
    let at = prop_oneof![(1..60_usize).prop_map(At::Any), (1..3_usize).prop_map(At::Log)];
    let event = prop_oneof![
        Just(Event::Fails(Fate::Refused)),
        Just(Event::Fails(Fate::Lost)),
        step().prop_map(Event::Waits),
        step().prop_map(Event::Waits),
        prop::collection::vec(step(), 0..3).prop_map(Event::Sleeps),
        prop::collection::vec(step(), 0..3).prop_map(Event::Sleeps),
        prop::option::of(0..3_usize).prop_map(Event::Dies),
        (0..3_usize).prop_map(|later| Event::Dies(Some(later))),
    ];
    let disturbed = (step(), prop::option::weighted(0.6, (at, event)));
    disturbed.prop_map(|(step, event)| match (&step, &event) {
        // One that ends early leaves the repository removed: a test of its own.
        (Step::Rename { .. }, Some((_, Event::Sleeps(_) | Event::Dies(_)))) => (step, None),
        _ => (step, event),
    })
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

/// What became of steps that were taken while another one waited.
type Within = Arc<Mutex<Vec<(Step, Result<(), Error>)>>>;

/// Returns a hook that has an event happen at a request.
fn happening(place: &Arc<Place>, event: Option<(At, Event)>, within: &Within) -> Hook {
    let (counts, place, within) = (Mutex::new((0, 0, false)), place.clone(), within.clone());
    let take_all = move |steps: Vec<Step>, given_up: bool| {
        let (place, within) = (place.clone(), within.clone());
        let others = move || {
            if given_up {
                place.age("leases", 4 * LEASE.as_secs());
            }
            for step in steps {
                let done = take(&place, &place.store(), &step, "other");
                within.lock().unwrap().push((step, done));
            }
        };
        thread::spawn(others).join().unwrap();
    };
    Box::new(move |op, key| {
        let Some((at, event)) = &event else { return Fate::Answered };
        let (now, dead) = {
            let mut counts = counts.lock().unwrap();
            let (all, logs, dead) = &mut *counts;
            *all += 1;
            let log = op == Op::Put && key.starts_with("repos/");
            *logs += usize::from(log);
            let now = match *at {
                At::Any(at) => *all == at,
                At::Log(at) => log && *logs == at,
            };
            let before = *dead;
            *dead |= now && matches!(event, Event::Dies(_));
            (now, before)
        };
        match event {
            Event::Dies(_) if dead => Fate::Refused,
            _ if !now => Fate::Answered,
            Event::Fails(fate) => *fate,
            Event::Waits(step) => {
                take_all(vec![step.clone()], false);
                Fate::Answered
            }
            Event::Sleeps(steps) => {
                let collect = Step::Collect { at_rest: true };
                take_all([vec![collect], steps.clone()].concat(), true);
                Fate::Answered
            }
            Event::Dies(Some(_)) if op == Op::Put => Fate::Late,
            Event::Dies(_) => Fate::Refused,
        }
    })
}

/// Returns what may be there after a step, which may have been done without saying so, and those
/// that were taken while it waited.
fn candidates(
    before: &Expected,
    (step, done): (&Step, &Result<(), Error>),
    died: bool,
    others: &[(Step, Result<(), Error>)],
) -> Vec<Expected> {
    let others: Vec<_> =
        others.iter().filter(|(_, done)| done.is_ok()).map(|(step, _)| step).collect();
    let unknown = died || matches!(done, Err(Error::Unknown { .. }));
    let mut found = Vec::new();
    if done.is_ok() || unknown {
        for at in 0..=others.len() {
            let mut all = others.clone();
            all.insert(at, step);
            found.extend(all.into_iter().try_fold(before.clone(), |state, step| state.after(step)));
        }
    }
    if done.is_err() || unknown {
        let all = others.into_iter();
        found.extend(all.into_iter().try_fold(before.clone(), |state, step| state.after(step)));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn every_live_revision_stays(steps in prop::collection::vec(disturbed(), 1..16)) {
        let place = Arc::new(Place::short(LEASE));
        let mut expected = Expected::default();
        // Steps that died, with a put that is on its way until some more steps are taken.
        let mut underway: Vec<(usize, Step, Late)> = Vec::new();
        for (now, (step, event)) in steps.into_iter().enumerate() {
            // All that is there is older than any grace, and leases of those that died are over.
            place.age("", 3600);
            let landing = underway.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
            for (_, step, late) in landing {
                late.land();
                let after = expected.after(&step).into_iter().chain([expected.clone()]);
                let found = after.into_iter().find(|after| after.is_in(&place));
                prop_assert!(found.is_some(), "late {step:?} after {:?}", expected.keys());
                expected = found.unwrap();
            }
            let (within, late) = (Within::default(), Late::default());
            let (died, later) = match &event {
                Some((_, Event::Dies(later))) => (true, *later),
                _ => (false, None),
            };
            let store = place.delayed(happening(&place, event, &within), &late);
            let done = take(&place, &store, &step, "source");
            drop(store);
            let others = within.lock().unwrap();
            let after = candidates(&expected, (&step, &done), died, &others);
            let found = after.into_iter().find(|after| after.is_in(&place));
            let before = expected.keys();
            prop_assert!(found.is_some(), "{step:?} {done:?} {others:?} after {before:?}");
            expected = found.unwrap();
            underway.extend(later.map(|later| (now + 1 + later, step, late)));
        }
    }
}
