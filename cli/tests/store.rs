//! `at1w push`, `pull`, `repo` and `store`.

mod common;

use common::{Place, model};
use serde_json::Value;

fn place() -> Place {
    let place = Place::new();
    place.write("minilm/model.safetensors", model(1));
    place.write("minilm/config.json", "{}");
    place
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_repository_is_pushed_and_pulled() {
    let place = place();
    place.ok(&["push", "minilm", "models", "lab/minilm", "-m", "first"]);
    place.ok(&["pull", "models", "lab/minilm", "-o", "back"]);
    assert_eq!(place.read("back/model.safetensors"), place.read("minilm/model.safetensors"));
    // By default into a directory of its name, which is right already.
    let pulled = json(&place.ok(&["pull", "models", "lab/minilm", "--json"]));
    assert_eq!((&pulled["event"], &pulled["kept"]), (&"summary".into(), &2.into()));
    place.ok(&["pull", "models", "lab/minilm", "--packed", "-o", "packed"]);
    place.ok(&["verify", "packed"]);

    place.write("minilm/config.json", "[]");
    let pushed = json(&place.ok(&["push", "minilm", "models", "lab/minilm", "--json"]));
    assert_eq!((&pushed["new_tensors"], &pushed["new"]), (&0.into(), &true.into()));
    let log = json(&place.ok(&["repo", "log", "models", "lab/minilm", "--json"]));
    let commits = log["commits"].as_array().unwrap();
    assert_eq!(commits.len(), 2);
    assert_eq!((&commits[0]["refs"][0], &commits[1]["message"]), (&"main".into(), &"first".into()));
    let ls = json(&place.ok(&["repo", "ls", "models", "--json"]));
    assert_eq!(ls["repositories"][0]["name"], "lab/minilm");
    assert_eq!(ls["repositories"][0]["commit"], pushed["commit"]);

    let root = pushed["tree"].as_str().unwrap();
    place.ok(&["pull", "models", "lab/minilm", "-o", "pinned", "--root", root]);
    let first = commits[1]["id"].as_str().unwrap();
    let pin = ["pull", "models", &format!("lab/minilm@{first}"), "-o", "pinned", "--root", root];
    assert_eq!(place.at1w(&pin).code, 3);
}

#[test]
fn revisions_are_compared_by_tensor() {
    let place = place();
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    place.ok(&["repo", "tag", "models", "lab/minilm", "v1"]);
    let (a, b) = ("models#lab/minilm@v1", "models#lab/minilm");
    place.ok(&["diff", a, b]);
    place.write("minilm/model.safetensors", model(2));
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    let outcome = place.at1w(&["diff", a, b, "--json"]);
    assert_eq!(outcome.code, 1);
    assert!(!json(&outcome.stdout)["changed"].as_array().unwrap().is_empty());
    assert_eq!(place.at1w(&["diff", a, "models#lab/other"]).code, 2);
}

#[test]
fn what_is_removed_is_restored_or_collected() {
    let place = place();
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    place.ok(&["repo", "branch", "models", "lab/minilm", "next"]);
    place.ok(&["push", "minilm/config.json", "models", "lab/minilm@next", "--delete"]);
    place.ok(&["repo", "rm", "models", "lab/minilm@next"]);
    assert_eq!(place.at1w(&["pull", "models", "lab/minilm@next"]).code, 4);
    place.ok(&["repo", "restore", "models", "lab/minilm@next"]);
    place.ok(&["pull", "models", "lab/minilm@next", "-o", "next"]);
    place.ok(&["repo", "rm", "models", "lab/minilm"]);
    assert_eq!(place.at1w(&["pull", "models", "lab/minilm"]).code, 4);
    let dry = json(&place.ok(&["store", "gc", "models", "--grace", "0s", "--dry-run", "--json"]));
    assert!(dry["condemned"].as_u64().unwrap() > 0);
    place.ok(&["repo", "restore", "models", "lab/minilm"]);
    place.ok(&["repo", "rm", "models", "lab/minilm"]);
    place.ok(&["store", "gc", "models", "--grace", "0s"]);
    assert_eq!(place.at1w(&["repo", "restore", "models", "lab/minilm"]).code, 1);
    assert_eq!(place.at1w(&["store", "gc", "models", "--grace", "soon"]).code, 2);
}

#[test]
fn damage_is_named_and_repaired() {
    let place = place();
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    place.ok(&["store", "check", "models"]);
    place.ok(&["store", "copy", "models", "backup"]);
    place.ok(&["store", "scrub", "models", "--sample", "50%"]);
    let pack = std::fs::read_dir(place.path("models/packs/lab")).unwrap().next().unwrap().unwrap();
    let pack = format!("models/packs/lab/{}", pack.file_name().to_str().unwrap());
    place.flip(&pack, 100);
    let outcome = place.at1w(&["store", "scrub", "models", "lab/minilm", "--json"]);
    assert_eq!(outcome.code, 3);
    let first = outcome.stdout.split(|&byte| byte == b'\n').next().unwrap();
    let damage = json(first);
    assert_eq!(damage["event"], "damaged");
    assert!(damage["revisions"][0].as_str().unwrap().starts_with("lab/minilm@"));
    let repack = ["store", "repack", "models", "--level", "max", "--json"];
    let outcome = place.at1w(&repack);
    assert_eq!(outcome.code, 3);
    let events: Vec<_> = outcome.stdout.split(|&byte| byte == b'\n').collect();
    assert_eq!(json(events[0])["file"], damage["file"]);
    assert_eq!(json(events[1])["damaged"], 1);
    place.ok(&["store", "repair", "models", "--replica", "backup"]);
    place.ok(&["store", "scrub", "models"]);
    place.ok(&["store", "repack", "models", "lab"]);
    place.ok(&["store", "stats", "models", "--json"]);
    place.ok(&["pull", "models", "lab/minilm", "-o", "back"]);
    assert_eq!(place.read("back/model.safetensors"), place.read("minilm/model.safetensors"));
}

#[test]
fn commits_are_signed_and_checked() {
    let place = place();
    place.ok(&["keygen", "--no-password"]);
    place.ok(&["push", "minilm", "models", "lab/minilm", "--secret-key", "at1w.key"]);
    let pull = ["pull", "models", "lab/minilm", "-o", "back", "--public-key", "at1w.pub"];
    place.ok(&pull);
    place.write("minilm/config.json", "[]");
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    assert_eq!(place.at1w(&pull).code, 3);
    place.ok(&["store", "scrub", "models", "--secret-key", "at1w.key"]);
}

#[test]
fn a_root_is_no_substitute_for_a_signature() {
    let place = place();
    place.ok(&["keygen", "--no-password"]);
    place.ok(&["push", "minilm", "models", "lab/minilm", "--secret-key", "at1w.key"]);
    place.ok(&["pull", "models", "lab/minilm", "--packed", "-o", "packed"]);
    let manifest = json(&place.read("packed/at1w-manifest.json"));
    let packed = manifest["files"].as_array().unwrap().iter().find_map(|file| file.get("packed"));
    let root = packed.unwrap()["root"].as_str().unwrap();
    let pull = ["pull", "models", "lab/minilm", "-o", "back", "--root", root];
    let signed = [&pull[..], &["--public-key", "at1w.pub"]].concat();
    place.ok(&signed);
    // Whoever writes the store has the branch name another tree, with the same weights.
    place.write("minilm/config.json", "[]");
    place.ok(&["push", "minilm", "models", "lab/forged"]);
    let head = |repo: &str| format!("models/repos/lab/{repo}/0000/log/00000000");
    let read = |repo: &str| String::from_utf8(place.read(&head(repo))).unwrap();
    let (mut entry, forged) = (read("minilm"), json(read("forged").as_bytes()));
    let old = json(entry.as_bytes());
    for part in ["tree", "copy"] {
        let of = |entry: &Value| entry["branches"]["main"][part].as_str().unwrap().to_owned();
        // The branches come before the commit.
        entry = entry.replacen(&of(&old), &of(&forged), 1);
    }
    let (content, _) = entry.split_once(",\"sum\":").unwrap();
    let sum = at1w_container::Digest::of(format!("{content}}}").as_bytes());
    place.write(&head("minilm"), format!("{content},\"sum\":\"{sum}\"}}"));
    place.fails(&signed, 3, "lab/minilm");
    assert_eq!(place.read("back/config.json"), b"{}");
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let place = place();
    for name in ["minilm", "lab/../x", "api/x", "lab/a@b@c", "lab/"] {
        assert_eq!(place.at1w(&["push", "minilm", "models", name]).code, 2, "{name}");
    }
    place.write("thesis/chapter.tex", "");
    let outcome = place.at1w(&["push", "minilm", "thesis", "lab/minilm"]);
    assert!(outcome.code == 1 && outcome.stderr.contains("neither empty nor a store"));
    assert_eq!(place.at1w(&["repo", "ls", "thesis"]).code, 1);
    place.ok(&["push", "minilm", "models", "lab/minilm"]);
    for sample in ["NaNGB", "-5GB", "infGB", "101%", "-1%", "0%", "5GiB"] {
        let sample = format!("--sample={sample}");
        assert_eq!(place.at1w(&["store", "scrub", "models", &sample]).code, 2, "{sample}");
    }
    for command in ["scrub", "repack"] {
        assert_eq!(place.at1w(&["store", command, "models", "lap"]).code, 4, "{command}");
    }
    assert_eq!(place.at1w(&["pull", "nowhere", "lab/minilm"]).code, 1);
}
