//! `at1w measure`: totals, samples, reports, and input that is not what it should be.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{Place, model, safetensors};
use serde_json::{Value, json};

/// Pairs of bytes much like weights of 16 bits: random low bytes, few high ones.
fn weights(pairs: usize, seed: u32) -> Vec<u8> {
    let mut x = seed;
    let mut random = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    (0..pairs).flat_map(|_| [random(), 0x3c + (random() & 3)]).collect()
}

/// A folder of repositories: shards with an index, a model with a twin, and what is no weights.
fn repositories() -> Place {
    let place = Place::new();
    let embed = weights(1 << 19, 1);
    let head = weights(1 << 18, 2);
    let shard =
        |name: &str, shape: &[u64], data: &[u8]| safetensors(&[(name, "BF16", shape, data)]);
    let names = [1, 2].map(|at| format!("model-0000{at}-of-00002.safetensors"));
    place.write(&format!("all/a/{}", names[0]), shard("embed.weight", &[2048, 256], &embed));
    place.write(&format!("all/a/{}", names[1]), shard("head.weight", &[1024, 256], &head));
    let map = json!({"embed.weight": names[0], "head.weight": names[1]});
    let index = json!({"weight_map": map}).to_string();
    place.write("all/a/model.safetensors.index.json", index);
    place.write("all/a/config.json", "{}");
    // The embedding of the other model, and a norm.
    let norm = weights(256, 3);
    let tuned: [(&str, &str, &[u64], &[u8]); 2] =
        [("embed.weight", "BF16", &[2048, 256], &embed), ("norm.weight", "BF16", &[256], &norm)];
    place.write("all/b/model.safetensors", safetensors(&tuned));
    fs::hard_link(place.path("all/b/model.safetensors"), place.path("all/b/same.safetensors"))
        .unwrap();
    place
}

/// Adds what a report names and leaves out.
fn spoil(place: &Place) {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 440\n";
    place.write("all/b/pointer.safetensors", pointer);
    let broken = safetensors(&[("w", "F32", &[3], &[0; 8])]);
    place.write("all/b/broken.safetensors", broken);
    place.write("all/b/cut.safetensors", &model(4)[..1000]);
    symlink("nowhere", place.path("all/b/gone.safetensors")).unwrap();
    symlink("around", place.path("all/b/around")).unwrap();
    place.write("all/b/blob.bin", [7; 1000]);
}

fn totals(report: &Value) -> [u64; 2] {
    ["raw_bytes", "packed_bytes"].map(|field| report["total"][field].as_u64().unwrap())
}

/// The totals of `at1w pack`.
fn packed(place: &Place, source: &str, level: &str) -> [u64; 2] {
    let target = format!("packed-{level}");
    let outcome = place.at1w(&["pack", source, "-o", &target, "--level", level, "--json"]);
    let last = outcome.stdout.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty());
    let summary: Value = serde_json::from_slice(last.unwrap()).unwrap();
    ["original_bytes", "packed_bytes"].map(|field| summary[field].as_u64().unwrap())
}

#[test]
fn totals_are_those_that_pack_writes() {
    let place = repositories();
    for level in ["fast", "default", "max"] {
        let report = place.json(&["measure", "all", "--level", level, "--json"]);
        assert_eq!(totals(&report), packed(&place, "all", level), "{level}");
        assert_eq!(report["level"], level);
        assert_eq!(report["complete"], true);
    }
    let report = place.json(&["measure", "all", "--level", "max,fast,default", "--json"]);
    let levels: Vec<_> = report["levels"].as_array().unwrap().iter().map(|l| &l["level"]).collect();
    assert_eq!(levels, ["fast", "default", "max"]);
    assert_eq!(report["level"], "default");
    // The three files of weights and two others; the file with two names counts once.
    assert_eq!((&report["total"]["files"], &report["others"]["files"]), (&json!(3), &json!(2)));
    let models: Vec<_> = report["models"].as_array().unwrap().iter().map(|m| &m["model"]).collect();
    assert_eq!(models, ["a", "b"]);
}

#[test]
fn whatever_is_wrong_is_named_and_the_rest_is_measured() {
    let place = repositories();
    let sound = place.json(&["measure", "all", "--json"]);
    spoil(&place);
    let outcome = place.at1w(&["measure", "all", "missing", "--json"]);
    assert_eq!(outcome.code, 5, "{}", outcome.stderr);
    let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    for field in ["files", "tensors"] {
        assert_eq!(report["total"][field], sound["total"][field]);
    }
    assert_eq!(totals(&report), packed(&place, "all", "default"));
    let faults = report["faults"].as_array().unwrap();
    let paths: Vec<_> = faults.iter().map(|fault| fault["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "all/b/around",
            "all/b/broken.safetensors",
            "all/b/cut.safetensors",
            "all/b/gone.safetensors",
            "all/b/pointer.safetensors",
            "missing",
        ]
    );
    assert!(faults[4]["message"].as_str().unwrap().contains("git lfs pull"), "{}", faults[4]);
    // Nothing at all could be measured.
    place.fails(&["measure", "missing"], 1, "missing");
    place.fails(&["measure", "all/b/pointer.safetensors"], 1, "Git LFS pointer");
    let text = String::from_utf8(place.at1w(&["measure", "missing"]).stdout).unwrap();
    assert!(text.contains("no file of weights that could be measured"), "{text}");
    assert!(!text.contains("WHAT EACH LEVEL") && !text.contains("100.00 %"), "{text}");
}

#[test]
fn stores_and_their_revisions_are_measured_as_the_files_were() {
    let place = repositories();
    fs::remove_file(place.path("all/b/same.safetensors")).unwrap();
    for repo in ["a", "b"] {
        let level = ["fast", "max"][usize::from(repo == "b")];
        let (source, name) = (format!("all/{repo}"), format!("lab/{repo}"));
        place.ok(&["push", &source, "models", &name, "--level", level]);
    }
    let whole = |source: &str| place.json(&["measure", source, "--json"]);
    assert_eq!(totals(&whole("models")), totals(&whole("all")));
    assert_eq!(totals(&whole("models#lab/a@main")), totals(&whole("all/a")));
    let report = whole("models");
    let models: Vec<_> = report["models"].as_array().unwrap().iter().map(|m| &m["model"]).collect();
    assert_eq!(models, ["lab/a", "lab/b"]);
    assert_eq!(report["families"]["tensors"], 1);
    let sample = place.json(&["measure", "models", "--sample", "50%", "--json"]);
    assert_eq!(totals(&sample)[0], totals(&report)[0]);
    // Others get the same chunks.
    let args = ["measure", "models", "--sample", "50%", "--against", "xz,zstd", "--json"];
    let rows = place.json(&args)["against"].clone();
    for (row, name) in rows.as_array().unwrap().iter().zip(["xz -6", "zstd -3"]) {
        assert_eq!((&row["level"], &row["raw_bytes"]), (&json!(name), &rows[0]["raw_bytes"]));
        let percent = row["percent"].as_f64().unwrap();
        assert!(percent > 50.0 && percent < 100.0, "{row}");
    }
    // A damaged file is named, and the rest is measured.
    let packs = fs::read_dir(place.path("models/packs/lab")).unwrap().flatten();
    let large = packs.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap();
    let name = format!("models/packs/lab/{}", large.file_name().to_str().unwrap());
    place.flip(&name, 200_000);
    let outcome = place.at1w(&["measure", "models", "--json"]);
    assert_eq!(outcome.code, 5, "{}", outcome.stderr);
    let report: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let fault = report["faults"][0]["path"].as_str().unwrap();
    assert!(fault.starts_with("models#lab/"), "{fault}");
    place.fails(&["measure", "models#lab/none"], 1, "lab/none");
}

#[test]
fn tensors_of_several_files_are_found() {
    let place = repositories();
    let report = place.json(&["measure", "all", "--json"]);
    let families = &report["families"];
    assert_eq!((&families["tensors"], &families["raw_bytes"]), (&json!(1), &json!(1 << 20)));
    let family = &families["families"][0];
    assert_eq!(family["repositories"], 2);
    let paths = ["all/a/model-00001-of-00002.safetensors", "all/b/model.safetensors"];
    assert_eq!(family["files"], json!(paths));
    // A store saves what is stored of the tensor.
    let stored = place.json(&["ls", "all/b/model.safetensors", "--json"]);
    let saved = families["saved_bytes"].as_u64().unwrap();
    assert!((1..stored[0]["raw_bytes"].as_u64().unwrap()).contains(&saved), "{saved}");
}

#[test]
fn a_sample_says_how_sure_it_is() {
    let place = Place::new();
    let data = weights(8 << 20, 7);
    let tensor: (&str, &str, &[u64], &[u8]) = ("w", "BF16", &[8192, 1024], &data);
    place.write("model.safetensors", safetensors(&[tensor]));
    let whole = place.json(&["measure", "model.safetensors", "--json"]);
    let percent = whole["total"]["percent"].as_f64().unwrap();
    let of_sample = |seed: &str| {
        let args = ["measure", "model.safetensors", "--sample", "20%", "--seed", seed, "--json"];
        let report = place.json(&args);
        let [estimate, low, high] = ["percent", "percent_low", "percent_high"]
            .map(|field| report["total"][field].as_f64().unwrap());
        assert!(low <= percent && percent <= high, "{low} {percent} {high}");
        assert!((estimate - percent).abs() < 0.5, "{estimate} {percent}");
        let taken = report["sample"]["sampled_bytes"].as_u64().unwrap();
        assert!(taken > 0 && taken <= data.len() as u64 / 5, "{taken}");
        report["sample"].clone()
    };
    let samples: Vec<Value> = (0..20).map(|seed| of_sample(&seed.to_string())).collect();
    assert_ne!(samples[0], samples[1]);
    place.fails(&["measure", "model.safetensors", "--seed", "1"], 2, "--sample");
    // A report in a file is the same, and nothing lies beside it.
    fs::create_dir(place.path("sampled")).unwrap();
    place.ok(&["measure", "model.safetensors", "--sample", "20%", "-o", "sampled/r.json"]);
    let report: Value = serde_json::from_slice(&place.read("sampled/r.json")).unwrap();
    assert_eq!(report["sample"], samples[0]);
    assert_eq!(fs::read_dir(place.path("sampled")).unwrap().count(), 1);
}

#[test]
fn reports_have_the_formats_of_their_names() {
    let place = repositories();
    spoil(&place);
    let outputs = ["-o", "r.html", "-o", "r.json", "-o", "r.md", "-o", "r.txt"];
    let args = [&["measure", "all", "--price", "EUR:20"], &outputs[..]].concat();
    let outcome = place.at1w(&args);
    assert_eq!((outcome.code, outcome.stdout.len()), (5, 0), "{}", outcome.stderr);
    let text = |name: &str| String::from_utf8(place.read(name)).unwrap();
    let report: Value = serde_json::from_str(&text("r.json")).unwrap();
    assert_eq!(report["money"]["currency"], "EUR");
    let html = text("r.html");
    // Numbers are those of the JSON, and nothing is loaded.
    let value =
        format!("<data value=\"{}\" data-json=\"/total/packed_bytes\">", totals(&report)[1]);
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains(&value), "{html}");
    for loads in ["http://", "https://", "<script", "@import", "url("] {
        let found = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(loads), "{loads}");
    }
    assert!(text("r.md").starts_with("# "));
    assert!(text("r.txt").contains("BY DTYPE"));
    for name in ["r.html", "r.md", "r.txt"] {
        assert!(text(name).contains("pointer"), "{name}");
    }
    // A journal is for a run that was interrupted.
    assert!(!place.path("r.html.journal").exists());
    place.fails(&args, 1, "r.html exists already: --force replaces it");
    let short = text("r.txt").lines().filter(|line| !line.contains("all/")).all(|l| l.len() <= 100);
    assert!(short, "{}", text("r.txt"));
    place.fails(&["measure", "all", "-o", "report.pdf"], 2, ".html, .md, .txt or .json");
    place.fails(&["measure", "all", "-o", "nowhere/r.html"], 1, "nowhere");
    place.fails(&["measure", "all", "--price", "23"], 2, "USD:23");
    place.fails(&["measure", "all", "--scratch", "nowhere"], 2, "nowhere");
}

#[test]
fn names_cannot_write_into_the_report() {
    let place = Place::new();
    let name = "<script>alert(1)</script>|`*\u{202e}\u{1b}[2J";
    let data = weights(3000, 9);
    place.write("<b>x.safetensors", safetensors(&[(name, "BF16", &[3000], &data)]));
    place.ok(&["measure", "<b>x.safetensors", "-o", "r.html", "-o", "r.md", "-o", "r.txt"]);
    let html = String::from_utf8(place.read("r.html")).unwrap();
    assert!(!html.contains("<script") && !html.contains("<b>x"), "{html}");
    for name in ["r.html", "r.md", "r.txt"] {
        let text = String::from_utf8(place.read(name)).unwrap();
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{name}");
    }
}

#[test]
fn others_are_compared_with() {
    let place = repositories();
    let report = place.json(&["measure", "all", "--against", "zstd,xz", "--json"]);
    let rows = report["against"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["level"].as_str().unwrap()).collect();
    assert_eq!(names, ["xz -6", "zstd -3"]);
    let raw = report["levels"][0]["raw_bytes"].as_u64().unwrap();
    for row in rows {
        assert_eq!(row["raw_bytes"], raw);
        assert!(row["packed_bytes"].as_u64().unwrap() < raw);
    }
    let whole = report["fetched"]["whole"].as_array().unwrap();
    let names: Vec<_> = whole.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["at1w", "xz -6", "zstd -3"]);
    let fetches = report["fetches"].as_array().unwrap();
    assert!(fetches.iter().any(|fetch| fetch["part"] == "large tensor"), "{fetches:?}");
}

#[test]
fn a_compressor_that_is_not_there_is_named_at_once() {
    let place = repositories();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_at1w"));
    command.args(["measure", "all", "--against", "zipnn", "--json"]).env("PATH", "/nowhere");
    let outcome = place.run(&mut command);
    assert_eq!((outcome.code, outcome.stdout.len()), (1, 0));
    assert!(outcome.stderr.contains("pip install zipnn"), "{}", outcome.stderr);
}

#[test]
fn an_interrupted_run_goes_on() {
    let place = repositories();
    // As it is after an interruption: a journal with one of the files, and a line that was cut off.
    place.ok(&["measure", "all", "-o", "whole.json"]);
    let settings =
        json!({"version": env!("CARGO_PKG_VERSION"), "levels": ["default"], "against": []});
    let file = place.path("all/b/model.safetensors");
    let modified = file.metadata().unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let level = json!({
        "level": "default", "packed_bytes": 1, "pack_seconds": 1.0, "read_seconds": 1.0,
    });
    let result = json!({
        "path": "all/b/model.safetensors", "model": "b", "repository": "all/b",
        "raw_bytes": file.metadata().unwrap().len(), "header_bytes": 8, "levels": [level],
        "against": [], "problems": [], "fetches": [], "groups": [], "exponents": {}, "tensors": [],
    });
    let line = json!({"modified": modified, "result": result});
    let journal = format!("{settings}\n{line}\n{{\"modified\":");
    let models = |report: &str| -> Value {
        let report: Value = serde_json::from_slice(&place.read(report)).unwrap();
        report["models"].clone()
    };
    place.write("r.json.journal", &journal);
    place.ok(&["measure", "all", "-o", "r.json", "--resume"]);
    assert_eq!(models("r.json")[1]["packed_bytes"], 1);
    assert!(!place.path("r.json.journal").exists());
    // A file that has changed since is measured again.
    let changed = line.to_string().replace(&modified.to_string(), "1");
    place.write("r.json.journal", format!("{settings}\n{changed}\n"));
    place.ok(&["measure", "all", "-o", "r.json", "--resume"]);
    assert_eq!(models("r.json"), models("whole.json"));
    // The work of a run with other options is not thrown away.
    let other = journal.replace("default\"]", "fast\"]");
    place.write("r.json.journal", &other);
    let args = ["measure", "all", "-o", "r.json", "--resume"];
    place.fails(&args, 1, "other options");
    assert_eq!(place.read("r.json.journal"), other.as_bytes());
    // A report that nobody interrupted is not replaced, and none is written twice.
    std::fs::remove_file(place.path("r.json.journal")).unwrap();
    place.fails(&args, 1, "r.json");
    place.fails(&["measure", "all", "-o", "n.json", "-o", "n.json"], 2, "two reports");
    place.fails(&["measure", "all", "-o", "-", "--json"], 2, "standard output");
    // Without the option it begins anew.
    place.write("r.json.journal", &journal);
    place.ok(&["measure", "all", "-o", "r.json", "--force"]);
    assert_eq!(models("r.json"), models("whole.json"));
    place.fails(&["measure", "all", "--resume"], 2, "--output");
}
