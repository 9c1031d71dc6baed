//! Sources that change, stores that stall, list late or answer other objects: what was acknowledged
//! stays, and nothing of what was not is visible.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use at1w_registry::{CollectOptions, Error, PushOptions, ScrubOptions, Store};
use common::{Fate, Op, Place, model, owned};

fn push(store: &Store, source: &Path) -> Result<(), Error> {
    store.push(source, &"lab/model".parse().unwrap(), &PushOptions::new()).map(drop)
}

fn weights(seed: u64) -> Vec<u8> {
    model(&[("a", seed, 900_000), ("b", seed + 1, 10)], "m")
}

#[test]
fn a_source_that_changes_while_it_is_pushed_is_refused() {
    let noise = |len: usize| (0..len).map(|i| (i * i >> 7) as u8).collect::<Vec<_>>();
    let contents = [
        ("config.json", b"{\"a\": 1}".to_vec()),
        ("small.safetensors", model(&[("a", 1, 1000)], "m")),
        ("large.safetensors", weights(1)),
        ("data.bin", noise(5_000_000)),
    ];
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 4] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.push(0),
        |bytes| bytes.clear(),
    ];
    for (path, bytes) in &contents {
        for change in changes {
            // Before it is read, and where it is large, while it is.
            for (op, folder) in [(Op::List, "packs/lab"), (Op::Upload, "packs/lab")] {
                if op == Op::Upload && bytes.len() < 1_000_000 {
                    continue;
                }
                let place = Place::new();
                place.push("lab/model", &[("kept", b"1".to_vec())]);
                let source = place.source("source", &[(path, bytes.clone())]);
                let (file, done) = (source.join(path), AtomicBool::new(false));
                let store = place.hooked(Box::new(move |found, key| {
                    if found == op && key.starts_with(folder) && !done.swap(true, Ordering::SeqCst)
                    {
                        // Some file systems tell times in steps of several milliseconds.
                        thread::sleep(Duration::from_millis(20));
                        let mut bytes = fs::read(&file).unwrap();
                        change(&mut bytes);
                        fs::write(&file, bytes).unwrap();
                    }
                    Fate::Answered
                }));
                let error = push(&store, &source).unwrap_err().to_string();
                assert!(error.contains(path), "{error}");
                assert_eq!(place.pulled("lab/model").unwrap().len(), 1);
            }
        }
    }
}

/// A door that requests wait at while it is closed.
#[derive(Default)]
struct Door {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap()
    }

    fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
}

/// Pushes to a store that stalls at a request until the lease is over; returns whether the push came
/// so far.
fn stalled(at: usize) -> bool {
    let lease = Duration::from_millis(600);
    let place = Arc::new(Place::short(lease));
    place.push("lab/model", &[("m.safetensors", weights(1)), ("c", b"1".to_vec())]);
    let before = place.pulled("lab/model").unwrap();
    let new = [("m.safetensors", weights(3)), ("d", b"2".to_vec())];
    let source = place.source("source", &new);
    let mut after = before.clone();
    after.extend(owned(&new));
    let (door, count) = (Arc::new(Door::default()), AtomicUsize::new(0));
    let at_door = door.clone();
    let store = place.hooked(Box::new(move |_, key| {
        // Renewals stall as well, but are not counted: their number is another in each run.
        let counted = !key.starts_with("leases") || key.ends_with("/00000000");
        if counted && count.fetch_add(1, Ordering::SeqCst) + 1 == at {
            at_door.set(true);
        }
        at_door.pass();
        Fate::Answered
    }));
    let pushing = thread::spawn(move || push(&store, &source));
    while !door.is_closed() && !pushing.is_finished() {
        thread::sleep(Duration::from_millis(5));
    }
    let came = door.is_closed();
    // Nothing but the collector goes on, and it gives the push up.
    thread::sleep(lease * 2);
    place.store().collect(&CollectOptions::new().grace(lease * 4)).unwrap();
    door.set(false);
    let pushed = pushing.join().unwrap();
    let now = place.pulled("lab/model").unwrap();
    match pushed {
        Ok(()) => assert!(now == after, "request {at}"),
        Err(error) => assert!(now == before, "request {at}: {error}"),
    }
    place.store().check().unwrap();
    assert!(place.store().scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
    came
}

#[test]
fn a_store_that_stalls_at_any_request_loses_nothing() {
    let mut at = 1;
    loop {
        let stalls: Vec<_> = (at..at + 8).map(|at| thread::spawn(move || stalled(at))).collect();
        let came: Vec<_> = stalls.into_iter().map(|stall| stall.join().unwrap()).collect();
        if came.contains(&false) {
            break;
        }
        at += 8;
    }
    assert!(at > 10);
}

#[test]
fn a_store_that_lists_late_loses_nothing() {
    // A list shows nothing of what came lately, such as the last commits and packs.
    let place = Place::new();
    place.push("lab/model", &[("m.safetensors", weights(1)), ("a", b"1".to_vec())]);
    place.age("", 3600);
    let lately = [("m.safetensors", weights(3)), ("b", b"2".to_vec())];
    place.push("lab/model", &lately);
    let late =
        || place.hooked(Box::new(|op, _| if op == Op::List { Fate::Late } else { Fate::Answered }));
    // Other files, then the same content under another name.
    push(&late(), &place.source("source", &[("c", b"3".to_vec())])).unwrap();
    push(&late(), &place.source("source", &[("n.safetensors", weights(3))])).unwrap();
    let mut all = owned(&[("a", b"1".to_vec()), ("c", b"3".to_vec())]);
    all.extend(owned(&lately));
    all.extend(owned(&[("n.safetensors", weights(3))]));
    assert!(place.pulled("lab/model").unwrap() == all);
    assert_eq!(place.store().log(&"lab/model".parse().unwrap()).unwrap().len(), 4);
    // A collector that sees old commits alone deletes nothing that a later one needs.
    place.age("tombstones", 60);
    late().collect(&CollectOptions::new().grace(Duration::from_secs(30))).unwrap();
    assert!(place.pulled("lab/model").unwrap() == all);
    place.store().check().unwrap();
    assert!(place.store().scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
}

#[test]
fn objects_that_took_the_places_of_others_are_noticed() {
    let files = |seed: u64| {
        let data: Vec<u8> = (0..1_200_000_u64).map(|i| (i * seed >> 5) as u8).collect();
        vec![("m.safetensors", weights(seed)), ("data.bin", data), ("c", vec![seed as u8])]
    };
    for kind in ["packs", "files", "trees", "index", "repos"] {
        let place = Place::new();
        place.push("lab/one", &files(3));
        place.push("lab/two", &files(5));
        let keys = place.keys(kind);
        assert!(keys.len() >= 2, "{kind}");
        for pair in keys.windows(2) {
            let (a, b) = (place.root().join(&pair[0]), place.root().join(&pair[1]));
            let swap = || {
                let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
                fs::write(&a, second).unwrap();
                fs::write(&b, first).unwrap();
            };
            swap();
            for (repo, seed) in [("lab/one", 3), ("lab/two", 5)] {
                match place.pulled(repo) {
                    Ok(pulled) => assert!(pulled == owned(&files(seed)), "{pair:?} {repo}"),
                    Err(error) => assert!(error.is_integrity(), "{pair:?} {repo}: {error}"),
                }
            }
            swap();
        }
    }
}

#[test]
fn a_wrong_or_missing_index_costs_space_and_no_data() {
    let place = Place::new();
    place.push("lab/one", &[("m.safetensors", weights(1))]);
    let run = place.root().join(&place.keys("index")[0]);
    let good = fs::read(&run).unwrap();
    let stored = |repo: &str| {
        let pushed = place.push(repo, &[("m.safetensors", model(&[("a", 1, 900_000)], "other"))]);
        assert!(place.pulled(repo).unwrap().len() == 1);
        let mut others: Vec<_> = place.keys("index");
        others.retain(|key| place.root().join(key) != run);
        others.iter().for_each(|key| fs::remove_file(place.root().join(key)).unwrap());
        pushed.stored
    };
    assert_eq!(stored("lab/hit"), 0);
    for damaged in [Vec::new(), good[..good.len() / 2].to_vec(), vec![0; good.len()]] {
        fs::write(&run, damaged).unwrap();
        assert!(stored("lab/miss") < 2_000_000);
    }
    fs::remove_file(&run).unwrap();
    stored("lab/gone");
    assert!(place.store().scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
}
