//! Copies of a store, while others use both.

mod common;

use std::fs;
use std::thread;
use std::time::Duration;

use at1w_container::Level;
use at1w_registry::{CollectOptions, Error, PullOptions, Store, Times};
use common::{Hooked, Op, Place, files, model, once, owned};

fn weights(seed: u64) -> Vec<(&'static str, Vec<u8>)> {
    vec![("m.safetensors", model(&[("a", seed, 700_000)], "m"))]
}

/// The files of a repository of a copy.
fn pulled(place: &Place, copy: &Store) -> std::collections::BTreeMap<String, Vec<u8>> {
    let target = tempfile::tempdir_in(place.folder.path()).unwrap();
    copy.pull(&"lab/one".parse().unwrap(), target.path(), &PullOptions::new()).unwrap();
    files(target.path())
}

fn copy_of(place: &Place) -> Store {
    Store::open(&place.path("copy").to_string_lossy()).unwrap().times(place.times)
}

#[test]
fn what_is_repacked_meanwhile_is_copied() {
    let place = Place::new();
    place.push("lab/one", &weights(1));
    let source = place.store();
    let repack = move || _ = source.repack("lab", None, Level::Max, &()).unwrap();
    let hook = once(Op::Upload, "packs", repack);
    let copy = Store::new(Hooked::objects(&place.path("copy"), hook));
    let copied = place.store().copy_to(&copy, &());
    assert!(copied.is_err() || pulled(&place, &copy) == owned(&weights(1)));
}

#[test]
fn what_is_missing_is_an_error_and_the_rest_is_copied() {
    let place = Place::new();
    place.push("lab/one", &weights(1));
    let kept = place.keys("");
    place.push("lab/two", &weights(2));
    for kind in ["packs", "files", "trees"] {
        let copy = copy_of(&place);
        let key = place.keys(kind).into_iter().find(|key| !kept.contains(key)).unwrap();
        let path = place.root().join(&key);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let copied = place.real().copy_to(&copy, &());
        assert!(matches!(copied, Err(Error::Damaged { .. })), "{copied:?}");
        assert_eq!(pulled(&place, &copy), owned(&weights(1)));
        fs::write(&path, good).unwrap();
        place.real().copy_to(&copy, &()).unwrap();
        fs::remove_dir_all(place.path("copy")).unwrap();
    }
}

#[test]
fn a_damaged_entry_takes_no_place_in_the_copy() {
    let place = Place::new();
    place.push("lab/one", &weights(1));
    place.push("lab/two", &weights(2));
    let path = place.root().join("repos/lab/two/0000/log/00000000");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[1..]).unwrap();
    let copy = copy_of(&place);
    assert!(matches!(place.real().copy_to(&copy, &()), Err(Error::Log { .. })));
    assert_eq!(pulled(&place, &copy), owned(&weights(1)));
    fs::write(&path, good).unwrap();
    place.real().copy_to(&copy, &()).unwrap();
}

#[test]
fn nothing_is_collected_where_a_copy_is_made() {
    let place = Place::new();
    place.push("lab/one", &weights(1));
    let collect = {
        let copy = copy_of(&place);
        move || {
            let grace = CollectOptions::new().grace(Duration::ZERO);
            assert!(matches!(copy.collect(&grace), Err(Error::Grace { .. })));
        }
    };
    // Once packs are there and before anything names them.
    let hook = once(Op::Upload, "trees", collect);
    let copy = Store::new(Hooked::objects(&place.path("copy"), hook));
    place.store().copy_to(&copy, &()).unwrap();
    assert_eq!(pulled(&place, &copy), owned(&weights(1)));
}

#[test]
fn what_the_copy_has_condemned_and_is_restored_stays() {
    let lease = Duration::from_millis(200);
    let place = Place { times: Times::default().lease(lease), ..Place::new() };
    let one = "lab/one".parse().unwrap();
    place.push("lab/one", &weights(1));
    place.store().copy_to(&copy_of(&place), &()).unwrap();
    place.store().remove(&one).unwrap();
    place.store().copy_to(&copy_of(&place), &()).unwrap();
    let soon = CollectOptions::new().grace(Duration::from_millis(1));
    // What is younger than the run may be that of a push.
    thread::sleep(Duration::from_secs(3));
    assert!(copy_of(&place).collect(&soon).unwrap().condemned > 0);
    // Long enough for a clock that tells whole seconds.
    thread::sleep(Duration::from_secs(3));
    place.store().restore(&one).unwrap();
    place.push("lab/two", &weights(2));
    let collect = {
        let copy = copy_of(&place);
        move || _ = copy.collect(&CollectOptions::new().grace(lease * 4)).unwrap()
    };
    let hook = once(Op::Upload, "packs", collect);
    let copy = Store::new(Hooked::objects(&place.path("copy"), hook)).times(place.times);
    place.store().copy_to(&copy, &()).unwrap();
    assert_eq!(pulled(&place, &copy), owned(&weights(1)));
}
