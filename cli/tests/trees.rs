//! Directories as they lie on disks: links, hub caches, clones, and what cannot be taken.

#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{Place, assert_same_tree, model};
use serde_json::{Value, json};

fn link(place: &Place, path: &str, target: impl AsRef<Path>) {
    let path = place.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

fn manifest(place: &Place, packed: &str) -> Value {
    serde_json::from_slice(&place.read(&format!("{packed}/at1w-manifest.json"))).unwrap()
}

/// A hub cache of two repositories, the first with two snapshots.
fn hub() -> Place {
    let place = Place::new();
    let a = "hub/models--org--a";
    let blobs = [("aaaa", model(1)), ("bbbb", model(2)), ("cccc", b"{}".to_vec())];
    for (name, bytes) in blobs {
        place.write(&format!("{a}/blobs/{name}"), bytes);
    }
    for (snapshot, weights) in [("r1", "aaaa"), ("r2", "bbbb")] {
        let at = format!("{a}/snapshots/{snapshot}");
        link(&place, &format!("{at}/model.safetensors"), format!("../../blobs/{weights}"));
        link(&place, &format!("{at}/config.json"), "../../blobs/cccc");
    }
    place.write(&format!("{a}/refs/main"), "r2");
    place.write("hub/models--org--b/blobs/dddd", model(3));
    let at = "hub/models--org--b/snapshots/r1/unet/model.safetensors";
    link(&place, at, "../../../blobs/dddd");
    place
}

#[test]
fn a_hub_cache_stays_one() {
    let place = hub();
    place.ok(&["pack", "hub", "-o", "packed"]);
    let packed = place.path("packed/models--org--a/snapshots/r1/model.safetensors");
    assert_eq!(fs::read_link(&packed).unwrap(), Path::new("../../blobs/aaaa"));
    place.ok(&["verify", "packed/models--org--a/snapshots/r1/model.safetensors", "--file"]);
    assert_eq!(fs::read_dir(place.path("packed/models--org--a/blobs")).unwrap().count(), 3);
    place.ok(&["verify", "packed", "--file"]);
    place.ok(&["unpack", "packed", "-o", "restored"]);
    assert_same_tree(&place.path("hub"), &place.path("restored"));
    let restored = place.path("restored/models--org--b/snapshots/r1/unet/model.safetensors");
    assert_eq!(fs::read_link(restored).unwrap(), Path::new("../../../blobs/dddd"));
    // A single snapshot has no blobs of its own: its links are followed.
    place.ok(&["pack", "hub/models--org--a/snapshots/r1", "-o", "one"]);
    assert!(!place.path("one/model.at1w").is_symlink());
    place.ok(&["unpack", "one", "-o", "one-restored"]);
    assert_eq!(place.read("one-restored/model.safetensors"), model(1));
}

#[test]
fn the_state_of_tools_is_left_out_and_named() {
    let place = hub();
    let left_out = [
        (".locks/models--org--a/aaaa.lock", ".locks", "hub-locks"),
        (
            "models--org--a/blobs/eeee.incomplete",
            "models--org--a/blobs/eeee.incomplete",
            "hub-incomplete",
        ),
        ("clone/.git/HEAD", "clone/.git", "git"),
        (
            "download/.cache/huggingface/download/a.metadata",
            "download/.cache/huggingface",
            "download-records",
        ),
    ];
    for (path, ..) in left_out {
        place.write(&format!("hub/{path}"), "");
    }
    // Not these, though they look alike.
    let kept = [
        "not-git/.git/config",
        "blobs/x.incomplete",
        "home/.cache/huggingface/hub/file",
        "home/.locks/file",
    ];
    for path in kept {
        place.write(&format!("hub/{path}"), "kept");
    }
    let outcome = place.at1w(&["pack", "hub", "-o", "packed"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let mut named = manifest(&place, "packed")["left_out"].as_array().unwrap().clone();
    named.sort_by_key(|left| left["path"].to_string());
    let mut expected: Vec<_> =
        left_out.map(|(_, path, why)| json!({"path": path, "why": why})).into();
    expected.sort_by_key(|left| left["path"].to_string());
    assert_eq!(named, expected);
    for (_, path, _) in left_out {
        assert!(outcome.stderr.contains(path), "{path}: {}", outcome.stderr);
        assert!(!place.path("packed").join(path).exists());
    }
    for path in kept {
        assert_eq!(place.read(&format!("packed/{path}")), b"kept");
    }
    place.ok(&["verify", "packed"]);
    place.ok(&["pack", "hub", "-o", "whole", "--all"]);
    assert!(place.path("whole/clone/.git/HEAD").is_file());
    place.ok(&["unpack", "whole", "-o", "restored"]);
    assert_same_tree(&place.path("hub"), &place.path("restored"));
}

#[test]
fn the_first_version_is_written_where_it_will_do() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    place.ok(&["pack", "repo"]);
    assert_eq!(manifest(&place, "repo.at1w")["version"], 1);
    assert!(!place.path("repo.at1w/at1w-readme.txt").exists());
    link(&place, "repo/latest.safetensors", "model.safetensors");
    place.ok(&["pack", "repo", "-f"]);
    let manifest = manifest(&place, "repo.at1w");
    assert_eq!(manifest["version"], 2);
    assert!(manifest["note"].as_str().unwrap().contains("at1w unpack"));
    assert!(String::from_utf8(place.read("repo.at1w/at1w-readme.txt")).unwrap().contains("unpack"));
    // A file that links lead to keeps its name, and what had the other one is gone.
    assert!(place.path("repo.at1w/model.safetensors").is_file());
    assert!(!place.path("repo.at1w/model.at1w").exists());
    place.ok(&["verify", "repo.at1w"]);
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert!(!place.path("restored/at1w-readme.txt").exists());
    assert_same_tree(&place.path("repo"), &place.path("restored"));
}

#[test]
fn links_stay_links_within_the_tree_and_are_followed_out_of_it() {
    let place = Place::new();
    place.write("repo/a/model.safetensors", model(1));
    place.write("elsewhere/more/model.safetensors", model(2));
    for (path, target) in [
        ("repo/loop", "."),
        ("repo/b/up", ".."),
        ("repo/dir", "a"),
        ("repo/dir2", "./a/"),
        ("repo/through", "dir/model.safetensors"),
        ("repo/out", "../elsewhere"),
        ("repo/out-file.safetensors", "../elsewhere/more/model.safetensors"),
    ] {
        link(&place, path, target);
    }
    link(&place, "repo/absolute", place.path("repo/a/model.safetensors"));
    link(&place, "elsewhere/back", place.path("repo/a"));
    place.ok(&["pack", "repo", "-o", "packed"]);
    let target = |path: &str| fs::read_link(place.path(path)).unwrap();
    for (path, expected) in [
        ("loop", "."),
        ("b/up", ".."),
        ("dir", "a"),
        ("dir2", "a"),
        ("through", "dir/model.safetensors"),
        ("absolute", "a/model.safetensors"),
        ("out/back", "../a"),
    ] {
        assert_eq!(target(&format!("packed/{path}")), Path::new(expected), "{path}");
    }
    assert!(!place.path("packed/out").is_symlink());
    place.ok(&["verify", "packed"]);
    place.ok(&["unpack", "packed", "-o", "restored"]);
    assert_eq!(place.read("restored/out/more/model.safetensors"), model(2));
    assert_eq!(place.read("restored/out-file.safetensors"), model(2));
    assert_eq!(place.read("restored/through"), model(1));
    // Both names of the file outside are one file, here and there.
    let inode = |path: &str| fs::metadata(place.path(path)).unwrap().ino();
    assert_eq!(
        inode("restored/out/more/model.safetensors"),
        inode("restored/out-file.safetensors")
    );
}

#[test]
fn what_cannot_be_taken_is_listed_and_the_run_goes_on() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    link(&place, "repo/dangling", "nowhere");
    link(&place, "repo/out", "/nowhere/at/all");
    link(&place, "repo/circle", "circle");
    link(&place, "repo/around", "..");
    place.write("repo/a\\b", "");
    let mkfifo = Command::new("mkfifo").arg(place.path("repo/pipe")).status();
    assert!(mkfifo.unwrap().success());
    let odd = place.path("repo").join(std::ffi::OsStr::from_bytes(b"\xff.txt"));
    // Some file systems refuse such names themselves.
    let odd = fs::write(odd, "").is_ok();
    let mut problems = vec![
        "repo/dangling: is a symbolic link to nothing: nowhere",
        "repo/out: is a symbolic link to nothing: /nowhere/at/all",
        "repo/circle: is a symbolic link that leads to itself",
        "repo/around: is a symbolic link that leads to itself or around it",
        "repo/a\\b: its name holds a backslash",
        "repo/pipe: is neither a file nor a directory",
    ];
    if odd {
        problems.push("not valid UTF-8");
    }
    for command in [&["pack", "repo"][..], &["pack", "repo", "-f"], &["pack", "repo", "-n"]] {
        let outcome = place.fails(command, 5, "");
        for problem in &problems {
            assert!(outcome.stderr.contains(problem), "{problem}: {}", outcome.stderr);
        }
    }
    place.fails(&["pack", "repo", "-o", "new", "--strict"], 1, "as --strict asks");
    assert!(!place.path("new").exists());
    // A link to a place in the tree is kept, though nothing is there.
    assert_eq!(fs::read_link(place.path("repo.at1w/dangling")).unwrap(), Path::new("nowhere"));
    assert!(place.path("repo.at1w/out").symlink_metadata().is_err());
    place.ok(&["verify", "repo.at1w"]);
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert_eq!(place.read("restored/model.safetensors"), model(1));
}

#[test]
fn a_file_that_nobody_may_read_is_listed() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    place.write("repo/secret/key", "");
    place.write("repo/locked", "");
    for path in ["repo/secret", "repo/locked"] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root may read everything, so the command runs as somebody else.
    let root = fs::read(place.path("repo/locked")).is_ok();
    let outcome = if root {
        fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o777)).unwrap();
        let at1w = env!("CARGO_BIN_EXE_at1w");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", at1w, "pack", "repo"]);
        match Command::new("setpriv").args(["--reuid=65534", at1w, "--version"]).output() {
            Ok(probe) if probe.status.success() => place.run(&mut command),
            // There is no such command, or nobody may run the program.
            _ => return,
        }
    } else {
        place.at1w(&["pack", "repo"])
    };
    assert_eq!(outcome.code, 5, "{}", outcome.stderr);
    for path in ["repo/secret: cannot be read: ", "repo/locked: cannot be read: "] {
        assert!(outcome.stderr.contains(path), "{path}: {}", outcome.stderr);
    }
    assert!(place.path("repo.at1w/model.at1w").is_file());
    for path in ["repo/secret", "repo/locked"] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn links_that_make_endless_paths_are_listed() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    for i in 0..30 {
        fs::create_dir(place.path(&format!("d{i}"))).unwrap();
        for name in ["a", "b"] {
            let next = place.path(&format!("d{}", i + 1));
            symlink(next, place.path(&format!("d{i}/{name}"))).unwrap();
        }
    }
    place.write("d30/file", "");
    link(&place, "repo/bomb", "../d0");
    place.fails(&["pack", "repo"], 5, "a symbolic link too many");
    place.ok(&["verify", "repo.at1w"]);
}

#[test]
fn files_of_several_names_are_packed_once() {
    let place = Place::new();
    place.write("repo/a/model.safetensors", model(1));
    place.write("repo/notes.txt", vec![b'x'; 100_000]);
    for (first, other) in [
        ("a/model.safetensors", "b.safetensors"),
        ("a/model.safetensors", "c.safetensors"),
        ("notes.txt", "more.txt"),
    ] {
        let path = |name: &str| place.path("repo").join(name);
        fs::hard_link(path(first), path(other)).unwrap();
    }
    let printed = String::from_utf8(place.ok(&["pack", "repo"])).unwrap();
    let total = model(1).len() + 100_000;
    assert!(printed.contains(&format!("  {total} -> ")), "{printed}");
    let inode = |path: &str| fs::metadata(place.path(path)).unwrap().ino();
    assert_eq!(inode("repo.at1w/a/model.at1w"), inode("repo.at1w/b.at1w"));
    assert_eq!(inode("repo.at1w/notes.txt"), inode("repo.at1w/more.txt"));
    place.ok(&["verify", "repo.at1w"]);
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
    assert_eq!(inode("restored/a/model.safetensors"), inode("restored/c.safetensors"));

    // One name becomes a file of its own; the other two stay one.
    fs::remove_file(place.path("repo/a/model.safetensors")).unwrap();
    place.write("repo/a/model.safetensors", model(2));
    place.ok(&["pack", "repo", "-f"]);
    assert_ne!(inode("repo.at1w/a/model.at1w"), inode("repo.at1w/b.at1w"));
    assert_eq!(inode("repo.at1w/c.at1w"), inode("repo.at1w/b.at1w"));
    place.ok(&["verify", "repo.at1w"]);
}

#[test]
fn capital_suffixes_count_and_content_decides() {
    let place = Place::new();
    place.write("repo/MODEL.SafeTensors", model(1));
    place.write("repo/blob", model(2));
    place.write("repo/weights.bin", model(3));
    place.ok(&["pack", "repo"]);
    for packed in ["MODEL.at1w", "blob"] {
        place.ok(&["verify", &format!("repo.at1w/{packed}"), "--file"]);
    }
    // A name that says another format is believed.
    assert_eq!(place.read("repo.at1w/weights.bin"), model(3));
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
}

#[test]
fn patterns_choose_the_files() {
    let place = Place::new();
    for path in ["model.safetensors", "onnx/model.onnx", "logs/a/log.txt", "config.json"] {
        place
            .write(&format!("repo/{path}"), if path.ends_with("ors") { model(1) } else { vec![1] });
    }
    link(&place, "repo/latest", "onnx/model.onnx");
    let files = |packed: &str| -> Vec<String> {
        let manifest = manifest(&place, packed);
        let files = manifest["files"].as_array().unwrap();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    };
    place.ok(&["pack", "repo", "-o", "a", "--exclude", "*.onnx", "--exclude", "logs"]);
    assert_eq!(files("a"), ["config.json", "model.safetensors"]);
    let left: Vec<_> = manifest(&place, "a")["left_out"].as_array().unwrap().clone();
    let expected = json!([
        {"path": "latest", "why": "link-to-left-out"},
        {"path": "logs", "why": "excluded"},
        {"path": "onnx/model.onnx", "why": "excluded"},
    ]);
    assert_eq!(json!(left), expected);
    place.ok(&["pack", "repo", "-o", "b", "--include", "*.safetensors", "--include", "onnx/**"]);
    assert_eq!(files("b"), ["model.safetensors", "onnx/model.onnx"]);
    place.fails(&["pack", "repo", "-o", "c", "--exclude", "a["], 2, "a[");
    // In a hub cache the names are those of links.
    let place = hub();
    place.ok(&["pack", "hub", "-o", "some", "--include", "*.safetensors"]);
    place.ok(&["verify", "some"]);
    assert!(place.path("some/models--org--a/snapshots/r1/model.safetensors").exists());
    assert!(place.path("some/models--org--a/blobs/cccc").symlink_metadata().is_err());
    place.ok(&["pack", "hub", "-o", "all"]);
    place.ok(&["unpack", "all", "-o", "json", "--include", "*.json"]);
    assert_eq!(place.read("json/models--org--a/snapshots/r2/config.json"), b"{}");
    assert!(!place.path("json/models--org--a/blobs/aaaa").exists());
    // Its packed form is the same to those who compare.
    place.ok(&["diff", "hub", "all"]);
}

#[test]
fn a_link_to_the_target_is_not_followed() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    fs::create_dir(place.path("out")).unwrap();
    link(&place, "repo/o", "../out");
    for _ in 0..2 {
        let problem = "repo/o: is a symbolic link that leads to the target";
        place.fails(&["pack", "repo", "-o", "out", "--update"], 5, problem);
    }
    assert!(place.path("out/o").symlink_metadata().is_err());
}

#[test]
fn links_of_strangers_are_not_walked() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    place.ok(&["pack", "repo"]);
    place.write("elsewhere/other.safetensors", model(2));
    link(&place, "repo.at1w/k", "../elsewhere");
    let outcome = place.fails(&["verify", "repo.at1w"], 3, "repo.at1w/k: is a symbolic link");
    assert!(!outcome.stderr.contains("other.safetensors"), "{}", outcome.stderr);
}
