//! The commands of docs/CLI.md and of the README do what these say, and docs/CLI.md has every field
//! of the JSON.
//!
//! In a block of `console`, a line that begins with `$` is a command. Its exit code is 0, or the
//! one that a comment says; lines that follow are its output. A block of `sh` is a script.
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{Outcome, Place, model, safetensors};
use serde_json::{Value, json};

/// A block of code.
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

fn page() -> String {
    text("docs/CLI.md")
}

/// Returns the text of a file of the project.
fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (head, text) = block.split_once('\n').unwrap();
            Block { language: head, text }
        })
        .collect()
}

/// The folder that the commands run in.
fn place() -> Place {
    let place = Place::new();
    place.write("model.safetensors", model(1));
    place.write("old.safetensors", model(2));
    let shard = |tensors: &[(&str, u8)]| {
        let tensors: Vec<_> = tensors.iter().map(|(name, byte)| (*name, [*byte; 64])).collect();
        let tensors: Vec<_> =
            tensors.iter().map(|(name, bytes)| (*name, "U8", &[64][..], &bytes[..])).collect();
        safetensors(&tensors)
    };
    let [first, second] = [1, 2].map(|at| format!("model-0000{at}-of-00002.safetensors"));
    place.write(&format!("llama/{first}"), shard(&[("embed.weight", 1), ("embed.bias", 2)]));
    place.write(&format!("llama/{second}"), shard(&[("head.weight", 3)]));
    let map = json!({"embed.weight": first, "embed.bias": first, "head.weight": second});
    place.write("llama/model.safetensors.index.json", json!({"weight_map": map}).to_string());
    place.write("llama/config.json", "{}");
    place
}

/// Runs a script in which `at1w` is the one that is tested.
fn sh(place: &Place, script: &str) -> Outcome {
    let folder = Path::new(env!("CARGO_BIN_EXE_at1w")).parent().unwrap();
    let mut paths = vec![folder.to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let path = std::env::join_paths(paths).unwrap();
    place.run(Command::new("sh").args(["-c", script]).env("PATH", path))
}

/// The commands of a block, each with the exit code and the output that the page says.
fn commands(text: &str) -> impl Iterator<Item = (&str, i32, &str)> {
    text.split("$ ").skip(1).map(|part| {
        let (command, output) = part.split_once('\n').unwrap_or((part, ""));
        match command.split_once("  # exit code ") {
            Some((command, code)) => (command, code.parse().unwrap(), output),
            None => (command, 0, output),
        }
    })
}

#[test]
fn the_commands_do_what_the_page_says() {
    let (place, page) = (place(), page());
    let mut count = 0;
    for block in blocks(&page) {
        let commands: Vec<_> = match block.language {
            "console" => commands(block.text).collect(),
            "sh" => vec![(block.text, 0, "")],
            _ => continue,
        };
        for (command, code, output) in commands {
            let outcome = sh(&place, command);
            assert_eq!(outcome.code, code, "{command}: {}", outcome.stderr);
            if !output.is_empty() {
                assert_eq!(String::from_utf8(outcome.stdout).unwrap(), output, "{command}");
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_commands_of_the_readme_run() {
    let place = Place::new();
    let head = |seed: u8| {
        let bytes: Vec<u8> = (0..64 * 64).map(|at: u32| (at % 251) as u8 ^ seed).collect();
        safetensors(&[("lm_head.weight", "BF16", &[32, 64], &bytes)])
    };
    for name in ["model", "my-model-repo/model", "minilm/model", "new-repo/model"] {
        place.write(&format!("{name}.safetensors"), head(1));
    }
    for name in ["old", "new", "old-repo/model"] {
        place.write(&format!("{name}.safetensors"), head(2));
    }
    place.write("corpus/model.safetensors", head(3));
    place.ok(&["pack", "new.safetensors"]);
    place.ok(&["pack", "new-repo"]);
    let readme = text("README.md");
    let mut count = 0;
    for block in blocks(&readme).iter().filter(|block| block.language == "console") {
        // A comment says what a command is for.
        for command in block.text.split("$ ").skip(1).map(|line| line.split("  #").next().unwrap())
        {
            let mut command = command.trim().to_owned();
            if let Some((before, _)) = command.split_once("5f0c…") {
                let info = place.json(&["info", "model.at1w", "--json"]);
                command = format!("{before}{}", info["root"].as_str().unwrap());
            }
            // Nobody is here to type a password.
            let outcome = sh(&place, &command.replace("at1w keygen", "at1w keygen --no-password"));
            // That there is a difference is no failure.
            let code = i32::from(command.starts_with("at1w diff old-repo"));
            assert_eq!(outcome.code, code, "{command}: {}", outcome.stderr);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    assert_eq!(place.read("back.safetensors"), head(1));
    assert_eq!(place.read("back/model.safetensors"), head(1));
}

/// Adds the names of all fields of a value. Names of dtypes, of metadata, of branches and of tags
/// are no fields.
fn collect_fields(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_fields(item, fields)),
        Value::Object(entries) => {
            for (name, value) in entries {
                fields.insert(name.clone());
                match (name.as_str(), value) {
                    // Their fields are names that somebody gave.
                    ("metadata" | "branches" | "tags", _) => {}
                    ("dtypes", Value::Object(dtypes)) => {
                        dtypes.values().for_each(|count| collect_fields(count, fields));
                    }
                    _ => collect_fields(value, fields),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_is_on_the_page() {
    let place = place();
    for source in ["model.safetensors", "old.safetensors", "llama"] {
        place.ok(&["pack", source]);
    }
    for source in ["llama", "model.safetensors"] {
        place.ok(&["push", source, "models", &format!("lab/{source}")]);
    }
    place.ok(&["store", "gc", "models"]);
    place.ok(&["token", "create", "models", "--name", "ci"]);
    place.ok(&["store", "copy", "models", "backup"]);
    place.ok(&["push", "model.safetensors", "damaged", "lab/model"]);
    let pack = std::fs::read_dir(place.path("damaged/packs/lab")).unwrap().next().unwrap().unwrap();
    place.flip(&format!("damaged/packs/lab/{}", pack.file_name().to_str().unwrap()), 100);
    place.write("llama/new.safetensors", model(3));
    place.write("llama/pointer.safetensors", "Entry not found");
    place.write("cut.at1w", &place.read("model.at1w")[..1000]);
    let page = page();
    for args in [
        &["ls", "model.at1w"][..],
        &["ls", "llama.at1w"],
        &["ls", "-t", "llama.at1w"],
        &["info", "model.at1w"],
        &["info", "llama"],
        &["measure", "llama", "model.safetensors", "--price", "USD:23", "--against", "zstd"],
        &["measure", "llama", "--sample", "50%"],
        &["diff", "old.at1w", "model.at1w"],
        &["diff", "llama", "llama.at1w"],
        &["verify", "llama.at1w", "cut.at1w", "missing"],
        &["verify", "missing"],
        &["push", "llama", "models", "lab/other"],
        &["pull", "models", "lab/llama"],
        &["repo", "ls", "models"],
        &["repo", "log", "models", "lab/llama"],
        &["token", "ls", "models"],
        &["store", "check", "models"],
        &["store", "stats", "models"],
        &["store", "scrub", "models"],
        &["store", "gc", "models"],
        &["store", "repack", "models"],
        &["store", "repair", "models", "--replica", "backup"],
        &["store", "copy", "models", "backup"],
        &["store", "scrub", "damaged"],
        &["proof", "make", "model.at1w", "embed.bias", "-o", "a.proof"],
        &["proof", "check", "a.proof"],
        &["meter", "report", "models"],
        &["meter", "check", "models"],
    ] {
        let outcome = place.at1w(&[args, &["--json"]].concat());
        // The files of a directory have the same fields in both.
        let commands = if args[0] == "info" { &["info", "ls"][..] } else { &args[..1] };
        let is_meant = |section: &&str| {
            commands.iter().any(|command| section.starts_with(&format!("`at1w {command} ")))
        };
        let documented: String = page.split("\n## ").filter(is_meant).collect();
        let text = String::from_utf8(outcome.stdout).unwrap();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let mut fields = BTreeSet::new();
        for value in values {
            collect_fields(&value.unwrap(), &mut fields);
        }
        assert!(fields.len() > 2, "{args:?}: {}", outcome.stderr);
        for field in fields.into_iter().filter(|field| field != "event") {
            assert!(documented.contains(&format!("`{field}`")), "{args:?}: {field}");
        }
    }
}
