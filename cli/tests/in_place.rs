//! Packing and restoring files where they are.

#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use common::{Place, assert_same_tree, model};

fn tree() -> Place {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    place.write("repo/sub/blob", model(2));
    place.write("repo/config.json", "{}");
    place.write("repo/notes.at1w.txt", "none");
    symlink("sub/blob", place.path("repo/latest.safetensors")).unwrap();
    place.write("original/keep", "");
    let copy = ["-a", "repo", "original/"];
    assert!(place.run(std::process::Command::new("cp").args(copy)).code == 0);
    place
}

#[test]
fn files_are_packed_under_their_names_and_come_back() {
    let place = tree();
    let path = place.path("repo/model.safetensors");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let owner = if std::os::unix::fs::chown(&path, Some(1234), Some(4321)).is_ok() {
        (1234, 4321)
    } else {
        let metadata = fs::metadata(&path).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let kept = || {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!(metadata.modified().unwrap(), time);
        assert_eq!((metadata.uid(), metadata.gid()), owner);
    };
    place.ok(&["pack", "--in-place", "repo"]);
    kept();
    assert!(place.read("repo/model.safetensors").len() < model(1).len());
    for packed in ["repo/model.safetensors", "repo/sub/blob", "repo/latest.safetensors"] {
        place.ok(&["verify", packed, "--file"]);
    }
    assert!(!place.path("repo/at1w-manifest.json").exists());
    // Again is nothing to do.
    let printed = String::from_utf8(place.ok(&["pack", "--in-place", "repo"])).unwrap();
    assert!(printed.contains("0 replaced, 2 were so already"), "{printed}");
    place.ok(&["unpack", "--in-place", "repo"]);
    kept();
    assert_same_tree(&place.path("original/repo"), &place.path("repo"));

    place.ok(&["pack", "--in-place", "repo/model.safetensors"]);
    kept();
    place.ok(&["verify", "repo/model.safetensors"]);
    place.ok(&["unpack", "--in-place", "repo/model.safetensors"]);
    assert_eq!(place.read("repo/model.safetensors"), model(1));
}

#[test]
fn other_names_of_a_file_stay_its_names() {
    let place = tree();
    let path = |name: &str| place.path(&format!("repo/{name}"));
    fs::hard_link(path("model.safetensors"), path("sub/same.safetensors")).unwrap();
    fs::hard_link(path("sub/blob"), place.path("outside")).unwrap();
    let inode = |name: &str| fs::metadata(path(name)).unwrap().ino();
    place.fails(&["pack", "--in-place", "repo"], 5, "sub/blob: has 1 other names (hard links)");
    assert_eq!(inode("model.safetensors"), inode("sub/same.safetensors"));
    place.ok(&["verify", "repo/sub/same.safetensors", "--file"]);
    assert_eq!(place.read("repo/sub/blob"), model(2));
    assert_eq!(place.read("outside"), model(2));
    place.fails(&["unpack", "--in-place", "repo"], 0, "");
    assert_eq!(inode("model.safetensors"), inode("sub/same.safetensors"));
    assert_eq!(place.read("repo/sub/same.safetensors"), model(1));
}

#[test]
fn files_out_of_the_tree_are_left() {
    let place = tree();
    place.write("outside.safetensors", model(3));
    symlink("../outside.safetensors", place.path("repo/out.safetensors")).unwrap();
    // A name of it that is reached by another link neither makes it a file of the tree.
    fs::hard_link(place.path("outside.safetensors"), place.path("repo/hard.safetensors")).unwrap();
    symlink("..", place.path("repo/up")).unwrap();
    let outcome = place.fails(&["pack", "--in-place", "repo"], 5, "repo/out.safetensors: is a");
    for left in ["repo/up: is a symbolic link", "repo/hard.safetensors: has 1 other names"] {
        assert!(outcome.stderr.contains(left), "{left}: {}", outcome.stderr);
    }
    assert_eq!(place.read("outside.safetensors"), model(3));
    assert!(place.path("repo/out.safetensors").is_symlink());
    place.ok(&["verify", "repo/model.safetensors"]);
    place.fails(
        &["pack", "--in-place", "repo/out.safetensors"],
        5,
        "is a symbolic link that leads",
    );
}

#[test]
fn a_hub_cache_is_asked_about() {
    let place = Place::new();
    let root = "hub/models--org--a";
    place.write(&format!("{root}/blobs/aaaa"), model(1));
    fs::create_dir_all(place.path(&format!("{root}/snapshots/r1"))).unwrap();
    let link = place.path(&format!("{root}/snapshots/r1/model.safetensors"));
    symlink("../../blobs/aaaa", &link).unwrap();
    for path in ["hub", root, &format!("{root}/blobs"), &format!("{root}/blobs/aaaa")] {
        place.fails(&["pack", "--in-place", path], 2, "Say --yes to go on");
    }
    assert_eq!(fs::read(&link).unwrap(), model(1));
    place.ok(&["pack", "--in-place", "hub", "--yes"]);
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("../../blobs/aaaa"));
    place.ok(&["verify", link.to_str().unwrap(), "--file"]);
    place.ok(&["unpack", "--in-place", "hub"]);
    assert_eq!(fs::read(&link).unwrap(), model(1));
}

#[test]
fn files_of_a_packed_repository_are_left() {
    let place = tree();
    fs::create_dir(place.path("parent")).unwrap();
    place.ok(&["pack", "repo", "--keep-names", "-o", "parent/packed"]);
    place.fails(&["unpack", "--in-place", "parent"], 5, "is listed by the manifest");
    place.ok(&["verify", "parent/packed"]);
}

#[test]
fn what_has_a_manifest_is_refused() {
    let place = tree();
    place.ok(&["pack", "repo", "--keep-names", "-o", "kept"]);
    place.fails(&["pack", "--in-place", "kept"], 1, "is packed already");
    place.fails(&["unpack", "--in-place", "kept"], 3, "would be wrong");
    place.ok(&["verify", "kept"]);
    for args in [["-o", "x"], ["--update", "-q"], ["--keep-names", "-q"]] {
        let args = [&["pack", "--in-place", "repo"], &args[..]].concat();
        place.fails(&args, 2, "cannot be used with");
    }
    // A damaged file is not restored, and the others are.
    place.ok(&["pack", "--in-place", "repo"]);
    place.flip("repo/sub/blob", 2000);
    place.fails(&["unpack", "--in-place", "repo"], 3, "damaged");
    assert_eq!(place.read("repo/model.safetensors"), model(1));
}
