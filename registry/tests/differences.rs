//! Tensors that are stored as differences: they are read, proven, healed and collected as others.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::{Level, OpenOptions, Reader};
use at1w_registry::{
    CollectOptions, PullOptions, PushOptions, Pushed, Revision, ScrubOptions, Scrubbed, Store,
    pack_outline, tensor_keys,
};
use common::{LATER, Place, files, forge, model, owned};
use serde_json::Value;

type Files = Vec<(&'static str, Vec<u8>)>;

/// A model of two tensors, one of several chunks, trained for some steps.
fn step(step: u64) -> Files {
    let seed = |seed| seed + step * LATER;
    vec![("m.safetensors", model(&[("a", seed(1), 700_000), ("b", seed(2), 60_000)], "m"))]
}

fn push(place: &Place, repo: &str, files: &[(&str, Vec<u8>)]) -> Pushed {
    let source = place.source("source", files);
    let options = PushOptions::new().differences(true);
    place.store().push(&source, &repo.parse().unwrap(), &options).unwrap()
}

fn scrub(place: &Place) -> Scrubbed {
    place.store().scrub(&ScrubOptions::new()).unwrap()
}

fn collect(place: &Place) {
    place.age("", 3600);
    place.store().collect(&CollectOptions::new().grace(Duration::ZERO)).unwrap();
}

fn rebase(place: &Place) -> at1w_registry::Repacked {
    place.store().rebase("lab", None, Level::Default, &()).unwrap()
}

/// The length of all packs.
fn packs(place: &Place) -> u64 {
    let len = |key: &String| fs::metadata(place.root().join(key)).unwrap().len();
    place.keys("packs").iter().map(len).sum()
}

/// The pack that a push has written, of those that were not there before.
fn new_pack(place: &Place, before: &[String]) -> PathBuf {
    let mut new = place.keys("packs").into_iter().filter(|key| !before.contains(key));
    place.root().join(new.next().unwrap())
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_later_step_takes_little_and_reads_as_any_file() {
    let place = Place::new();
    let first = push(&place, "lab/m", &step(0));
    let second = push(&place, "lab/m", &step(1));
    assert!(second.stored < first.stored / 3, "{first:?} {second:?}");
    // The base of the file before is the base of this one.
    let third = push(&place, "lab/m", &step(2));
    assert!(third.stored < first.stored / 3, "{third:?}");
    for (back, at) in [("lab/m", 2), ("lab/m", 2)] {
        assert_eq!(place.pulled(back).unwrap(), owned(&step(at)));
    }
    // What is the same as differences is found as anything is.
    let mut again = step(2);
    again[0].1 = model(&[("b", 2 + 2 * LATER, 60_000), ("a", 1 + 2 * LATER, 700_000)], "other");
    let pushed = push(&place, "lab/again", &again);
    assert_eq!((pushed.stored, pushed.new_tensors), (0, 0));
    assert_eq!(place.pulled("lab/again").unwrap(), owned(&again));
    // So are bytes whose owner has packed them elsewhere.
    let store = place.store();
    let mut other = step(1);
    other[0].1 = model(&[("a", 1 + LATER, 700_000)], "elsewhere");
    let keys = tensor_keys(&other[0].1, &()).unwrap();
    let known = keys.iter().copied().zip(store.known_tensors("lab", &keys).unwrap());
    let known: HashMap<_, _> = known.filter_map(|(key, len)| Some((key, len?))).collect();
    let mut bytes = Vec::new();
    let (outline, _) = pack_outline(&other[0].1, &known, Level::Default, &mut bytes, &()).unwrap();
    assert_eq!((known.len(), bytes.len()), (1, 0));
    let file = store.store_outline("lab", &outline, &mut &*bytes, &()).unwrap();
    assert_eq!(store.original("lab", &file).unwrap().read(0..file.size).unwrap(), other[0].1);
    let scrubbed = scrub(&place);
    assert!(scrubbed.damaged.is_empty(), "{scrubbed:?}");
}

#[test]
fn a_file_may_have_bases_of_many() {
    const FILES: u64 = 260;
    let place = Place::new();
    let names: Vec<_> = (0..FILES).map(|at| format!("t{at}")).collect();
    let paths: Vec<_> = (0..FILES).map(|at| format!("{at}.safetensors")).collect();
    let shards = |step: u64| -> Vec<(&str, Vec<u8>)> {
        let model = |at: usize| model(&[(&names[at], at as u64 + 1 + step * LATER, 2000)], "m");
        paths.iter().enumerate().map(|(at, path)| (path.as_str(), model(at))).collect()
    };
    let alone = push(&place, "lab/m", &shards(0));
    let tuned = push(&place, "lab/m", &shards(1));
    assert!(tuned.stored < alone.stored / 2, "{alone:?} {tuned:?}");
    let tensors: Vec<_> =
        names.iter().zip(1..).map(|(name, seed)| (name.as_str(), seed + LATER, 2000)).collect();
    let one = [("one.safetensors", model(&tensors, "m"))];
    assert_eq!(push(&place, "lab/one", &one).new_tensors, 0);
    assert_eq!(place.pulled("lab/one").unwrap(), owned(&one));
    assert!(scrub(&place).damaged.is_empty());
}

#[test]
fn the_packed_form_stands_alone() {
    let place = Place::new();
    push(&place, "lab/m", &step(0));
    push(&place, "lab/m", &step(1));
    let (revision, target): (Revision, _) = ("lab/m".parse().unwrap(), place.path("packed"));
    place.store().pull(&revision, &target, &PullOptions::new().packed(true)).unwrap();
    let packed = files(&target).into_keys().find(|path| path.ends_with(".at1w")).unwrap();
    let packed = target.join(packed);
    let reader = Reader::open(&packed).unwrap();
    reader.verify(&()).unwrap();
    assert!(reader.base_models().next().is_none() && reader.info().required_features & 2 == 0);
    // Any range of it is the same bytes.
    let (source, options) = place.store().open_source(&revision, "m.safetensors").unwrap();
    let whole = fs::read(&packed).unwrap();
    assert_eq!(source.size().unwrap(), whole.len() as u64);
    for start in (0..whole.len()).step_by(99_991) {
        let end = whole.len().min(start + 1 + start % 200_000);
        let read = source.read_at(start as u64..end as u64).unwrap();
        assert!(*read == whole[start..end], "{start} {end}");
    }
    let reader = Reader::new(source, &OpenOptions::new().root(options.root)).unwrap();
    let slice = "5:9".parse().unwrap();
    reader.prove("a", &slice).unwrap();
    let weights = place.store().open_file(&revision, "m.safetensors").unwrap();
    let (_, read) = weights.read_to_vec("a", Some(&slice)).unwrap();
    assert_eq!(read, common::tensor(1 + LATER, 700_000)[10..18]);
}

#[test]
fn a_base_stays_as_long_as_a_version_needs_it() {
    let place = Place::new();
    push(&place, "lab/base", &step(0));
    let card = b"---\nbase_model: lab/base\n---\n".to_vec();
    let tuned = |at| [step(at), vec![("README.md", card.clone())]].concat();
    let alone = push(&place, "lab/none", &[("m.safetensors", step(3)[0].1.clone())]);
    for (repo, at) in [("lab/one", 1), ("lab/two", 2)] {
        let pushed = push(&place, repo, &tuned(at));
        assert!(pushed.stored < alone.stored / 3, "{pushed:?} {alone:?}");
    }
    let whole = packs(&place);
    for repo in ["lab/base", "lab/none"] {
        place.store().remove(&repo.parse().unwrap()).unwrap();
    }
    collect(&place);
    assert!(packs(&place) < whole && packs(&place) > alone.stored);
    for (repo, at) in [("lab/one", 1), ("lab/two", 2)] {
        assert_eq!(place.pulled(repo).unwrap(), owned(&tuned(at)));
    }
    // Two need it: it stays.
    assert_eq!(rebase(&place).files, 0);
    place.store().remove(&"lab/one".parse().unwrap()).unwrap();
    collect(&place);
    // One alone needs it, and does without it.
    assert_eq!(rebase(&place).files, 1);
    collect(&place);
    assert!(packs(&place) < alone.stored * 11 / 10, "{} {alone:?}", packs(&place));
    assert_eq!(place.pulled("lab/two").unwrap(), owned(&tuned(2)));
    assert!(scrub(&place).damaged.is_empty());
}

#[test]
fn models_of_other_namespaces_are_no_bases() {
    let place = Place::new();
    let alone = push(&place, "other/base", &step(0));
    let card = b"---\nbase_model: other/base\n---\n".to_vec();
    let pushed = push(&place, "lab/m", &[step(1), vec![("README.md", card)]].concat());
    assert!(pushed.stored > alone.stored * 9 / 10, "{pushed:?}");
}

#[test]
fn a_private_model_is_no_base_of_a_public_one() {
    for private in [false, true] {
        let place = Place::new();
        let push = |repo: &str, files: &[(&str, Vec<u8>)], private: bool| {
            let source = place.source("source", files);
            let options = PushOptions::new().private(private);
            place.store().push(&source, &repo.parse().unwrap(), &options).unwrap()
        };
        let alone = push("lab/base", &step(0), true);
        let card = b"---\nbase_model: lab/base\n---\n".to_vec();
        let files = [step(1), vec![("README.md", card)]].concat();
        let pushed = push("lab/m", &files, private);
        assert_eq!(pushed.stored < alone.stored / 3, private, "{pushed:?}");
        assert_eq!(rebase(&place).files, 0);
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&files));
    }
}

#[test]
fn damage_is_named_where_it_is_and_heals() {
    for of_base in [true, false] {
        let place = Place::new();
        push(&place, "lab/m", &step(0));
        let before = place.keys("packs");
        push(&place, "lab/m", &step(1));
        let damaged =
            if of_base { place.root().join(&before[0]) } else { new_pack(&place, &before) };
        push(&place, "lab/m", &[("config.json", b"{}".to_vec())]);
        let replica = Store::open(&place.path("replica").to_string_lossy()).unwrap();
        place.store().copy_to(&replica, &()).unwrap();
        let good = fs::read(&damaged).unwrap();
        flip(&damaged);
        let found = scrub(&place);
        let name = damaged.file_name().unwrap().to_string_lossy();
        assert!(found.damaged.iter().all(|damage| damage.pack.ends_with(&*name)), "{found:?}");
        assert_eq!(found.damaged.len(), if of_base { 2 } else { 1 }, "{found:?}");
        let revisions = found.damaged.iter().map(|damage| damage.revisions.len()).sum::<usize>();
        assert_eq!(revisions, if of_base { 3 } else { 2 }, "{found:?}");
        assert!(matches!(place.pulled("lab/m"), Err(error) if error.is_integrity()));
        // A replica has what is missing.
        let done = place.store().repair(&replica, &()).unwrap();
        assert!(done.left.is_empty() && done.repaired == 1, "{done:?}");
        let whole = [step(1), vec![("config.json", b"{}".to_vec())]].concat();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&whole));
        assert!(scrub(&place).damaged.is_empty());
        // So has a push of the same: of the file, or of that which holds the base.
        for at in [0, 1] {
            let place = Place::new();
            push(&place, "lab/m", &step(0));
            let before = place.keys("packs");
            push(&place, "lab/m", &step(1));
            let path =
                if of_base { place.root().join(&before[0]) } else { new_pack(&place, &before) };
            flip(&path);
            scrub(&place);
            if !of_base && at == 0 {
                continue;
            }
            push(&place, "lab/new", &step(at));
            assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(1)), "{of_base} {at}");
            // The new file that relies on what was damaged once is right as well.
            push(&place, "lab/third", &step(1));
            assert_eq!(place.pulled("lab/third").unwrap(), owned(&step(1)), "{of_base} {at}");
            // Where the file of the base is pushed, all of it is good again.
            if at == 0 {
                assert!(scrub(&place).damaged.is_empty());
            }
        }
        fs::write(&damaged, good).unwrap();
    }
}

#[test]
fn a_base_and_its_version_are_repaired_together() {
    for gone in [false, true] {
        let place = Place::new();
        push(&place, "lab/m", &step(0));
        let base = place.keys("packs");
        push(&place, "lab/m", &step(1));
        let replica = Store::open(&place.path("replica").to_string_lossy()).unwrap();
        place.store().copy_to(&replica, &()).unwrap();
        let version = new_pack(&place, &base);
        let base = place.root().join(&base[0]);
        flip(&base);
        if gone {
            fs::remove_file(&version).unwrap()
        } else {
            flip(&version)
        }
        let found = scrub(&place);
        // Whether the version is damaged cannot be told, unless it is gone.
        assert_eq!(found.unproven == 0, gone, "{found:?}");
        let done = place.store().repair(&replica, &()).unwrap();
        assert!(done.left.is_empty() && done.repaired >= 2, "{done:?}");
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(1)));
        let found = scrub(&place);
        assert!(found.damaged.is_empty() && found.unproven == 0, "{found:?}");
    }
}

#[test]
fn a_recipe_that_names_other_bases_ends_in_no_wrong_byte() {
    let place = Place::new();
    push(&place, "lab/m", &step(0));
    let before = place.keys("files");
    push(&place, "lab/m", &step(1));
    let new = place.keys("files").into_iter().find(|key| !before.contains(key)).unwrap();
    let path = place.root().join(new);
    let good = fs::read(&path).unwrap();
    let swap = |json: &mut Value, field: &str| {
        let first = json["bases"][0][field].take();
        json["bases"][0][field] = json["bases"][1][field].take();
        json["bases"][1][field] = first;
    };
    let forgeries: [&dyn Fn(&mut Value); 8] = [
        &|json| swap(json, "place"),
        &|json| swap(json, "facts"),
        &|json| json["bases"][0]["place"]["offset"] = 1.into(),
        &|json| json["bases"][0]["facts"]["rounded"] = true.into(),
        &|json| json["bases"][0]["place"] = json["segments"][0].clone(),
        // An older program takes it for a version that it does not know, and so does this one.
        &|json| json["version"] = 3.into(),
        // Bytes are differences or they are not, whoever says so.
        &|json| _ = json["bases"].as_array_mut().unwrap().pop(),
        &|json| json["bases"][0]["facts"]["content"] = json["bases"][1]["facts"]["content"].clone(),
    ];
    for (at, forgery) in forgeries.iter().enumerate() {
        forge(&path, forgery);
        match place.pulled("lab/m") {
            // The index of the file says how the base is read.
            Ok(read) => assert!(at == 3 && read == owned(&step(1)), "{at}"),
            Err(error) => {
                assert!(at != 3 && error.is_integrity(), "{at} {error}");
                assert!(!scrub(&place).damaged.is_empty(), "{at}");
            }
        }
        fs::write(&path, &good).unwrap();
        let read = place.pulled("lab/m").unwrap();
        assert!(read == owned(&step(1)), "{at}");
        // The model that the base is in is read at any rate.
        let scrubbed = scrub(&place);
        assert!(scrubbed.damaged.is_empty(), "{at} {scrubbed:?}");
    }
}

#[test]
fn a_base_that_nobody_has_proven_lately_is_proven() {
    let times = at1w_registry::Times::default().promise(Duration::ZERO);
    let place = Place { times, ..Place::new() };
    push(&place, "lab/m", &step(0));
    let before = place.keys("packs");
    push(&place, "lab/m", &step(1));
    std::thread::sleep(Duration::from_millis(20));
    flip(&place.root().join(&before[0]));
    // The version is there, and its base is not to be relied on.
    push(&place, "lab/new", &[("x.safetensors", step(1)[0].1.clone())]);
    let expected = [("x.safetensors", step(1)[0].1.clone())];
    assert_eq!(place.pulled("lab/new").unwrap(), owned(&expected));
    // A damaged base is no base.
    push(&place, "lab/m", &step(2));
    assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(2)));
}

#[test]
fn old_revisions_become_differences_and_levels_change() {
    let place = Place::new();
    for at in 0..4 {
        let source = place.source("source", &step(at));
        let options = PushOptions::new().differences(false);
        let pushed = place.store().push(&source, &"lab/m".parse().unwrap(), &options);
        let tag = format!("s{at}");
        place.store().tag(&"lab/m".parse().unwrap(), &tag).unwrap();
        assert!(pushed.unwrap().stored > 100_000);
    }
    // Another file has the tensors of the last one. It comes later, by the time of the store.
    std::thread::sleep(Duration::from_millis(1100));
    let mut same = step(3);
    same[0].1 = model(&[("a", 1 + 3 * LATER, 700_000)], "same");
    push(&place, "lab/same", &same);
    let whole = packs(&place);
    let done = rebase(&place);
    assert_eq!(done.files, 3, "{done:?}");
    let right = |place: &Place| {
        for at in 0..4 {
            assert_eq!(place.pulled(&format!("lab/m@s{at}")).unwrap(), owned(&step(at)));
        }
        assert_eq!(place.pulled("lab/same").unwrap(), owned(&same));
        assert!(scrub(place).damaged.is_empty());
    };
    right(&place);
    collect(&place);
    assert!(packs(&place) < whole / 2, "{} {whole}", packs(&place));
    right(&place);
    assert_eq!(rebase(&place).files, 0);
    // At another level the bases are others, and those that they replace go.
    let small = packs(&place);
    assert!(place.store().repack("lab", None, Level::Max, &()).unwrap().files > 0);
    right(&place);
    collect(&place);
    assert!(packs(&place) < small * 11 / 10, "{} {small}", packs(&place));
    right(&place);
    assert_eq!(place.store().repack("lab", None, Level::Max, &()).unwrap().after, 0);
    assert_eq!(rebase(&place).files, 0);
    // A copy has the bases.
    let copy = Store::open(&place.path("copy").to_string_lossy()).unwrap();
    place.store().copy_to(&copy, &()).unwrap();
    assert!(copy.scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
    let target = place.path("back");
    copy.pull(&"lab/m".parse().unwrap(), &target, &PullOptions::new()).unwrap();
    assert_eq!(files(&target), owned(&step(3)));
}

#[test]
fn a_push_that_finds_a_damaged_base_relies_on_nothing_that_needs_it() {
    let place = Place::new();
    push(&place, "lab/m", &step(0));
    let base = place.keys("packs");
    push(&place, "lab/m", &step(1));
    let version = new_pack(&place, &base);
    push(&place, "lab/m", &step(2));
    flip(&place.root().join(&base[0]));
    // Of the first version alone is it long ago that somebody proved it.
    let version = version.strip_prefix(place.root()).unwrap().to_string_lossy().into_owned();
    place.age(&version, 30 * 24 * 3600);
    let both = model(&[("a", 1 + LATER, 700_000), ("c", 1 + 2 * LATER, 700_000)], "both");
    let new = [
        ("x.safetensors", both),
        ("y.safetensors", model(&[("c", 1 + 2 * LATER, 700_000), ("d", 1, 700_000)], "base")),
    ];
    push(&place, "lab/new", &new);
    assert_eq!(place.pulled("lab/new").unwrap(), owned(&new));
    assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(2)));
    assert!(scrub(&place).damaged.is_empty());
}

#[test]
fn differences_go_on_once_damage_is_healed() {
    let place = Place::new();
    let alone = push(&place, "lab/m", &step(0));
    let base = place.keys("packs");
    push(&place, "lab/m", &step(1));
    flip(&place.root().join(&base[0]));
    scrub(&place);
    push(&place, "lab/healed", &step(0));
    // The mark stays as long as the damaged pack is there.
    assert!(!place.keys("scrub/lab/marks").is_empty());
    let later = push(&place, "lab/m", &step(2));
    assert!(later.stored < alone.stored / 3, "{alone:?} {later:?}");
    assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(2)));
}

#[test]
fn requests_of_a_rebase_grow_with_the_files() {
    let requests = |files: u64| {
        let place = Place::new();
        let paths: Vec<_> = (0..files).map(|at| format!("{at}.safetensors")).collect();
        let shards = |step: u64| -> Vec<(&str, Vec<u8>)> {
            let model = |at: usize| {
                let own = at as u64 + 2 + step * LATER;
                // All have one tensor, which moves while some of them are not there yet.
                model(&[("own", own, 2000), ("all", 1 + step * LATER, 2000)], &at.to_string())
            };
            paths.iter().enumerate().map(|(at, path)| (path.as_str(), model(at))).collect()
        };
        let repo = "lab/m".parse().unwrap();
        for step in 0..2 {
            let source = place.source("source", &shards(step));
            let options = PushOptions::new().differences(false);
            place.store().push(&source, &repo, &options).unwrap();
        }
        let store = place.store();
        let done = store.rebase("lab", None, Level::Default, &()).unwrap();
        assert_eq!(done.files, files, "{done:?}");
        let rebased = store.objects().requests();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&shards(1)));
        let store = place.store();
        assert!(store.repack("lab", None, Level::Max, &()).unwrap().files > 0);
        let repacked = store.objects().requests();
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&shards(1)));
        assert!(scrub(&place).damaged.is_empty());
        [rebased, repacked]
    };
    let (few, many) = (requests(20), requests(60));
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few * 7 / 2, "{few} {many}");
    }
}

#[test]
fn a_rebase_that_ends_early_keeps_what_is_stored() {
    struct Ends(std::sync::atomic::AtomicU64);
    impl at1w_container::Progress for Ends {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        }

        fn cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed) > 3_500_000
        }
    }
    let place = Place::new();
    let push = |repo: &str, files: Files| {
        let source = place.source("source", &files);
        let options = PushOptions::new().differences(false);
        place.store().push(&source, &repo.parse().unwrap(), &options).unwrap();
    };
    for at in 0..5 {
        push("lab/m", step(at));
        place.store().tag(&"lab/m".parse().unwrap(), &format!("s{at}")).unwrap();
    }
    // Other files have the tensors of each. They come later, by the time of the store.
    std::thread::sleep(Duration::from_millis(1100));
    for at in 0..5 {
        let same = model(&[("a", 1 + at * LATER, 700_000)], "same");
        push(&format!("lab/same{at}"), vec![("m.safetensors", same)]);
    }
    let whole = packs(&place);
    let ended = place.store().rebase("lab", None, Level::Default, &Ends(0.into()));
    assert!(ended.is_err(), "{ended:?}");
    collect(&place);
    let some = packs(&place);
    assert!(some < whole * 3 / 4, "{some} {whole}");
    let left = rebase(&place);
    assert!((1..4).contains(&left.files), "{left:?}");
    collect(&place);
    assert!(packs(&place) < some);
    for at in 0..5 {
        assert_eq!(place.pulled(&format!("lab/m@s{at}")).unwrap(), owned(&step(at)));
    }
    assert!(scrub(&place).damaged.is_empty());
}

#[test]
fn one_damaged_tensor_keeps_no_other_from_being_a_base() {
    for is_marked in [true, false] {
        let place = Place::new();
        let alone = push(&place, "lab/m", &step(0));
        // The larger one of the two.
        flip(&place.root().join(&place.keys("packs")[0]));
        if is_marked {
            assert_eq!(scrub(&place).damaged.len(), 1);
        }
        let later = push(&place, "lab/m", &step(1));
        assert_eq!(later.bases_lost, [("m.safetensors".to_owned(), 1)], "{is_marked}");
        assert!(later.stored > alone.stored / 2 && later.stored < alone.stored, "{later:?}");
        assert_eq!(place.keys("scrub/lab/marks").len(), 1);
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(1)));
        // What was stored by itself is a base.
        let last = push(&place, "lab/m", &step(2));
        assert!(last.bases_lost.is_empty() && last.stored < alone.stored / 3, "{last:?}");
        assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(2)));
        // A good copy stands alone, though differences were smaller, and heals what needs it.
        let source = place.source("source", &step(0));
        let healed = place.store().push(&source, &"lab/m".parse().unwrap(), &PushOptions::new());
        assert!(healed.unwrap().healed >= 1);
        assert!(scrub(&place).damaged.is_empty());
    }
}

#[test]
fn a_tensor_that_gains_nothing_is_not_stored_again() {
    const ELEMENTS: usize = 60_000;
    let place = Place::new();
    let push = |data: &[u8]| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![ELEMENTS], data);
        let bytes = safetensors::serialize([("a", view.unwrap())], None).unwrap();
        let files = [("m.safetensors", bytes)];
        let source = place.source("source", &files);
        let options = PushOptions::new().differences(false);
        place.store().push(&source, &"lab/m".parse().unwrap(), &options).unwrap();
        owned(&files)
    };
    let (base, mut other) = (common::tensor(1, ELEMENTS), common::tensor(2, ELEMENTS));
    // Where it is sampled it is as if trained further, and elsewhere it is not.
    for (new, old) in other.chunks_mut(8192).zip(base.chunks(8192)) {
        let len = new.len().min(1024);
        new[..len].copy_from_slice(&old[..len]);
        new[..len].chunks_exact_mut(16).for_each(|words| words[0] ^= 1);
    }
    push(&base);
    let last = push(&other);
    let before = place.keys("packs");
    let done = rebase(&place);
    assert_eq!((done.files, done.after), (0, 0), "{done:?}");
    assert_eq!(place.keys("packs"), before);
    assert_eq!(place.pulled("lab/m").unwrap(), last);
}

#[test]
fn many_versions_are_read_by_few_requests() {
    const TENSORS: usize = 200;
    let place = Place::new();
    let names: Vec<_> = (0..TENSORS).map(|at| format!("t{at}")).collect();
    let of = |step: u64| {
        let tensors: Vec<_> = names
            .iter()
            .zip(1..)
            .map(|(name, seed)| (&**name, seed + step * LATER, 2000))
            .collect();
        vec![("m.safetensors", model(&tensors, "m"))]
    };
    push(&place, "lab/m", &of(0));
    push(&place, "lab/m", &of(1));
    let store = place.store();
    let target = place.path("target");
    store.pull(&"lab/m".parse().unwrap(), &target, &PullOptions::new()).unwrap();
    assert_eq!(files(&target), owned(&of(1)));
    assert!(store.objects().requests() < 40, "{}", store.objects().requests());
}

#[test]
fn a_model_of_the_same_second_is_a_base() {
    let place = Place::new();
    let card = b"---\nbase_model: lab/a\n---\n".to_vec();
    let tuned = [step(1), vec![("README.md", card)]].concat();
    for (repo, files) in [("lab/a", step(0)), ("lab/b", tuned.clone())] {
        let source = place.source("source", &files);
        let options = PushOptions::new().differences(false);
        place.store().push(&source, &repo.parse().unwrap(), &options).unwrap();
    }
    assert_eq!(rebase(&place).files, 1);
    assert_eq!(rebase(&place).files, 0);
    assert_eq!(place.pulled("lab/b").unwrap(), owned(&tuned));
    assert!(scrub(&place).damaged.is_empty());
}

#[test]
fn a_damaged_file_keeps_no_other_from_being_rebased() {
    let place = Place::new();
    let push = |repo: &str, files: &Files| {
        let source = place.source("source", files);
        let options = PushOptions::new().differences(false);
        place.store().push(&source, &repo.parse().unwrap(), &options).unwrap();
    };
    for at in 0..2 {
        push("lab/m", &step(at));
    }
    let before = place.keys("packs");
    push("lab/m", &step(2));
    let damaged = new_pack(&place, &before);
    push("lab/m", &step(3));
    let whole = packs(&place);
    flip(&damaged);
    let done = rebase(&place);
    assert!(matches!(&done.damaged[..], [(_, error)] if error.is_integrity()), "{done:?}");
    assert!(done.files > 0, "{done:?}");
    collect(&place);
    // One of the others has a base that is whole, and one a part of one.
    assert!(packs(&place) < whole * 17 / 20, "{} {whole}", packs(&place));
    assert_eq!(place.pulled("lab/m").unwrap(), owned(&step(3)));
    assert_eq!(scrub(&place).damaged.len(), 1);
}

#[test]
fn a_base_model_of_many_other_files_costs_little() {
    const OTHERS: usize = 400;
    const TENSORS: usize = 30;
    let place = Place::new();
    let push = |repo: &str, files: &[(&str, Vec<u8>)]| {
        let source = place.source("source", files);
        let options = PushOptions::new().differences(false);
        place.store().push(&source, &repo.parse().unwrap(), &options).unwrap();
    };
    let name = |kind: &str, at: usize| format!("{at}.{kind}");
    let texts: Vec<_> = (0..OTHERS).map(|at| name("txt", at)).collect();
    let others: Vec<_> = texts.iter().map(|path| (path.as_str(), path.clone().into())).collect();
    push("lab/a", &[others, step(0)].concat());
    let paths: Vec<_> = (0..TENSORS).map(|at| name("safetensors", at)).collect();
    let one = |at: usize| model(&[("b", at as u64 + 10, 2000)], &at.to_string());
    let mut tuned: Vec<_> =
        paths.iter().enumerate().map(|(at, path)| (path.as_str(), one(at))).collect();
    tuned.push(("README.md", b"---\nbase_model: lab/a\n---\n".to_vec()));
    tuned.push(("tuned.safetensors", step(1).remove(0).1));
    push("lab/b", &tuned);
    let store = place.store();
    assert_eq!(store.rebase("lab", None, Level::Default, &()).unwrap().files, 1);
    // Each file is read once, and a base for each of those that have tensors.
    let requests = store.objects().requests();
    assert!(requests < (OTHERS + 20 * TENSORS) as u64, "{requests}");
    assert_eq!(place.pulled("lab/b").unwrap(), owned(&tuned));
}

#[test]
fn a_damaged_base_has_no_other_tensors_read() {
    const TENSORS: usize = 200;
    let place = Place::new();
    let names: Vec<_> = (0..TENSORS).map(|at| format!("t{at}")).collect();
    let others: Vec<_> = names.iter().zip(10..).map(|(name, seed)| (&**name, seed, 2000)).collect();
    push(&place, "lab/m", &step(0));
    let base = place.keys("packs");
    push(&place, "lab/m", &[("others.safetensors", model(&others, "others"))]);
    flip(&place.root().join(&base[0]));
    let tuned = step(1).remove(0).1;
    let card = b"---\nbase_model: lab/m\n---\n".to_vec();
    let new = [("README.md", card), ("tuned.safetensors", tuned)];
    let (source, store) = (place.source("source", &new), place.store());
    let options = PushOptions::new().differences(true);
    let pushed = store.push(&source, &"lab/new".parse().unwrap(), &options).unwrap();
    assert_eq!(pushed.bases_lost, [("tuned.safetensors".to_owned(), 1)]);
    let requests = store.objects().requests();
    assert!(requests < TENSORS as u64, "{requests}");
    assert_eq!(place.pulled("lab/new").unwrap(), owned(&new));
}
