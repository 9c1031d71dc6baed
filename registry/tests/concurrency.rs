//! Several writers, collectors and faults at once: nothing that was acknowledged is lost.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use at1w_registry::{CollectOptions, Error, PushOptions, Revision, Store};
use common::{Fate, Hook, Op, Place, failing, model, owned};

fn revision(text: &str) -> Revision {
    text.parse().unwrap()
}

fn grace(seconds: f64) -> CollectOptions {
    CollectOptions::new().grace(Duration::from_secs_f64(seconds))
}

/// A hook that runs `work` on another thread, and waits for it, before the first request of a kind.
fn once(op: Op, folder: &'static str, work: impl Fn() + Send + Sync + 'static) -> Hook {
    let (done, work) = (AtomicBool::new(false), Arc::new(work));
    Box::new(move |found, key| {
        if found == op && key.starts_with(folder) && !done.swap(true, Ordering::SeqCst) {
            let work = work.clone();
            thread::spawn(move || work()).join().unwrap();
        }
        Fate::Answered
    })
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

fn push(store: &Store, place: &Place, folder: &str, files: &[(&str, Vec<u8>)]) -> Result<(), Error> {
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
    // What was collected is pushed again, under a new life of the name.
    place.push("lab/model", &weights(1));
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_push_does_not_rely_on_what_is_condemned() {
    let place = Place::short(Duration::from_millis(100));
    place.push("lab/old", &weights(1));
    place.store().remove(&revision("lab/old")).unwrap();
    thread::sleep(Duration::from_millis(60));
    // Condemned, and not yet deleted.
    let done = place.store().collect(&grace(0.05)).unwrap();
    assert!(done.condemned > 0 && done.deleted == 0, "{done:?}");
    push(&place.store(), &place, "source", &weights(1)).unwrap();
    thread::sleep(Duration::from_millis(60));
    let done = place.store().collect(&grace(0.05)).unwrap();
    assert!(done.deleted > 0, "{done:?}");
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn what_a_push_has_found_stays_until_it_is_committed() {
    // The push looks, finds the tensors of a repository that was removed, and is slow: meanwhile
    // they are condemned, the grace ends, and the collector comes again.
    let place = Arc::new(Place::short(Duration::from_secs(30)));
    place.push("lab/old", &weights(1));
    place.store().remove(&revision("lab/old")).unwrap();
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "trees/lab", move || {
        // Another collector has other times: its leases are short, and its grace may be.
        let hasty = |lease| {
            let times = others.times.lease(Duration::from_millis(lease));
            others.store().times(times)
        };
        let condemn = hasty(3000).collect(&grace(12.0));
        assert!(matches!(condemn, Ok(ref done) if done.leases == 1), "{condemn:?}");
        // Tombstones of long ago.
        let old = others.root().join("tombstones");
        for (key, _) in common::files(&old) {
            let file = std::fs::File::options().write(true).open(old.join(key)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(13)).unwrap();
        }
        let lease = &others.keys("leases")[0];
        let lease = std::fs::File::options().write(true).open(others.root().join(lease)).unwrap();
        lease.set_modified(std::time::SystemTime::now() - Duration::from_secs(14)).unwrap();
        let times = others.times.lease(Duration::from_secs(30));
        let done = others.store().times(times).collect(&grace(120.0)).unwrap();
        assert_eq!(done.deleted, 0);
    }));
    push(&slow, &place, "source", &weights(1)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_push_that_ends_while_the_collector_marks_is_kept() {
    // The collector has listed leases and logs are next: the push that was found running commits.
    let place = Arc::new(Place::new());
    place.push("lab/old", &weights(1));
    place.store().remove(&revision("lab/old")).unwrap();
    place.store().collect(&grace(0.0).dry_run(true)).unwrap();
    let others = place.clone();
    let collector = place.hooked(once(Op::List, "repos", move || {
        push(&others.store(), &others, "source", &weights(1)).unwrap();
    }));
    collector.collect(&grace(0.0)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1)));
}

#[test]
fn a_pack_that_goes_while_a_push_looks_is_not_relied_on() {
    // The push has begun, and has not looked yet. The collector deletes a pack, and after it the
    // tombstone: who reads tombstones first and packs later sees neither.
    let place = Arc::new(Place::new());
    place.push("lab/old", &weights(1));
    place.store().remove(&revision("lab/old")).unwrap();
    let dry = place.store().collect(&grace(0.0).dry_run(true)).unwrap();
    assert_eq!(dry.condemned, 3);
    for folder in ["tombstones/lab", "packs/lab", "index/lab", "scrub/lab/marks"] {
        let place = Arc::new(Place::new());
        place.push("lab/old", &weights(1));
        place.store().remove(&revision("lab/old")).unwrap();
        let others = place.clone();
        let slow = place.hooked(once(Op::List, folder, move || {
            // The lease of the push holds the collector off, unless it is given up.
            let lease = others.keys("leases");
            for key in &lease {
                std::fs::remove_file(others.root().join(key)).unwrap();
            }
            others.store().collect(&grace(0.0)).unwrap();
        }));
        let pushed = push(&slow, &place, "source", &weights(1));
        // Held up and given up: nothing was committed, and nobody was told that it was.
        match pushed {
            Ok(()) => assert_eq!(place.pulled("lab/model").unwrap(), owned(&weights(1))),
            Err(_) => assert!(place.pulled("lab/model").is_err()),
        }
    }
}

#[test]
fn a_push_that_was_given_up_is_taken_back() {
    let place = Arc::new(Place::new());
    place.push("lab/model", &[("config.json", b"{}".to_vec())]);
    let others = place.clone();
    let slow = place.hooked(once(Op::Put, "repos/lab", move || {
        for key in others.keys("leases") {
            std::fs::remove_file(others.root().join(key)).unwrap();
        }
    }));
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
