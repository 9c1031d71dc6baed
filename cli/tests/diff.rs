//! Comparing files by their tensors.

mod common;

use common::{Place, model, safetensors};

#[test]
fn a_packed_file_is_the_same_as_its_source() {
    let place = Place::packed();
    let printed = place.ok(&["diff", "model.safetensors", "model.at1w"]);
    assert_eq!(printed, b"2 same, 0 changed, 0 removed, 0 added, 0 renamed\n");
    place.ok(&["diff", "model.at1w", "model.at1w"]);
    let json = place.json(&["diff", "--json", "model.at1w", "model.safetensors"]);
    assert_eq!(json["same"], 2);
}

#[test]
fn each_difference_is_named() {
    let place = Place::new();
    let file =
        |name, tensors: &[(&str, &str, &[u64], &[u8])]| place.write(name, safetensors(tensors));
    file(
        "old.safetensors",
        &[
            ("same", "U8", &[2], &[1, 2]),
            ("values", "U8", &[2], &[1, 2]),
            ("shape", "U8", &[2, 1], &[3, 4]),
            ("from", "U8", &[2], &[5, 6]),
            ("gone", "U8", &[1], &[7]),
        ],
    );
    file(
        "new.safetensors",
        &[
            ("same", "U8", &[2], &[1, 2]),
            ("values", "U8", &[2], &[1, 3]),
            ("shape", "U8", &[1, 2], &[3, 4]),
            ("to", "U8", &[2], &[5, 6]),
            ("came\x1b", "U8", &[1], &[8]),
        ],
    );
    place.ok(&["pack", "new.safetensors"]);
    for new in ["new.safetensors", "new.at1w"] {
        let outcome = place.fails(&["diff", "old.safetensors", new], 1, "");
        assert_eq!(
            String::from_utf8(outcome.stdout).unwrap(),
            "- gone\n+ came\\u{1b}\n~ shape  U8 [2,1] -> U8 [1,2]\n~ values  U8 [2], other values\n\
             > from -> to\n1 same, 2 changed, 1 removed, 1 added, 1 renamed\n"
        );
        let outcome = place.fails(&["diff", "old.safetensors", new, "--json"], 1, "");
        let json: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
        assert_eq!(json["renamed"][0]["to"], "to");
        assert_eq!(json["changed"][1]["name"], "values");
    }
}

#[test]
fn metadata_counts_and_the_layout_does_not() {
    let place = Place::new();
    let write = |name, header: &str| {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[1]].concat();
        place.write(name, bytes);
    };
    write(
        "a",
        r#"{"__metadata__":{"x":"1","y":"2"},"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
    );
    write(
        "b",
        concat!(
            r#"{"t":{"shape":[1],"dtype":"U8","data_offsets":[0,1]},"#,
            r#""__metadata__":{"y":"2","x":"1"}}  "#
        ),
    );
    write("c", r#"{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#);
    place.ok(&["diff", "a", "b"]);
    let outcome = place.fails(&["diff", "a", "c"], 1, "");
    assert!(String::from_utf8(outcome.stdout).unwrap().starts_with("~ the metadata\n"));
}

#[test]
fn trouble_is_told_from_difference() {
    let place = Place::packed();
    place.fails(&["diff", "model.at1w", "missing"], 2, "missing");
    place.fails(&["diff", "model.at1w"], 2, "");
    place.write("cut.at1w", &place.read("model.at1w")[..1000]);
    place.fails(&["diff", "model.at1w", "cut.at1w"], 3, "cut short");
    place.write("text", "not weights");
    place.fails(&["diff", "text", "model.at1w"], 2, "a text");
    place.write("other.safetensors", model(2));
    place.fails(&["diff", "other.safetensors", "model.at1w"], 1, "");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_changes_no_answer() {
    let place = Place::packed();
    place.write("other.safetensors", model(2));
    for (other, code) in [("other.safetensors", "1\n"), ("model.safetensors", "0\n")] {
        let at1w = env!("CARGO_BIN_EXE_at1w");
        let script =
            format!("{{ sleep 0.2; {at1w} -q diff {other} model.at1w; echo $? >&2; }} | true");
        let outcome = place.run(std::process::Command::new("sh").args(["-c", &script]));
        assert_eq!(outcome.stderr, code, "{other}");
    }
}
