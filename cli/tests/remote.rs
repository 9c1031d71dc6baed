//! Files by their addresses, on a web server and on a hub.

mod common;
#[path = "../../remote/tests/server/mod.rs"]
mod server;

use std::process::Command;

use common::{Place, model, safetensors, weights};
use server::{Fault, Server};

const TOKEN: &str = "hf_abcdefghijklmnopqrstuvwxyz01234567";

/// A server with one of the two files of a place.
fn served(place: &Place, name: &str) -> Server {
    Server::start(place.read(name))
}

/// Runs a command that must succeed, with a cache in the place.
fn cached(place: &Place, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
    let outcome = place.run(command.args(args).env("AT1W_CACHE", place.path("cache")));
    assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
    outcome.stdout
}

#[test]
fn what_was_read_whole_is_kept_and_verified() {
    let place = Place::packed();
    let server = served(&place, "model.at1w");
    let url = &server.url("model.at1w");
    cached(&place, &["get", url, "embed.bias"]);
    let list = || -> serde_json::Value {
        serde_json::from_slice(&cached(&place, &["cache", "ls", "--json"])).unwrap()
    };
    // Ranges are not kept.
    assert_eq!(list(), serde_json::json!([]));
    cached(&place, &["unpack", url, "-o", "a.safetensors"]);
    assert!(place.read("a.safetensors") == model(1));
    let root = place.json(&["info", "--json", "model.at1w"])["root"].clone();
    assert_eq!(list()[0]["root"], root);
    // Only the index is asked for again.
    server.take_requests();
    cached(&place, &["unpack", url, "-o", "b.safetensors"]);
    cached(&place, &["get", url, "embed.weight"]);
    assert!(server.take_requests() <= 4);
    // `verify` asks the server.
    cached(&place, &["verify", url]);
    assert!(server.take_requests() >= 3);
    // A copy whose index is damaged is of no use; other damage is found when it is read.
    let copy = format!("cache/{}", root.as_str().unwrap());
    let len = place.read(&copy).len();
    place.flip(&copy, len - 200);
    cached(&place, &["unpack", url, "-o", "c.safetensors"]);
    assert!(place.read("c.safetensors") == model(1));
    place.flip(&copy, 2000);
    let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
    let command = command.args(["get", url, "embed.weight"]);
    assert_eq!(place.run(command.env("AT1W_CACHE", place.path("cache"))).code, 3);
    // What is on its way is listed, and stays.
    place.write("cache/.unfinished-abc", [1; 9]);
    let listed = list();
    let unfinished = listed.as_array().unwrap().last().unwrap();
    assert_eq!((&unfinished["root"], &unfinished["bytes"]), (&serde_json::Value::Null, &9.into()));
    cached(&place, &["cache", "clear"]);
    assert!(place.path("cache/.unfinished-abc").exists());
    std::fs::remove_file(place.path("cache/.unfinished-abc")).unwrap();
    assert_eq!(list(), serde_json::json!([]));
}

#[test]
fn addresses_are_measured_as_their_files() {
    let place = Place::packed();
    let server = served(&place, "model.safetensors");
    let url = server.url("model.safetensors");
    let there = place.json(&["measure", &url, "--json"]);
    let here = place.json(&["measure", "model.safetensors", "--json"]);
    assert_eq!(there["total"], here["total"]);
    // A sample reads headers and the chunks that it takes.
    let sample = place.json(&["measure", &url, "--sample", "10%", "--json"]);
    assert_eq!(sample["total"]["raw_bytes"], here["total"]["raw_bytes"]);
}

/// Runs a command with the environment of a client of a hub.
fn on_hub(place: &Place, hub: &Server, args: &[&str]) -> common::Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
    place.run(
        command
            .args(args)
            .env("HF_ENDPOINT", hub.address())
            .env("HF_TOKEN", TOKEN)
            .env("AT1W_CACHE", "off"),
    )
}

#[test]
fn commands_take_addresses() {
    let place = Place::packed();
    for name in ["model.at1w", "model.safetensors"] {
        let server = served(&place, name);
        let url = &server.url(&format!("a b/{name}?signature=x"));
        let mut here = place.json(&["ls", "--json", name]);
        for row in here.as_array_mut().unwrap() {
            row["model"] = serde_json::Value::Null;
        }
        assert_eq!(place.json(&["ls", "--json", url]), here);
        let facts = |path| {
            let mut facts = place.json(&["info", "--json", path]);
            facts["path"] = "".into();
            facts
        };
        assert_eq!(facts(url), facts(name));
        let get = |file| place.ok(&["get", file, "embed.weight", "--slice", "3:7"]);
        assert!(get(url) == get(name));
        place.ok(&["get", url, "embed.weight", "-o", "x.npy", "--force"]);
        place.ok(&["verify", url]);
        place.ok(&["diff", url, "model.at1w"]);
        place.ok(&["diff", url, url]);
    }
}

#[test]
fn a_file_is_restored_into_this_directory() {
    let place = Place::packed();
    let server = served(&place, "model.at1w");
    let elsewhere = Place::new();
    elsewhere.ok(&["unpack", &server.url("model.at1w?x=1")]);
    assert!(elsewhere.read("model.safetensors") == model(1));
    assert!(elsewhere.ok(&["unpack", &server.url("model.at1w"), "-o", "-"]) == model(1));
    elsewhere.fails(&["unpack", &server.url("model")], 2, "-o");
}

#[test]
fn one_tensor_takes_three_requests_and_few_bytes() {
    let place = Place::new();
    let large = weights(4_000_000, 3);
    let small = weights(400_000, 4);
    let tensors = [
        ("a", "BF16", &[4_000_000][..], &large[..]),
        ("b", "BF16", &[400, 1000][..], &small[..]),
        ("c", "BF16", &[4_000_000][..], &large[..]),
    ];
    place.write("large.safetensors", safetensors(&tensors));
    place.ok(&["pack", "large.safetensors"]);
    for (name, requests) in [("large.at1w", 3), ("large.safetensors", 2)] {
        let server = served(&place, name);
        assert!(place.ok(&["get", &server.url(name), "b"]) == small);
        assert_eq!(server.take_requests(), requests, "{name}");
        place.ok(&["ls", &server.url(name)]);
        assert!(server.take_requests() <= 2, "{name}");
    }
    let server = served(&place, "large.at1w");
    server.set_fault(Fault::NoSuffix);
    assert!(place.ok(&["get", &server.url("large.at1w"), "b"]) == small);
    assert_eq!(server.take_requests(), 4);
}

#[test]
fn a_file_of_a_hub_is_read_with_the_token() {
    let place = Place::packed();
    let hub = served(&place, "model.at1w");
    hub.set_fault(Fault::Token(TOKEN));
    let url = "hf://lab/minilm@v1/sub folder/model.at1w";
    let outcome = on_hub(&place, &hub, &["get", url, "embed.bias"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout == weights(600, 2));
    let first = hub.state().requests[0][0].clone();
    assert_eq!(first, "GET /lab/minilm/resolve/v1/sub%20folder/model.at1w HTTP/1.1");
    // Without it, the message says so.
    hub.set_fault(Fault::Token("another"));
    let outcome = on_hub(&place, &hub, &["info", url]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("HF_TOKEN"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains(TOKEN));
}

#[test]
fn the_token_stays_with_the_hub() {
    let place = Place::packed();
    let (hub, bucket) = (served(&place, "model.at1w"), served(&place, "model.at1w"));
    hub.set_fault(Fault::Redirect(bucket.url("blob?signature=1")));
    let outcome = on_hub(&place, &hub, &["get", "hf://lab/minilm/model.at1w", "embed.weight"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(hub.state().requests[0].iter().any(|line| line.contains(TOKEN)));
    assert!(bucket.state().requests.iter().flatten().all(|line| !line.contains(TOKEN)));
    assert!(bucket.take_requests() >= 2);
}

#[test]
fn what_is_wrong_is_said() {
    let place = Place::packed();
    let mut bytes = place.read("model.at1w");
    bytes[2000] ^= 1;
    let server = Server::start(bytes);
    place.fails(&["get", &server.url("model.at1w"), "embed.weight"], 3, "embed.weight");
    place.fails(&["verify", &server.url("model.at1w")], 3, "model.at1w");
    place.fails(
        &["verify", &server.url("model.at1w"), "--root", &"0".repeat(64)],
        3,
        "the root is",
    );
    server.state().failing = vec![(404, "")];
    place.fails(&["ls", &server.url("gone.at1w?signature=hidden")], 1, "there is no such object");
    place.fails(&["ls", "hf://lab/minilm"], 2, "is not hf://");
    let outcome = place.at1w(&["ls", "http://127.0.0.1:1/model.at1w"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    // All of it is downloaded where the server sends no ranges, and it is said.
    let server = Server::start(place.read("model.at1w"));
    server.set_fault(Fault::NoRanges);
    let outcome = place.at1w(&["get", &server.url("model.at1w"), "embed.bias"]);
    assert!(outcome.stdout == weights(600, 2));
    assert!(outcome.stderr.contains("sends no ranges"), "{}", outcome.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_that_waits_can_be_interrupted() {
    use std::os::unix::process::ExitStatusExt;
    use std::thread::sleep;
    use std::time::Duration;

    const SIGINT: i32 = 2;
    if common::ignores(SIGINT) {
        return;
    }
    let place = Place::packed();
    let server = served(&place, "model.at1w");
    server.set_fault(Fault::Silent);
    for command in ["verify", "unpack"] {
        server.take_requests();
        let url = server.url("model.at1w");
        let mut child = Command::new(env!("CARGO_BIN_EXE_at1w"))
            .args([command, &url])
            .env("AT1W_CACHE", "off")
            .current_dir(place.path(""))
            .spawn()
            .unwrap();
        while server.state().requests.is_empty() {
            sleep(Duration::from_millis(10));
        }
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = child.wait().unwrap();
        assert!(status.code() == Some(130) || status.signal() == Some(SIGINT), "{status}");
    }
    assert_eq!(place.names(), ["model.at1w", "model.safetensors"]);
}
