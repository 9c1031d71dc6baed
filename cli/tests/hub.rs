//! `at1w push`, `pull` and `repo` by way of a real server.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Outcome, Place, assert_same_tree, model, safetensors, weights};
use serde_json::Value;

/// A server over the store `models` of a place.
struct Server {
    process: Child,
    url: String,
    token: String,
}

impl Server {
    fn start(place: &Place) -> Self {
        Self::configured(place, "")
    }

    fn configured(place: &Place, config: &str) -> Self {
        place.write("at1w.toml", config);
        let mut process = Command::new(env!("CARGO_BIN_EXE_at1w"))
            .args(["serve", "models", "--listen", "127.0.0.1:0", "--config", "at1w.toml"])
            .current_dir(place.path(""))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let url = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended");
            if let Some((_, rest)) = line.split_once(" at http://") {
                break format!("http://{}", rest.split(';').next().unwrap());
            }
        };
        // Nobody waits for the rest of the log, but the pipe must not fill up.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let token = String::from_utf8(place.read("models.secrets/admin-token")).unwrap();
        Self { process, url, token: token.trim().into() }
    }

    fn at1w(&self, place: &Place, args: &[&str], token: &str) -> Outcome {
        let args = args.iter().map(|arg| if *arg == "HUB" { &self.url } else { *arg });
        let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
        place.run(command.args(args).env("AT1W_CACHE", "off").env("HF_TOKEN", token))
    }

    #[track_caller]
    fn ok(&self, place: &Place, args: &[&str]) -> Vec<u8> {
        let Outcome { code, stdout, stderr } = self.at1w(place, args, &self.token);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        stdout
    }

    #[track_caller]
    fn json(&self, place: &Place, args: &[&str]) -> Value {
        serde_json::from_slice(&self.ok(place, args)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn place() -> Place {
    let place = Place::new();
    place.write("minilm/model.safetensors", model(1));
    place.write("minilm/config.json", "{}");
    place.write("minilm/sub dir/ü+%.txt", "odd name");
    place.write("minilm/empty", "");
    place.write("minilm/tokens.bin", weights(1_000_000, 7));
    place
}

#[test]
fn a_repository_is_pushed_and_pulled() {
    let place = place();
    let server = Server::start(&place);
    let push = ["push", "minilm", "HUB", "lab/minilm", "-m", "first", "--json"];
    let first = server.json(&place, &push);
    assert_eq!((&first["new"], &first["new_tensors"]), (&true.into(), &2.into()));
    server.ok(&place, &["pull", "HUB", "lab/minilm", "-o", "back"]);
    assert_same_tree(&place.path("minilm"), &place.path("back"));
    let again = server.json(&place, &["pull", "HUB", "lab/minilm", "-o", "back", "--json"]);
    assert_eq!((&again["kept"], &again["tree"]), (&5.into(), &first["tree"]));
    server.ok(&place, &["pull", "HUB", "lab/minilm", "-o", "packed", "--packed"]);
    place.ok(&["unpack", "packed", "-o", "unpacked"]);
    assert_same_tree(&place.path("minilm"), &place.path("unpacked"));

    // Nothing is sent that the server has.
    let again = server.json(&place, &push);
    assert_eq!((&again["new"], &again["stored_bytes"]), (&false.into(), &0.into()));
    assert_eq!(again["commit"], first["commit"]);
    let tuned = safetensors(&[
        ("embed.weight", "BF16", &[1000, 600], &weights(600_000, 1)),
        ("head.weight", "BF16", &[10, 600], &weights(6000, 9)),
    ]);
    place.write("minilm/model.safetensors", tuned);
    let tuned = server.json(&place, &push);
    assert_eq!((&tuned["tensors"], &tuned["new_tensors"]), (&2.into(), &1.into()));
    assert!(tuned["stored_bytes"].as_u64().unwrap() < 50_000, "{tuned}");
    server.ok(&place, &["pull", "HUB", "lab/minilm", "-o", "tuned"]);
    assert_same_tree(&place.path("minilm"), &place.path("tuned"));

    // The store is the one that a push without a server makes.
    place.ok(&["store", "scrub", "models"]);
    let direct = place.json(&["push", "minilm", "models", "lab/direct", "--json"]);
    assert_eq!((&direct["tree"], &direct["new_tensors"]), (&tuned["tree"], &0.into()));
    let root = tuned["tree"].as_str().unwrap();
    server.ok(&place, &["pull", "HUB", "lab/minilm", "-o", "pinned", "--root", root]);
    let old = format!("lab/minilm@{}", first["commit"].as_str().unwrap());
    let pinned = ["pull", "HUB", &old, "-o", "other", "--root", root];
    assert_eq!(server.at1w(&place, &pinned, &server.token).code, 3);
    server.ok(&place, &["pull", "HUB", &old, "-o", "old"]);
    assert_eq!(place.read("old/model.safetensors"), model(1));
}

#[test]
fn what_is_committed_becomes_differences_by_itself() {
    let place = place();
    let server = Server::configured(&place, "[differences]\nevery = 1");
    let push = ["push", "minilm", "HUB", "lab/minilm", "-m", "step", "--json"];
    let first = server.json(&place, &push)["stored_bytes"].as_u64().unwrap();
    // A step of a training: one word of five moves by the least.
    let mut tuned = weights(600_000, 1);
    tuned.chunks_exact_mut(10).for_each(|words| words[0] ^= 1);
    let tuned = safetensors(&[("embed.weight", "BF16", &[1000, 600], &tuned)]);
    place.write("minilm/model.safetensors", &tuned);
    let second = server.json(&place, &push)["stored_bytes"].as_u64().unwrap();
    assert!(second > 700_000, "{first} {second}");
    let used = || {
        let stats = place.json(&["store", "stats", "models", "--json"]);
        stats["namespaces"][0]["used_bytes"].as_u64().unwrap()
    };
    let became = (0..600).any(|_| {
        thread::sleep(Duration::from_millis(100));
        used() < first + second / 2
    });
    assert!(became, "{} after {first} and {second}", used());
    server.ok(&place, &["pull", "HUB", "lab/minilm", "-o", "back"]);
    assert_same_tree(&place.path("minilm"), &place.path("back"));
    place.ok(&["store", "scrub", "models"]);
}

#[test]
fn repositories_are_listed_tagged_removed_and_restored() {
    let place = place();
    let server = Server::start(&place);
    server.ok(&place, &["push", "minilm", "HUB", "lab/minilm", "-m", "first"]);
    server.ok(&place, &["repo", "tag", "HUB", "lab/minilm", "v1"]);
    server.ok(&place, &["repo", "branch", "HUB", "lab/minilm@v1", "next"]);
    place.write("minilm/config.json", "[]");
    server.ok(&place, &["push", "minilm/config.json", "HUB", "lab/minilm@next", "--delete"]);
    for (hub, store) in [
        (vec!["repo", "ls", "HUB", "lab", "--json"], vec!["repo", "ls", "models", "lab", "--json"]),
        (
            vec!["repo", "log", "HUB", "lab/minilm@next", "--json"],
            vec!["repo", "log", "models", "lab/minilm@next", "--json"],
        ),
    ] {
        assert_eq!(server.json(&place, &hub), place.json(&store));
    }
    server.ok(&place, &["pull", "HUB", "lab/minilm@next", "-o", "next"]);
    assert_eq!(std::fs::read_dir(place.path("next")).unwrap().count(), 1);
    server.ok(&place, &["repo", "rm", "HUB", "lab/minilm@next"]);
    let pull = ["pull", "HUB", "lab/minilm@next", "-o", "none"];
    assert_eq!(server.at1w(&place, &pull, &server.token).code, 4);
    server.ok(&place, &["repo", "restore", "HUB", "lab/minilm@next"]);
    server.ok(&place, &["repo", "rm", "HUB", "lab/minilm"]);
    assert_eq!(server.at1w(&place, &["repo", "log", "HUB", "lab/minilm"], &server.token).code, 4);
    server.ok(&place, &["repo", "restore", "HUB", "lab/minilm"]);
    server.ok(&place, &["pull", "HUB", "lab/minilm@v1", "-o", "v1"]);
    assert_eq!(place.read("v1/config.json"), b"{}");
}

#[test]
fn commits_are_signed_and_conflicts_refused() {
    let place = place();
    let server = Server::start(&place);
    place.ok(&["keygen", "--no-password"]);
    let push = ["push", "minilm", "HUB", "lab/minilm", "--secret-key", "at1w.key"];
    server.ok(&place, &push);
    let pull = ["pull", "HUB", "lab/minilm", "-o", "back", "--public-key", "at1w.pub"];
    server.ok(&place, &pull);
    place.write("minilm/config.json", "[]");
    let parent = server.json(&place, &["repo", "log", "HUB", "lab/minilm", "--json"]);
    let parent = parent["commits"][0]["id"].as_str().unwrap().to_owned();
    server.ok(&place, &["push", "minilm", "HUB", "lab/minilm"]);
    assert_eq!(server.at1w(&place, &pull, &server.token).code, 3);
    server.ok(&place, &push);
    server.ok(&place, &pull);
    // A signature vouches for no file that its owner has not seen.
    place.write("other/extra.py", "import os");
    server.ok(&place, &["push", "other", "HUB", "lab/minilm"]);
    place.write("card/README.md", "# minilm");
    let card = ["push", "card", "HUB", "lab/minilm", "--secret-key", "at1w.key"];
    let refused = server.at1w(&place, &card, &server.token);
    assert!(refused.code == 1 && refused.stderr.contains("extra.py"), "{}", refused.stderr);
    server.ok(&place, &[&push[..], &["--delete"]].concat());
    server.ok(&place, &card);
    server.ok(&place, &pull);
    // Somebody else has changed the same file since.
    place.write("minilm/config.json", "{\"other\": 1}");
    let late = ["push", "minilm", "HUB", "lab/minilm", "--parent", &parent];
    let refused = server.at1w(&place, &late, &server.token);
    assert!(refused.code == 1 && refused.stderr.contains("config.json"), "{}", refused.stderr);
}

#[test]
fn what_is_no_weights_is_stored_and_named() {
    let place = Place::new();
    place.write("m/model.safetensors", "no weights");
    place.write("m/copy.bin", model(1));
    let server = Server::start(&place);
    let push = ["push", "m", "HUB", "lab/m"];
    let outcome = server.at1w(&place, &push, &server.token);
    assert!(
        outcome.code == 5 && outcome.stderr.contains("model.safetensors"),
        "{}",
        outcome.stderr
    );
    assert_eq!(server.at1w(&place, &push, &server.token).code, 5);
    // The same bytes under a name that says weights.
    place.write("m/model.safetensors", model(1));
    server.ok(&place, &push);
    server.ok(&place, &["pull", "HUB", "lab/m", "-o", "back"]);
    assert_same_tree(&place.path("m"), &place.path("back"));
    place.ok(&["store", "scrub", "models"]);
}

#[test]
fn tokens_say_who_may_do_what() {
    let place = place();
    let server = Server::start(&place);
    let token = |args: &[&str]| {
        let token = place.ok(&[&["token", "create", "models", "--name", "t"], args].concat());
        String::from_utf8(token).unwrap().trim().to_owned()
    };
    let (reader, other) = (token(&[]), token(&["--write", "--namespace", "other"]));
    let push = ["push", "minilm", "HUB", "lab/minilm"];
    for token in [&reader, &other] {
        let refused = server.at1w(&place, &push, token);
        assert!(
            refused.code == 1 && refused.stderr.contains("may not write"),
            "{}",
            refused.stderr
        );
    }
    let none = server.at1w(&place, &push, "");
    assert!(none.code == 1 && none.stderr.contains("token"), "{}", none.stderr);
    server.ok(&place, &push);
    assert_eq!(server.at1w(&place, &["pull", "HUB", "lab/minilm", "-o", "a"], &reader).code, 0);
    for args in [
        vec!["repo", "rm", "HUB", "lab/minilm"],
        vec!["repo", "tag", "HUB", "lab/minilm", "v1"],
        vec!["repo", "restore", "HUB", "lab/none"],
    ] {
        assert_eq!(server.at1w(&place, &args, &other).code, 1, "{args:?}");
    }
}

/// A server that answers each request alike, and tells what it was sent.
fn fake(answer: String) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4096];
            let len = stream.read(&mut bytes).unwrap_or(0);
            stream.write_all(answer.as_bytes()).unwrap();
            let request = String::from_utf8_lossy(&bytes[..len]).into_owned();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (url, requests)
}

#[test]
fn the_token_goes_to_no_other_server() {
    let place = place();
    let refuse = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (other, seen) = fake(refuse.into());
    let (first, asked) = fake(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/x\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n",
        other.replace("127.0.0.1", "localhost")
    ));
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
        place.run(command.args(args).env("HF_TOKEN", "hf_secret"))
    };
    assert_eq!(run(&["pull", &first, "lab/m"]).code, 4);
    assert!(asked.recv().unwrap().contains("hf_secret"));
    assert!(!seen.recv().unwrap().contains("hf_secret"));
    // Nor does it travel where others can read it.
    let refused = run(&["pull", "http://hub.invalid", "lab/m"]);
    assert!(refused.code == 2 && refused.stderr.contains("--insecure"), "{}", refused.stderr);
}
