//! Damage at rest: it is named, with the revisions that need it, the rest is served, and good
//! copies heal it.

mod common;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use at1w_container::{Level, Progress};
use at1w_registry::{CollectOptions, Error, PushOptions, Revision, ScrubOptions, Store, Times};
use common::{Place, files, model, owned};

fn two() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("m.safetensors", model(&[("a", 1, 700_000), ("b", 2, 900_000)], "m")),
        ("data.bin", (0..2_000_000_u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect()),
    ]
}

/// Flips a bit in the middle of the pack that holds `a` and `b`, or the data.
fn flip(place: &Place, longest: bool) {
    let mut packs: Vec<_> =
        place.keys("packs").into_iter().map(|key| place.root().join(key)).collect();
    packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let path = if longest { packs.pop().unwrap() } else { packs.remove(0) };
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 10;
    bytes[at] ^= 4;
    fs::write(&path, bytes).unwrap();
}

fn scrub(store: &Store) -> at1w_registry::Scrubbed {
    store.scrub(&ScrubOptions::new()).unwrap()
}

#[test]
fn damage_is_named_and_the_rest_is_served() {
    let place = Place::new();
    place.push("lab/one", &two());
    place.push("lab/two", &[two()[0].clone()]);
    place.push("lab/three", &[("c", b"{}".to_vec())]);
    let good = scrub(&place.real());
    assert!(good.damaged.is_empty() && good.proven == 4, "{good:?}");
    flip(&place, true);
    let found = scrub(&place.real());
    assert_eq!(found.damaged.len(), 1, "{found:?}");
    let damage = &found.damaged[0];
    assert_eq!(damage.tensor.as_deref(), Some("a"));
    assert_eq!(damage.revisions.len(), 2);
    assert!(damage.revisions.iter().any(|revision| revision.starts_with("lab/two@")));
    assert!(matches!(place.pulled("lab/two"), Err(error) if error.is_integrity()));
    // The other tensor of the same file is served.
    let revision: Revision = "lab/one".parse().unwrap();
    let weights = place.real().open_file(&revision, "m.safetensors").unwrap();
    let (_, b) = weights.read_to_vec("b", None).unwrap();
    assert!(b == common::tensor(2, 900_000));
    assert!(weights.read_to_vec("a", None).is_err());
    // A push of the same does not rely on it: it brings a good copy, which heals both revisions.
    let pushed = place.push("lab/four", &[two()[0].clone()]);
    assert!(pushed.new_tensors == 1 && pushed.healed == 1, "{pushed:?}");
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&two()));
    assert!(scrub(&place.real()).damaged.is_empty());
    // Nor does a later one rely on it, though its pack is young.
    let fifth = [("m.safetensors", model(&[("a", 1, 700_000), ("b", 2, 900_000)], "fifth"))];
    place.push("lab/five", &fifth);
    assert_eq!(place.pulled("lab/five").unwrap(), owned(&fifth));
}

#[test]
fn damage_of_other_files_heals_as_well() {
    let place = Place::new();
    place.push("lab/one", &[two()[1].clone()]);
    flip(&place, true);
    let found = scrub(&place.store());
    assert!(found.damaged.len() == 1 && found.damaged[0].tensor.is_none());
    place.push("lab/two", &[two()[1].clone()]);
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&[two()[1].clone()]));
}

#[test]
fn a_hit_is_a_promise() {
    // Nobody has scrubbed, and the proof of what is stored is old: the push proves it itself.
    let place = Place { times: Times::default().promise(Duration::ZERO), ..Place::new() };
    place.push("lab/one", &two());
    std::thread::sleep(Duration::from_millis(20));
    let same = place.push("lab/two", &two());
    assert_eq!(same.stored, 0);
    flip(&place, true);
    flip(&place, false);
    let pushed = place.push("lab/three", &two());
    assert!(pushed.stored > 2_000_000, "{pushed:?}");
    for repo in ["lab/one", "lab/two", "lab/three"] {
        assert_eq!(place.pulled(repo).unwrap(), owned(&two()), "{repo}");
    }
}

#[test]
fn a_pack_that_is_cut_or_gone_is_repaired_from_a_replica() {
    let place = Place::new();
    place.push("lab/one", &two());
    place.push("lab/one", &[("config.json", b"{}".to_vec())]);
    let replica = Store::open(&place.path("replica").to_string_lossy()).unwrap();
    let copied = place.real().copy_to(&replica, &()).unwrap();
    assert!(copied.objects > 5);
    let again = place.real().copy_to(&replica, &()).unwrap();
    assert_eq!(again.objects, 0);
    let mut expected = owned(&two());
    expected.insert("config.json".into(), b"{}".to_vec());
    for cut in [true, false] {
        let mut mended = 0;
        for key in place.keys("packs").into_iter().chain(place.keys("files")) {
            let path = place.root().join(&key);
            let Ok(bytes) = fs::read(&path) else { continue };
            match cut && key.starts_with("packs") {
                true => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            let done = place.real().repair(&replica, &()).unwrap();
            assert!(done.left.is_empty(), "{key} {done:?}");
            mended += done.copied + done.repaired;
            assert_eq!(place.pulled("lab/one").unwrap(), expected, "{key}");
            assert!(scrub(&place.real()).damaged.is_empty());
        }
        assert!(mended > 1, "{mended}");
    }
    // A replica with commits of its own is no copy.
    let source = place.source("other", &[("x", b"1".to_vec())]);
    replica.push(&source, &"lab/one".parse().unwrap(), &PushOptions::new()).unwrap();
    place.push("lab/one", &[("y", b"2".to_vec())]);
    assert!(matches!(place.real().copy_to(&replica, &()), Err(Error::Log { .. })));
}

#[test]
fn repacking_keeps_everything_but_bytes() {
    let place = Place::new();
    let weights = [("m.safetensors", model(&[("a", 1, 700_000), ("b", 2, 9000)], "m"))];
    let source = place.source("source", &weights);
    let (repo, options) = ("lab/one".parse().unwrap(), PushOptions::new().level(Level::Fast));
    let pushed = place.store().push(&source, &repo, &options).unwrap();
    let before = place.store().open_file(&"lab/one".parse().unwrap(), "m.safetensors").unwrap();
    let done = place.store().repack("lab", None, Level::Max, &()).unwrap();
    assert!(done.files == 1 && done.after <= done.before, "{done:?}");
    let again = place.store().repack("lab", Some(&repo), Level::Max, &()).unwrap();
    assert!(again.files == 0 && again.after == 0, "{again:?}");
    let (found, _) = place.store().tree(&"lab/one".parse().unwrap()).unwrap();
    assert_eq!((found.commit, found.tree), (pushed.commit, pushed.tree));
    // The old stays readable until it is collected.
    before.packed().unwrap().verify_original(&()).unwrap();
    let collected = place.store().collect(&CollectOptions::new().grace(Duration::ZERO)).unwrap();
    assert!(collected.deleted >= 1, "{collected:?}");
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&weights));
    assert!(before.packed().unwrap().verify_original(&()).is_err());
}

#[test]
fn packs_of_which_little_is_in_use_are_rewritten() {
    let place = Place::new();
    let large = model(&[("a", 1, 900_000), ("b", 2, 100_000)], "m");
    let small = model(&[("b", 2, 100_000)], "m");
    place.push("lab/large", &[("m.safetensors", large)]);
    place.push("lab/small", &[("m.safetensors", small.clone())]);
    place.store().remove(&"lab/large".parse().unwrap()).unwrap();
    let grace = CollectOptions::new().grace(Duration::ZERO);
    let first = place.store().collect(&grace).unwrap();
    assert_eq!(first.rewritten, 1);
    place.store().collect(&grace).unwrap();
    let stored: usize = files(&place.root().join("packs")).values().map(Vec::len).sum();
    assert!(stored < 300_000, "{stored}");
    assert_eq!(place.pulled("lab/small").unwrap(), owned(&[("m.safetensors", small)]));
    assert!(scrub(&place.store()).damaged.is_empty());
    // The index names the new place.
    let pushed = place.push("lab/again", &[("m.safetensors", model(&[("b", 2, 100_000)], "x"))]);
    assert_eq!(pushed.stored, 0);
}

#[test]
fn a_file_of_empty_tensors_is_whole() {
    let place = Place::new();
    let empty = [("e.safetensors", model(&[("e", 1, 0)], "m"))];
    place.push("lab/one", &empty);
    let found = scrub(&place.store());
    assert!(found.damaged.is_empty(), "{found:?}");
    place.push("lab/two", &empty);
    assert_eq!(place.keys("files").len(), 1);
    place.store().remove(&"lab/one".parse().unwrap()).unwrap();
    place.store().remove(&"lab/two".parse().unwrap()).unwrap();
    place.store().restore(&"lab/one".parse().unwrap()).unwrap();
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&empty));
}

/// Stops work once so many bytes are done.
struct Stop(u64, AtomicU64);

impl Progress for Stop {
    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) > self.0
    }
}

#[test]
fn a_scrub_that_was_interrupted_is_gone_on_with() {
    let place = Place::new();
    let weights = |seed| model(&[("a", seed, 100_000)], "");
    for seed in 1..9 {
        place.push(&format!("lab/m{seed}"), &[("model.safetensors", weights(seed))]);
    }
    let store = place.store();
    let all = store.stats().unwrap()[0].1.used;
    let stop = Stop(4 * weights(1).len() as u64, AtomicU64::new(0));
    let options = ScrubOptions::new().checkpoint(1).resume(true);
    assert!(store.scrub(&options.progress(&stop)).is_err());
    assert!(store.last_scrub("lab").unwrap().is_none());
    // Another process goes on: what was proven is not read again.
    let store = place.store();
    let rest = store.scrub(&options).unwrap();
    assert!(rest.damaged.is_empty() && (1..all * 3 / 4).contains(&rest.bytes), "{rest:?} of {all}");
    let last = store.last_scrub("lab").unwrap().unwrap();
    assert_eq!((last.statement.damaged, last.statement.bytes), (0, rest.bytes));
    // The next one is of everything, and a sample is none.
    assert_eq!(store.scrub(&options).unwrap().bytes, all);
    store.scrub(&ScrubOptions::new().sample(0.5)).unwrap();
    assert_eq!(store.last_scrub("lab").unwrap().unwrap().statement.bytes, all);
    assert_eq!(store.scrub(&options).unwrap().bytes, all);
}
