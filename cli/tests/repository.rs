//! Repositories: packed and restored as a whole, and what goes wrong with that.

mod common;

use std::fs;

use common::{Place, assert_same_tree, model};
use serde_json::{Value, json};

/// A place with the repository `repo` of two shards and other files.
fn repository() -> Place {
    let place = Place::new();
    place.write("repo/model-00001-of-00002.safetensors", model(1));
    place.write("repo/model-00002-of-00002.safetensors", model(2));
    let map = |shard: u32| format!("model-0000{shard}-of-00002.safetensors");
    let weight_map = json!({"embed.weight": map(1), "embed.bias": map(2)});
    place.write("repo/model.safetensors.index.json", json!({"weight_map": weight_map}).to_string());
    place.write("repo/tokenizer/vocab.txt", "a\nb\n");
    place.write("repo/tokenizer/empty.txt", "");
    fs::create_dir_all(place.path("repo/logs/old")).unwrap();
    place
}

fn packed() -> Place {
    let place = repository();
    place.ok(&["pack", "repo"]);
    place
}

fn manifest(place: &Place) -> Value {
    serde_json::from_slice(&place.read("repo.at1w/at1w-manifest.json")).unwrap()
}

fn set_manifest(place: &Place, manifest: &Value) {
    place.write("repo.at1w/at1w-manifest.json", manifest.to_string());
}

#[test]
fn a_repository_comes_back_byte_for_byte() {
    let place = packed();
    assert!(place.path("repo.at1w/model-00001-of-00002.at1w").is_file());
    assert!(!place.path("repo.at1w/model-00001-of-00002.safetensors").exists());
    let printed = String::from_utf8(place.ok(&["verify", "repo.at1w", "--file"])).unwrap();
    assert_eq!(printed.lines().count(), 5);
    assert!(printed.lines().all(|line| line.starts_with("ok ")), "{printed}");

    fs::rename(place.path("repo"), place.path("original")).unwrap();
    place.ok(&["unpack", "repo.at1w/"]);
    assert_same_tree(&place.path("original"), &place.path("repo"));
    assert!(place.path("repo/logs/old").is_dir());
    assert_eq!(place.names(), ["original", "repo", "repo.at1w"]);
}

#[test]
fn packed_files_may_keep_their_names() {
    let place = repository();
    place.ok(&["pack", "repo/", "--keep-names", "-o", "kept"]);
    let shard = place.read("kept/model-00001-of-00002.safetensors");
    assert!(shard.len() < place.read("repo/model-00001-of-00002.safetensors").len());
    place.ok(&["verify", "kept"]);
    place.ok(&["verify", "kept/model-00001-of-00002.safetensors"]);
    place.fails(&["unpack", "kept"], 2, "-o");
    place.ok(&["unpack", "kept", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
}

#[test]
fn the_manifest_depends_on_the_content_alone() {
    let place = packed();
    place.ok(&["pack", "repo", "-o", "again", "--threads", "1"]);
    assert_same_tree(&place.path("repo.at1w"), &place.path("again"));
    let manifest = manifest(&place);
    assert_eq!(manifest["version"], 1);
    let files = manifest["files"].as_array().unwrap();
    let paths: Vec<_> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer/empty.txt",
            "tokenizer/vocab.txt"
        ]
    );
    let info = place.json(&["info", "--json", "repo.at1w/model-00001-of-00002.at1w"]);
    assert_eq!(files[0]["packed"]["root"], info["root"]);
    assert_eq!(files[0]["sha256"], info["original_sha256"]);
    assert_eq!(manifest["empty_directories"], serde_json::json!(["logs/old"]));
}

#[test]
fn what_would_be_lost_is_refused() {
    let place = packed();
    place.fails(&["pack", "repo"], 1, "exists already");
    place.fails(&["pack", "repo.at1w", "-o", "twice"], 1, "packed already");
    place.fails(&["pack", "repo", "-o", "repo/packed"], 1, "within each other");
    place.fails(&["pack", "repo", "-o", "repo", "--force"], 1, "within each other");
    place.fails(&["unpack", "repo.at1w"], 1, "exists already");
    place.fails(&["unpack", "repo"], 1, "at1w-manifest.json");
    place.fails(&["verify", "repo"], 1, "at1w-manifest.json");
    place.fails(&["pack", "."], 2, "-o");

    place.write("repo/at1w-manifest.json", "{}");
    place.fails(&["pack", "repo", "-o", "new"], 1, "at1w-manifest.json: is packed already");
    fs::remove_file(place.path("repo/at1w-manifest.json")).unwrap();

    assert_eq!(place.names(), ["repo", "repo.at1w"]);
}

#[test]
fn a_packed_file_beside_its_source_is_no_obstacle() {
    let place = packed();
    let beside = place.read("repo.at1w/model-00002-of-00002.at1w");
    place.write("repo/model-00002-of-00002.at1w", &beside);
    place.ok(&["pack", "repo", "-o", "new"]);
    // It is carried over, and the source keeps its own name.
    assert_eq!(place.read("new/model-00002-of-00002.at1w"), beside);
    place.ok(&["verify", "new/model-00002-of-00002.safetensors"]);
    place.ok(&["unpack", "new", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
}

#[test]
fn force_replaces_files_and_removes_nothing_else() {
    let place = packed();
    place.write("repo.at1w/notes.txt", "mine");
    place.write("repo/model-00001-of-00002.safetensors", model(3));
    let outcome = place.at1w(&["pack", "repo", "--force"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("notes.txt: was there before"), "{}", outcome.stderr);
    assert_eq!(place.read("repo.at1w/notes.txt"), b"mine");
    place.ok(&["verify", "repo.at1w"]);

    place.write("repo/mine.txt", "mine");
    place.ok(&["unpack", "repo.at1w", "--force"]);
    assert_eq!(place.read("repo/mine.txt"), b"mine");
    assert_eq!(place.read("repo/model-00001-of-00002.safetensors"), model(3));
    place.fails(&["unpack", "repo.at1w", "-o", "repo.at1w", "--force"], 1, "within each other");
}

#[test]
fn every_fault_is_found_and_named() {
    let place = repository();
    place.write("repo/log.txt", "a");
    place.ok(&["pack", "repo"]);
    place.ok(&["pack", "repo", "-o", "other"]);
    // A shard of another revision is intact by itself.
    place.write("changed.safetensors", model(9));
    place.ok(&["pack", "changed.safetensors", "-o", "repo.at1w/model-00001-of-00002.at1w", "-f"]);
    place.ok(&["verify", "repo.at1w/model-00001-of-00002.at1w"]);
    place.fails(&["unpack", "repo.at1w", "-o", "new"], 3, "model-00001-of-00002.at1w: the root is");
    place.write("repo.at1w/tokenizer/vocab.txt", "a\nc\n");
    fs::remove_file(place.path("repo.at1w/tokenizer/empty.txt")).unwrap();
    place.write("repo.at1w/extra.at1w", "weights?");
    place.write("repo.at1w/pytorch_model.BIN", "weights?");
    place.write("repo.at1w/log.txt", "ab");
    place.write("repo.at1w/readme", "");

    let outcome = place.fails(&["verify", "repo.at1w"], 3, "");
    for problem in [
        "model-00001-of-00002.at1w: the root is",
        "tokenizer/vocab.txt: has 4 bytes with SHA-256",
        "tokenizer/empty.txt: is in the manifest, but missing",
        "extra.at1w: may be loaded, and is not in the manifest",
        "pytorch_model.BIN: may be loaded, and is not in the manifest",
        "log.txt: has 2 bytes, the manifest says 1",
        "warning: repo.at1w/readme",
    ] {
        assert!(outcome.stderr.contains(problem), "{problem}: {}", outcome.stderr);
    }
    let printed = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(printed.lines().count(), 2, "the shard and the index that are intact: {printed}");
    place.fails(&["unpack", "repo.at1w", "-o", "new"], 3, "but missing");
    assert!(!place.path("new").exists());

    place.flip("other/model-00002-of-00002.at1w", 1000);
    place.fails(
        &["unpack", "other", "-o", "new"],
        3,
        r#"damaged tensor "embed.weight" in chunk 0"#,
    );
    assert_eq!(place.names(), ["changed.safetensors", "other", "repo", "repo.at1w"]);
}

#[test]
fn manifests_that_lead_astray_are_refused() {
    let place = packed();
    let good = manifest(&place);
    let refuses = |manifest: &Value, problem: &str| {
        set_manifest(&place, manifest);
        place.fails(&["verify", "repo.at1w"], 3, problem);
        place.fails(&["unpack", "repo.at1w", "-o", "new"], 3, problem);
    };
    for path in ["../escaped", "/tmp/escaped", "", "a\\..\\b", "tokenizer/../../escaped"] {
        let mut bad = good.clone();
        bad["files"][0]["path"] = path.into();
        refuses(&bad, "not a path within a repository");
        let mut bad = good.clone();
        bad["files"][0]["packed"]["path"] = path.into();
        refuses(&bad, "not a path within a repository");
    }
    let mut bad = good.clone();
    bad["files"][1]["path"] = good["files"][0]["path"].clone();
    refuses(&bad, "listed twice");
    let mut bad = good.clone();
    bad["files"][0]["sha256"] = good["files"][1]["sha256"].clone();
    refuses(&bad, "packs another file than the manifest says");
    bad["files"][0]["sha256"] = "abc".into();
    refuses(&bad, "64 hexadecimal digits");
    let root = good["files"][0]["packed"]["root"].as_str().unwrap();
    place.fails(&["verify", "repo.at1w", "--root", root], 2, "--root is for one file");
    assert_eq!(place.names(), ["repo", "repo.at1w"]);
}

#[test]
fn what_a_killed_process_left_is_no_part_of_a_repository() {
    let place = repository();
    let left = ".model-00001-of-00002.at1w.b16d863f.0123abcd-7-a1B2.at1w-tmp";
    place.write(&format!("repo/{left}"), "");
    place.write("repo/.logs.01234567.at1w-tmp/logs/a", "");
    let outcome = place.at1w(&["pack", "repo"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("is being written, or was left").count(), 2);
    assert!(!place.path(&format!("repo.at1w/{left}")).exists());
    place.ok(&["verify", "repo.at1w"]);
    place.ok(&["unpack", "repo.at1w", "-o", "new"]);

    let mut bad = manifest(&place);
    bad["files"][2]["path"] = left.into();
    set_manifest(&place, &bad);
    place.fails(&["unpack", "repo.at1w", "-o", "other"], 3, "not a path within a repository");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    fn mode(place: &Place, name: &str) -> u32 {
        fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn permissions_are_carried_over_and_the_umask_is_honoured() {
        let place = repository();
        let set = |name, mode| {
            fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        set("repo/tokenizer/vocab.txt", 0o750);
        set("repo/tokenizer/empty.txt", 0o6777);
        set("repo/model-00001-of-00002.safetensors", 0o400);
        set("repo", 0o710);
        let at1w = env!("CARGO_BIN_EXE_at1w");
        let script = format!("umask 027; {at1w} pack repo && {at1w} unpack repo.at1w -o restored");
        let outcome = place.run(Command::new("sh").args(["-c", &script]));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(mode(&place, "repo.at1w"), 0o710);
        assert_eq!(mode(&place, "restored"), 0o710);
        assert_eq!(mode(&place, "restored/tokenizer"), 0o750);
        assert_eq!(mode(&place, "repo.at1w/at1w-manifest.json"), 0o640);
        assert_eq!(mode(&place, "repo.at1w/model-00001-of-00002.at1w"), 0o400);
        assert_eq!(mode(&place, "restored/tokenizer/vocab.txt"), 0o750);
        assert_eq!(mode(&place, "restored/tokenizer/empty.txt"), 0o750);
        assert_eq!(mode(&place, "restored/model-00001-of-00002.safetensors"), 0o400);

        let script = format!("umask 011; {at1w} unpack repo.at1w -o masked");
        let outcome = place.run(Command::new("sh").args(["-c", &script]));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(mode(&place, "masked/tokenizer/vocab.txt"), 0o740);
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_target_are_not_followed_out_of_it() {
    let place = Place::new();
    for folder in ["repo/sub", "target"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.write("repo/sub/model.safetensors", model(1));
    std::os::unix::fs::symlink("../repo/sub", place.path("target/sub")).unwrap();
    let args = ["pack", "repo", "-o", "target", "--keep-names", "--force"];
    place.fails(&args, 1, "leads out of the target");
    // Directories neither.
    std::fs::remove_file(place.path("repo/sub/model.safetensors")).unwrap();
    std::fs::create_dir_all(place.path("repo/sub/deep/er")).unwrap();
    std::fs::create_dir(place.path("outside")).unwrap();
    std::fs::remove_file(place.path("target/sub")).unwrap();
    std::os::unix::fs::symlink("../outside", place.path("target/sub")).unwrap();
    place.fails(&args, 1, "leads out of the target");
    assert_eq!(std::fs::read_dir(place.path("outside")).unwrap().count(), 0);
    place.write("repo/sub/model.safetensors", model(1));
    place.fails(&args, 1, "leads out of the target");
    assert_eq!(std::fs::read_dir(place.path("outside")).unwrap().count(), 0);
    assert!(place.read("repo/sub/model.safetensors") == model(1));
}
