//! Usage records: what is acknowledged is in them, and what is changed in them is found.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use at1w_registry::{AuditOptions, Audited, Error, PushOptions, Record, Revision, Store};
use at1w_remote::Objects;
use common::{Fate, Hooked, Op, Place, forged};

const HOUR: u64 = 3600;

fn push(store: &Store, place: &Place, repo: &str, byte: u8) {
    let source = place.source("source", &[("a.bin", vec![byte; 100])]);
    store.push(&source, &repo.parse().unwrap(), &PushOptions::new()).unwrap();
}

fn audit(store: &Store) -> Audited {
    store.audit(&AuditOptions::new()).unwrap()
}

fn assert_whole(audited: &Audited) {
    assert_eq!(audited.broken, None);
    assert!(audited.odd.is_empty(), "{:?}", audited.odd);
}

/// A place in which two processes have pushed, removed and read.
fn recorded() -> Place {
    let place = Place::new();
    let (one, two) = (place.store(), place.store());
    for byte in 0..3 {
        push(&one, &place, "lab/a", byte);
        push(&two, &place, "lab/b", byte);
    }
    one.remove(&Revision { repo: "lab/a".parse().unwrap(), revision: None }).unwrap();
    let mut read = Record::new("read", "ci");
    read.repo = Some("lab/b".into());
    read.bytes_sent = 1000;
    two.record(&[read.clone(), read]).unwrap();
    push(&two, &place, "lab/b", 9);
    place
}

#[test]
fn pushes_of_the_command_line_are_recorded() {
    let place = Place::new();
    place.store().init().unwrap();
    assert_whole(&audit(&place.store()));
    place.push("lab/a", &[("a.bin", vec![1; 100])]);
    place.push("lab/a", &[("b.bin", vec![1; 50])]);
    let audited = audit(&place.store());
    assert_whole(&audited);
    assert_eq!((audited.records, audited.servers, audited.entries), (2, 2, 2));
    let read = |key: &String| {
        let record: serde_json::Value =
            serde_json::from_slice(&fs::read(place.root().join(key)).unwrap()).unwrap();
        assert_eq!((&record["action"], &record["repo"]), (&"push".into(), &"lab/a".into()));
        record["bytes_logical"].as_u64().unwrap()
    };
    let mut logical: Vec<_> = place.keys("meter/").iter().map(read).collect();
    logical.sort_unstable();
    assert_eq!(logical, [100, 150]);
}

#[test]
fn a_record_that_was_edited_dropped_moved_or_swapped_is_found() {
    let place = recorded();
    let audited = audit(&place.store());
    assert_whole(&audited);
    assert_eq!((audited.records, audited.entries, audited.servers), (10, 8, 2));
    let keys = place.keys("meter/");
    let path = |key: &String| -> PathBuf { place.root().join(key) };
    let found = |what: &str| {
        let broken = audit(&place.store()).broken;
        assert!(broken.is_some(), "{what} was not found");
        broken.unwrap()
    };
    for key in &keys {
        let before = fs::read(path(key)).unwrap();
        // One that nothing follows, and that no entry names, can be taken away until it is sealed:
        // there is none here.
        fs::remove_file(path(key)).unwrap();
        found(&format!("that {key} was dropped"));
        let line = before.split(|&byte| byte == b'\n').next().unwrap();
        for change in [[("\"bytes_sent\":", "\"bytes_sent\":1")], [("\"lab/", "\"lob/")]] {
            let mut edited = forged(line, &change);
            edited.push(b'\n');
            edited.extend_from_slice(&before[line.len() + 1..]);
            fs::write(path(key), edited).unwrap();
            let broken = found(&format!("that {key} was edited"));
            let mut parts = key.rsplit('/').take(2);
            let (_, server) = (parts.next(), parts.next().unwrap());
            let after = keys::seq(key) + keys::count(&before);
            let near = [keys::seq(key), after].map(|seq| format!("{server}/{seq:08}"));
            assert!(near.iter().any(|end| broken.object.ends_with(end)), "{broken:?} {key}");
        }
        let mut plain = before.clone();
        plain[20] ^= 1;
        fs::write(path(key), plain).unwrap();
        assert_eq!(found("a flipped bit").object, *key);
        fs::write(path(key), before).unwrap();
    }
    for pair in keys.windows(2) {
        let (a, b) = (fs::read(path(&pair[0])).unwrap(), fs::read(path(&pair[1])).unwrap());
        fs::write(path(&pair[0]), &b).unwrap();
        fs::write(path(&pair[1]), &a).unwrap();
        found("a swap");
        fs::write(path(&pair[0]), a).unwrap();
        fs::write(path(&pair[1]), b).unwrap();
    }
    assert_whole(&audit(&place.store()));
}

/// Parts of keys and objects of records.
mod keys {
    pub(crate) fn seq(key: &str) -> u64 {
        key.rsplit('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn count(object: &[u8]) -> u64 {
        object.iter().filter(|&&byte| byte == b'\n').count() as u64
    }
}

/// A clock that says a minute after an hour.
fn after_an_hour() -> Arc<AtomicU64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Arc::new(AtomicU64::new(HOUR - now % HOUR + 60))
}

/// A store in memory with a clock, in which three hours are sealed.
fn sealed(place: &Place) -> (Store, Arc<Objects>, Arc<AtomicU64>) {
    let ahead = after_an_hour();
    let objects = Hooked::clocked(&ahead);
    let store = Store::new(objects.clone());
    for byte in 0..3 {
        push(&store, place, "lab/a", byte);
        let mut read = Record::new("read", "ci");
        read.bytes_sent = 7;
        Store::new(objects.clone()).record(&[read]).unwrap();
        ahead.fetch_add(HOUR, Ordering::Relaxed);
    }
    ahead.fetch_add(24 * HOUR, Ordering::Relaxed);
    assert_eq!(store.seal(Some(&|message: &str| Ok(format!("signed {message}")))).unwrap(), 3);
    (store, objects, ahead)
}

#[test]
fn hours_are_sealed_and_days_signed() {
    let place = Place::new();
    let (store, objects, _) = sealed(&place);
    let verify = |message: &str, signature: &str| match signature == format!("signed {message}") {
        true => Ok(()),
        false => Err("it is of somebody else".to_owned()),
    };
    let options = AuditOptions::new().verify(&verify as &at1w_registry::Verifier<'_>);
    let audited = store.audit(&options).unwrap();
    assert_eq!(audited.broken, None);
    assert_eq!((audited.records, audited.seals, audited.unsealed), (6, 3, 0));
    assert!(!audited.signed.is_empty());
    assert_eq!(store.seal(None).unwrap(), 0);
    // A period is checked by itself.
    let hours = objects.folders("meter").unwrap();
    let part = store.audit(&AuditOptions::new().period(Some(&hours[1]), None)).unwrap();
    assert_eq!((part.broken, part.records, part.seals), (None, 4, 2));
    let changed = |change: &dyn Fn(), back: &dyn Fn()| {
        change();
        let broken = store.audit(&options).unwrap().broken;
        back();
        assert!(broken.is_some());
        assert_eq!(store.audit(&options).unwrap().broken, None);
    };
    let all = ["meter", "seals", "signatures"].map(|folder| objects.list(folder).unwrap());
    for key in all.iter().flatten().map(|meta| meta.key.clone()) {
        let bytes = objects.get(&key).unwrap().unwrap();
        let restore = || objects.put(&key, bytes.clone()).unwrap();
        let last_of_all = key.starts_with("signatures/") || all[1].last().unwrap().key == key;
        if !last_of_all {
            changed(&|| objects.delete(slice::from_ref(&key)).unwrap(), &restore);
        }
        let mut flipped = bytes.to_vec();
        flipped[30] ^= 1;
        changed(&|| objects.put(&key, flipped.clone()).unwrap(), &restore);
    }
    // Nothing is slipped into an hour that is sealed.
    let late = objects.list("meter").unwrap().remove(0).key;
    let other = format!("{}/{}/00000000", late.rsplitn(3, '/').nth(2).unwrap(), "f".repeat(32));
    let add = || objects.put(&other, objects.get(&late).unwrap().unwrap()).unwrap();
    changed(&add, &|| objects.delete(slice::from_ref(&other)).unwrap());
}

#[test]
fn several_seal_one_store_at_once() {
    let place = Place::new();
    let ahead = after_an_hour();
    let objects = Hooked::clocked(&ahead);
    for hour in 0..4 {
        push(&Store::new(objects.clone()), &place, "lab/a", hour);
        ahead.fetch_add(HOUR, Ordering::Relaxed);
    }
    let counts: Vec<u64> = thread::scope(|scope| {
        let seal = || Store::new(objects.clone()).seal(None).unwrap();
        let running: Vec<_> = (0..4).map(|_| scope.spawn(seal)).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let audited = audit(&Store::new(objects));
    assert_eq!(audited.broken, None);
    assert_eq!((counts.into_iter().sum::<u64>(), audited.seals), (audited.seals, 3));
}

#[test]
fn a_clock_that_goes_back_leads_into_no_sealed_hour() {
    let place = Place::new();
    let (store, objects, ahead) = sealed(&place);
    ahead.store(0, Ordering::Relaxed);
    for byte in 5..8 {
        push(&store, &place, "lab/a", byte);
        push(&Store::new(objects.clone()), &place, "lab/b", byte);
    }
    let audited = audit(&store);
    assert_eq!((audited.broken, audited.records, audited.unsealed), (None, 12, 6));
    let times: Vec<_> = store.log(&"lab/a".parse().unwrap()).unwrap();
    assert!(times.is_sorted_by(|a, b| a.time <= b.time));
    let usage = store.usage(None).unwrap();
    assert!(usage.namespaces[0].series.steps().is_sorted_by_key(|step| step.0));
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    let place = Place::new();
    place.push("lab/a", &[("a.bin", vec![1; 10])]);
    let full = Arc::new(AtomicBool::new(true));
    let told = full.clone();
    let store = place.hooked(Box::new(move |op, key: &str| {
        let refused = op == Op::Put && key.starts_with("meter/") && told.load(Ordering::Relaxed);
        if refused { Fate::Refused } else { Fate::Answered }
    }));
    let repo = "lab/a".parse().unwrap();
    let source = place.source("source", &[("b.bin", vec![2; 10])]);
    let pushed = store.push(&source, &repo, &PushOptions::new());
    assert!(matches!(pushed, Err(Error::Remote(_))), "{pushed:?}");
    let removed = store.remove(&Revision { repo: repo.clone(), revision: None });
    assert!(matches!(removed, Err(Error::Remote(_))), "{removed:?}");
    assert_eq!(store.log(&repo).unwrap().len(), 1);
    full.store(false, Ordering::Relaxed);
    store.push(&source, &repo, &PushOptions::new()).unwrap();
    let audited = audit(&store);
    assert_whole(&audited);
    assert_eq!((audited.entries, audited.records), (2, 2));
}

#[test]
fn answers_that_are_lost_leave_the_chain_whole() {
    let place = Place::new();
    let count = AtomicU64::new(0);
    let store = place.hooked(Box::new(move |op, key: &str| {
        let record = op == Op::Put && key.starts_with("meter/");
        let odd = record && count.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if odd { Fate::Lost } else { Fate::Answered }
    }));
    for byte in 0..6 {
        push(&store, &place, "lab/a", byte);
    }
    let audited = audit(&store);
    assert_whole(&audited);
    assert_eq!((audited.records, audited.servers, audited.entries), (6, 1, 6));
}

#[test]
fn a_copy_has_the_records_and_the_past() {
    let place = recorded();
    let store = place.store();
    store.collect(&at1w_registry::CollectOptions::new().grace(std::time::Duration::ZERO)).unwrap();
    let copy = Store::open(&place.path("copy").to_string_lossy()).unwrap();
    store.copy_to(&copy, &()).unwrap();
    let (here, there) = (audit(&store), audit(&copy));
    assert_whole(&there);
    assert_eq!((here.records, here.entries), (there.records, there.entries));
    let series = |store: &Store| {
        let usage = store.usage(None).unwrap();
        assert!(usage.faults.is_empty(), "{:?}", usage.faults);
        let all = usage.namespaces.into_iter().map(|ns| (ns.name, ns.series));
        all.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(series(&store), series(&copy));
}
