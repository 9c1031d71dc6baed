//! Files that keep only what differs from others, at the command line.
#![cfg(unix)]

mod common;

use std::fs;

use common::{Place, safetensors, weights};

/// A model of which one tensor moves with each step, and another stays.
fn step(step: usize) -> Vec<u8> {
    let mut moving = weights(60_000, 5);
    for word in moving.chunks_exact_mut(2).skip(step).step_by(9) {
        word[0] ^= (step & 1) as u8;
    }
    safetensors(&[
        ("moving", "BF16", &[200, 300], &moving),
        ("frozen", "BF16", &[100, 300], &weights(30_000, 6)),
    ])
}

fn steps(count: usize) -> Place {
    let place = Place::new();
    for at in 0..count {
        place.write(&format!("step{at}.safetensors"), step(at));
    }
    place.ok(&["pack", "step0.safetensors"]);
    for at in 1..count {
        let (new, base) = (format!("step{at}.safetensors"), format!("step{}.at1w", at - 1));
        place.ok(&["pack", &new, "--base", &base]);
        fs::remove_file(place.path(&new)).unwrap();
    }
    place
}

#[test]
fn versions_are_listed_read_and_restored() {
    let place = steps(3);
    assert!(place.read("step2.at1w").len() * 4 < place.read("step0.at1w").len());
    let listed = place.json(&["ls", "step2.at1w", "--json"]);
    let of = |name: &str, field: &str| {
        let rows = listed.as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()[field].clone()
    };
    assert_eq!((of("moving", "base"), of("moving", "depth")), ("step1.at1w".into(), 2.into()));
    assert_eq!(of("frozen", "stored_bytes"), 0);
    let table = String::from_utf8(place.ok(&["ls", "step2.at1w"])).unwrap();
    assert!(table.contains("BASE") && table.contains("step1.at1w"), "{table}");
    place.ok(&["verify", "step2.at1w"]);
    place.ok(&["unpack", "step2.at1w"]);
    assert!(place.read("step2.safetensors") == step(2));
    assert_eq!(place.ok(&["get", "step2.at1w", "frozen"]), weights(30_000, 6));
}

#[test]
fn bases_are_found_and_missed() {
    let place = steps(2);
    fs::create_dir(place.path("away")).unwrap();
    fs::rename(place.path("step0.at1w"), place.path("away/base.at1w")).unwrap();
    fs::remove_file(place.path("step0.safetensors")).unwrap();
    let missed = place.fails(&["verify", "step1.at1w"], 1, "step0.at1w");
    assert!(missed.stderr.contains("step1.at1w") && missed.stderr.contains("--bases"));
    place.fails(&["get", "step1.at1w", "moving"], 1, "which was not found");
    place.fails(&["unpack", "step1.at1w"], 1, "step0.at1w");
    assert!(!place.path("step1.safetensors").exists());
    place.ok(&["verify", "step1.at1w", "--bases", "away"]);
    place.ok(&["unpack", "step1.at1w", "--bases", "away"]);
    assert!(place.read("step1.safetensors") == step(1));
    // The index needs no base.
    place.ok(&["ls", "step1.at1w"]);
    place.ok(&["info", "step1.at1w"]);
    // A damaged base is named beside the version.
    place.flip("away/base.at1w", 5000);
    let damaged = place.fails(&["verify", "step1.at1w", "--bases", "away"], 3, "base.at1w");
    assert!(damaged.stderr.contains("step1.at1w"), "{}", damaged.stderr);
}

#[test]
fn chains_are_bounded_and_rebased() {
    let place = steps(2);
    place.write("next.safetensors", step(2));
    let deep = ["pack", "next.safetensors", "--base", "step1.at1w", "--max-depth", "1"];
    place.fails(&deep, 1, "step1.at1w is 2 versions away");
    assert!(!place.path("next.at1w").exists());
    place.fails(&["pack", "next.safetensors", "--base", "none.at1w"], 1, "none.at1w");
    place.fails(&["pack", "next.safetensors", "--base", "auto"], 2, "--base auto DIR");
    place.write("model/a.safetensors", step(1));
    place.fails(&["pack", "model", "--base", "step0.at1w"], 2, "one by one");
    let onto_itself =
        ["pack", "next.safetensors", "-f", "-o", "step1.at1w", "--base", "step1.at1w"];
    place.fails(&onto_itself, 1, "step1.at1w");
    place.ok(&["pack", "next.safetensors", "--base", "auto", "."]);
    let root = |name: &str| place.json(&["info", name, "--json"])["root"].clone();
    let before = root("step1.at1w");
    place.fails(&["rebase", "step1.at1w"], 2, "--onto");
    place.fails(&["rebase", "next.safetensors", "--alone"], 3, "safetensors");
    place.ok(&["rebase", "step1.at1w", "--alone"]);
    assert_eq!(root("step1.at1w"), before);
    fs::remove_file(place.path("step0.at1w")).unwrap();
    fs::remove_file(place.path("step0.safetensors")).unwrap();
    place.ok(&["verify", "step1.at1w"]);
    place.ok(&["rebase", "step1.at1w", "--onto", "next.safetensors"]);
    assert_eq!(root("step1.at1w"), before);
    place.ok(&["verify", "step1.at1w"]);
}
