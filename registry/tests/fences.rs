//! Writers that sleep, or die, while the collector gives up on them: what they append is there and
//! whole, or never comes.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use at1w_registry::{
    Action, CollectOptions, Error, PushOptions, RepoName, Revision, ScrubOptions, Store,
};
use common::{Fate, Hook, Late, Op, Place, model, once, owned};

type Files = Vec<(&'static str, Vec<u8>)>;

fn weights(seed: u64) -> Files {
    vec![("m.safetensors", model(&[("a", seed, 3000), ("b", seed + 1, 10)], "m"))]
}

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn revision(text: &str) -> Revision {
    text.parse().unwrap()
}

fn push(store: &Store, place: &Place, repo: &str, files: &Files) -> Result<(), Error> {
    let source = place.source("source", files);
    store.push(&source, &name(repo), &PushOptions::new()).map(drop)
}

/// A hook that has something happen at a request, by its number. Those that read alone do not
/// count, but for looks at the lease.
fn at(number: usize, happens: impl Fn() -> Fate + Send + Sync + 'static) -> Hook {
    let count = AtomicUsize::new(0);
    Box::new(move |op, key| {
        let counted = !matches!(op, Op::Get | Op::List) || key.starts_with("leases/");
        let now = counted && count.fetch_add(1, Ordering::SeqCst) + 1 == number;
        if now { happens() } else { Fate::Answered }
    })
}

/// Does something that sleeps at each of its requests, while the collector gives up on it and
/// deletes all that nothing names. `holds` is told whether it was done, `last` once
/// all that it left behind is gone.
fn asleep(
    prepare: impl Fn(&Place),
    sleeper: impl Fn(&Store, &Place) -> Result<(), Error>,
    holds: impl Fn(&Place, bool),
    last: impl Fn(&Place, bool),
) {
    for number in 1.. {
        let place = Arc::new(Place::new());
        prepare(&place);
        place.age("", 3600);
        let (others, came) = (place.clone(), Arc::new(AtomicBool::new(false)));
        let reached = came.clone();
        let store = place.hooked(at(number, move || {
            reached.store(true, Ordering::SeqCst);
            let others = others.clone();
            std::thread::spawn(move || others.give_up()).join().unwrap();
            Fate::Answered
        }));
        let done = sleeper(&store, &place);
        holds(&place, done.is_ok());
        // Also after all that it has left behind is gone.
        drop(store);
        place.give_up();
        holds(&place, done.is_ok());
        place.store().check().unwrap();
        let scrubbed = place.store().scrub(&ScrubOptions::new()).unwrap();
        assert!(scrubbed.damaged.is_empty(), "request {number}: {done:?} {scrubbed:?}");
        last(&place, done.is_ok());
        if !came.load(Ordering::SeqCst) {
            done.unwrap();
            assert!(number > 8, "{number} requests");
            return;
        }
    }
}

#[test]
fn a_push_that_sleeps_at_any_request_is_done_or_not() {
    asleep(
        |place| _ = place.push("lab/m", &weights(1)),
        |store, place| push(store, place, "lab/m", &weights(3)),
        |place, done| {
            let seed = if done { 3 } else { 1 };
            assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(seed)));
        },
        |_, _| {},
    );
}

#[test]
fn a_first_push_that_sleeps_leaves_a_name_that_can_be_used() {
    asleep(
        |place| _ = place.push("lab/other", &weights(1)),
        |store, place| push(store, place, "lab/m", &weights(1)),
        |place, done| {
            let pulled = place.pulled("lab/m");
            assert!(match pulled {
                Ok(files) => done && files == owned(&weights(1)),
                Err(error) => !done && matches!(error, Error::NoRepo { .. }),
            });
        },
        |place, done| {
            if done {
                return;
            }
            let restored = place.store().restore(&revision("lab/m"));
            assert!(matches!(restored, Err(Error::NoRepo { .. })), "{restored:?}");
            let usage = place.store().usage(None).unwrap();
            assert_eq!(usage.namespaces[0].repos.len(), 1);
            // By another spelling: nobody has the name.
            place.push("lab/M", &weights(5));
            assert_eq!(place.pulled("lab/M").unwrap(), owned(&weights(5)));
            place.store().rename(&name("lab/M"), "m").unwrap();
            place.push("lab/m", &weights(1));
            assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(1)));
        },
    );
}

#[test]
fn a_rename_that_sleeps_at_any_request_leaves_one_whole_repository_or_none() {
    asleep(
        |place| {
            place.push("lab/old", &weights(1));
            place.push("lab/old", &weights(3));
            place.push("lab/new", &weights(5));
            place.store().remove(&revision("lab/new")).unwrap();
        },
        |store, _| store.rename(&name("lab/old"), "new"),
        |place, done| {
            let live = |repo: &str| match place.pulled(repo) {
                Ok(files) => {
                    assert_eq!(files, owned(&weights(3)));
                    true
                }
                Err(Error::NoRepo { .. }) => false,
                Err(error) => panic!("{error}"),
            };
            let (old, new) = (live("lab/old"), live("lab/new"));
            assert!(if done { new && !old } else { !new }, "{done} {old} {new}");
        },
        |_, _| {},
    );
}

#[test]
fn a_removed_repository_is_restored_though_its_log_has_ended() {
    // A push takes the name, and dies between the end of the old log and the first entry of the new
    // one: before the collector gives up on it, and after that.
    for given_up in [false, true] {
        let place = Place::new();
        place.push("lab/m", &weights(1));
        place.store().tag(&revision("lab/m"), "v1").unwrap();
        place.store().remove(&revision("lab/m")).unwrap();
        let (dead, late) = (AtomicBool::new(false), Late::default());
        let store = place.delayed(
            Box::new(move |op, key| {
                if dead.load(Ordering::SeqCst) {
                    return Fate::Refused;
                }
                let first = op == Op::Put && key.starts_with("repos/lab/m/0001");
                dead.store(first, Ordering::SeqCst);
                if first { Fate::Late } else { Fate::Answered }
            }),
            &late,
        );
        assert!(push(&store, &place, "lab/m", &weights(3)).is_err());
        drop(store);
        if given_up {
            place.age("leases", 3600);
            place.store().collect(&CollectOptions::new()).unwrap();
        }
        place.store().restore(&revision("lab/m")).unwrap();
        late.land();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(1)));
        assert_eq!(place.pulled("lab/m@v1").unwrap(), owned(&weights(1)));
        place.push("lab/m", &weights(3));
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(3)));
        place.store().check().unwrap();
    }
}

#[test]
fn an_entry_that_comes_late_comes_before_the_fence_or_never() {
    // The store does not answer, and the process has ended when it does what it was asked for.
    for before in [true, false] {
        let place = Place::new();
        place.push("lab/m", &weights(1));
        let (late, dead) = (Late::default(), AtomicBool::new(false));
        let store = place.delayed(
            Box::new(move |op, key| {
                if dead.load(Ordering::SeqCst) {
                    return Fate::Refused;
                }
                let entry = op == Op::Put && key.starts_with("repos/");
                dead.store(entry, Ordering::SeqCst);
                if entry { Fate::Late } else { Fate::Answered }
            }),
            &late,
        );
        let pushed = push(&store, &place, "lab/m", &weights(3));
        assert!(matches!(pushed, Err(Error::Unknown { .. })), "{pushed:?}");
        drop(store);
        // Until its lease is over no short grace is allowed.
        let done = place.store().collect(&CollectOptions::new().grace(Duration::ZERO));
        assert!(matches!(done, Err(Error::Grace { .. })), "{done:?}");
        if before {
            late.land();
        }
        place.give_up();
        late.land();
        let seed = if before { 3 } else { 1 };
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(seed)));
        place.give_up();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(seed)));
    }
}

#[test]
fn what_others_build_on_a_push_that_sleeps_is_kept() {
    // The entry is there before the collector comes, and its writer does not know; others push the
    // same, and more.
    let place = Arc::new(Place::new());
    place.push("lab/m", &[("config.json", b"{}".to_vec())]);
    let others = place.clone();
    let looked = AtomicUsize::new(0);
    let slow = place.hooked(Box::new(move |op, key| {
        let ours = op == Op::Put && key.starts_with("repos/lab");
        if ours && looked.fetch_add(1, Ordering::SeqCst) == 0 {
            // The answer is lost, and the process sleeps before it looks.
            return Fate::Lost;
        }
        if op == Op::Get && key.ends_with("log/00000001") && looked.load(Ordering::SeqCst) == 1 {
            looked.store(2, Ordering::SeqCst);
            let others = others.clone();
            let work = move || {
                let source = others.source("other", &weights(1));
                let same = others.store().push(&source, &name("lab/m"), &PushOptions::new());
                assert!(!same.unwrap().new);
                others.give_up();
                let source = others.source("other", &[("x", b"x".to_vec())]);
                others.store().push(&source, &name("lab/m"), &PushOptions::new()).unwrap();
            };
            std::thread::spawn(work).join().unwrap();
        }
        Fate::Answered
    }));
    push(&slow, &place, "lab/m", &weights(1)).unwrap();
    place.give_up();
    let mut all = owned(&weights(1));
    all.extend(owned(&[("config.json", b"{}".to_vec()), ("x", b"x".to_vec())]));
    assert_eq!(place.pulled("lab/m").unwrap(), all);
}

#[test]
fn a_collector_that_dies_leaves_the_fence_to_the_next_one() {
    // It dies at each of its requests in turn, and another one comes.
    for number in 1.. {
        let place = Arc::new(Place::new());
        place.push("lab/m", &weights(1));
        let (others, came) = (place.clone(), Arc::new(AtomicBool::new(false)));
        let reached = came.clone();
        let slow = place.hooked(once(Op::Put, "repos/lab", move || {
            others.age("leases", 3600);
            let (count, reached) = (AtomicUsize::new(0), reached.clone());
            let collector = others.hooked(Box::new(move |_, _| {
                let died = count.fetch_add(1, Ordering::SeqCst) + 1 >= number;
                reached.fetch_or(died, Ordering::SeqCst);
                if died { Fate::Refused } else { Fate::Answered }
            }));
            let _ = collector.collect(&CollectOptions::new().grace(Duration::ZERO));
            others.give_up();
        }));
        let pushed = push(&slow, &place, "lab/m", &weights(3));
        assert!(matches!(pushed, Err(Error::Expired(_))), "request {number}: {pushed:?}");
        drop(slow);
        place.give_up();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(1)), "request {number}");
        assert!(place.keys("leases").is_empty(), "{:?}", place.keys("leases"));
        if !came.load(Ordering::SeqCst) {
            assert!(number > 10, "{number} requests");
            return;
        }
    }
}

#[test]
fn a_fence_is_no_commit() {
    let place = Arc::new(Place::new());
    place.push("lab/m", &weights(1));
    let all = || {
        let (entry, commits) = place.store().history(&revision("lab/m")).unwrap();
        let ids: Vec<_> = commits.into_iter().map(|commit| commit.id).collect();
        (entry.branches, ids, format!("{:?}", place.store().usage(None).unwrap()))
    };
    let before = all();
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || others.give_up()));
    let done = slow.tag(&revision("lab/m"), "v1");
    assert!(matches!(done, Err(Error::Expired(_))), "{done:?}");
    let entries = place.store().log(&name("lab/m")).unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [Action::Push, Action::Fence]);
    assert_eq!(all(), before);
}

#[test]
fn a_damaged_log_gets_its_fence_once_it_is_whole() {
    let place = Arc::new(Place::new());
    place.push("lab/m", &weights(1));
    place.push("other/m", &weights(1));
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        let stray = others.root().join("repos/lab/m/0000/log/x");
        std::fs::write(&stray, "x").unwrap();
        others.age("leases", 3600);
        others.store().remove(&revision("other/m")).unwrap();
        let grace = CollectOptions::new().grace(Duration::ZERO);
        for _ in 0..2 {
            let done = others.store().collect(&grace);
            assert!(matches!(done, Err(Error::Log { .. } | Error::Damaged { .. })), "{done:?}");
        }
        // Another namespace is collected all the same, and nothing of this one is.
        assert!(others.keys("packs/other").is_empty());
        assert_eq!(others.keys("packs/lab").len(), 2);
        std::fs::remove_file(stray).unwrap();
        others.store().collect(&grace).unwrap();
        assert_eq!(others.keys("packs/lab").len(), 1);
    }));
    let pushed = push(&slow, &place, "lab/m", &weights(3));
    assert!(matches!(pushed, Err(Error::Expired(_))), "{pushed:?}");
    assert_eq!(place.pulled("lab/m").unwrap(), owned(&weights(1)));
}

/// Makes a repository whose weights are stored twice, the first time in a pack that nothing names:
/// a push of the same finds that one, and writes a recipe that supersedes the good one.
fn stored_twice(place: &Place) -> Files {
    let files = weights(1);
    place.push("lab/lost", &files);
    place.store().remove(&revision("lab/lost")).unwrap();
    // The second copy is made with the index hidden.
    let index = place.root().join(&place.keys("index")[0]);
    let hidden = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    for key in place.keys("files") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    place.push("lab/kept", &files);
    fs::write(&index, hidden).unwrap();
    files
}

#[test]
fn a_push_that_is_given_up_takes_no_recipe_away_that_others_need_by_now() {
    // Before its recipes are there, and when they are.
    for folder in ["files/lab", "repos/lab"] {
        let place = Arc::new(Place::new());
        let files = stored_twice(&place);
        place.age("", 3600);
        let others = place.clone();
        let slow = place.hooked(once(Op::Put, folder, move || others.give_up()));
        let pushed = push(&slow, &place, "lab/third", &files);
        assert!(matches!(pushed, Err(Error::Expired(_))), "{pushed:?}");
        drop(slow);
        for _ in 0..2 {
            assert_eq!(place.pulled("lab/kept").unwrap(), owned(&files), "{folder}");
            place.give_up();
        }
        let scrubbed = place.store().scrub(&ScrubOptions::new()).unwrap();
        assert!(scrubbed.damaged.is_empty(), "{scrubbed:?}");
    }
}

#[test]
fn a_collector_that_is_given_up_takes_no_recipe_away() {
    // It has copied what is in use out of a pack, and sleeps at each of its later requests, while
    // another one deletes all that nothing names.
    let small = || vec![("m.safetensors", model(&[("b", 2, 1000)], "m"))];
    asleep(
        |place| {
            let large = model(&[("a", 1, 9000), ("b", 2, 1000)], "m");
            place.push("lab/large", &[("m.safetensors", large)]);
            place.push("lab/small", &small());
            place.store().remove(&revision("lab/large")).unwrap();
        },
        |store, _| store.collect(&CollectOptions::new().grace(Duration::ZERO)).map(drop),
        |place, _| assert_eq!(place.pulled("lab/small").unwrap(), owned(&small())),
        |_, _| {},
    );
}
