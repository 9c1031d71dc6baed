//! Bounds on the requests that are sent and the bytes that are read.

mod common;

use std::fs;

use at1w_registry::{PushOptions, Store};
use common::{Place, forged, model};

#[test]
fn many_repositories_are_listed_by_a_request_for_each() {
    let place = Place::new();
    place.push("lab/r0", &[("a", b"1".to_vec())]);
    let log = |repo: usize| place.root().join(format!("repos/lab/r{repo}/0000/log"));
    let entry = fs::read(log(0).join("00000000")).unwrap();
    for repo in 0..1000 {
        fs::create_dir_all(log(repo)).unwrap();
        for seq in 0..10 {
            let (name, number) = (format!("lab/r{repo}"), format!("\"seq\":{seq},\"id"));
            let entry = forged(&entry, &[("lab/r0", &name), ("\"seq\":0,\"id", &number)]);
            fs::write(log(repo).join(format!("{seq:08}")), entry).unwrap();
        }
    }
    let store = place.store();
    assert_eq!(store.repos(None).unwrap().len(), 1000);
    let requests = store.objects().requests();
    assert!(requests <= 1100, "{requests}");
}

#[test]
fn what_a_namespace_has_is_found_in_few_bytes_and_read_once() {
    // Ten files of 10,000 tensors.
    let place = Place::new();
    let names: Vec<_> = (0..10_000).map(|i| format!("t{i}")).collect();
    for file in 0..10_u64 {
        let seed = |i: usize| file * 10_000 + i as u64 + 1;
        let tensors: Vec<_> =
            names.iter().enumerate().map(|(i, name)| (name.as_str(), seed(i), 4)).collect();
        place.push(&format!("lab/r{file}"), &[("m.safetensors", model(&tensors, "m"))]);
    }
    let push = |store: &Store, repo: &str, seed: u64| {
        let tensors = [("old", 77, 4), ("new", seed, 1000)];
        let source = place.source("source", &[("m.safetensors", model(&tensors, "x"))]);
        let before = store.objects().received();
        let pushed = store.push(&source, &repo.parse().unwrap(), &PushOptions::new()).unwrap();
        assert_eq!((pushed.tensors, pushed.new_tensors), (2, 1));
        store.objects().received() - before
    };
    let store = place.store();
    let cold = push(&store, "lab/cold", 1_000_000);
    assert!(cold > 6_000_000 && cold < 10_000_000, "{cold}");
    // Nothing but the run of the push before.
    let warm = push(&store, "lab/warm", 1_000_001);
    assert!(warm < 2_000, "{warm}");
}

#[test]
fn a_store_that_remembers_logs_asks_for_their_next_entry_alone() {
    let place = Place::new();
    let first = place.push("lab/m", &[("a", vec![0])]);
    for commit in 1..40 {
        place.push("lab/m", &[("a", vec![commit])]);
    }
    let store = place.store().remembering();
    let requests = |ask: &dyn Fn()| {
        let before = store.objects().requests();
        ask();
        store.objects().requests() - before
    };
    let repo = "lab/m".parse().unwrap();
    let old = format!("lab/m@{}", first.commit).parse().unwrap();
    let last = || drop(store.entry(&repo).unwrap());
    let oldest = || assert_eq!(store.tree(&old).unwrap().0.commit, first.commit);
    last();
    oldest();
    assert_eq!(requests(&last), 1);
    assert!(requests(&oldest) <= 2);
    // One that is not there costs no more.
    let none = "lab/m@0123456789".parse().unwrap();
    assert!(requests(&|| assert!(store.tree(&none).is_err())) <= 1);
    // What others do is seen at once.
    let pushed = place.push("lab/m", &[("a", b"new".to_vec())]);
    assert_eq!(store.entry(&repo).unwrap().branches["main"].commit, pushed.commit);
    let new = format!("lab/m@{}", &pushed.commit[..10]).parse().unwrap();
    assert_eq!(store.tree(&new).unwrap().0.commit, pushed.commit);
    let whole = "lab/m".parse().unwrap();
    place.store().remove(&whole).unwrap();
    assert!(store.entry(&repo).unwrap_err().is_not_found());
    let again = place.push("lab/m", &[("a", b"again".to_vec())]);
    assert_eq!(store.entry(&repo).unwrap().branches["main"].commit, again.commit);
    assert!(store.tree(&old).is_err());
}
