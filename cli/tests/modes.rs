//! The permissions of what each command writes.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::{Place, model};

fn mode(place: &Place, name: &str) -> u32 {
    fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777
}

fn set(place: &Place, name: &str, mode: u32) {
    fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a command with the usual umask.
fn ok(place: &Place, args: &str) {
    let script = format!("umask 022; exec {} --quiet {args}", env!("CARGO_BIN_EXE_at1w"));
    let outcome = place.run(Command::new("sh").args(["-c", &script]));
    assert_eq!(outcome.code, 0, "{args}: {}", outcome.stderr);
}

/// A place with a packed model, a packed repository and a pair of keys.
fn place() -> Place {
    let place = Place::packed();
    place.write("repo/model.safetensors", model(1));
    place.write("repo/config.json", "{}");
    place.ok(&["pack", "repo"]);
    place.ok(&["keygen", "--no-password"]);
    place
}

/// Commands that make a file: what of, which, and by what arguments.
const COMMANDS: [(&str, &str, &str); 4] = [
    ("model.safetensors", "new.at1w", "pack model.safetensors -o new.at1w"),
    ("model.at1w", "new.safetensors", "unpack model.at1w -o new.safetensors"),
    ("model.at1w", "new.npy", "get model.at1w embed.bias -o new.npy"),
    ("model.at1w", "new.bin", "get model.at1w embed.bias --slice 0:9 -o new.bin"),
];

#[test]
fn new_files_have_what_the_umask_and_their_source_allow() {
    let place = place();
    for (source, target, args) in COMMANDS {
        for (from, to) in [(0o600, 0o600), (0o666, 0o644), (0o640, 0o640), (0o400, 0o400)] {
            set(&place, source, from);
            ok(&place, args);
            assert_eq!(mode(&place, target), to, "{args}: {from:o}");
            fs::remove_file(place.path(target)).unwrap();
        }
    }
    // Signatures and public keys are made to be shown.
    set(&place, "model.at1w", 0o600);
    ok(&place, "sign model.at1w");
    assert_eq!(mode(&place, "model.at1w.minisig"), 0o644);
    ok(&place, "keygen --no-password -s new.key -p new.pub");
    assert_eq!((mode(&place, "new.key"), mode(&place, "new.pub")), (0o600, 0o644));
}

#[test]
fn replaced_files_keep_what_their_source_allows() {
    let place = place();
    for (source, target, args) in COMMANDS {
        ok(&place, args);
        // The umask would take the write permission of the group away.
        for (from, before, after) in [
            (0o644, 0o600, 0o600),
            (0o664, 0o664, 0o664),
            (0o600, 0o644, 0o600),
            (0o440, 0o664, 0o440),
        ] {
            set(&place, source, from);
            set(&place, target, before);
            ok(&place, &format!("{args} --force"));
            assert_eq!(mode(&place, target), after, "{args}: {from:o} {before:o}");
        }
    }
    ok(&place, "sign model.at1w");
    for mode_before in [0o600, 0o664] {
        set(&place, "model.at1w.minisig", mode_before);
        ok(&place, "sign model.at1w --force");
        assert_eq!(mode(&place, "model.at1w.minisig"), mode_before);
    }
}

#[test]
fn replaced_files_of_repositories_do_too() {
    let place = place();
    let files = ["model.at1w", "config.json", "at1w-manifest.json"];
    for (from, before, after) in [(0o644, 0o600, 0o600), (0o664, 0o664, 0o664)] {
        for source in ["repo/model.safetensors", "repo/config.json"] {
            set(&place, source, from);
        }
        for file in files {
            set(&place, &format!("repo.at1w/{file}"), before);
        }
        ok(&place, "pack repo --force");
        for file in files {
            assert_eq!(mode(&place, &format!("repo.at1w/{file}")), after, "{file}: {before:o}");
        }
    }
    // Restored files are made of the packed ones.
    set(&place, "repo.at1w/config.json", 0o600);
    set(&place, "repo.at1w/model.at1w", 0o600);
    ok(&place, "unpack repo.at1w -o restored");
    for file in ["config.json", "model.safetensors"] {
        set(&place, &format!("restored/{file}"), 0o644);
    }
    ok(&place, "unpack repo.at1w -o restored --force");
    for file in ["config.json", "model.safetensors"] {
        assert_eq!(mode(&place, &format!("restored/{file}")), 0o600, "{file}");
    }
}

#[test]
fn directories_have_no_more_than_their_source() {
    let place = Place::new();
    place.write("repo/private/model.safetensors", model(1));
    fs::create_dir_all(place.path("repo/empty")).unwrap();
    set(&place, "repo/private", 0o700);
    set(&place, "repo/empty", 0o750);
    ok(&place, "pack repo");
    ok(&place, "unpack repo.at1w -o back");
    for top in ["repo.at1w", "back"] {
        assert_eq!(mode(&place, &format!("{top}/private")), 0o700);
        assert_eq!(mode(&place, &format!("{top}/empty")), 0o750);
    }
}
