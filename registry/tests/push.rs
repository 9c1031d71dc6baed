//! Pushing and pulling.

mod common;

use std::collections::BTreeMap;
use std::fs;

use at1w_container::{Level, PackOptions, pack};
use at1w_registry::{
    Change, CollectOptions, Error, PullOptions, PushOptions, Revision, ScrubOptions, Store,
};
use common::{Place, files, forged, model, owned};

fn small() -> Vec<(&'static str, Vec<u8>)> {
    let weights = model(&[("a", 1, 1000), ("b", 2, 400_000), ("c", 1, 1000)], "one");
    vec![("model.safetensors", weights), ("config.json", b"{}".to_vec()), ("a/empty", vec![])]
}

#[test]
fn what_is_pushed_comes_back() {
    let place = Place::new();
    let pushed = place.push("lab/model", &small());
    assert!(pushed.new && pushed.files == 3 && pushed.new_tensors == 2, "{pushed:?}");
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&small()));
    assert_eq!(place.pulled(&format!("lab/model@{}", &pushed.commit[..8])).unwrap().len(), 3);
    // The same once more is no new commit.
    let again = place.push("lab/model", &small());
    assert!(!again.new && again.stored == 0 && again.commit == pushed.commit, "{again:?}");
    // And as users open it, with files of the store read as files.
    let target = place.path("back");
    let revision: Revision = "lab/model".parse().unwrap();
    place.real().pull(&revision, &target, &PullOptions::new()).unwrap();
    assert_eq!(files(&target), owned(&small()));
    let kept = place.real().pull(&revision, &target, &PullOptions::new()).unwrap();
    assert_eq!(kept.kept, 3);
    fs::write(target.join("config.json"), "[]").unwrap();
    let kept = place.real().pull(&revision, &target, &PullOptions::new()).unwrap();
    assert_eq!(kept.kept, 2);
    assert_eq!(files(&target), owned(&small()));
}

#[cfg(unix)]
#[test]
fn links_in_a_target_lead_nothing_out_of_it() {
    let place = Place::new();
    place.push("lab/model", &[("a/b/c", b"1".to_vec()), ("d", b"2".to_vec())]);
    let (target, outside) = (place.path("back"), place.path("outside"));
    fs::create_dir_all(&target).unwrap();
    fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, target.join("a")).unwrap();
    let revision: Revision = "lab/model".parse().unwrap();
    place.real().pull(&revision, &target, &PullOptions::new()).unwrap_err();
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
    fs::remove_file(target.join("a")).unwrap();
    place.real().pull(&revision, &target, &PullOptions::new()).unwrap();
}

#[test]
fn a_recipe_is_the_packed_file() {
    let place = Place::new();
    let weights = model(&[("a", 1, 1000), ("b", 2, 700_000), ("c", 1, 1000), ("e", 9, 0)], "one");
    let other = model(&[("b", 2, 700_000), ("d", 3, 10), ("a", 1, 1000)], "two");
    place.push("lab/a", &[("m.safetensors", weights.clone())]);
    let pushed = place.push("lab/b", &[("m.safetensors", other.clone())]);
    assert_eq!((pushed.tensors, pushed.new_tensors), (3, 1));
    for (repo, original) in [("lab/a", &weights), ("lab/b", &other)] {
        let mut packed = Vec::new();
        pack(original, &mut packed, &PackOptions::new()).unwrap();
        let target = place.path(&repo.replace('/', "-"));
        let revision: Revision = repo.parse().unwrap();
        place.real().pull(&revision, &target, &PullOptions::new().packed(true)).unwrap();
        assert!(fs::read(target.join("m.at1w")).unwrap() == packed);
        at1w_container::repository::signed_manifest(&target).unwrap();
        let unpacked = place.path(&format!("{}-back", repo.replace('/', "-")));
        let options = at1w_container::repository::Options::new();
        at1w_container::repository::unpack(&target, &unpacked, &options).unwrap();
        assert!(fs::read(unpacked.join("m.safetensors")).unwrap() == *original);
        let pulled = place.real().pull(&revision, &target, &PullOptions::new().packed(true));
        assert_eq!(pulled.unwrap().kept, 1);
    }
    // Tensors of several levels mix: another file, with the same root.
    let mixed = model(&[("b", 2, 700_000), ("x", 7, 5000)], "two");
    let source = place.source("source", &[("m.safetensors", mixed.clone())]);
    let options = PushOptions::new().level(Level::Max);
    place.store().push(&source, &"lab/c".parse().unwrap(), &options).unwrap();
    let weights = place.store().open_file(&"lab/c".parse().unwrap(), "m.safetensors").unwrap();
    let mut packed = Vec::new();
    let summary = pack(&mixed, &mut packed, &PackOptions::new()).unwrap();
    assert_eq!(weights.root(), Some(summary.root));
    weights.packed().unwrap().verify_original(&()).unwrap();
}

#[test]
fn a_packed_file_takes_no_other_ones_place() {
    let place = Place::new();
    let files = [("m.safetensors", small()[0].1.clone()), ("m.at1w", b"another".to_vec())];
    place.push("lab/model", &files);
    let (packed, back) = (place.path("packed"), place.path("back"));
    let revision: Revision = "lab/model".parse().unwrap();
    place.real().pull(&revision, &packed, &PullOptions::new().packed(true)).unwrap();
    let options = at1w_container::repository::Options::new();
    at1w_container::repository::unpack(&packed, &back, &options).unwrap();
    assert_eq!(common::files(&back), owned(&files));
    // The manifest of the directory is no file of the repository.
    place.push("lab/other", &[("at1w-manifest.json", b"{}".to_vec())]);
    let pulled = place.real().pull(
        &"lab/other".parse().unwrap(),
        &place.path("other"),
        &PullOptions::new().packed(true),
    );
    assert!(pulled.is_err());
}

#[test]
fn files_are_added_and_only_delete_removes() {
    let place = Place::new();
    let repo = "lab/model".parse().unwrap();
    let push = |files: &[(&str, Vec<u8>)], options: &PushOptions<'_>| {
        place.store().push(&place.source("source", files), &repo, options)
    };
    let first = push(&[("a", b"1".to_vec()), ("b", b"1".to_vec())], &PushOptions::new()).unwrap();
    push(&[("b", b"2".to_vec())], &PushOptions::new()).unwrap();
    let now = place.pulled("lab/model").unwrap();
    assert_eq!(now, owned(&[("a", b"1".to_vec()), ("b", b"2".to_vec())]));
    // Made for the first commit: `a` has not changed since, `b` has.
    let stale = PushOptions::new().parent(&*first.commit);
    push(&[("a", b"3".to_vec())], &stale).unwrap();
    assert!(matches!(push(&[("b", b"3".to_vec())], &stale), Err(Error::Conflict { .. })));
    assert!(matches!(push(&[("a", vec![])], &stale.delete(true)), Err(Error::Conflict { .. })));
    // The same content is no conflict.
    push(&[("b", b"2".to_vec()), ("c", b"1".to_vec())], &stale).unwrap();
    push(&[("c", b"4".to_vec())], &PushOptions::new().delete(true)).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("c", b"4".to_vec())]));
    // A file and a folder of one name.
    assert!(push(&[("c/d", b"5".to_vec())], &PushOptions::new()).is_err());
    assert!(matches!(
        push(&[("c", vec![])], &PushOptions::new().branch("other")),
        Err(Error::NoRevision { .. })
    ));
}

#[test]
fn a_request_that_is_sent_twice_counts_once_while_it_is_the_last() {
    let place = Place::new();
    let repo = "lab/model".parse().unwrap();
    let push = |content: &str, request: &str| {
        let source = place.source("source", &[("a", content.into())]);
        place.store().push(&source, &repo, &PushOptions::new().request(request)).unwrap()
    };
    let a = push("A", "a");
    assert_eq!(push("A", "a").commit, a.commit);
    let b = push("B", "b");
    // A, B, A are three commits.
    let c = push("A", "a");
    assert!(c.new && c.commit != a.commit && c.commit != b.commit);
    assert_eq!(place.store().log(&repo).unwrap().len(), 3);
}

#[test]
fn stores_appear_only_where_nothing_is() {
    let place = Place::new();
    let source = place.source("source", &small());
    let repo = "lab/model".parse().unwrap();
    fs::create_dir_all(place.root()).unwrap();
    fs::write(place.root().join("thesis.tex"), "").unwrap();
    let pushed = place.real().push(&source, &repo, &PushOptions::new());
    assert!(matches!(pushed, Err(Error::NotEmpty(_))), "{pushed:?}");
    assert_eq!(files(&place.root()).len(), 1);
    fs::remove_file(place.root().join("thesis.tex")).unwrap();
    assert!(matches!(place.real().repos(None), Err(Error::NoStore(_))));
    // What a push has left that was killed while it made the store, and a new file system has.
    fs::write(place.root().join("store.json#1"), "{").unwrap();
    fs::create_dir(place.root().join("lost+found")).unwrap();
    place.real().push(&source, &repo, &PushOptions::new()).unwrap();
    // Later versions are refused, whatever they hold.
    let about = place.root().join("store.json");
    let json = fs::read_to_string(&about).unwrap().replace("\"at1w_store\":1", "\"at1w_store\":2");
    fs::write(&about, json).unwrap();
    assert!(matches!(
        place.real().push(&source, &repo, &PushOptions::new()),
        Err(Error::Version { found: 2, .. })
    ));
    assert!(Store::open("ftp://somewhere").is_err());
}

#[test]
fn names_that_differ_by_case_only_are_refused() {
    let place = Place::new();
    place.push("lab/Model", &small());
    let source = place.source("source", &small());
    let pushed = place.store().push(&source, &"lab/model".parse().unwrap(), &PushOptions::new());
    assert!(matches!(pushed, Err(Error::Name { .. })));
}

#[test]
fn two_namespaces_share_nothing_and_two_repositories_share_all() {
    let place = Place::new();
    let first = place.push("lab/a", &small());
    assert_eq!(place.push("lab/b", &small()).stored, 0);
    assert_eq!(place.push("other/a", &small()).stored, first.stored);
}

#[test]
fn the_log_of_commits_is_a_chain() {
    let place = Place::new();
    let repo = "lab/model".parse().unwrap();
    for content in ["1", "2", "3", "4"] {
        place.push("lab/model", &[("a", content.into())]);
    }
    assert_eq!(place.store().log(&repo).unwrap().len(), 4);
    place.store().check().unwrap();
    let log = place.root().join("repos/lab/model/0000/log");
    let path = |seq| log.join(format!("{seq:08}"));
    let good = fs::read(path(1)).unwrap();
    // A flip, a commit that is another, and somebody else's name with all that belongs to it.
    let mut flipped = good.clone();
    flipped[50] ^= 1;
    fs::write(path(1), flipped).unwrap();
    assert!(matches!(place.store().log(&repo), Err(Error::Log { seq: 1, .. })));
    fs::write(path(1), forged(&good, &[("\"files\":1", "\"files\":2")])).unwrap();
    assert!(matches!(place.store().log(&repo), Err(Error::Log { seq: 1, .. })));
    fs::write(path(1), forged(&good, &[("\"actor\":\"", "\"actor\":\"x")])).unwrap();
    for found in [place.store().log(&repo).map(drop), place.store().check().map(drop)] {
        assert!(matches!(found, Err(Error::Log { seq: 2, .. })), "{found:?}");
    }
    fs::remove_file(path(1)).unwrap();
    let found = place.store().log(&repo);
    assert!(matches!(found, Err(Error::Log { seq: 1, .. })), "{found:?}");
    assert!(place.store().collect(&at1w_registry::CollectOptions::new()).is_err());
}

#[test]
fn refs_are_made_removed_and_restored() {
    let place = Place::new();
    let store = place.store();
    let revision = |text: &str| text.parse::<Revision>().unwrap();
    place.push("lab/model", &[("a", "1".into())]);
    store.tag(&revision("lab/model"), "v1").unwrap();
    assert!(matches!(store.tag(&revision("lab/model"), "v1"), Err(Error::Exists(_))));
    store.branch(&revision("lab/model@v1"), "next").unwrap();
    place.push("lab/model", &[("a", "2".into())]);
    assert_eq!(place.pulled("lab/model@v1").unwrap()["a"], b"1");
    store.remove(&revision("lab/model@v1")).unwrap();
    assert!(matches!(place.pulled("lab/model@v1"), Err(Error::NoRevision { .. })));
    store.restore(&revision("lab/model@v1")).unwrap();
    assert_eq!(place.pulled("lab/model@v1").unwrap()["a"], b"1");
    store.remove(&revision("lab/model")).unwrap();
    assert!(matches!(place.pulled("lab/model"), Err(Error::NoRepo { .. })));
    assert!(store.repos(None).unwrap().is_empty());
    store.restore(&revision("lab/model")).unwrap();
    assert_eq!(place.pulled("lab/model").unwrap()["a"], b"2");
    // A name that is taken again: numbers go on elsewhere, and the old one stays gone.
    store.remove(&revision("lab/model")).unwrap();
    place.push("lab/model", &[("b", "3".into())]);
    let all: BTreeMap<_, _> = place.pulled("lab/model").unwrap();
    assert_eq!(all, owned(&[("b", b"3".to_vec())]));
    assert_eq!(store.log(&"lab/model".parse().unwrap()).unwrap().len(), 1);
    assert!(matches!(store.restore(&revision("lab/model")), Err(Error::Exists(_))));
    assert_eq!(place.keys("repos/lab/model/0000").len(), 10);
}

#[test]
fn weights_that_are_none_are_carried_and_named() {
    let place = Place::new();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec();
    let pushed = place.push("lab/model", &[("m.safetensors", pointer.clone())]);
    assert_eq!(pushed.faults.len(), 1);
    assert_eq!(place.pulled("lab/model").unwrap()["m.safetensors"], pointer);
}

#[test]
fn large_files_of_other_formats_come_back() {
    let place = Place::new();
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i ^ (i >> 9)) as u8).collect();
    let files = [("data.bin", large.clone()), ("copy.bin", large)];
    let pushed = place.push("lab/model", &files);
    assert_eq!(pushed.stored, 3_000_000);
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&files));
    assert_eq!(place.push("lab/other", &files).stored, 0);
}

#[test]
fn what_a_second_revision_adds_is_what_changed() {
    let place = Place::new();
    let first = model(&[("a", 1, 300_000), ("b", 2, 300_000), ("c", 3, 300_000)], "one");
    let all = place.push("lab/model", &[("m.safetensors", first)]).stored;
    for (changed, most) in [
        (model(&[("a", 1, 300_000), ("b", 2, 300_000), ("c", 3, 300_000)], "two"), 0),
        (model(&[("c", 1, 300_000), ("b", 2, 300_000), ("a", 3, 300_000)], "one"), 0),
        (model(&[("a", 1, 300_000), ("b", 9, 300_000), ("c", 3, 300_000)], "one"), all / 3 + 1000),
    ] {
        let pushed = place.push("lab/model", &[("m.safetensors", changed)]);
        assert!(pushed.new && pushed.stored <= most, "{pushed:?}");
    }
}

#[test]
fn a_long_log_is_read_by_few_requests() {
    let place = Place::new();
    let repo = "lab/model".parse().unwrap();
    for n in 0..70 {
        place.push("lab/model", &[("a", format!("{n}").into())]);
    }
    let requests = |place: &Place| {
        let store = place.store();
        let log = store.log(&repo).map(|log| log.len());
        (log, store.objects().requests())
    };
    assert!(requests(&place).1 >= 70);
    place.store().collect(&CollectOptions::new()).unwrap();
    let (log, few) = requests(&place);
    assert!(log.unwrap() == 70 && few <= 6, "{few}");
    place.push("lab/model", &[("a", b"more".to_vec())]);
    let (log, few) = requests(&place);
    assert!(log.unwrap() == 71 && few <= 7, "{few}");
    place.store().collect(&CollectOptions::new()).unwrap();
    assert_eq!(place.keys("checkpoints").len(), 1);
    // A damaged one costs requests, and a log that is forged breaks where it was forged.
    let checkpoint = place.root().join(&place.keys("checkpoints")[0]);
    let bytes = fs::read(&checkpoint).unwrap();
    let other = String::from_utf8(bytes.clone()).unwrap().replace("\"files\":1", "\"files\":2");
    fs::write(&checkpoint, other).unwrap();
    assert_eq!(requests(&place).0.unwrap(), 71);
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(requests(&place).0.unwrap(), 71);
    fs::write(&checkpoint, bytes).unwrap();
    for n in 0..70 {
        place.push("lab/model", &[("a", format!("again {n}").into())]);
    }
    place.store().collect(&CollectOptions::new()).unwrap();
    assert_eq!(place.keys("checkpoints").len(), 1);
    let (log, few) = requests(&place);
    assert!(log.unwrap() == 141 && few <= 6, "{few}");
    // `check` and scrubs read the entries.
    let entry = place.root().join("repos/lab/model/0000/log/00000050");
    let bytes = fs::read(&entry).unwrap();
    fs::write(&entry, forged(&bytes, &[("\"actor\":\"", "\"actor\":\"x")])).unwrap();
    let scrubbed = place.store().scrub(&ScrubOptions::new()).unwrap();
    assert!(scrubbed.damaged.iter().any(|damage| damage.pack == "repos/lab/model/0000/log"));
    let found = place.store().check();
    assert!(matches!(found, Err(Error::Log { seq: 51, .. })), "{found:?}");
}

#[test]
fn weights_go_by_their_content_whatever_their_name_is() {
    // As in a hub cache, where a blob has no suffix, and in any order of pushes.
    let weights = small()[0].1.clone();
    let place = Place::new();
    let both = [("blobs/1", weights.clone()), ("m.safetensors", weights.clone())];
    let pushed = place.push("lab/both", &both);
    assert!(pushed.stored < weights.len() as u64, "{pushed:?}");
    assert_eq!(place.pulled("lab/both").unwrap(), owned(&both));
    let target = place.path("packed");
    let revision: Revision = "lab/both".parse().unwrap();
    place.store().pull(&revision, &target, &PullOptions::new().packed(true)).unwrap();
    let options = at1w_container::repository::Options::new();
    at1w_container::repository::unpack(&target, &place.path("back"), &options).unwrap();
    assert_eq!(files(&place.path("back")), owned(&both));

    let place = Place::new();
    place.push("lab/plain", &[("m.bin", weights.clone())]);
    place.push("lab/packed", &[("m.safetensors", weights.clone())]);
    let again = place.push("lab/again", &[("other.bin", weights.clone())]);
    assert_eq!(again.stored, 0);
    for (repo, path) in [("plain", "m.bin"), ("packed", "m.safetensors"), ("again", "other.bin")] {
        let repo = format!("lab/{repo}");
        assert_eq!(place.pulled(&repo).unwrap(), owned(&[(path, weights.clone())]), "{repo}");
        place.store().tensors(&repo.parse().unwrap()).unwrap();
    }
    // Where it cannot be relied on, it is packed anew, and not stored as it is.
    for key in place.keys("packs") {
        fs::remove_file(place.root().join(key)).unwrap();
    }
    place.push("lab/healed", &[("m.bin", weights.clone())]);
    assert_eq!(place.pulled("lab/packed").unwrap(), owned(&[("m.safetensors", weights)]));
}

#[cfg(unix)]
#[test]
fn a_source_is_walked_as_packing_walks_it() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    let weights = small()[0].1.clone();
    let cache = place.source(
        "hub/models--lab--m",
        &[
            ("blobs/1", weights.clone()),
            ("blobs/2.incomplete", vec![0; 9]),
            ("refs/main", b"r".to_vec()),
        ],
    );
    fs::create_dir_all(cache.join("snapshots/r")).unwrap();
    symlink("../../blobs/1", cache.join("snapshots/r/m.safetensors")).unwrap();
    let push = |source: &std::path::Path, repo: &str| {
        place.store().push(source, &repo.parse().unwrap(), &PushOptions::new())
    };
    // A snapshot is what it shows.
    push(&cache.join("snapshots/r"), "lab/snapshot").unwrap();
    assert_eq!(place.pulled("lab/snapshot").unwrap(), owned(&[("m.safetensors", weights.clone())]));
    let pushed = push(&cache, "lab/cache").unwrap();
    assert_eq!(pushed.left_out, ["blobs/2.incomplete"]);
    let all = place.pulled("lab/cache").unwrap();
    let paths: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(paths, ["blobs/1", "refs/main", "snapshots/r/m.safetensors"]);
    // What cannot be taken is an error, and nothing is committed.
    symlink("nowhere", cache.join("snapshots/r/config.json")).unwrap();
    let failed = push(&cache, "lab/failed");
    assert!(failed.unwrap_err().to_string().contains("config.json"));
    assert!(matches!(place.pulled("lab/failed"), Err(Error::NoRepo { .. })));
}

#[test]
fn paths_that_not_every_system_tells_apart_are_refused() {
    let place = Place::new();
    place.push("lab/model", &[("README.md", b"1".to_vec()), ("a/b", b"1".to_vec())]);
    let push = |path: &str, delete: bool| {
        let source = place.source("source", &[(path, b"2".to_vec())]);
        let options = PushOptions::new().delete(delete);
        place.store().push(&source, &"lab/model".parse().unwrap(), &options)
    };
    for path in ["readme.md", "A/B"] {
        let refused = push(path, false);
        assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    }
    // Such a name takes the place of the other one.
    push("readme.md", true).unwrap();
    #[cfg(unix)]
    for path in ["a\\b", "a\u{7}b", "a\nb"] {
        let refused = push(path, false);
        assert!(refused.is_err(), "{path:?}");
    }
    assert_eq!(place.pulled("lab/model").unwrap(), owned(&[("readme.md", b"2".to_vec())]));
}

#[test]
fn dtypes_with_any_name_are_never_taken_for_others() {
    let file = |dtype: &str, shape: &str| {
        let info = format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,4096]}}");
        let header = format!("{{\"w\":{info}}}");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend((0..512_u64).flat_map(u64::to_le_bytes));
        bytes
    };
    // The name goes on as the shape of the other one would.
    let zeros = "\\u0000".repeat(6);
    let odd = file(&format!("I64\\u0000\\u0002{zeros}"), "[512]");
    let usual = file("I64", "[1,512]");
    for files in [[odd.clone(), usual.clone()], [usual, odd]] {
        let place = Place::new();
        for (repo, bytes) in ["lab/first", "lab/second"].into_iter().zip(&files) {
            place.push(repo, &[("m.safetensors", bytes.clone())]);
        }
        for (repo, bytes) in ["lab/first", "lab/second"].into_iter().zip(&files) {
            assert!(place.pulled(repo).unwrap()["m.safetensors"] == *bytes);
        }
    }
}

#[test]
fn no_branch_has_the_name_of_a_commit() {
    let place = Place::new();
    let pushed = place.push("lab/model", &[("a", b"1".to_vec())]);
    let source = place.source("source", &[("a", b"2".to_vec())]);
    let options = PushOptions::new().branch(&pushed.commit).parent("main");
    let error = place.store().push(&source, &"lab/model".parse().unwrap(), &options).unwrap_err();
    assert!(matches!(error, Error::Name { .. }), "{error}");
    assert_eq!(place.pulled(&format!("lab/model@{}", pushed.commit)).unwrap()["a"], b"1");
}

#[test]
fn records_of_scrubs_that_cannot_be_read_prove_nothing() {
    let place = Place::new();
    place.push("lab/model", &small());
    place.store().scrub(&ScrubOptions::new()).unwrap();
    let record = place.root().join(&place.keys("scrub/lab/done")[0]);
    fs::write(record, b"{").unwrap();
    place.push("lab/model", &[("b", b"1".to_vec())]);
    assert!(place.store().scrub(&ScrubOptions::new().resume(true)).unwrap().damaged.is_empty());
}

#[test]
fn what_git_takes_for_its_own_is_added_by_nobody_and_can_be_removed() {
    let place = Place::new();
    let files = [("a", b"1".to_vec()), ("xgit/config", b"2".to_vec())];
    let pushed = place.push("lab/m", &files);
    // A revision from before such paths were refused.
    let old = place.keys("trees").remove(0);
    let bytes = fs::read(place.root().join(&old)).unwrap();
    let text = String::from_utf8(bytes).unwrap().replace("xgit/", ".git/");
    let tree = at1w_container::Digest::of(text.split('\n').next().unwrap().as_bytes()).to_string();
    let stamp = old.rsplit('/').next().unwrap();
    let new = format!("trees/lab/{}/{tree}/{stamp}", &tree[..2]);
    fs::create_dir_all(place.root().join(&new).parent().unwrap()).unwrap();
    fs::write(place.root().join(&new), text).unwrap();
    let entry = place.root().join(&place.keys("repos")[0]);
    let log = fs::read(&entry).unwrap();
    fs::write(&entry, common::forged(&log, &[(&pushed.tree.to_string(), &tree)])).unwrap();

    let store = place.store();
    let repo = "lab/m".parse().unwrap();
    assert!(matches!(place.pulled("lab/m"), Err(Error::Name { .. })));
    let push = |files: &[(&str, Vec<u8>)], delete| {
        let source = place.source("source", files);
        store.push(&source, &repo, &PushOptions::new().delete(delete))
    };
    push(&[("b", b"3".to_vec())], false).unwrap();
    let change = ("x/.git/hooks".to_owned(), Change::Add(place.path("source/b")));
    let refused = store.apply(&repo, &[change], &PushOptions::new());
    assert!(matches!(refused, Err(Error::Name { .. })), "{refused:?}");
    push(&[("b", b"3".to_vec())], true).unwrap();
    assert_eq!(place.pulled("lab/m").unwrap().len(), 1);
}
