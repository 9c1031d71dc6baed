//! Packing again and again into one target.

mod common;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use common::{Place, assert_same_tree, model};
use serde_json::Value;

/// Sets the time of change of a file back, so that it tells whether the file is changed later.
fn settle(place: &Place, path: &str) {
    let file = File::options().write(true).open(place.path(path)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

fn write(place: &Place, path: &str, bytes: impl AsRef<[u8]>) {
    place.write(path, bytes);
    settle(place, path);
}

fn repository() -> Place {
    let place = Place::new();
    for (path, bytes) in [
        ("repo/a.safetensors", model(1)),
        ("repo/b.safetensors", model(2)),
        ("repo/sub/notes.txt", b"notes".to_vec()),
    ] {
        write(&place, path, bytes);
    }
    place.ok(&["pack", "repo", "--update"]);
    place
}

fn modified(place: &Place, path: &str) -> SystemTime {
    fs::metadata(place.path(path)).unwrap().modified().unwrap()
}

fn update(place: &Place, more: &[&str]) -> String {
    let args = [&["pack", "repo", "--update"], more].concat();
    String::from_utf8(place.ok(&args)).unwrap()
}

fn paths(place: &Place) -> Vec<String> {
    let manifest: Value =
        serde_json::from_slice(&place.read("repo.at1w/at1w-manifest.json")).unwrap();
    let files = manifest["files"].as_array().unwrap();
    files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_has_not_changed_is_not_packed_again() {
    let place = repository();
    let files = ["a.at1w", "b.at1w", "sub/notes.txt", "at1w-manifest.json"];
    let times = files.map(|file| modified(&place, &format!("repo.at1w/{file}")));
    let printed = update(&place, &[]);
    assert!(printed.contains("0 packed, 0 carried over, 3 unchanged"), "{printed}");
    assert_eq!(files.map(|file| modified(&place, &format!("repo.at1w/{file}"))), times);

    write(&place, "repo/b.safetensors", model(3));
    // As long as before, so that the time alone tells.
    assert_eq!(model(3).len(), model(2).len());
    settle(&place, "repo/a.safetensors");
    let printed = update(&place, &["--checksum"]);
    assert!(printed.contains("1 packed, 0 carried over, 2 unchanged"), "{printed}");
    assert_eq!(modified(&place, "repo.at1w/a.at1w"), times[0]);
    // Its new time is noted.
    assert!(update(&place, &[]).contains("3 unchanged"));
    place.ok(&["verify", "repo.at1w", "--file"]);
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
    let times = ["repo", "restored"].map(|root| modified(&place, &format!("{root}/a.safetensors")));
    assert_eq!(times[0], times[1], "the times come back");
}

#[test]
fn a_change_is_found_whatever_the_time_says() {
    let place = repository();
    // A file that was new when it was packed: its next change may have the same time.
    place.write("repo/c.safetensors", model(4));
    update(&place, &[]);
    let time = modified(&place, "repo/c.safetensors");
    place.write("repo/c.safetensors", model(5));
    let file = File::options().write(true).open(place.path("repo/c.safetensors")).unwrap();
    file.set_modified(time).unwrap();
    assert!(update(&place, &[]).contains("1 packed"));
    // A target that lost a file gets it again, as does one with another file in its place.
    fs::remove_file(place.path("repo.at1w/a.at1w")).unwrap();
    place.write("repo.at1w/b.at1w", "cut");
    assert!(update(&place, &[]).contains("2 packed"));
    place.ok(&["verify", "repo.at1w"]);
}

#[test]
fn what_is_gone_stays_until_it_is_pruned() {
    let place = repository();
    fs::remove_file(place.path("repo/a.safetensors")).unwrap();
    fs::remove_dir_all(place.path("repo/sub")).unwrap();
    place.write("repo.at1w/mine.txt", "mine");
    for force in ["--update", "--force"] {
        let outcome = place.at1w(&["pack", "repo", force]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("2 files stay whose sources are gone"),
            "{}",
            outcome.stderr
        );
        place.ok(&["verify", "repo.at1w"]);
        assert_eq!(paths(&place), ["a.safetensors", "b.safetensors", "sub/notes.txt"]);
    }
    place.ok(&["pack", "repo", "--update", "--prune", "-n"]);
    assert!(place.path("repo.at1w/a.at1w").exists());
    let printed = update(&place, &["--prune"]);
    assert!(printed.contains("removed repo.at1w/a.at1w"), "{printed}");
    assert_eq!(paths(&place), ["b.safetensors"]);
    assert!(!place.path("repo.at1w/a.at1w").exists() && !place.path("repo.at1w/sub").exists());
    assert_eq!(place.read("repo.at1w/mine.txt"), b"mine");
    place.ok(&["verify", "repo.at1w"]);
}

#[test]
fn pruning_spares_what_at1w_did_not_make() {
    let place = repository();
    place.write("repo.at1w/a.at1w", "somebody replaced it");
    place.write("repo.at1w/sub/notes.txt", "Notes");
    fs::remove_file(place.path("repo/a.safetensors")).unwrap();
    fs::remove_dir_all(place.path("repo/sub")).unwrap();
    let outcome = place.at1w(&["pack", "repo", "--update", "--prune"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for path in ["a.at1w", "sub/notes.txt"] {
        let message = format!("repo.at1w/{path}: is not what the manifest says");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    }
    assert_eq!(place.read("repo.at1w/a.at1w"), b"somebody replaced it");
    assert_eq!(place.read("repo.at1w/sub/notes.txt"), b"Notes");
    // What is left out is not gone.
    update(&place, &["--prune", "--exclude", "b.safetensors"]);
    assert_eq!(paths(&place), ["b.safetensors"]);
    // Everything gone is more likely a disk that is not mounted.
    fs::remove_file(place.path("repo/b.safetensors")).unwrap();
    place.fails(&["pack", "repo", "--update", "--prune"], 1, "is it mounted?");
    assert!(place.path("repo.at1w/b.at1w").exists());
    update(&place, &["--prune", "--yes"]);
    assert!(!place.path("repo.at1w/b.at1w").exists());
}

#[test]
fn files_directories_and_names_change_places() {
    let place = repository();
    // A file becomes a directory, a directory a file, and all names change.
    fs::remove_file(place.path("repo/a.safetensors")).unwrap();
    fs::remove_dir_all(place.path("repo/sub")).unwrap();
    write(&place, "repo/a.at1w/x.txt", "x");
    write(&place, "repo/sub", "a file");
    place.fails(&["pack", "repo", "--update"], 1, "in the way of a file");
    place.ok(&["verify", "repo.at1w"]);
    update(&place, &["--prune", "--keep-names"]);
    assert_eq!(paths(&place), ["a.at1w/x.txt", "b.safetensors", "sub"]);
    assert!(!place.path("repo.at1w/b.at1w").exists());
    place.ok(&["verify", "repo.at1w"]);
    place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
    assert_same_tree(&place.path("repo"), &place.path("restored"));
}

#[test]
fn files_become_directories_and_links_and_back() {
    let place = repository();
    let remove = |path: &str| fs::remove_file(place.path(path)).unwrap();
    // An empty directory, and one that holds something, under the names of packed files.
    remove("repo/a.safetensors");
    fs::create_dir(place.path("repo/a.safetensors")).unwrap();
    remove("repo/b.safetensors");
    write(&place, "repo/b.safetensors/part.safetensors", model(3));
    write(&place, "repo/c.safetensors", model(4));
    fs::create_dir(place.path("repo/c.at1w")).unwrap();
    let check = || {
        place.ok(&["verify", "repo.at1w"]);
        place.ok(&["unpack", "repo.at1w", "-o", "restored"]);
        assert_same_tree(&place.path("repo"), &place.path("restored"));
        fs::remove_dir_all(place.path("restored")).unwrap();
    };
    // A directory that is empty now, and whose file stays in the target.
    write(&place, "repo/e/x.txt", "x");
    update(&place, &[]);
    fs::remove_file(place.path("repo/e/x.txt")).unwrap();
    update(&place, &[]);
    place.ok(&["verify", "repo.at1w"]);
    update(&place, &["--prune"]);
    check();
    assert!(place.path("repo.at1w/c.safetensors").is_file(), "its other name is taken");
    // And back.
    fs::remove_dir(place.path("repo/a.safetensors")).unwrap();
    fs::remove_dir_all(place.path("repo/b.safetensors")).unwrap();
    fs::remove_dir(place.path("repo/c.at1w")).unwrap();
    write(&place, "repo/a.safetensors", model(1));
    write(&place, "repo/b.safetensors", model(2));
    update(&place, &["--prune"]);
    check();
    #[cfg(unix)]
    {
        write(&place, "repo/v2/x.safetensors", model(5));
        write(&place, "repo/v1/x.safetensors", model(6));
        update(&place, &[]);
        fs::remove_dir_all(place.path("repo/v1")).unwrap();
        std::os::unix::fs::symlink("v2", place.path("repo/v1")).unwrap();
        place.fails(&["pack", "repo", "--update"], 1, "in the way of a file: prune it");
        update(&place, &["--prune"]);
        check();
    }
}

#[cfg(unix)]
#[test]
fn nothing_outside_of_a_target_is_removed_or_replaced() {
    use std::os::unix::fs::symlink;
    let place = repository();
    place.write("victim/passwd", "secret");
    write(&place, "repo/d/x.txt", "x");
    update(&place, &[]);
    // A hostile manifest that lists a file outside of the target, beyond a link.
    fs::remove_dir_all(place.path("repo.at1w/d")).unwrap();
    symlink("../victim", place.path("repo.at1w/d")).unwrap();
    let manifest = String::from_utf8(place.read("repo.at1w/at1w-manifest.json")).unwrap();
    let hostile = manifest.replacen("\"path\": \"a.at1w\"", "\"path\": \"d/passwd\"", 1);
    assert_ne!(manifest, hostile);
    place.write("repo.at1w/at1w-manifest.json", &hostile);
    for more in [&[][..], &["--prune"], &["--checksum"]] {
        let args = [&["pack", "repo", "--update"], more].concat();
        place.fails(&args, 1, "leads out of the target");
        fs::remove_dir_all(place.path("repo/d")).unwrap_or_default();
        let outcome = place.at1w(&args);
        assert_ne!(outcome.code, 3, "{}", outcome.stderr);
        assert_eq!(place.read("victim/passwd"), b"secret");
        write(&place, "repo/d/x.txt", "x");
        place.write("repo.at1w/at1w-manifest.json", &hostile);
    }
    // Nothing was replaced before the link was seen.
    write(&place, "repo/a.safetensors", model(7));
    let before = place.read("repo.at1w/b.at1w");
    place.write("repo.at1w/at1w-manifest.json", &manifest);
    write(&place, "repo/b.safetensors", model(8));
    place.fails(&["pack", "repo", "--update"], 1, "leads out of the target");
    assert_eq!(place.read("repo.at1w/b.at1w"), before);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_now_is_not_gone() {
    use std::os::unix::fs::symlink;
    let place = repository();
    write(&place, "disk/models/m.safetensors", model(6));
    symlink("../disk/models", place.path("repo/m")).unwrap();
    update(&place, &[]);
    fs::rename(place.path("disk"), place.path("unmounted")).unwrap();
    let args = ["pack", "repo", "--update", "--prune"];
    place.fails(&args, 5, "repo/m: is a symbolic link to nothing");
    assert!(place.path("repo.at1w/m/m.at1w").is_file());
    place.ok(&["verify", "repo.at1w"]);
    fs::rename(place.path("unmounted"), place.path("disk")).unwrap();
    assert!(update(&place, &["--prune"]).contains("4 unchanged"));
    // A disk that holds nothing but what is left out.
    for file in ["a.safetensors", "b.safetensors", "m"] {
        fs::remove_file(place.path("repo").join(file)).unwrap();
    }
    fs::remove_dir_all(place.path("repo/sub")).unwrap();
    place.write("repo/.git/HEAD", "");
    place.fails(&args, 1, "is it mounted?");
}

#[cfg(unix)]
#[test]
fn an_unreadable_source_keeps_its_packed_file() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    let place = repository();
    let set = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path("repo/a.safetensors"), permissions).unwrap();
    };
    let file = File::options().write(true).open(place.path("repo/a.safetensors")).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
    set(0o000);
    if fs::read(place.path("repo/a.safetensors")).is_ok() {
        // Root may read everything, so the command runs as somebody else.
        let chown = ["-R", "65534:65534", "."];
        assert_eq!(place.run(Command::new("chown").args(chown)).code, 0);
    }
    for update in ["--update", "--force"] {
        let at1w = env!("CARGO_BIN_EXE_at1w");
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", at1w]);
        let outcome = match Command::new("setpriv").args(["--reuid=65534", at1w, "-V"]).output() {
            Ok(probe) if probe.status.success() => {
                place.run(command.args(["pack", "repo", update]))
            }
            _ => place.at1w(&["pack", "repo", update]),
        };
        if outcome.code == 0 {
            // There is no such command, or nobody may run the program.
            return;
        }
        assert_eq!(outcome.code, 5, "{}", outcome.stderr);
        place.ok(&["verify", "repo.at1w", "--file"]);
        assert!(paths(&place).contains(&"a.safetensors".into()));
    }
    set(0o644);
}

#[test]
fn a_target_that_was_left_in_the_middle_is_looked_at() {
    let place = repository();
    // As after a kill while new files took their places: another file of the same size.
    let old = place.read("repo.at1w/sub/notes.txt");
    place.write("repo.at1w/sub/notes.txt", "NOTES");
    assert_eq!(old.len(), 5);
    place.write("repo.at1w/.merging.at1w-tmp", "");
    let printed = update(&place, &[]);
    assert!(printed.contains("1 carried over, 2 unchanged"), "{printed}");
    place.ok(&["verify", "repo.at1w"]);
    assert!(!place.path("repo.at1w/.merging.at1w-tmp").exists());
    // One of version 1 knows no sizes.
    place.ok(&["pack", "repo", "-o", "one"]);
    place.write("one/a.at1w", &place.read("one/a.at1w")[..100]);
    let printed = place.ok(&["pack", "repo", "-o", "one", "--update"]);
    assert!(String::from_utf8(printed).unwrap().contains("1 packed"));
    place.ok(&["verify", "one"]);
}

#[cfg(unix)]
#[test]
fn permissions_that_a_source_lost_are_taken() {
    use std::os::unix::fs::PermissionsExt;
    let place = repository();
    let mode = |path: &str| fs::metadata(place.path(path)).unwrap().permissions().mode() & 0o777;
    for path in ["repo/a.safetensors", "repo/sub/notes.txt"] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(0o600)).unwrap();
    }
    update(&place, &[]);
    assert_eq!([mode("repo.at1w/a.at1w"), mode("repo.at1w/sub/notes.txt")], [0o600, 0o600]);
}

#[test]
fn a_target_that_is_none_is_not_updated() {
    let place = Place::new();
    place.write("repo/a.safetensors", model(1));
    place.write("other/file", "mine");
    place.fails(&["pack", "repo", "-o", "other", "--update"], 1, "nothing to update");
    fs::create_dir(place.path("empty")).unwrap();
    place.ok(&["pack", "repo", "-o", "empty", "--update"]);
    // A manifest that is damaged tells nothing; with --force everything is packed again.
    place.write("empty/at1w-manifest.json", "{");
    place.fails(&["pack", "repo", "-o", "empty", "--update"], 3, "at1w-manifest.json");
    place.ok(&["pack", "repo", "-o", "empty", "--update", "--force"]);
    place.ok(&["verify", "empty"]);
    // One of version 1 has no times: the digests tell.
    place.ok(&["pack", "repo"]);
    assert!(update(&place, &[]).contains("1 unchanged"));
}

#[test]
fn several_sources_have_targets_in_one_directory() {
    let place = Place::new();
    place.write("models/a/model.safetensors", model(1));
    place.write("models/b/model.safetensors", model(2));
    place.write("models/c.safetensors", model(3));
    let nightly = ["pack", "models/*", "-o", "backup", "--update", "--prune"];
    place.ok(&nightly);
    let mut made: Vec<_> = fs::read_dir(place.path("backup")).unwrap().collect();
    made.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let made: Vec<_> = made.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["a.at1w", "b.at1w", "c.at1w"]);
    let printed = String::from_utf8(place.ok(&nightly)).unwrap();
    assert!(printed.contains("backup/c.at1w  unchanged"), "{printed}");
    // One that fails does not end the run.
    place.write("backup/a.at1w/at1w-manifest.json", "{");
    place.write("models/b/model.safetensors", model(4));
    let outcome = place.fails(&nightly, 3, "at1w-manifest.json");
    assert!(String::from_utf8(outcome.stdout).unwrap().contains("1 packed"));
    place.fails(&["pack", "models/x*"], 1, "matches nothing");
    for command in ["pack", "unpack"] {
        place.fails(&[command, "models/a", "models/b", "-o", "-"], 2, "-o - is for one file");
    }
    assert!(!place.path("-").exists());
    place.fails(&["pack", "-", "-n", "-o", "x"], 2, "a dry run takes samples of a file");
    place.fails(&["pack", "models/a", "models/a/", "-o", "new"], 2, "would both become");
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = repository();
    write(&place, "repo/c.safetensors", model(5));
    let before = place.read("repo.at1w/at1w-manifest.json");
    for args in [
        &["pack", "repo", "-n"][..],
        &["pack", "repo", "-n", "--update"],
        &["pack", "repo", "-n", "-o", "new"],
        &["pack", "repo/a.safetensors", "-n", "--sample", "1MB"],
        &["pack", "--in-place", "repo", "-n"],
    ] {
        let printed = String::from_utf8(place.ok(args)).unwrap();
        assert!(printed.contains(" -> about "), "{args:?}: {printed}");
    }
    assert_eq!(place.read("repo.at1w/at1w-manifest.json"), before);
    assert_eq!(place.names(), ["repo", "repo.at1w"]);
    place.fails(&["pack", "repo", "--sample", "1%"], 2, "--dry-run");
    place.fails(&["pack", "repo", "-n", "--sample", "a lot"], 2, "neither a share");
}

#[test]
fn what_has_not_changed_is_not_unpacked_again() {
    let place = Place::new();
    write(&place, "m.safetensors", model(1));
    place.ok(&["pack", "m.safetensors", "--update"]);
    let unpack = |more: &[&str]| {
        let args = [&["unpack", "m.at1w", "-o", "back.safetensors", "--update"], more].concat();
        String::from_utf8(place.ok(&args)).unwrap()
    };
    assert!(!unpack(&[]).contains("unchanged"));
    assert_eq!(place.read("back.safetensors"), model(1));
    assert_eq!(modified(&place, "back.safetensors"), modified(&place, "m.at1w"));
    assert!(unpack(&[]).contains("back.safetensors  unchanged"));
    // Its bytes were changed, and its time as well.
    let mut damaged = model(1);
    *damaged.last_mut().unwrap() ^= 1;
    place.write("back.safetensors", &damaged);
    assert!(!unpack(&[]).contains("unchanged"));
    assert_eq!(place.read("back.safetensors"), model(1));
    // The SHA-256 counts, and the time does not.
    settle(&place, "back.safetensors");
    assert!(unpack(&["--checksum"]).contains("unchanged"));
    for command in ["pack", "unpack"] {
        let source = if command == "pack" { "m.safetensors" } else { "m.at1w" };
        let args = [command, source, "-f", "--include", "*.json"];
        place.fails(&args, 2, "choose the files of a directory");
    }
}
