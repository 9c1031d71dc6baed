//! Sources that change, stores that stall, list late or answer other objects: what was acknowledged
//! stays, and nothing of what was not is visible.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use at1w_registry::{Change, CollectOptions, Error, PushOptions, ScrubOptions, Store, Times};
use common::{Fate, Op, Place, model, once, owned};

fn push(store: &Store, source: &Path) -> Result<(), Error> {
    store.push(source, &"lab/model".parse().unwrap(), &PushOptions::new()).map(drop)
}

fn weights(seed: u64) -> Vec<u8> {
    model(&[("a", seed, 900_000), ("b", seed + 1, 10)], "m")
}

#[test]
fn a_source_that_changes_while_it_is_pushed_is_refused() {
    let noise = |len: usize| (0..len).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>();
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

/// Pushes to a store that stalls at a request until the lease is over; returns whether the push
/// came so far.
fn stalled(at: usize) -> bool {
    let lease = Duration::from_millis(600);
    let mut place = Place::new();
    place.push("lab/model", &[("m.safetensors", weights(1)), ("c", b"1".to_vec())]);
    place.times = Times::default().lease(lease);
    let place = Arc::new(place);
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
        let data: Vec<u8> = (0..1_200_000_u64).map(|i| ((i * seed) >> 5) as u8).collect();
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
                if let Ok(pulled) = place.pulled(repo) {
                    assert!(pulled == owned(&files(seed)), "{pair:?} {repo}");
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

/// Collects as somebody does who wants everything gone that is in no use.
fn collect(place: &Place) -> Result<at1w_registry::Collected, Error> {
    place.store().collect(&CollectOptions::new().grace(Duration::ZERO))
}

#[test]
fn a_log_that_is_not_whole_keeps_all_that_it_names() {
    let log = |place: &Place| place.root().join("repos/lab/model/0000/log");
    let prepare = || {
        let place = Place::new();
        for seed in 1..4 {
            place.push("lab/model", &[("m.safetensors", model(&[("a", seed, 1000)], "m"))]);
        }
        place
    };
    type Break = fn(&Path);
    let breaks: [(&str, Break); 7] = [
        ("a copy of a tool that syncs", |log| {
            fs::copy(log.join("00000002"), log.join("00000002.sync-conflict")).map(drop).unwrap();
        }),
        ("another object", |log| fs::write(log.join("x"), "").unwrap()),
        ("a number that is much too large", |log| {
            fs::write(log.join("99999999999999"), "").unwrap();
        }),
        ("a gap", |log| fs::remove_file(log.join("00000001")).unwrap()),
        ("a flip in the last entry", |log| {
            let text = fs::read_to_string(log.join("00000002")).unwrap();
            let at = text.find("\"commit\":\"").unwrap() + 12;
            let other = if &text[at..=at] == "0" { "1" } else { "0" };
            let text = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            fs::write(log.join("00000002"), text).unwrap();
        }),
        ("a forged branch", |log| {
            let entry = fs::read(log.join("00000002")).unwrap();
            let text = std::str::from_utf8(&entry).unwrap();
            let at = text.find("\"commit\":\"").unwrap() + 10;
            let (commit, other) = (&text[at..at + 40], "0".repeat(40));
            let forged = common::forged(&entry, &[(commit, &other)]);
            fs::write(log.join("00000002"), forged).unwrap();
        }),
        ("a forged parent", |log| {
            let entry = fs::read(log.join("00000002")).unwrap();
            let text = std::str::from_utf8(&entry).unwrap();
            let at = text.find("\"parent\":\"").unwrap() + 10;
            let (parent, other) = (&text[at..at + 40], "0".repeat(40));
            let forged = common::forged(&entry, &[(parent, &other)]);
            fs::write(log.join("00000002"), forged).unwrap();
        }),
    ];
    for (what, break_) in breaks {
        let place = prepare();
        let entries = common::files(&log(&place));
        let packs = common::files(&place.root().join("packs"));
        break_(&log(&place));
        let collected = collect(&place);
        assert!(matches!(collected, Err(Error::Log { .. })), "{what}: {collected:?}");
        let checked = place.store().check();
        assert!(matches!(checked, Err(Error::Log { .. })), "{what}: {checked:?}");
        assert!(common::files(&place.root().join("packs")) == packs, "{what}");
        // Mended, nothing is missing.
        fs::remove_dir_all(log(&place)).unwrap();
        fs::create_dir_all(log(&place)).unwrap();
        for (name, bytes) in entries {
            fs::write(log(&place).join(name), bytes).unwrap();
        }
        collect(&place).unwrap();
        assert_eq!(place.pulled("lab/model").unwrap().len(), 1, "{what}");
    }
}

#[test]
fn no_commit_is_made_that_cannot_be_read() {
    let place = Place::new();
    let pushed = place.push("lab/model", &[("a", b"1".to_vec())]);
    let (_, tree) = place.store().tree(&"lab/model".parse().unwrap()).unwrap();
    let stored = tree.files["a"].sha256;
    for path in ["x/", "/x", "x//y", "../x"] {
        let change = (path.to_owned(), Change::Stored(stored));
        let repo = "lab/model".parse().unwrap();
        let applied = place.store().apply(&repo, &[change], &PushOptions::new());
        assert!(matches!(applied, Err(Error::Name { .. })), "{path}: {applied:?}");
    }
    let (found, _) = place.store().tree(&"lab/model".parse().unwrap()).unwrap();
    assert_eq!(found.commit, pushed.commit);
}

#[test]
fn a_plain_file_that_has_not_changed_is_proven_like_any_other() {
    let place = Place::new();
    let data: Vec<u8> = (0..1_500_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let files = |c: u8| vec![("a.bin", data.clone()), ("b", b"small".to_vec()), ("c", vec![c])];
    place.push("lab/model", &files(1));
    assert_eq!(place.push("lab/model", &files(2)).stored, 1);
    for key in place.keys("packs") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    place.push("lab/model", &files(3));
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&files(3)));
    // What is lost is not said to be here.
    let place = Place::new();
    place.push("lab/model", &files(1));
    let (_, tree) = place.store().tree(&"lab/model".parse().unwrap()).unwrap();
    let sha256 = tree.files["a.bin"].sha256;
    assert!(place.store().find_file("lab", sha256).unwrap().is_some());
    for key in place.keys("packs") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    assert!(place.store().find_file("lab", sha256).unwrap().is_none());
}

#[test]
fn a_push_that_fails_ends_nothing() {
    let place = Place::new();
    place.push("lab/model", &[("a", b"1".to_vec())]);
    place.store().remove(&"lab/model".parse().unwrap()).unwrap();
    let source = place.source("source", &[("b", b"2".to_vec())]);
    let refuse = |_: &str| Err("the key is locked".to_owned());
    let options = PushOptions::new().sign(&refuse as &at1w_registry::Signer<'_>);
    let pushed = place.store().push(&source, &"lab/model".parse().unwrap(), &options);
    assert!(matches!(pushed, Err(Error::Unfit(_))), "{pushed:?}");
    // Killed, or refused, between the end of the old log and the first entry of the new one.
    let store = place.hooked(Box::new(|op, key| {
        let new = op == Op::Put && key.starts_with("repos/lab/model/0001");
        if new { Fate::Refused } else { Fate::Answered }
    }));
    assert!(push(&store, &source).is_err());
    place.store().restore(&"lab/model".parse().unwrap()).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("a", b"1".to_vec())]));
}

#[test]
fn a_name_whose_branches_are_gone_can_be_pushed_to() {
    let place = Place::new();
    place.push("lab/model", &[("a", b"1".to_vec())]);
    place.store().remove(&"lab/model@main".parse().unwrap()).unwrap();
    place.push("lab/model", &[("b", b"2".to_vec())]);
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("b", b"2".to_vec())]));
}

#[test]
fn what_was_not_done_does_not_stay() {
    // The collector ends the lease while the entry is appended.
    let given_up = |place: &Arc<Place>| {
        let others = place.clone();
        place.hooked(once(Op::Put, "repos/lab", move || others.give_up()))
    };
    let place = Arc::new(Place::new());
    place.push("lab/model", &[("a", b"1".to_vec())]);
    let repo = "lab/model".parse().unwrap();
    place.store().set_private(&repo, true).unwrap();
    let done = given_up(&place).set_private(&repo, false);
    assert!(matches!(done, Err(Error::Expired(_))), "{done:?}");
    assert!(place.store().entry(&repo).unwrap().private);
    let source = place.source("source", &[("b", b"2".to_vec())]);
    let done = given_up(&place).push(&source, &repo, &PushOptions::new().private(false));
    assert!(matches!(done, Err(Error::Expired(_))), "{done:?}");
    assert!(place.store().entry(&repo).unwrap().private);
    assert_eq!(place.pulled("lab/model").unwrap().len(), 1);
    let done = given_up(&place).rename(&repo, "other");
    assert!(matches!(done, Err(Error::Expired(_))), "{done:?}");
    assert_eq!(place.pulled("lab/model").unwrap().len(), 1);
    assert!(place.pulled("lab/other").is_err());
}

#[test]
fn commits_are_named_without_doubt_and_repositories_as_they_are_spelled() {
    let place = Place::new();
    let pushed = place.push("lab/Model", &[("a", b"1".to_vec())]);
    let store = place.store();
    let revision = |text: &str| text.parse::<at1w_registry::Revision>().unwrap();
    assert!(matches!(store.tag(&revision("lab/Model"), &pushed.commit), Err(Error::Name { .. })));
    for done in [
        store.remove(&revision("lab/MODEL")),
        store.tag(&revision("lab/model"), "v1").map(drop),
        store.set_private(&"lab/model".parse().unwrap(), true),
    ] {
        assert!(matches!(done, Err(Error::Name { .. })), "{done:?}");
    }
}

#[test]
fn a_push_to_a_branch_that_is_removed_meanwhile_is_refused() {
    let place = Arc::new(Place::new());
    place.push("lab/model", &[("a", b"1".to_vec())]);
    place.store().branch(&"lab/model".parse().unwrap(), "next").unwrap();
    let (others, done) = (place.clone(), AtomicBool::new(false));
    let store = place.hooked(Box::new(move |op, key| {
        if op == Op::Put && key.starts_with("trees/lab") && !done.swap(true, Ordering::SeqCst) {
            let others = others.clone();
            let remove = move || others.store().remove(&"lab/model@next".parse().unwrap()).unwrap();
            thread::spawn(remove).join().unwrap();
        }
        Fate::Answered
    }));
    let source = place.source("source", &[("b", b"2".to_vec())]);
    let options = PushOptions::new().branch("next");
    let pushed = store.push(&source, &"lab/model".parse().unwrap(), &options);
    assert!(matches!(pushed, Err(Error::Conflict { .. })), "{pushed:?}");
    assert!(matches!(place.pulled("lab/model@next"), Err(Error::NoRevision { .. })));
}

#[test]
fn an_unsigned_commit_is_signed_by_another_push() {
    let place = Place::new();
    place.push("lab/model", &[("a", b"1".to_vec())]);
    let source = place.source("source", &[("a", b"1".to_vec())]);
    let sign = |message: &str| Ok(format!("signed {message}"));
    let options = PushOptions::new().sign(&sign as &at1w_registry::Signer<'_>);
    let repo = "lab/model".parse().unwrap();
    assert!(place.store().push(&source, &repo, &options).unwrap().new);
    assert!(place.store().commit_of(&"lab/model".parse().unwrap()).unwrap().signature.is_some());
    assert!(!place.store().push(&source, &repo, &options).unwrap().new);
}

#[test]
fn a_push_that_is_given_up_leaves_the_recipes_of_others() {
    // Both repositories have the tensor; the push finds it in a pack that nothing names, which the
    // collector deletes while the push is held up.
    let lease = Duration::from_millis(900);
    let mut place = Place::new();
    let weights = [("m.safetensors", weights(1))];
    place.push("lab/lost", &weights);
    place.store().remove(&"lab/lost".parse().unwrap()).unwrap();
    // Another namespace's view of it is not there: the second copy is made with the index hidden.
    let index = place.root().join(&place.keys("index")[0]);
    let hidden = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    for key in place.keys("files") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    place.push("lab/kept", &weights);
    fs::write(&index, hidden).unwrap();
    place.age("", 3600);
    place.times = Times::default().lease(lease);
    let place = Arc::new(place);
    let (door, at_door) = (Arc::new(Door::default()), Arc::new(Door::default()));
    let (inner, outer) = (door.clone(), at_door.clone());
    outer.set(true);
    let stopped = AtomicBool::new(false);
    let store = place.hooked(Box::new(move |op, key| {
        if op == Op::Put && key.starts_with("files/lab") && !stopped.swap(true, Ordering::SeqCst) {
            inner.set(true);
            outer.set(false);
        }
        inner.pass();
        Fate::Answered
    }));
    let source = place
        .source("source", &[("m.safetensors", model(&[("a", 1, 900_000), ("b", 2, 10)], "m"))]);
    let pushing = thread::spawn(move || push(&store, &source).is_err());
    at_door.pass();
    thread::sleep(lease * 2);
    collect(&place).unwrap();
    door.set(false);
    assert!(pushing.join().unwrap(), "a push whose lease has ended was acknowledged");
    assert_eq!(place.pulled("lab/kept").unwrap(), owned(&weights));
    collect(&place).unwrap();
    assert_eq!(place.pulled("lab/kept").unwrap(), owned(&weights));
    assert!(place.store().scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
}

#[test]
fn nothing_is_pushed_to_where_git_keeps_what_is_its_own() {
    let place = Place::new();
    place.push("lab/model", &[("a", b"1".to_vec())]);
    let source = place.source("source", &[("x/.Git/config", b"2".to_vec())]);
    assert!(matches!(push(&place.store(), &source), Err(Error::Name { .. })));
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("a", b"1".to_vec())]));
}
