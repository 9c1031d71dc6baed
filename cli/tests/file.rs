//! One file: packed, listed, restored, and what goes wrong with that.

mod common;

use common::{Place, model, safetensors};

#[test]
fn a_file_comes_back_byte_for_byte() {
    let place = Place::packed();
    assert!(place.read("model.at1w").len() < place.read("model.safetensors").len() * 8 / 10);
    place.ok(&["unpack", "model.at1w", "-o", "restored"]);
    assert_eq!(place.read("restored"), place.read("model.safetensors"));
    assert_eq!(place.names(), ["model.at1w", "model.safetensors", "restored"]);
}

#[test]
fn targets_have_the_name_of_the_source() {
    let place = Place::packed();
    let original = place.read("model.safetensors");
    std::fs::remove_file(place.path("model.safetensors")).unwrap();
    place.ok(&["unpack", "model.at1w"]);
    assert_eq!(place.read("model.safetensors"), original);

    place.write("weights.bin", &original);
    place.ok(&["pack", "weights.bin"]);
    place.ok(&["verify", "weights.bin.at1w"]);
    place.write("packed", place.read("model.at1w"));
    place.fails(&["unpack", "packed"], 2, "name it with -o");
    place.fails(&["pack", "weights.bin", "--keep-names"], 2, "-o");
}

#[test]
fn every_level_restores_and_has_the_same_root() {
    let place = Place::packed();
    let root = place.json(&["info", "--json", "model.at1w"])["root"].clone();
    for level in ["fast", "default", "max"] {
        place.ok(&["pack", "--level", level, "model.safetensors", "-o", level]);
        place.ok(&["verify", level, "--file", "--root", root.as_str().unwrap()]);
        place.ok(&["unpack", level, "-o", "restored", "--force"]);
        assert_eq!(place.read("restored"), place.read("model.safetensors"), "{level}");
        assert!(place.json(&["ls", "--json", level])[0]["model"].is_string());
    }
    assert!(place.read("default") == place.read("model.at1w"));
    place.fails(&["pack", "--level", "best", "model.safetensors"], 2, "fast, default, max");
}

#[test]
fn threads_do_not_change_the_bytes() {
    let place = Place::packed();
    for threads in ["1", "8"] {
        place.ok(&["pack", "model.safetensors", "-o", threads, "--threads", threads]);
        assert!(place.read(threads) == place.read("model.at1w"));
    }
}

#[test]
fn quiet_commands_print_nothing() {
    let place = Place::packed();
    for args in [
        &["pack", "model.safetensors", "-o", "a", "-q"][..],
        &["--quiet", "unpack", "a", "-o", "b"],
        &["verify", "a", "--quiet"],
        &["get", "a", "embed.bias", "-o", "bias.npy", "-q"],
    ] {
        let outcome = place.at1w(args);
        assert_eq!((outcome.code, outcome.stdout.len(), &*outcome.stderr), (0, 0, ""), "{args:?}");
    }
}

#[test]
fn listings_say_what_is_in_a_file() {
    let place = Place::packed();
    let rows = place.json(&["ls", "--json", "model.at1w"]);
    assert_eq!(rows[0]["name"], "embed.weight");
    assert_eq!(rows[0]["dtype"], "BF16");
    assert_eq!(rows[0]["shape"], serde_json::json!([1000, 600]));
    assert_eq!(rows[0]["raw_bytes"], 1_200_000);
    assert_eq!(rows[0]["chunks"], 3);

    let table = String::from_utf8(place.ok(&["ls", "model.at1w"])).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].contains(rows[0]["sha256"].as_str().unwrap()));
    assert!(lines[3].starts_with("2 tensors"));

    let info = place.json(&["info", "--json", "model.at1w"]);
    assert_eq!(info["original_bytes"], place.read("model.safetensors").len());
    assert_eq!(info["packed_bytes"], place.read("model.at1w").len());
    assert_eq!(info["dtypes"]["BF16"]["tensors"], 2);
    assert_eq!(info["metadata"]["format"], "pt");
    let text = String::from_utf8(place.ok(&["info", "model.at1w"])).unwrap();
    assert!(text.contains(info["root"].as_str().unwrap()));
}

#[test]
fn names_cannot_break_the_terminal() {
    let place = Place::new();
    place.write("odd", safetensors(&[("a\n\x1b[31m\u{202e}b", "U8", &[1], &[7])]));
    place.ok(&["pack", "odd"]);
    let table = String::from_utf8(place.ok(&["ls", "odd.at1w"])).unwrap();
    assert_eq!(table.lines().count(), 3);
    assert!(table.contains(r"a\n\u{1b}[31m\u{202e}b"), "{table}");
    assert_eq!(place.ok(&["get", "odd.at1w", "a\n\x1b[31m\u{202e}b"]), [7]);
    let json = String::from_utf8(place.ok(&["ls", "--json", "odd.at1w"])).unwrap();
    assert!(json.contains(r#""a\n\u001b[31m\u202eb""#), "{json}");
    assert_eq!(place.json(&["ls", "--json", "odd.at1w"])[0]["name"], "a\n\x1b[31m\u{202e}b");
}

#[test]
fn verifying_pins_the_root() {
    let place = Place::packed();
    let info = place.json(&["info", "--json", "model.at1w"]);
    let root = info["root"].as_str().unwrap();
    let printed = place.ok(&["verify", "model.at1w", "--root", root, "--file"]);
    assert_eq!(String::from_utf8(printed).unwrap(), format!("ok {root}  model.at1w\n"));
    let other = info["original_sha256"].as_str().unwrap();
    place.fails(&["verify", "model.at1w", "--root", other], 3, "expected");
    place.fails(&["verify", "model.at1w", "--root", "abc"], 2, "64 hexadecimal digits");
}

#[test]
fn targets_that_exist_are_only_replaced_by_force() {
    let place = Place::packed();
    place.write("model.at1w", "precious");
    place.fails(&["pack", "model.safetensors"], 1, "--force");
    assert_eq!(place.read("model.at1w"), b"precious");
    place.ok(&["pack", "model.safetensors", "--force"]);
    place.fails(&["unpack", "model.at1w"], 1, "exists already");
    place.fails(
        &["get", "model.at1w", "embed.bias", "-o", "model.safetensors"],
        1,
        "exists already",
    );
    assert_eq!(place.read("model.safetensors"), model(1));
    place.ok(&["unpack", "model.at1w", "--force"]);
    assert_eq!(place.read("model.safetensors"), model(1));
}

#[test]
fn sources_of_the_wrong_kind_are_refused() {
    let place = Place::packed();
    place.fails(&["pack", "model.at1w", "-o", "again"], 1, "packed already");
    place.fails(&["pack", "missing.safetensors"], 1, "missing.safetensors");
    place.fails(&["unpack", "missing.at1w"], 1, "missing.at1w");
    let outcome = place.fails(&["unpack", "model.safetensors", "-o", "new"], 3, "not packed");
    assert!(outcome.stderr.contains("hint: 'at1w pack'"), "{}", outcome.stderr);
    for command in ["ls", "info", "verify"] {
        place.fails(&[command, "missing"], 1, "missing");
    }
    let gap: [(&str, &str, &[u64], &[u8]); 1] = [("a", "U8", &[2], &[0; 3])];
    for (bytes, problem) in [
        (vec![1; 7], "7 bytes, too few"),
        ((1u64 << 63).to_le_bytes().to_vec(), "header length"),
        (model(1)[..100].to_vec(), "cut short: its header alone"),
        (model(1)[..5000].to_vec(), "cut short: it has 5000 bytes of"),
        ([model(1), vec![0; 3]].concat(), "3 bytes follow the last tensor"),
        (safetensors(&gap), "\"a\""),
    ] {
        place.write("bad.safetensors", bytes);
        place.fails(&["pack", "bad.safetensors"], 1, problem);
    }
    assert_eq!(place.names(), ["bad.safetensors", "model.at1w", "model.safetensors"]);
}

#[test]
fn damage_is_reported_and_nothing_is_written() {
    let place = Place::packed();
    let whole = place.read("model.at1w");
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        place.write("cut.at1w", &whole[..len]);
        place.fails(&["verify", "cut.at1w"], 3, "cut.at1w");
        place.fails(&["unpack", "cut.at1w", "-o", "out"], 3, "cut.at1w");
    }
    place.write("flipped.at1w", &whole);
    place.flip("flipped.at1w", whole.len() / 3);
    place.fails(&["verify", "flipped.at1w"], 3, r#"damaged tensor "embed.weight" in chunk"#);
    place.fails(&["unpack", "flipped.at1w", "-o", "out"], 3, "embed.weight");
    place.fails(&["get", "flipped.at1w", "embed.weight", "-o", "out"], 3, "embed.weight");
    let outcome = place.fails(&["get", "flipped.at1w", "embed.weight"], 3, "embed.weight");
    assert!(outcome.stdout.is_empty());
    assert!(!place.path("out").exists());
    // What is intact is still to be had.
    let bias = place.ok(&["get", "flipped.at1w", "embed.bias"]);
    assert_eq!(bias, place.ok(&["get", "model.at1w", "embed.bias"]));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = Place::new().ok(&["completions", shell]);
        assert!(String::from_utf8(script).unwrap().contains("keep-names"), "{shell}");
    }
}

#[test]
fn every_command_has_a_man_page() {
    let place = Place::new();
    std::fs::create_dir(place.path("man1")).unwrap();
    let printed = String::from_utf8(place.ok(&["man", "man1"])).unwrap();
    let help = String::from_utf8(place.ok(&["--help"])).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("  ") && &line[2..3] != " ");
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"verify") && commands.contains(&"man"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let page = format!("man1/at1w-{command}.1");
        assert!(printed.lines().any(|line| line == page), "{printed}");
        let text = String::from_utf8(place.read(&page)).unwrap();
        assert!(text.contains(".TH at1w") && text.contains(&format!("at1w\\-{command}")), "{text}");
    }
    place.read("man1/at1w.1");
    place.fails(&["man", "man1"], 1, "exists already");
    place.ok(&["man", "man1", "--force"]);
    place.fails(&["man", "none"], 1, "make it first");
}

#[test]
fn wrong_command_lines_exit_with_2() {
    let place = Place::packed();
    for args in
        [&["frobnicate"][..], &["pack"], &["get", "model.at1w"], &["ls", "x", "--threads", "1025"]]
    {
        assert_eq!(place.at1w(args).code, 2, "{args:?}");
    }
    assert_eq!(place.at1w(&["--help"]).code, 0);
}

#[test]
fn force_replaces_neither_the_source_nor_what_is_no_file() {
    let place = Place::packed();
    let (original, packed) = (place.read("model.safetensors"), place.read("model.at1w"));
    let itself = "is the source itself";
    place.fails(&["pack", "model.safetensors", "-o", "./model.safetensors", "-f"], 1, itself);
    place.fails(&["get", "model.at1w", "embed.bias", "-o", "model.at1w", "-f"], 1, itself);
    assert!(place.read("model.safetensors") == original && place.read("model.at1w") == packed);

    std::fs::create_dir(place.path("folder")).unwrap();
    for args in [
        &["pack", "model.safetensors", "-o", "none/new.at1w"][..],
        &["unpack", "model.at1w", "-o", "none/new"],
        &["get", "model.at1w", "embed.bias", "-o", "none/new"],
        &["pack", "folder", "-o", "none/new"],
    ] {
        place.fails(args, 1, "none: there is no such folder: make it first");
    }
    place.fails(&["unpack", "model.at1w", "-o", "folder", "-f"], 1, "no regular file");
}

#[test]
fn a_wrong_back_end_is_named_before_any_work() {
    let place = Place::packed();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_at1w"));
    command.args(["ls", "model.at1w"]).env("AT1W_SIMD", "sse9");
    let outcome = place.run(&mut command);
    assert_eq!(outcome.code, 2);
    assert!(outcome.stderr.contains("is not a back-end"), "{}", outcome.stderr);
}
