//! Recipes, trees and logs that are damaged: each is named, hides nothing else, and comes back from
//! a replica.

mod common;

use std::fs;

use at1w_registry::{AuditOptions, CollectOptions, ScrubOptions, Scrubbed, Store};
use common::{Place, files, forge, model, owned};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn scrub(place: &Place) -> Scrubbed {
    place.real().scrub(&ScrubOptions::new()).unwrap()
}

fn weights(metadata: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![("m.safetensors", model(&[("a", 1, 700_000), ("b", 2, 700_000)], metadata))]
}

fn replica(place: &Place) -> Store {
    let replica = Store::open(&place.path("replica").to_string_lossy()).unwrap();
    place.real().copy_to(&replica, &()).unwrap();
    replica
}

#[test]
fn every_object_that_is_damaged_or_gone_comes_back() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    place.push("lab/one", &[("config.json", b"{}".to_vec())]);
    place.push("other/one", &[("readme", b"whole".to_vec())]);
    let replica = replica(&place);
    let mut expected = owned(&weights("one"));
    expected.insert("config.json".into(), b"{}".to_vec());
    let kinds = ["files/lab", "trees/lab", "packs/lab", "repos/lab"];
    let keys: Vec<_> = kinds.iter().flat_map(|kind| place.keys(kind)).collect();
    assert_eq!(keys.len(), 8);
    let whole = files(&place.root());
    for key in &keys {
        // The last entry of a log that is gone cannot be missed.
        for gone in [false, true].into_iter().filter(|gone| !(*gone && key.ends_with("0001"))) {
            let path = place.root().join(key);
            match gone {
                true => fs::remove_file(&path).unwrap(),
                false => {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes[0] ^= 1;
                    fs::write(&path, bytes).unwrap();
                }
            }
            let found = scrub(&place);
            assert!(!found.damaged.is_empty(), "{key} {gone}");
            assert!(found.damaged.iter().all(|damage| damage.namespace == "lab"), "{found:?}");
            // Others are read, proven, and collected.
            let other = place.real().scrub(&ScrubOptions::new().namespace("other")).unwrap();
            assert!(other.damaged.is_empty() && other.proven == 1, "{other:?}");
            let done = place.real().repair(&replica, &()).unwrap();
            assert!(done.left.is_empty(), "{key} {gone} {done:?}");
            assert!(done.copied + done.repaired > 0, "{key} {gone} {done:?}");
            assert_eq!(place.pulled("lab/one").unwrap(), expected, "{key} {gone}");
            place.real().check().unwrap();
            assert!(scrub(&place).damaged.is_empty());
            // There is nothing more to take.
            let done = place.real().repair(&replica, &()).unwrap();
            assert_eq!((done.copied, done.repaired, done.left.len()), (0, 0, 0));
            fs::remove_dir_all(place.root()).unwrap();
            for (key, bytes) in &whole {
                let path = place.root().join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn what_the_meter_has_comes_back() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    place.push("lab/two", &[("readme", b"2".to_vec())]);
    place.real().remove(&"lab/two".parse().unwrap()).unwrap();
    let grace = CollectOptions::new().grace(std::time::Duration::ZERO);
    place.real().collect(&grace).unwrap();
    let replica = replica(&place);
    let whole = files(&place.root());
    let keys = [place.keys("meter/"), place.keys("past/")].concat();
    let records = |keys: &[String]| keys.iter().filter(|key| key.starts_with("meter/")).count();
    assert!(keys.len() >= 4, "{keys:?}");
    let other = Place::new();
    other.push("lab/other", &weights("other"));
    for key in keys {
        let path = place.root().join(&key);
        for gone in [false, true] {
            match gone {
                true => fs::remove_file(&path).unwrap(),
                false => fs::write(&path, &whole[&key][1..]).unwrap(),
            }
            // Another store has records of its own.
            let before = place.keys("");
            let done = place.real().repair(&other.real(), &()).unwrap();
            assert_eq!((done.copied, place.keys("meter/").len()), (0, records(&before)), "{key}");
            let done = place.real().repair(&replica, &()).unwrap();
            assert_eq!((done.copied, done.left.len()), (1, 0), "{key} {done:?}");
            assert_eq!(fs::read(&path).unwrap(), whole[&key], "{key}");
        }
    }
    assert!(place.real().audit(&AuditOptions::new()).unwrap().broken.is_none());
    assert!(place.real().usage(None).unwrap().faults.is_empty());
}

#[test]
fn a_damaged_namespace_keeps_no_other_from_being_collected() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    place.push("other/one", &[("readme", b"1".to_vec())]);
    place.real().remove(&"other/one".parse().unwrap()).unwrap();
    let path = place.root().join(&place.keys("files/lab")[0]);
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..20]).unwrap();
    let before = files(&place.root().join("packs/lab"));
    let grace = CollectOptions::new().grace(std::time::Duration::ZERO);
    let error = place.real().collect(&grace).unwrap_err();
    assert!(error.is_integrity(), "{error}");
    // Both runs of a store at rest.
    place.real().collect(&grace).unwrap_err();
    assert!(place.keys("packs/other").is_empty());
    assert_eq!(files(&place.root().join("packs/lab")), before);
    fs::write(&path, good).unwrap();
    place.real().collect(&grace).unwrap();
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&weights("one")));
}

#[test]
fn what_the_replica_lacks_is_left_and_named() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    let replica = replica(&place);
    place.push("lab/two", &[("readme", b"2".to_vec())]);
    for kind in ["files", "trees", "packs"] {
        let copied = files(&place.path("replica"));
        let key = place.keys(kind).into_iter().find(|key| !copied.contains_key(key)).unwrap();
        let path = place.root().join(&key);
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let done = place.real().repair(&replica, &()).unwrap();
        assert_eq!((done.copied, done.repaired, done.left.len()), (0, 0, 1), "{done:?}");
        assert!(done.left[0].contains(kind), "{done:?}");
        fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_recipe_that_names_the_wrong_places_is_what_is_damaged() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    let one = place.keys("files/lab");
    place.push("lab/two", &weights("two"));
    let replica = replica(&place);
    let two = place.keys("files/lab").into_iter().find(|key| !one.contains(key)).unwrap();
    let path = place.root().join(&two);
    let good = fs::read(&path).unwrap();
    let swap = |json: &mut Value| json["segments"].as_array_mut().unwrap().swap(0, 1);
    let far = |json: &mut Value| json["packed"]["tensors"] = [0, 999].into();
    let other = |json: &mut Value| json["size"] = 7.into();
    // Reading does not need the numbers of tensors.
    type Forgery<'a> = &'a dyn Fn(&mut Value);
    let forgeries: [(Forgery<'_>, bool); 3] = [(&swap, false), (&far, true), (&other, false)];
    for (forgery, read) in forgeries {
        forge(&path, forgery);
        for asked in ["lab/one", "lab/two", "both"] {
            let repo = asked.parse().ok();
            let found = place.real().scrub(&ScrubOptions::new().repo(repo.as_ref())).unwrap();
            // The bytes are good, and stay in use.
            assert!(place.keys("scrub/lab/marks").is_empty(), "{asked} {found:?}");
            assert_eq!(found.damaged.is_empty(), asked == "lab/one", "{asked} {found:?}");
            assert!(found.damaged.iter().all(|damage| damage.pack == two), "{found:?}");
        }
        assert_eq!(place.pulled("lab/one").unwrap(), owned(&weights("one")));
        assert_eq!(place.pulled("lab/two").is_ok(), read);
        place.real().repair(&replica, &()).unwrap();
        assert_eq!(place.pulled("lab/two").unwrap(), owned(&weights("two")));
        assert!(scrub(&place).damaged.is_empty());
        fs::write(&path, &good).unwrap();
        for key in place.keys("files/lab").iter().filter(|key| !one.contains(key) && **key != two) {
            fs::remove_file(place.root().join(key)).unwrap();
        }
    }
}

#[test]
fn a_run_of_the_index_with_swapped_places_is_found_by_a_scrub() {
    let place = Place::new();
    place.push("lab/one", &weights("one"));
    let path = place.root().join(&place.keys("index/lab")[0]);
    let mut run = fs::read(&path).unwrap();
    run.truncate(run.len() - 32);
    let count = |at: usize| u64::from_le_bytes(run[at..at + 8].try_into().unwrap()) as usize;
    let (rows, place_at) = (24 + 48 * count(8), 40);
    assert_eq!(count(16), 2);
    let (first, second) = run.split_at_mut(rows + 64);
    first[rows + place_at..].swap_with_slice(&mut second[place_at..]);
    run.extend(Sha256::digest(&run));
    fs::write(&path, run).unwrap();
    place.push("lab/two", &weights("two"));
    let found = scrub(&place);
    assert!(!found.damaged.is_empty(), "{found:?}");
    assert!(found.damaged.iter().all(|damage| damage.revisions[0].starts_with("lab/two@")));
    assert!(place.keys("scrub/lab/marks").is_empty());
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&weights("one")));
}

#[test]
fn a_plain_recipe_of_a_packed_file_is_damaged() {
    let place = Place::new();
    let file = weights("one")[0].1.clone();
    place.push("lab/plain", &[("m.bin", file.clone())]);
    let plain = place.keys("files/lab").remove(0);
    let plain = (place.root().join(&plain), fs::read(place.root().join(&plain)).unwrap());
    place.push("lab/one", &[("m.safetensors", file.clone())]);
    let replica = replica(&place);
    for key in place.keys("files/lab") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    fs::write(plain.0, plain.1).unwrap();
    assert!(place.pulled("lab/one").is_err());
    let found = scrub(&place);
    assert!(found.damaged.len() == 1 && found.damaged[0].len == 0, "{found:?}");
    let done = place.real().repair(&replica, &()).unwrap();
    assert!(done.left.is_empty(), "{done:?}");
    for (repo, name) in [("lab/one", "m.safetensors"), ("lab/plain", "m.bin")] {
        assert_eq!(place.pulled(repo).unwrap(), owned(&[(name, file.clone())]));
    }
    assert!(scrub(&place).damaged.is_empty());
}
