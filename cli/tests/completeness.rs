//! Repositories that are no whole model: everything that is there is packed, and what is not is
//! named, with exit code 5.

mod common;

use common::{Place, assert_same_tree, model, safetensors};
use serde_json::json;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
    size 4401000000\n";

fn shard(at: u32) -> String {
    format!("model-0000{at}-of-00003.safetensors")
}

/// The repository `repo`: an index of three shards with one tensor each, all there.
fn repository() -> Place {
    let place = Place::new();
    let map: serde_json::Map<_, _> =
        (1..=3).map(|at| (format!("t{at}"), json!(shard(at)))).collect();
    let index = json!({"metadata": {"total_size": 6}, "weight_map": map}).to_string();
    place.write("repo/model.safetensors.index.json", index);
    for at in 1..=3 {
        let tensor = format!("t{at}");
        let tensors: [(&str, &str, &[u64], &[u8]); 1] = [(&tensor, "U8", &[2], &[1, 2])];
        place.write(&format!("repo/{}", shard(at)), safetensors(&tensors));
    }
    place
}

/// Packs and verifies: each names every fault by a warning, and nothing else; what is packed comes
/// back as it was. With --strict nothing is written.
#[track_caller]
fn assert_faults(place: &Place, faults: &[&str]) {
    let code = if faults.is_empty() { 0 } else { 5 };
    let warnings = |stderr: &str| stderr.lines().filter(|line| line.contains("warning")).count();
    for args in [&["pack", "repo", "-o", "packed"][..], &["verify", "packed"]] {
        let outcome = place.at1w(args);
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.stderr);
        assert_eq!(warnings(&outcome.stderr), faults.len(), "{args:?}: {}", outcome.stderr);
        for fault in faults {
            assert!(outcome.stderr.contains(fault), "{fault}: {}", outcome.stderr);
        }
    }
    place.ok(&["unpack", "packed", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
    for name in ["packed", "restored"] {
        std::fs::remove_dir_all(place.path(name)).unwrap();
    }

    let outcome = place.at1w(&["pack", "repo", "-o", "packed", "--strict"]);
    assert_eq!(outcome.code, code.min(1), "{}", outcome.stderr);
    assert_eq!(warnings(&outcome.stderr), faults.len(), "{}", outcome.stderr);
    assert_eq!(place.path("packed").exists(), faults.is_empty());
    let _ = std::fs::remove_dir_all(place.path("packed"));
    assert_eq!(place.names(), ["repo"]);
}

#[test]
fn a_whole_model_has_no_faults() {
    let place = repository();
    assert_faults(&place, &[]);
    // Neither has a file that is no shard, nor an index that lies deeper.
    place.write("repo/consolidated.safetensors", model(1));
    place.write("repo/sub/model-00001-of-00001.safetensors", model(1));
    let map = json!({"embed.weight": "model-00001-of-00001.safetensors"});
    let index = json!({"weight_map": map}).to_string();
    place.write("repo/sub/model.safetensors.index.fp16.json", index);
    assert_faults(&place, &[]);
}

#[test]
fn a_shard_that_is_missing_is_named() {
    let place = repository();
    std::fs::remove_file(place.path("repo").join(shard(2))).unwrap();
    assert_faults(
        &place,
        &["model-00002-of-00003.safetensors: is missing: model.safetensors.index.json maps 1 \
             tensors"],
    );
}

#[test]
fn an_index_without_shards_is_named_once() {
    let place = repository();
    for at in 1..=3 {
        std::fs::remove_file(place.path("repo").join(shard(at))).unwrap();
    }
    assert_faults(&place, &["names 3 shards, none of which is there: incomplete download?"]);
}

#[test]
fn a_tensor_that_its_shard_lacks_is_named() {
    let place = repository();
    place.write(&format!("repo/{}", shard(3)), model(1));
    assert_faults(
        &place,
        &["model-00003-of-00003.safetensors: lacks tensor \"t3\", which \
             model.safetensors.index.json"],
    );
}

#[test]
fn a_shard_that_the_index_does_not_name_is_named() {
    let place = repository();
    place.write("repo/model-00004-of-00004.safetensors", model(1));
    assert_faults(
        &place,
        &["model-00004-of-00004.safetensors: is a shard that the index beside it"],
    );
}

#[test]
fn shard_numbers_without_an_index_are_a_note() {
    let place = repository();
    std::fs::remove_file(place.path("repo/model.safetensors.index.json")).unwrap();
    std::fs::remove_file(place.path("repo").join(shard(1))).unwrap();
    let outcome = place.at1w(&["pack", "repo", "-o", "packed"]);
    let note =
        "note: model-…-of-00003.safetensors: 2 of 3 shards are there, and no index names them";
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(note), "{}", outcome.stderr);
    std::fs::remove_dir_all(place.path("packed")).unwrap();
    assert_faults(&place, &[]);
}

#[test]
fn files_that_are_not_what_their_names_say_are_named() {
    let place = repository();
    place.write("repo/pointer.safetensors", POINTER);
    place.write(&format!("repo/{}", shard(1)), POINTER);
    place.write("repo/tokenizer.model", POINTER);
    place.write("repo/pytorch_model.bin", "<html>Sign in</html>");
    place.write("repo/ok.bin", b"\x80\x02}q\x00.");
    place.write("repo/page.SAFETENSORS", "Entry not found");
    place.write("repo/notes.txt", "version https is fine here");
    place.write("repo/sub/cut.safetensors", &model(1)[..5000]);
    place.write("repo/sub/model.safetensors.index.json", "{");
    assert_faults(
        &place,
        &[
            "pointer.safetensors: a Git LFS pointer to a file of 4401000000 bytes, not a file of \
             weights",
            "model-00001-of-00003.safetensors: a Git LFS pointer",
            "tokenizer.model: a Git LFS pointer",
            "pytorch_model.bin: an HTML page",
            "page.SAFETENSORS: a text (\"Entry not found\")",
            "sub/cut.safetensors: not a valid safetensors file: the file is cut short",
            "sub/model.safetensors.index.json: is not a valid index of shards",
        ],
    );
}

#[test]
fn an_index_may_name_shards_from_its_own_folder() {
    let place = repository();
    let map: serde_json::Map<_, _> =
        (1..=3).map(|at| (format!("t{at}"), json!(format!("./{}", shard(at))))).collect();
    place.write("repo/model.safetensors.index.json", json!({"weight_map": map}).to_string());
    assert_faults(&place, &[]);
}

#[test]
fn an_index_that_cannot_be_read_is_named_alone() {
    for index in [POINTER, "{", "{\"weight_map\": 7}"] {
        let place = repository();
        place.write("repo/model.safetensors.index.json", index);
        assert_faults(&place, &["model.safetensors.index.json: "]);
    }
}

#[test]
fn a_hostile_index_fills_neither_memory_nor_the_terminal() {
    let place = repository();
    let mut map: serde_json::Map<_, _> =
        (0..5000).map(|at| (format!("x{at}"), json!(format!("{at}")))).collect();
    map.insert("t1".into(), json!(shard(1)));
    place.write("repo/model.safetensors.index.json", json!({"weight_map": map}).to_string());
    let outcome = place.fails(&["pack", "repo"], 5, "repo/: there are 4002 more faults");
    assert!(outcome.stderr.lines().count() < 1010);
}

#[test]
fn indices_lead_nowhere_outside() {
    let place = repository();
    place.write("outside.safetensors", model(1));
    for outside in ["../outside.safetensors", "/etc/passwd", "a/../../outside.safetensors"] {
        let index = json!({"weight_map": {"a": outside, "t1": shard(1)}}).to_string();
        place.write("repo/model.safetensors.index.json", index);
        place.fails(&["pack", "repo", "-f"], 5, "which does not lie beside it");
    }
}

#[test]
fn damage_goes_before_faults() {
    let place = repository();
    place.write("repo/pointer.safetensors", POINTER);
    place.write("repo/model.safetensors", model(1));
    place.fails(&["pack", "repo"], 5, "pointer");
    place.flip("repo.at1w/model.at1w", 1000);
    place.fails(&["verify", "repo.at1w"], 3, "pointer");
    // A name that cannot be walked over hides nothing either.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.path("repo.at1w/link")).unwrap();
        let outcome = place.fails(&["verify", "repo.at1w"], 3, "is a symbolic link to nothing");
        assert!(outcome.stderr.contains("damaged tensor"), "{}", outcome.stderr);
    }
}
