//! Signatures over the root and over a manifest, by at1w and by minisign.

mod common;

use std::process::Command;

use common::{Place, model};

const VERIFY: [&str; 6] =
    ["verify", "model.at1w", "--signature", "model.at1w.minisig", "--public-key", "at1w.pub"];

/// A packed model, signed with a new key.
fn signed() -> Place {
    let place = Place::packed();
    place.ok(&["keygen", "-W", "--quiet"]);
    place.ok(&["sign", "model.at1w"]);
    place
}

#[test]
fn a_signature_is_over_the_root() {
    let place = signed();
    let outcome = place.at1w(&VERIFY);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("file:model.at1w"), "{}", outcome.stderr);
    let root = place.json(&["info", "--json", "model.at1w"])["root"].as_str().unwrap().to_owned();
    let message = place.ok(&["sign", "--message", "model.at1w"]);
    assert_eq!(message, format!("at1w root v1 {root}\n").into_bytes());

    // The key itself stands for its file, and the model may be packed anew.
    let key = String::from_utf8(place.read("at1w.pub")).unwrap();
    let key = key.lines().nth(1).unwrap();
    place.ok(&["pack", "--level", "fast", "--force", "model.safetensors"]);
    place.ok(&[&VERIFY[..5], &[key]].concat());
}

#[test]
fn what_is_signed_by_another_or_is_another_is_refused() {
    let place = signed();
    place.ok(&["keygen", "-W", "-s", "other.key", "-p", "other.pub", "-q"]);
    place.fails(&[&VERIFY[..5], &["other.pub"]].concat(), 3, "model.at1w.minisig");
    place.fails(&[&VERIFY[..5], &["model.at1w.minisig"]].concat(), 1, "no public key");
    place.fails(&[&VERIFY[..5], &["nothing.pub"]].concat(), 1, "nothing.pub");
    place.fails(&VERIFY[..4], 2, "--public-key");

    let original = place.read("model.at1w");
    place.write("model.safetensors", model(2));
    place.ok(&["pack", "--force", "model.safetensors"]);
    place.fails(&VERIFY, 3, "model.at1w.minisig");
    place.write("model.at1w", original);
    place.ok(&VERIFY);
}

#[test]
fn damaged_signatures_are_refused() {
    let place = signed();
    let signature = place.read("model.at1w.minisig");
    let untrusted = signature.iter().position(|&byte| byte == b'\n').unwrap();
    for cut in (0..signature.len() - 1).step_by(7) {
        place.write("model.at1w.minisig", &signature[..cut]);
        place.fails(&VERIFY, 3, "model.at1w.minisig");
    }
    for at in (untrusted + 1..signature.len()).step_by(7) {
        let mut damaged = signature.clone();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        place.write("model.at1w.minisig", damaged);
        place.fails(&VERIFY, 3, "model.at1w.minisig");
    }
}

#[test]
fn a_signed_repository_is_pinned_whole() {
    let place = Place::new();
    place.write("repo/model.safetensors", model(1));
    place.write("repo/config.json", "{}");
    place.ok(&["pack", "repo"]);
    place.ok(&["keygen", "-W", "--quiet"]);
    place.ok(&["sign", "repo.at1w"]);
    let signature = "repo.at1w/at1w-manifest.json.minisig";
    let verify = ["verify", "repo.at1w", "--signature", signature, "--public-key", "at1w.pub"];
    let outcome = place.at1w(&verify);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    place.write("repo.at1w/config.json", "[]");
    place.fails(&verify, 3, "config.json");
    // What is no manifest might be the message for a file.
    let root = "0".repeat(64);
    place.write("fake/at1w-manifest.json", format!("at1w root v1 {root}\n"));
    place.fails(&["sign", "fake"], 3, "not valid");
    place.fails(&["sign", "--message", "fake"], 3, "not valid");
    // A manifest that says so is not the one that was signed.
    place.write("repo/config.json", "[]");
    place.ok(&["pack", "repo", "--force"]);
    place.fails(&verify, 3, signature);
}

#[test]
fn keys_and_signatures_are_not_replaced() {
    let place = signed();
    place.fails(&["keygen", "-W"], 1, "at1w.key exists already");
    place.fails(&["sign", "model.at1w"], 1, "exists already");
    place.ok(&["sign", "model.at1w", "--force", "-t", "revision 2"]);
    assert!(place.at1w(&VERIFY).stderr.contains("revision 2"));
    place.fails(&["sign", "model.at1w", "--force", "-t", "two\nlines"], 2, "one line");
    place.fails(&["sign", "model.at1w", "--force", "-s", "at1w.pub"], 1, "at1w.pub");
    let mut damaged = place.read("at1w.key");
    damaged[200] ^= 1;
    place.write("damaged.key", damaged);
    place.fails(&["sign", "model.at1w", "--force", "-s", "damaged.key"], 1, "damaged.key");
    place.fails(&["sign", "model.at1w", "--force", "-o", "model.at1w"], 1, "the source itself");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name| place.path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("at1w.key"), 0o600);
    }
}

/// `AT1W_MINISIGN` says that it must be there.
#[test]
fn minisign_and_at1w_check_each_other() {
    if Command::new("minisign").arg("-v").output().is_err() {
        assert!(std::env::var_os("AT1W_MINISIGN").is_none(), "minisign is not installed");
        eprintln!("skipped: minisign is not installed");
        return;
    }
    let place = signed();
    place.write("model.root", place.ok(&["sign", "--message", "model.at1w"]));
    let minisign = |args: &[&str]| {
        let outcome = place.run(Command::new("minisign").args(args));
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
    };
    minisign(&["-Vm", "model.root", "-x", "model.at1w.minisig", "-p", "at1w.pub"]);
    minisign(&["-GW", "-s", "minisign.key", "-p", "minisign.pub"]);
    minisign(&["-Sm", "model.root", "-x", "theirs.minisig", "-s", "minisign.key"]);
    let verify = |signature, key| {
        ["verify", "model.at1w", "--signature", signature, "--public-key", key].map(String::from)
    };
    let ok = |args: [String; 6]| place.ok(&args.each_ref().map(String::as_str));
    ok(verify("theirs.minisig", "minisign.pub"));
    // And each with the key of the other.
    place.ok(&["sign", "model.at1w", "--force", "-s", "minisign.key"]);
    minisign(&["-Vm", "model.root", "-x", "model.at1w.minisig", "-p", "minisign.pub"]);
    let mut damaged = place.read("minisign.key");
    let encoded = damaged.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    damaged[encoded + 100] ^= 1;
    place.write("damaged.key", damaged);
    place.fails(&["sign", "model.at1w", "--force", "-s", "damaged.key"], 1, "damaged.key");
    minisign(&["-Sm", "model.root", "-x", "theirs.minisig", "-s", "at1w.key"]);
    ok(verify("theirs.minisig", "at1w.pub"));
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_terminal_there_is_no_password() {
    let place = Place::packed();
    let mut keygen = Command::new("setsid");
    let outcome = place.run(keygen.args(["-w", env!("CARGO_BIN_EXE_at1w"), "keygen"]));
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("--no-password"), "{}", outcome.stderr);
    assert_eq!(place.names(), ["model.at1w", "model.safetensors"]);
}
