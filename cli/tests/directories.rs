//! Directories, packed or not: listed, read, verified without a manifest.

mod common;

use common::{Place, model, safetensors};
use serde_json::{Value, json};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The bytes of a shard with one tensor.
fn shard(name: &str, bytes: &[u8]) -> Vec<u8> {
    safetensors(&[(name, "U8", &[bytes.len() as u64], bytes)])
}

/// A place with the repository `repo` of two shards, and `repo.at1w`.
fn sharded() -> Place {
    let place = Place::new();
    place.write("repo/model-00001-of-00002.safetensors", shard("a.weight", &[1; 1000]));
    place.write("repo/model-00002-of-00002.safetensors", shard("b.weight", &[2; 50]));
    let map = json!({"weight_map": {
        "a.weight": "model-00001-of-00002.safetensors",
        "b.weight": "model-00002-of-00002.safetensors",
    }});
    place.write("repo/model.safetensors.index.json", map.to_string());
    place.write("repo/config.json", "{}");
    place.ok(&["pack", "repo"]);
    place
}

#[test]
fn files_are_listed_with_totals() {
    let place = sharded();
    for (directory, first, packed) in [
        ("repo", "model-00001-of-00002.safetensors", false),
        ("repo.at1w", "model-00001-of-00002.at1w", true),
    ] {
        let rows = place.json(&["ls", "--json", directory]);
        assert_eq!(rows.as_array().unwrap().len(), 2);
        assert_eq!(rows[0]["path"], first);
        assert_eq!(rows[0]["original_path"], names(1));
        assert_eq!(rows[0]["tensors"], 1);
        assert_eq!(rows[0]["dtypes"], json!(["U8"]));
        assert_eq!(rows[0]["original_bytes"], place.read(&format!("repo/{}", names(1))).len());
        assert_eq!(rows[0]["packed_bytes"], place.read(&format!("{directory}/{first}")).len());
        assert_eq!(rows[0]["root"].is_string(), packed);

        let table = text(place.ok(&["ls", directory]));
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[0].starts_with("FILE "), "{table}");
        assert!(lines[3].starts_with("2 other files"), "{table}");
        let pinned = if packed { "pinned by at1w-manifest.json" } else { "no manifest pins them" };
        assert!(lines[4].starts_with("2 files of weights") && lines[4].ends_with(pinned));

        let info = place.json(&["info", "--json", directory]);
        assert_eq!(info["has_manifest"], packed);
        assert_eq!(info["files"], rows);
        assert_eq!(info["tensors"], 2);
        assert_eq!(info["dtypes"]["U8"]["raw_bytes"], 1050);
        assert_eq!(info["other_files"]["files"], 2);
        let others = info["other_files"]["bytes"].as_u64().unwrap();
        let sum: u64 = (0..2).map(|at| rows[at]["packed_bytes"].as_u64().unwrap()).sum();
        assert_eq!(info["packed_bytes"], sum + others);
        let info = text(place.ok(&["info", directory]));
        assert!(info.contains(pinned) && info.contains(first), "{info}");
    }
}

fn names(at: usize) -> String {
    format!("model-0000{at}-of-00002.safetensors")
}

#[test]
fn tensors_of_all_files_are_listed_and_found() {
    let place = sharded();
    for directory in ["repo", "repo.at1w"] {
        let rows = place.json(&["ls", "--json", "--tensors", directory]);
        assert_eq!((&rows[0]["name"], &rows[1]["name"]), (&json!("a.weight"), &json!("b.weight")));
        assert!(rows[1]["file"].as_str().unwrap().starts_with("model-00002"));
        let found = place.json(&["ls", "--json", directory, "b.*"]);
        assert_eq!(found, json!([rows[1]]));
        assert_eq!(place.ok(&["get", "-q", directory, "b.weight"]), [2; 50]);
        place.fails(&["get", directory, "c.weight"], 4, "did you mean");
    }
    place.ok(&["get", "repo.at1w", "a.weight", "--slice", ":3", "-o", "a.npy"]);
    // The file of the manifest, and no other, is read.
    std::fs::copy(
        place.path("repo.at1w/model-00002-of-00002.at1w"),
        place.path("repo.at1w/model-00001-of-00002.at1w"),
    )
    .unwrap();
    place.fails(&["get", "repo.at1w", "a.weight"], 3, "another model or revision");
    place.fails(&["ls", "repo.at1w"], 3, "another model or revision");
    assert_eq!(place.ok(&["get", "-q", "repo.at1w", "b.weight"]), [2; 50]);
}

#[test]
fn a_name_in_several_files_is_asked_for() {
    let place = sharded();
    place.write("repo/extra.safetensors", shard("x", &[7]));
    place.write("repo/more/extra.safetensors", shard("x", &[8]));
    place.fails(&["get", "repo", "x"], 2, "extra.safetensors, more/extra.safetensors");
    assert_eq!(place.ok(&["get", "repo/more/extra.safetensors", "x"]), [8]);
    // An index says which one counts.
    place.write("repo/consolidated.safetensors", shard("a.weight", &[1; 1000]));
    let outcome = place.at1w(&["get", "repo", "a.weight", "-o", "-"]);
    assert_eq!((outcome.code, outcome.stdout.len()), (0, 1000), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("read 1.00 kB of repo/model-00001"), "{}", outcome.stderr);
}

#[test]
fn patterns_select_and_orders_sort() {
    let place = Place::new();
    let zeros: &[u8] = &[0; 4000];
    let noise: Vec<u8> =
        (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    place.write(
        "m.safetensors",
        safetensors(&[
            ("layers.10.w", "U8", &[4000], zeros),
            ("layers.2.w", "F16", &[1000], &noise),
            ("head[0]", "BF16", &[5], &[1; 10]),
        ]),
    );
    place.ok(&["pack", "m.safetensors"]);
    let names = |args: &[&str]| {
        let rows = place.json(&[&["ls", "--json", "m.at1w"], args].concat());
        let names = rows.as_array().unwrap().iter();
        names.map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [ten, two, head] = ["layers.10.w", "layers.2.w", "head[0]"];
    assert_eq!(names(&[]), [ten, two, head]);
    assert_eq!(names(&["layers.*"]), [ten, two]);
    assert_eq!(names(&["layers.?.w", "{head,tail}*"]), [two, head]);
    // A name is a pattern of itself.
    assert_eq!(names(&["head[0]"]), [head]);
    assert_eq!(names(&["--sort", "name"]), [head, ten, two]);
    assert_eq!(names(&["--sort", "size"]), [ten, two, head]);
    assert_eq!(names(&["--sort", "stored"])[0], two);
    assert_eq!(names(&["--sort", "ratio", "--reverse"])[0], ten);
    assert_eq!(names(&["--sort", "dtype"]), [head, two, ten]);

    let outcome =
        place.fails(&["ls", "m.at1w", "head*", "nothing*"], 4, "no tensor matches nothing*");
    assert!(text(outcome.stdout).contains("1 of 3 tensors"));
    place.fails(&["ls", "m.at1w", "[a"], 2, "unclosed");
    place.fails(&["ls", "m.at1w", "m.safetensors"], 4, "one file or directory at a time");
    place.fails(&["ls", "m.at1w", "--sort", "color"], 2, "name, size, stored, ratio, dtype");
}

#[test]
fn sizes_are_for_people_or_exact() {
    let place = Place::packed();
    let ls = |args: &[&str]| text(place.ok(&[&["ls", "model.at1w"], args].concat()));
    assert!(ls(&[]).contains(" 1200000 "));
    assert!(ls(&["-H"]).contains(" 1.20 MB ") && ls(&["-H"]).contains('…'));
    assert!(ls(&["-H", "--exact"]).contains(" 1200000 "));
    let human = text(place.ok(&["info", "-H", "model.at1w"]));
    assert!(human.contains("original          1.20 MB"), "{human}");
    let exact = text(place.ok(&["info", "model.at1w"]));
    assert!(exact.contains("original          1201"), "{exact}");
    // Programs get bytes in any case.
    assert_eq!(place.json(&["ls", "-H", "--json", "model.at1w"])[0]["raw_bytes"], 1_200_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_sizes_for_people() {
    let place = Place::packed();
    for (args, size) in [("ls model.at1w", " 1.20 MB "), ("ls --exact model.at1w", " 1200000 ")] {
        let command = format!("{} {args}", env!("CARGO_BIN_EXE_at1w"));
        let mut script = std::process::Command::new("script");
        let outcome = place.run(script.args(["-qec", &command, "/dev/null"]));
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let table = text(outcome.stdout);
        assert!(table.contains(size), "{table}");
    }
}

/// A hub cache: blobs, a snapshot of links to them, and what the hub keeps for itself.
#[cfg(unix)]
fn hub() -> Place {
    use std::os::unix::fs::symlink;

    let place = Place::packed();
    place.write("hub/blobs/aaaa", place.read("model.at1w"));
    place.write("hub/blobs/bbbb", shard("x", &[7; 9]));
    place.write("hub/blobs/cccc.incomplete", &model(3)[..100]);
    for revision in ["r1", "r2"] {
        std::fs::create_dir_all(place.path("hub/snapshots").join(revision)).unwrap();
        for (name, blob) in [("model.safetensors", "aaaa"), ("x.safetensors", "bbbb")] {
            let link = place.path("hub/snapshots").join(revision).join(name);
            symlink(format!("../../blobs/{blob}"), link).unwrap();
        }
    }
    place
}

#[cfg(unix)]
#[test]
fn files_of_a_hub_cache_count_once() {
    let place = hub();
    let rows = place.json(&["ls", "--json", "hub"]);
    let paths: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["path"]).collect();
    assert_eq!(paths, ["snapshots/r1/model.safetensors", "snapshots/r1/x.safetensors"]);
    assert_eq!(rows[0]["format"], "at1w");
    assert_eq!(rows[1]["format"], "safetensors");
    let outcome = place.at1w(&["info", "hub"]);
    let left_out = "hub: left out: blobs/cccc.incomplete";
    assert!(outcome.stderr.contains(left_out), "{}", outcome.stderr);
    assert_eq!(place.ok(&["get", "-q", "hub", "x"]), [7; 9]);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_looked_at_is_listed() {
    use std::os::unix::fs::symlink;

    let place = hub();
    symlink("nowhere", place.path("hub/dangling")).unwrap();
    symlink("..", place.path("hub/snapshots/loop")).unwrap();
    place.write("hub/pointer.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 9\n");
    let made = std::process::Command::new("mkfifo").arg(place.path("hub/pipe")).status();
    assert!(made.unwrap().success());
    let problems = [
        "dangling: is a symbolic link to nothing",
        "pipe: is neither",
        "pointer.safetensors: a Git",
    ];
    for args in [&["ls", "hub"][..], &["ls", "hub", "-t"], &["info", "hub"], &["verify", "hub"]] {
        let outcome = place.fails(args, 5, problems[0]);
        for problem in problems {
            assert!(outcome.stderr.contains(problem), "{args:?}: {}", outcome.stderr);
        }
        assert_eq!(outcome.stderr.matches("warning").count(), 3, "{}", outcome.stderr);
    }
    let outcome = place.fails(&["info", "--json", "hub"], 5, "");
    let info: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(info["faults"].as_array().unwrap().len(), 3);
    // A tensor that is there is had all the same, and one that may be hidden is not denied.
    assert_eq!(place.ok(&["get", "-q", "hub", "x"]), [7; 9]);
    place.fails(&["get", "hub", "y"], 5, "no tensor \"y\"");
    place.flip("hub/blobs/aaaa", 0);
    place.fails(&["ls", "hub"], 3, "ends as an .at1w file, and does not begin as one");
    place.fails(&["get", "hub", "y"], 3, "no tensor \"y\"");
}

#[test]
fn directories_without_a_manifest_are_verified() {
    let place = Place::packed();
    place.write("in-place/model.safetensors", place.read("model.at1w"));
    place.write("in-place/sub/weights", place.read("model.at1w"));
    place.write("in-place/plain.safetensors", shard("x", &[7]));
    place.write("in-place/config.json", "{}");
    let outcome = place.fails(&["verify", "in-place"], 0, "has no at1w-manifest.json");
    let lines = text(outcome.stdout);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert_eq!(lines.matches("nothing pins its bytes").count(), 1, "{lines}");
    place.fails(&["verify", "in-place", "--root", &"00".repeat(32)], 2, "no manifest");
    let signed = ["--signature", "s", "--public-key", "p"];
    place.fails(&[&["verify", "in-place"], &signed[..]].concat(), 2, "no manifest");

    place.flip("in-place/sub/weights", 1000);
    let outcome = place.fails(&["verify", "in-place"], 3, "sub/weights: damaged tensor");
    assert_eq!(text(outcome.stdout).lines().count(), 2);
    // A packed file is known by its end, too.
    place.write("in-place/sub/weights", place.read("model.at1w"));
    place.flip("in-place/sub/weights", 0);
    place.fails(&["verify", "in-place"], 3, "sub/weights: damaged first bytes");
    std::fs::create_dir(place.path("empty")).unwrap();
    place.fails(&["verify", "empty"], 1, "no packed file");
}

#[test]
fn several_paths_are_verified_and_the_worst_counts() {
    let place = sharded();
    place.write("model.safetensors", model(1));
    place.ok(&["pack", "model.safetensors"]);
    let printed = text(place.ok(&["verify", "model.at1w", "repo.at1w"]));
    assert_eq!(printed.lines().count(), 5, "{printed}");
    let root = "00".repeat(32);
    place.fails(&["verify", "model.at1w", "repo.at1w", "--root", &root], 2, "for one file");

    place.write("cut.at1w", &place.read("model.at1w")[..1000]);
    place.write("faulty/pointer.safetensors", "Entry not found");
    place.write("faulty/model.safetensors", place.read("model.at1w"));
    place.fails(&["verify", "faulty", "model.at1w"], 5, "pointer");
    for (paths, code) in [
        (&["missing", "model.at1w"][..], 1),
        (&["missing", "faulty", "model.at1w"], 1),
        (&["faulty", "missing", "model.at1w"], 1),
        (&["faulty", "missing", "cut.at1w", "model.at1w"], 3),
        (&["missing", "cut.at1w", "model.at1w"], 3),
        (&["cut.at1w", "missing", "model.at1w"], 3),
    ] {
        let outcome = place.fails(&[&["verify"], paths].concat(), code, "missing");
        assert!(text(outcome.stdout).ends_with("  model.at1w\n"));
    }
}

#[test]
fn several_paths_are_described() {
    let place = sharded();
    place.write("model.safetensors", model(1));
    let paths = ["model.safetensors", "repo.at1w"];
    let reports = place.json(&[&["info", "--json"], &paths[..]].concat());
    for (at, path) in paths.iter().enumerate() {
        assert_eq!(reports[at], place.json(&["info", "--json", path]));
        assert_eq!(reports[at]["path"], *path);
    }
    let printed = text(place.ok(&[&["info"], &paths[..]].concat()));
    assert!(printed.starts_with("model.safetensors\n") && printed.contains("\nrepo.at1w\n"));
    let outcome = place.fails(&["info", "--json", "missing", "repo.at1w"], 1, "missing");
    let reports: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(reports.as_array().unwrap().len(), 1);
}

#[test]
fn jobs_tell_what_they_do_in_lines_of_json() {
    let place = sharded();
    place.write("repo/pointer.safetensors", "version https://git-lfs.github.com/spec/v1\nsize 9\n");
    place.fails(&["pack", "repo", "--force"], 5, "pointer");
    place.write("plain.safetensors", model(1));
    let events = |paths: &[&str], code| {
        let outcome = place.fails(&[&["verify", "--json"], paths].concat(), code, "");
        let lines = text(outcome.stdout);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let lines = events(&["repo.at1w", "plain.safetensors"], 5);
    assert!(lines[..5].iter().all(|line| line["event"] == "file"));
    let pinned: Vec<_> = [0, 1, 5].map(|at| &lines[at]["pinned_by"]).into();
    assert_eq!(pinned, [&json!("manifest"), &json!("root"), &json!(null)]);
    assert_eq!(lines[1]["path"], "repo.at1w/model-00001-of-00002.at1w");
    assert_eq!(lines[1]["root"].as_str().unwrap().len(), 64);
    let faults: Vec<_> = lines.iter().filter(|line| line["event"] == "fault").collect();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0]["path"], "repo.at1w/pointer.safetensors");
    let summary = lines.last().unwrap();
    assert_eq!((&summary["event"], &summary["exit_code"]), (&json!("summary"), &json!(5)));
    assert_eq!((&summary["ok"], &summary["faults"]), (&json!(6), &json!(1)));

    place.flip("repo.at1w/model-00001-of-00002.at1w", 20);
    let lines = events(&["repo.at1w"], 3);
    assert!(lines.iter().any(|line| line["event"] == "damaged"));
    assert_eq!(lines.last().unwrap()["exit_code"], 3);
    let lines = events(&["missing"], 1);
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("error"), &json!("summary")));
    assert!(lines[0]["message"].as_str().unwrap().contains("missing"));
}
