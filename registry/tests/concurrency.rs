//! Several writers, collectors and faults at once: nothing that was acknowledged is lost.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use at1w_container::Level;
use at1w_registry::{CollectOptions, Error, PushOptions, Revision, Store};
use common::{Fate, Hook, Op, Place, failing, model, once, owned};

fn revision(text: &str) -> Revision {
    text.parse().unwrap()
}

fn grace(seconds: f64) -> CollectOptions {
    CollectOptions::new().grace(Duration::from_secs_f64(seconds))
}

/// [`once`], with the answer lost and done all the same.
fn lost(op: Op, folder: &'static str) -> Hook {
    let done = AtomicBool::new(false);
    Box::new(move |found, key| {
        let ours = found == op && key.starts_with(folder);
        if ours && !done.swap(true, Ordering::SeqCst) { Fate::Lost } else { Fate::Answered }
    })
}

fn weights(seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    vec![("m.safetensors", model(&[("a", seed, 300_000), ("b", seed + 1, 10)], "m"))]
}

fn push(
    store: &Store,
    place: &Place,
    folder: &str,
    files: &[(&str, Vec<u8>)],
) -> Result<(), Error> {
    let source = place.source(folder, files);
    store.push(&source, &"lab/model".parse().unwrap(), &PushOptions::new()).map(drop)
}

#[test]
fn what_is_removed_is_collected_after_the_grace_and_not_before() {
    let place = Place::new();
    place.push("lab/model", &weights(1));
    place.push("lab/kept", &weights(5));
    place.store().remove(&revision("lab/model")).unwrap();
    // Within the grace nothing is condemned even.
    let done = place.store().collect(&grace(3600.0)).unwrap();
    assert_eq!((done.condemned, done.deleted), (0, 0));
    place.store().restore(&revision("lab/model")).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
    place.store().remove(&revision("lab/model")).unwrap();
    let dry = place.store().collect(&grace(0.0).dry_run(true)).unwrap();
    assert!(dry.condemned == 3 && dry.deleted == 0, "{dry:?}");
    let done = place.store().collect(&grace(0.0)).unwrap();
    assert!(done.deleted == 3 && done.freed > 300_000, "{done:?}");
    assert_eq!(place.keys("packs").len(), 1);
    assert!(matches!(place.store().restore(&revision("lab/model")), Err(Error::Collected(_))));
    assert_eq!(place.pulled("lab/kept").unwrap(), owned(&weights(5)));
    // A longer grace later does not ask for what is gone.
    let done = place.store().collect(&grace(3600.0)).unwrap();
    assert_eq!((done.condemned, done.deleted), (0, 0));
    // What was collected is pushed again, under a new life of the name.
    place.push("lab/model", &weights(1));
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_branch_that_is_removed_is_kept_within_the_grace() {
    let place = Place::new();
    place.push("lab/model", &[("config.json", b"{}".to_vec())]);
    place.store().branch(&revision("lab/model"), "next").unwrap();
    let source = place.source("source", &weights(1));
    let options = PushOptions::new().branch("next");
    place.store().push(&source, &"lab/model".parse().unwrap(), &options).unwrap();
    place.store().remove(&revision("lab/model@next")).unwrap();
    assert_eq!(place.store().collect(&grace(3600.0)).unwrap().condemned, 0);
    place.store().restore(&revision("lab/model@next")).unwrap();
    assert_eq!(place.pulled("lab/model@next").unwrap().len(), 2);
    place.store().remove(&revision("lab/model@next")).unwrap();
    assert!(place.store().collect(&grace(0.0)).unwrap().deleted > 0);
    let restored = place.store().restore(&revision("lab/model@next"));
    assert!(matches!(restored, Err(Error::Collected(_))), "{restored:?}");
}

/// The time after which a push of these tests is given up: a grace of 12 s is allowed then.
const LEASE: Duration = Duration::from_secs(3);

/// A place with a repository that was removed long ago, and what it leaves behind.
fn abandoned() -> Arc<Place> {
    let place = Place::short(LEASE);
    place.push("lab/old", &weights(1));
    place.store().remove(&revision("lab/old")).unwrap();
    for folder in ["packs", "files", "trees", "repos"] {
        place.age(folder, 3600);
    }
    Arc::new(place)
}

#[test]
fn a_push_does_not_rely_on_what_is_condemned() {
    let place = abandoned();
    let done = place.store().collect(&grace(12.0)).unwrap();
    assert!(done.condemned == 3 && done.deleted == 0, "{done:?}");
    place.age("tombstones", 60);
    // The push begins after that, and is about to commit when the collector comes again.
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        let done = others.store().collect(&grace(12.0)).unwrap();
        assert!(done.leases == 1 && done.deleted >= 2, "{done:?}");
    }));
    push(&slow, &place, "source", &weights(1)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn what_a_push_has_found_stays_until_it_is_committed() {
    // The push looks, and finds the tensors of a repository that was removed. It is about to commit
    // when they are condemned, the grace ends, and the collector comes again.
    let place = abandoned();
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        let done = others.store().collect(&grace(12.0)).unwrap();
        assert!(done.leases == 1 && done.condemned > 0, "{done:?}");
        // Its lease is renewed, and is as old as all this takes.
        thread::sleep(Duration::from_millis(500));
        others.age("tombstones", 13);
        let first = others.keys("leases").into_iter().find(|key| key.ends_with("/00000000"));
        others.age(&first.unwrap(), 20);
        let done = others.store().collect(&grace(12.0)).unwrap();
        assert!(done.leases == 1 && done.deleted == 0, "{done:?}");
    }));
    push(&slow, &place, "source", &weights(1)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_repository_that_is_renamed_stays_while_its_log_is_copied() {
    // Between the two names nothing is live, and the old one looks as if it was removed long ago.
    let place = Arc::new(Place::short(LEASE));
    place.push("lab/model", &weights(1));
    place.age("", 3600);
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab/other", move || {
        others.age("repos", 3600);
        let done = others.store().collect(&grace(12.0)).unwrap();
        assert!(done.leases == 1 && done.condemned > 0, "{done:?}");
        thread::sleep(Duration::from_millis(500));
        others.age("tombstones", 13);
        let first = others.keys("leases").into_iter().find(|key| key.ends_with("/00000000"));
        others.age(&first.unwrap(), 20);
        let done = others.store().collect(&grace(12.0)).unwrap();
        assert!(done.leases == 1 && done.deleted == 0, "{done:?}");
    }));
    slow.rename(&revision("lab/model").repo, "other").unwrap();
    // What was condemned is in use again.
    place.age("tombstones", 60);
    place.store().collect(&grace(12.0)).unwrap();
    assert_eq!(place.pulled("lab/other").unwrap(), owned(&weights(1)));
}

#[test]
fn files_that_move_while_the_collector_reads_are_kept() {
    // A repack supersedes the recipe that the collector has listed and is about to read.
    let place = Arc::new(Place::new());
    let source = place.source("source", &weights(1));
    let options = PushOptions::new().level(Level::Fast);
    place.store().push(&source, &revision("lab/model").repo, &options).unwrap();
    let others = place.clone();
    let collector = place.hooked(once(Op::Get, "files/lab", move || {
        let done = others.store().repack("lab", None, Level::Max, &()).unwrap();
        assert_eq!(done.files, 1);
    }));
    collector.collect(&grace(0.0)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
    place.store().collect(&grace(0.0)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn what_is_condemned_is_read_before_the_list_of_packs() {
    // The collector deletes a pack and after it the tombstone, between the two looks of a push: who
    // lists packs first takes the pack for one that is there.
    let place = abandoned();
    place.store().collect(&grace(12.0)).unwrap();
    place.age("tombstones", 60);
    let others = place.clone();
    let looks = AtomicU64::new(0);
    let slow = place.hooked(Box::new(move |op, key| {
        let looked = ["packs/lab", "tombstones/lab"].contains(&key) && op == Op::List;
        if looked && looks.fetch_add(1, Ordering::SeqCst) == 1 {
            let others = others.clone();
            let collect = move || {
                // The run of the index is as it was: another collector may not have merged it.
                let run = others.root().join(&others.keys("index")[0]);
                let bytes = std::fs::read(&run).unwrap();
                assert_eq!(others.store().collect(&grace(12.0)).unwrap().deleted, 3);
                std::fs::write(&run, bytes).unwrap();
            };
            thread::spawn(collect).join().unwrap();
        }
        Fate::Answered
    }));
    push(&slow, &place, "source", &weights(1)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_short_grace_is_refused_while_somebody_pushes() {
    let place = abandoned();
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        let done = others.store().collect(&grace(11.0));
        assert!(matches!(done, Err(Error::Grace { leases: 1, .. })), "{done:?}");
    }));
    push(&slow, &place, "source", &weights(1)).unwrap();
}

#[test]
fn a_push_that_ends_while_the_collector_looks_is_kept() {
    // Whatever the collector lists first, a push that ran is over when it lists the second: leases
    // before logs, or the push is in neither.
    for folder in ["leases", "repos"] {
        let place = abandoned();
        let (begun, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let pushing = {
            let (place, begun, go) = (place.clone(), begun.clone(), go.clone());
            thread::spawn(move || {
                let slow = place.hooked(once(Op::Put, "repos/lab", move || {
                    begun.store(true, Ordering::SeqCst);
                    while !go.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(5));
                    }
                }));
                push(&slow, &place, "source", &weights(1)).unwrap();
            })
        };
        while !begun.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        // Condemned since the push began.
        place.store().collect(&grace(12.0)).unwrap();
        place.age("tombstones", 13);
        let pushing = Mutex::new(Some(pushing));
        let looks = AtomicU64::new(0);
        let collector = place.hooked(Box::new(move |op, key| {
            let looked = op == Op::List && ["leases", "repos"].contains(&key);
            // Between the two lists, or before both.
            let now =
                looked && looks.fetch_add(1, Ordering::SeqCst) == u64::from(folder == "repos");
            if now && let Some(pushing) = pushing.lock().unwrap().take() {
                go.store(true, Ordering::SeqCst);
                pushing.join().unwrap();
            }
            Fate::Answered
        }));
        collector.collect(&grace(12.0)).unwrap();
        assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)), "{folder}");
    }
}

#[test]
fn a_push_that_was_given_up_is_refused() {
    let place = Arc::new(Place::new());
    place.push("lab/model", &[("config.json", b"{}".to_vec())]);
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || others.give_up()));
    let pushed = push(&slow, &place, "source", &weights(1));
    assert!(matches!(pushed, Err(Error::Expired(_))), "{pushed:?}");
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("config.json", b"{}".to_vec())]));
    place.store().check().unwrap();
}

#[test]
fn a_lost_answer_is_found_out() {
    for op_folder in [(Op::Put, "repos/lab"), (Op::Put, "packs/lab"), (Op::Put, "index/lab")] {
        let place = Place::new();
        let store = place.hooked(lost(op_folder.0, op_folder.1));
        let pushed = push(&store, &place, "source", &weights(1));
        if op_folder.1 == "repos/lab" {
            pushed.unwrap();
            // One entry: the answer was lost, and the commit was not made twice.
            assert_eq!(place.store().log(&"lab/model".parse().unwrap()).unwrap().len(), 1);
        }
        push(&place.store(), &place, "source", &weights(1)).unwrap();
        assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
    }
}

#[test]
fn another_entry_of_the_same_number_is_not_taken_for_our_own() {
    // Somebody else commits between the look at the log and the append, and the answer to ours is
    // lost: what is read back is the other's.
    let place = Arc::new(Place::new());
    push(&place.store(), &place, "source", &weights(1)).unwrap();
    let others = place.clone();
    let first = once(Op::Put, "repos/lab", move || {
        push(&others.store(), &others, "other", &[("x", b"x".to_vec())]).unwrap();
    });
    let second = lost(Op::Put, "repos/lab");
    let slow = place.hooked(Box::new(move |op, key| {
        first(op, key);
        second(op, key)
    }));
    push(&slow, &place, "source", &[("y", b"y".to_vec())]).unwrap();
    let now = place.pulled("lab/model").unwrap();
    assert_eq!(now.keys().collect::<Vec<_>>(), ["m.safetensors", "x", "y"]);
    assert_eq!(place.store().log(&"lab/model".parse().unwrap()).unwrap().len(), 3);
}

#[test]
fn a_name_that_is_taken_again_does_not_restart_its_numbers() {
    let place = Arc::new(Place::new());
    push(&place.store(), &place, "source", &[("a", b"1".to_vec())]).unwrap();
    place.store().remove(&revision("lab/model")).unwrap();
    // Somebody restores it while somebody else takes the name: one of the two wins.
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        others.store().restore(&revision("lab/model")).unwrap();
    }));
    push(&slow, &place, "source", &[("b", b"2".to_vec())]).unwrap();
    let both = owned(&[("a", b"1".to_vec()), ("b", b"2".to_vec())]);
    assert_eq!(place.pulled("lab/model").unwrap(), both);
    assert!(place.keys("repos/lab/model/0001").is_empty());
}

#[test]
fn writers_of_disjoint_files_all_win() {
    let place = Arc::new(Place::new());
    place.store().init().unwrap();
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        for writer in 0..4 {
            let (place, acknowledged) = (&place, &acknowledged);
            scope.spawn(move || {
                for n in 0..5 {
                    let path = format!("{writer}-{n}");
                    let folder = format!("source-{writer}");
                    push(&place.store(), place, &folder, &[(&path, path.clone().into())]).unwrap();
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(acknowledged.into_inner(), 20);
    assert_eq!(place.pulled("lab/model").unwrap().len(), 20);
    let log = place.store().log(&"lab/model".parse().unwrap()).unwrap();
    assert_eq!(log.len(), 20);
    let checked = place.store().check().unwrap();
    assert_eq!((checked.logs, checked.entries), (1, 20));
}

#[test]
fn a_collector_that_runs_all_the_while_loses_nothing() {
    // The shortest grace that leases allow, and pushes that take turns with removals.
    let lease = Duration::from_millis(800);
    let place = Arc::new(Place::short(lease));
    place.store().init().unwrap();
    let over = AtomicBool::new(false);
    let kept: Vec<BTreeMap<String, u64>> = thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut deleted = 0;
            while !over.load(Ordering::SeqCst) {
                deleted += place.store().collect(&grace(3.2)).unwrap().deleted;
            }
            deleted
        });
        let pusher = |writer: u64| {
            let place = place.clone();
            move || {
                let mut random = common::Random(writer + 1);
                let mut kept = BTreeMap::new();
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_secs(9) {
                    let repo = format!("lab/r{writer}-{}", random.below(3));
                    if kept.contains_key(&repo) && random.below(2) == 0 {
                        place.store().remove(&revision(&repo)).unwrap();
                        kept.remove(&repo);
                        continue;
                    }
                    // Few contents: most pushes find what others have pushed, and removed.
                    let seed = random.next() % 6;
                    let source = place.source(&format!("source-{writer}"), &weights(seed));
                    let name = revision(&repo).repo;
                    match place.store().push(&source, &name, &PushOptions::new()) {
                        Ok(_) => _ = kept.insert(repo, seed),
                        // Held up by the other tests: not acknowledged.
                        Err(Error::Expired(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                kept
            }
        };
        let pushers: Vec<_> = (0..3).map(|writer| scope.spawn(pusher(writer))).collect();
        let kept = pushers.into_iter().map(|pusher| pusher.join().unwrap()).collect();
        over.store(true, Ordering::SeqCst);
        collector.join().unwrap();
        kept
    });
    for (repo, seed) in kept.into_iter().flatten() {
        assert_eq!(place.pulled(&repo).unwrap(), owned(&weights(seed)), "{repo}");
    }
}

#[test]
fn a_fault_at_any_request_loses_nothing() {
    // Counts the requests of a push into a store with content, then fails each of them.
    let prepare = || {
        let place = Place::new();
        place.push("lab/model", &weights(1));
        place.push("lab/model", &[("config.json", b"{}".to_vec())]);
        place
    };
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    let place = prepare();
    let new = [("m.safetensors", weights(3)[0].1.clone()), ("c", b"3".to_vec())];
    let store = place.hooked(Box::new(move |_, _| {
        *counted.lock().unwrap() += 1;
        Fate::Answered
    }));
    push(&store, &place, "source", &new).unwrap();
    let after = place.pulled("lab/model").unwrap();
    let requests = *count.lock().unwrap();
    assert!(requests > 10);
    for fate in [Fate::Refused, Fate::Lost] {
        for failed in 1..=requests {
            let place = prepare();
            let before = place.pulled("lab/model").unwrap();
            let store = place.hooked(failing(BTreeMap::from([(failed, fate)])));
            let pushed = push(&store, &place, "source", &new);
            let now = place.pulled("lab/model").unwrap();
            match pushed {
                Ok(()) => assert!(now == after, "request {failed}"),
                Err(Error::Unknown { .. }) => assert!(now == before || now == after),
                Err(_) => assert!(now == before, "request {failed}"),
            }
            // What is left behind is collected.
            drop(store);
            for key in place.keys("leases") {
                std::fs::remove_file(place.root().join(key)).unwrap();
            }
            place.store().collect(&grace(0.0)).unwrap();
            assert!(place.pulled("lab/model").unwrap() == now, "request {failed}");
            push(&place.store(), &place, "source", &new).unwrap();
            assert!(place.pulled("lab/model").unwrap() == after, "request {failed}");
        }
    }
}
