//! `at1w meter`: reports, statements and checks.
#![cfg(unix)]

mod common;

use std::fs;

use common::{Place, model};
use serde_json::Value;

/// A place with a store in which a namespace has two repositories that share their files.
fn place() -> Place {
    let place = Place::new();
    place.write("model.safetensors", model(1));
    place.ok(&["push", "model.safetensors", "models", "lab/a"]);
    place.ok(&["push", "model.safetensors", "models", "lab/b"]);
    place
}

fn report(place: &Place, args: &[&str]) -> Value {
    let outcome = place.at1w(&[&["meter", "report", "models", "--json"], args].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    serde_json::from_slice(&outcome.stdout).unwrap()
}

#[test]
fn a_report_has_three_sizes_and_a_price() {
    let place = place();
    let len = model(1).len() as u64;
    let found = report(&place, &[]);
    let lab = &found["namespaces"][0];
    assert_eq!((&lab["name"], &found["namespaces"][1]), (&"lab".into(), &Value::Null));
    assert_eq!(lab["logical_bytes"], 2 * len);
    assert_eq!(lab["unique_bytes"], len);
    assert!(lab["stored_bytes"].as_u64().unwrap() > 0);
    assert_eq!(lab["repositories"].as_array().unwrap().len(), 2);
    assert_eq!(lab["amount"], Value::Null);
    // A period that is ahead begins with what is there now.
    place.write(
        "hub.toml",
        "[meter]\nprice = \"1000000\"\ncurrency = \"=EUR\"\nbilled = \"logical\"",
    );
    let year = ["--from", "2200-01-01", "--to", "2201-01-01", "--config", "hub.toml"];
    let found = report(&place, &year);
    let lab = &found["namespaces"][0];
    let seconds = 365 * 24 * 3600;
    assert_eq!(lab["byte_seconds"]["logical"], 2 * len * seconds);
    assert_eq!((&lab["min"], &lab["mean"]), (&lab["max"], &lab["end"]));
    let months = lab["gb_months"]["logical"].as_f64().unwrap();
    assert!((months - (24 * len) as f64 / 1e9).abs() < 1e-6, "{months}");
    let amount: f64 = lab["amount"].as_str().unwrap().parse().unwrap();
    assert!((amount - 1e6 * (24 * len) as f64 / 1e12).abs() <= 0.005, "{amount}");
    let csv = place.at1w(&[&["meter", "report", "models", "--csv"][..], &year].concat()).stdout;
    let csv = String::from_utf8(csv).unwrap();
    assert_eq!(csv.lines().count(), 1 + 3 * 3);
    assert!(csv.contains("\"'=EUR\"") && !csv.contains(",=EUR"));
    let html = place.at1w(&[&["meter", "report", "models", "--html"][..], &year].concat()).stdout;
    let html = String::from_utf8(html).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("lab/a"));
    assert!(!html.contains("<script") && !html.contains("http://"));
    let text = place.at1w(&[&["meter", "report", "models"][..], &year].concat()).stdout;
    assert!(String::from_utf8(text).unwrap().contains("TB-month"));
}

#[test]
fn a_change_of_a_record_is_named() {
    let place = place();
    place.ok(&["meter", "check", "models"]);
    let hour = fs::read_dir(place.path("models/meter")).unwrap().next().unwrap().unwrap().path();
    let server = fs::read_dir(hour).unwrap().next().unwrap().unwrap().path();
    let record = server.join("00000000");
    let before = fs::read_to_string(&record).unwrap();
    fs::write(&record, before.replace("\"push\"", "\"read\"")).unwrap();
    let outcome = place.at1w(&["meter", "check", "models"]);
    assert_eq!(outcome.code, 3);
    assert!(outcome.stderr.contains("broken: meter/"), "{}", outcome.stderr);
    fs::remove_file(&record).unwrap();
    let outcome = place.at1w(&["meter", "check", "models", "--json"]);
    let line: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!((outcome.code, line["broken"]["problem"].as_str().is_some()), (3, true));
    fs::write(&record, before).unwrap();
    place.ok(&["meter", "check", "models"]);
}

#[test]
fn what_makes_no_sense_is_said() {
    let place = place();
    let code = |args: &[&str]| place.at1w(&[&["meter"], args].concat()).code;
    assert_eq!(code(&["report", "models", "--from", "yesterday"]), 2);
    assert_eq!(code(&["report", "models", "--from", "2030-01-01", "--to", "2029-01-01"]), 2);
    assert_eq!(code(&["report", "models", "--json", "--csv"]), 2);
    assert_eq!(code(&["report", "nothing"]), 1);
    place.write("hub.toml", "[meter]\nprice = \"cheap\"");
    assert_eq!(code(&["report", "models", "--config", "hub.toml"]), 2);
    let entry = "models/repos/lab/a/0000/log/00000000";
    fs::write(place.path(entry), "{}").unwrap();
    let outcome = place.at1w(&["meter", "report", "models"]);
    assert_eq!(outcome.code, 5, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("lab/a"), "{}", outcome.stderr);
}
