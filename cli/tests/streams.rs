//! Standard input and output in the place of files.
#![cfg(unix)]

mod common;

use std::fs::File;
use std::process::{Command, Stdio};

use common::{Outcome, Place, ignores, model, safetensors, weights};

const AT1W: &str = env!("CARGO_BIN_EXE_at1w");

/// Runs a command to which another one pipes `file`.
fn piped(place: &Place, file: &str, args: &str) -> Outcome {
    let script = format!("cat {file} | {AT1W} {args}");
    place.run(Command::new("sh").args(["-c", &script]))
}

#[track_caller]
fn ok(outcome: Outcome) -> Vec<u8> {
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    outcome.stdout
}

#[test]
fn files_come_through_a_pipe() {
    let place = Place::packed();
    let root = place.json(&["info", "--json", "model.at1w"])["root"].clone();
    for file in ["model.at1w", "model.safetensors"] {
        for command in ["ls --json", "info --json", "ls", "info"] {
            let args: Vec<_> = command.split(' ').chain([file]).collect();
            let printed = ok(piped(&place, file, &format!("{command} -")));
            let named = String::from_utf8(place.ok(&args)).unwrap();
            let named = named.replace(&format!(r#""path": "{file}""#), r#""path": "-""#);
            assert_eq!(String::from_utf8(printed).unwrap(), named);
        }
        let all = weights(600_000, 1);
        assert!(ok(piped(&place, file, "get - embed.weight")) == all);
        assert!(ok(piped(&place, file, "get - embed.weight -o x.bin")).is_empty());
        assert!(place.read("x.bin") == all);
        std::fs::remove_file(place.path("x.bin")).unwrap();
        ok(piped(&place, file, "diff - model.at1w"));
    }
    let printed = ok(piped(&place, "model.at1w", "verify -"));
    assert_eq!(String::from_utf8(printed).unwrap(), format!("ok {}  -\n", root.as_str().unwrap()));
    let outcome = piped(&place, "model.at1w", "verify --json model.at1w - missing");
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert_eq!(String::from_utf8(outcome.stdout).unwrap().matches(r#""root":""#).count(), 2);
}

#[test]
fn a_file_that_is_redirected_needs_no_room() {
    let place = Place::packed();
    let mut command = Command::new(AT1W);
    command.args(["info", "-"]).env("TMPDIR", "/nowhere");
    let outcome = place.run(command.stdin(File::open(place.path("model.at1w")).unwrap()));
    assert_eq!(ok(outcome), place.ok(&["info", "model.at1w"]));
    // One of which a part was read before is no whole file.
    let script = format!("{{ dd bs=8 count=1 of=rest status=none; {AT1W} ls -; }} < model.at1w");
    let outcome = place.run(Command::new("sh").args(["-c", &script]));
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("does not begin as one"), "{}", outcome.stderr);
}

#[test]
fn problems_name_standard_input() {
    let place = Place::packed();
    place.write("text", "Entry not found");
    place.write("cut", &place.read("model.at1w")[..1000]);
    let fails = |file, args, code, problem: &str| {
        let outcome = piped(&place, file, args);
        assert_eq!(outcome.code, code, "{args}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(problem), "{args}: {}", outcome.stderr);
    };
    fails("text", "ls -", 1, "standard input: a text");
    fails("cut", "verify -", 3, "standard input: ");
    fails("cut", "diff model.at1w -", 3, "standard input: ");
    fails("model.at1w", "get - embed.bais", 4, "did you mean");
    fails("model.at1w", "diff - -", 2, "only once");
    let mut command = Command::new("sh");
    let script = format!("cat model.at1w | TMPDIR=/nowhere {AT1W} ls -");
    let outcome = place.run(command.args(["-c", &script]));
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("kept in /nowhere"), "{}", outcome.stderr);
    // A file of that name has a folder before it.
    place.write("-", model(1));
    place.ok(&["ls", "./-"]);
}

/// A limit on the size of files stands in for a full disk.
#[test]
fn input_that_has_no_room_is_named() {
    let place = Place::packed();
    std::fs::create_dir(place.path("tmp")).unwrap();
    let script =
        format!("trap '' XFSZ; ulimit -f 100; cat model.at1w | TMPDIR=tmp {AT1W} verify - --json");
    let outcome = place.run(Command::new("sh").args(["-c", &script]));
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("kept in tmp: File too large"), "{}", outcome.stderr);
    assert!(String::from_utf8(outcome.stdout).unwrap().contains(r#""event":"summary""#));
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn bytes_go_to_standard_output_and_the_summary_does_not() {
    let place = Place::new();
    place.write("m.safetensors", safetensors(&[("t", "U8", &[3], &[1, 2, 3])]));
    for quiet in ["", "-q"] {
        let args = ["get", "m.safetensors", "t", "-o", "-", quiet];
        let outcome = place.at1w(args.strip_suffix(&[""]).unwrap_or(&args));
        assert_eq!((outcome.code, &*outcome.stdout), (0, &[1, 2, 3][..]));
        assert_eq!(
            outcome.stderr.contains("read 3 B of m.safetensors"),
            quiet.is_empty(),
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(place.names(), ["m.safetensors"]);
}

#[test]
fn a_signal_ends_the_wait_for_input_and_nothing_is_left() {
    let place = Place::new();
    std::fs::create_dir(place.path("tmp")).unwrap();
    for (signal, number) in [("-HUP", 1), ("-INT", 2), ("-TERM", 15)] {
        if ignores(number) {
            continue;
        }
        let mut command = Command::new(AT1W);
        command.args(["verify", "-"]).env("TMPDIR", place.path("tmp"));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // More than a pipe holds: it is read while the file is not complete.
        std::io::Write::write_all(&mut input, &[0; 1 << 20]).unwrap();
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = child.wait().unwrap();
        // A shell shows this as 128 and the number.
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(number));
    }
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}
