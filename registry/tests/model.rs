//! A model of the store: random steps, with faults, are held against a map of what should be there.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use at1w_container::Level;
use at1w_registry::{CollectOptions, Error, PushOptions, Revision, ScrubOptions};
use common::{Fate, Place, failing, model};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push { repo: usize, seeds: Vec<u64>, delete: bool },
    Remove { repo: usize },
    Restore { repo: usize },
    Tag { repo: usize, tag: usize },
    Untag { repo: usize, tag: usize },
    Collect { now: bool },
    Repack { max: bool },
    Scrub,
}

/// A step, and the request of it that fails.
fn step() -> impl Strategy<Value = (Step, Option<(usize, Fate)>)> {
    let repo = 0..3_usize;
    let seeds = prop::collection::vec(1..6_u64, 1..4);
    let step = prop_oneof![
        5 => (repo.clone(), seeds, any::<bool>())
            .prop_map(|(repo, seeds, delete)| Step::Push { repo, seeds, delete }),
        1 => repo.clone().prop_map(|repo| Step::Remove { repo }),
        1 => repo.clone().prop_map(|repo| Step::Restore { repo }),
        1 => (repo.clone(), 0..2_usize).prop_map(|(repo, tag)| Step::Tag { repo, tag }),
        1 => (repo, 0..2_usize).prop_map(|(repo, tag)| Step::Untag { repo, tag }),
        3 => prop::bool::weighted(0.8).prop_map(|now| Step::Collect { now }),
        1 => any::<bool>().prop_map(|max| Step::Repack { max }),
        1 => Just(Step::Scrub),
    ];
    let fate = prop_oneof![Just(Fate::Refused), Just(Fate::Lost)];
    (step, prop::option::weighted(0.3, (1..40_usize, fate)))
}

type Files = BTreeMap<String, Vec<u8>>;

/// What should be there.
#[derive(Clone, Debug, Default)]
struct Expected {
    /// The files of each repository that is there, and of its tags.
    repos: BTreeMap<usize, (Files, BTreeMap<usize, Files>)>,
    /// What was removed, and may be restored.
    removed: BTreeMap<usize, (Files, BTreeMap<usize, Files>)>,
}

fn content(seeds: &[u64]) -> Vec<(&'static str, Vec<u8>)> {
    let tensors: Vec<_> =
        seeds.iter().enumerate().map(|(i, seed)| (["a", "b", "c"][i], *seed, 3000)).collect();
    let name = ["x.safetensors", "y.safetensors"][seeds[0] as usize % 2];
    vec![(name, model(&tensors, "m")), ("config.json", format!("{seeds:?}").into_bytes())]
}

fn check(place: &Place, expected: &Expected) {
    for repo in 0..3 {
        let name = format!("lab/r{repo}");
        match expected.repos.get(&repo) {
            None => assert!(matches!(
                place.pulled(&name),
                Err(Error::NoRepo { .. } | Error::NoStore(_))
            )),
            Some((files, tags)) => {
                assert!(place.pulled(&name).unwrap() == *files, "{name}");
                for (tag, files) in tags {
                    assert!(place.pulled(&format!("{name}@t{tag}")).unwrap() == *files);
                }
            }
        }
    }
}

/// Takes a step; returns whether it was done.
fn take(
    place: &Place,
    step: &Step,
    expected: &mut Expected,
    fault: Option<(usize, Fate)>,
) -> Result<(), Error> {
    let fates = fault.into_iter().collect();
    let store = place.hooked(failing(fates));
    let revision = |repo: &usize| format!("lab/r{repo}").parse::<Revision>().unwrap();
    let tagged = |repo: &usize, tag| format!("lab/r{repo}@t{tag}").parse::<Revision>().unwrap();
    match step {
        Step::Push { repo, seeds, delete } => {
            let new = content(seeds);
            let source = place.source("source", &new);
            let options = PushOptions::new().delete(*delete);
            store.push(&source, &revision(repo).repo, &options)?;
            let (files, _) = expected.repos.entry(*repo).or_default();
            if *delete {
                files.clear();
            }
            files.extend(common::owned(&new));
            expected.removed.remove(repo);
        }
        Step::Remove { repo } => {
            store.remove(&revision(repo))?;
            let removed = expected.repos.remove(repo).unwrap();
            expected.removed.insert(*repo, removed);
        }
        Step::Restore { repo } => {
            store.restore(&revision(repo))?;
            let restored = expected.removed.remove(repo).unwrap();
            expected.repos.insert(*repo, restored);
        }
        Step::Tag { repo, tag } => {
            store.tag(&revision(repo), &format!("t{tag}"))?;
            let (files, tags) = expected.repos.get_mut(repo).unwrap();
            tags.insert(*tag, files.clone());
        }
        Step::Untag { repo, tag } => {
            store.remove(&tagged(repo, tag))?;
            expected.repos.get_mut(repo).unwrap().1.remove(tag).unwrap();
        }
        Step::Collect { now } => {
            let grace = if *now { Duration::ZERO } else { Duration::from_secs(3600) };
            store.collect(&CollectOptions::new().grace(grace))?;
        }
        Step::Repack { max } => {
            let level = if *max { Level::Max } else { Level::Default };
            store.repack("lab", None, level, &())?;
        }
        Step::Scrub => {
            let scrubbed = store.scrub(&ScrubOptions::new())?;
            assert!(scrubbed.damaged.is_empty(), "{scrubbed:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_live_revision_stays(steps in prop::collection::vec(step(), 1..16)) {
        let place = Arc::new(Place::new());
        let mut expected = Expected::default();
        for (step, fault) in steps {
            let before = expected.clone();
            if take(&place, &step, &mut expected, fault).is_err() {
                // Nothing has changed: a single fault leaves no doubt.
                expected = before;
            }
            // What a process that died has left behind.
            for key in place.keys("leases") {
                std::fs::remove_file(place.root().join(key)).unwrap();
            }
            check(&place, &expected);
        }
    }
}
