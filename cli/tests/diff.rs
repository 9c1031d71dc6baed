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

/// The bytes of a file of tensors of one byte each.
fn bytes_of(tensors: &[(&str, u8)]) -> Vec<u8> {
    let bytes: Vec<_> = tensors.iter().map(|(name, byte)| (*name, [*byte])).collect();
    let tensors: Vec<_> =
        bytes.iter().map(|(name, bytes)| (*name, "U8", &[1][..], &bytes[..])).collect();
    safetensors(&tensors)
}

fn outcome(place: &Place, args: &[&str], code: i32) -> String {
    String::from_utf8(place.fails(&[&["diff"], args].concat(), code, "").stdout).unwrap()
}

#[test]
fn a_packed_directory_is_the_same_as_its_source() {
    let place = Place::new();
    place.write("a/x.safetensors", model(1));
    place.write("a/sub/y.safetensors", bytes_of(&[("t", 1)]));
    place.write("a/config.json", "{}");
    place.ok(&["pack", "a"]);
    // One that was packed file by file, without a manifest.
    place.write("b/x.at1w", place.read("a.at1w/x.at1w"));
    place.write("b/sub/y.safetensors", place.read("a.at1w/sub/y.at1w"));
    place.write("b/config.json", "{}");
    for other in ["a", "a.at1w", "b"] {
        assert_eq!(
            outcome(&place, &["a", other], 0),
            "files: 3 same, 0 changed, 0 removed, 0 added, 0 renamed\n\
             tensors: 3 same, 0 changed, 0 removed, 0 added, 0 renamed, 0 moved\n"
        );
    }
}

#[test]
fn each_difference_of_directories_is_named() {
    let place = Place::new();
    place.write("old/1.safetensors", bytes_of(&[("same", 1), ("to-2", 2), ("gone", 3), ("x", 4)]));
    place.write("old/2.safetensors", bytes_of(&[("values", 5)]));
    place.write("old/was.safetensors", bytes_of(&[("moved-whole", 6)]));
    place.write("old/old.txt", "removed");
    place.write("old/z.safetensors", bytes_of(&[("p", 9), ("q", 10), ("to-1", 11)]));
    place.write("old/notes.txt", "old");
    place.write("new/1.safetensors", bytes_of(&[("same", 1), ("came", 7), ("to-1", 11)]));
    place.write("new/2.safetensors", bytes_of(&[("values", 8), ("to-2", 2), ("y", 4)]));
    place.write("new/is.safetensors", bytes_of(&[("moved-whole", 6)]));
    place.write("new/notes.txt", "new");
    let expected = "\
~ 1.safetensors
    - gone
    + came
~ 2.safetensors
    ~ values  U8 [1], other values
~ notes.txt
- old.txt
> was.safetensors -> is.safetensors
- z.safetensors  2 tensors
> to-2  from 1.safetensors to 2.safetensors
> to-1  from z.safetensors to 1.safetensors
> x -> y  from 1.safetensors to 2.safetensors
files: 0 same, 3 changed, 2 removed, 0 added, 1 renamed
tensors: 2 same, 1 changed, 3 removed, 1 added, 0 renamed, 3 moved
";
    assert_eq!(outcome(&place, &["old", "new"], 1), expected);
    place.ok(&["pack", "new"]);
    assert_eq!(outcome(&place, &["old", "new.at1w"], 1), expected);

    let json = outcome(&place, &["old", "new", "--json"], 1);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tensors"]["moved"], 3);
    assert_eq!(json["files"][0]["path"], "1.safetensors");
    assert_eq!(json["files"][0]["removed"], serde_json::json!(["gone"]));
    assert_eq!(json["files"][3]["change"], "removed");
    assert_eq!(json["files"][4]["to"], "is.safetensors");
    assert_eq!(json["moved"][0]["to_file"], "2.safetensors");
}

#[test]
fn a_file_is_compared_with_all_tensors_of_a_directory() {
    let place = Place::new();
    place.write("one.safetensors", bytes_of(&[("a", 1), ("b", 2)]));
    place.write("shards/1.safetensors", bytes_of(&[("a", 1)]));
    place.write("shards/2.safetensors", bytes_of(&[("b", 2)]));
    place.ok(&["diff", "one.safetensors", "shards"]);
    place.write("shards/3.safetensors", bytes_of(&[("c", 3)]));
    assert!(outcome(&place, &["shards", "one.safetensors"], 1).starts_with("- c\n"));
    place.write("shards/4.safetensors", bytes_of(&[("c", 4)]));
    place.fails(&["diff", "one.safetensors", "shards"], 2, "\"c\" differs from file to file");
}

#[test]
fn trouble_in_directories_goes_before_differences_and_damage_before_it() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.write(&format!("{name}/x.safetensors"), model(1));
        // It holds no weights, and is compared by its bytes.
        place.write(&format!("{name}/pointer.safetensors"), "Entry not found");
    }
    place.ok(&["diff", "a", "b"]);
    place.write("b/more.txt", "more");
    assert!(outcome(&place, &["a", "b"], 1).contains("+ more.txt"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.path("a/link")).unwrap();
        assert!(outcome(&place, &["a", "b"], 2).contains("+ more.txt"));
    }
    place.fails(&["pack", "b"], 5, "pointer");
    place.flip("b.at1w/x.at1w", 3);
    place.fails(&["diff", "a", "b.at1w"], 3, "x.at1w");
}
