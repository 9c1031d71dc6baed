//! Work that is cut short leaves nothing behind.
#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use common::{Place, ignores, model, safetensors};
use serde_json::{Value, json};

const AT1W: &str = env!("CARGO_BIN_EXE_at1w");

/// Writes a model of 16 GiB of zeros, which take no room on disk, but long to pack.
fn write_large_model(place: &Place, name: &str) {
    const LEN: u64 = 16 << 30;
    // The header is made for no data, and then says how much there is.
    let small = safetensors(&[("zeros", "F32", &[0], &[])]);
    let json = std::str::from_utf8(&small[8..]).unwrap();
    let json = json
        .replace(r#""shape":[0]"#, &format!(r#""shape":[{}]"#, LEN / 4))
        .replace(r#"[0,0]"#, &format!("[0,{LEN}]"));
    place.write(name, [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat());
    let file = File::options().write(true).open(place.path(name)).unwrap();
    file.set_len(8 + json.len() as u64 + LEN).unwrap();
}

/// The signals that end a command, each with its exit code.
const SIGNALS: [(&str, i32); 3] = [("-HUP", 129), ("-INT", 130), ("-TERM", 143)];

/// Returns the signals that the commands of this process do not ignore.
fn signals() -> impl Iterator<Item = (&'static str, i32)> {
    SIGNALS.into_iter().filter(|(_, code)| !ignores(code - 128))
}

/// Sends a signal once there is a temporary file, and expects the process to clean up and to tell
/// the signal by its exit code.
fn interrupt(place: &Place, mut child: Child, (signal, code): (&str, i32)) {
    while !place.names().iter().any(|name| name.starts_with('.')) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        std::thread::yield_now();
    }
    send(&child, signal);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{signal}");
    assert_eq!(output.stderr, b"at1w: error: interrupted\n");
}

fn send(child: &Child, signal: &str) {
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

fn start(place: &Place, args: &[&str]) -> Child {
    let mut command = Command::new(AT1W);
    command.args(args).current_dir(place.path("")).stderr(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn signals_leave_no_partial_file() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    for signal in signals() {
        interrupt(&place, start(&place, &["pack", "large.safetensors"]), signal);
    }
    assert_eq!(place.names(), ["large.safetensors"]);
}

#[test]
fn signals_leave_no_partial_directory() {
    let place = Place::new();
    place.write("repo/a.safetensors", model(1));
    write_large_model(&place, "repo/large.safetensors");
    for signal in signals() {
        interrupt(&place, start(&place, &["pack", "repo"]), signal);
    }
    assert_eq!(place.names(), ["repo"]);
}

#[test]
fn a_report_has_what_was_measured_before_the_signal() {
    let place = Place::new();
    place.write("all/a.safetensors", model(1));
    write_large_model(&place, "all/large.safetensors");
    let args = ["measure", "all", "-o", "report.json", "--force", "--scratch", "."];
    for (signal, code) in signals() {
        let child = start(&place, &args);
        // The first file has its line when the second is being packed.
        let journal = || fs::read_to_string(place.path("report.json.journal")).unwrap_or_default();
        while journal().lines().count() < 2 {
            std::thread::yield_now();
        }
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{signal}");
        let report: Value = serde_json::from_slice(&place.read("report.json")).unwrap();
        assert_eq!((&report["complete"], &report["total"]["files"]), (&json!(false), &json!(1)));
        assert_eq!(report["found_files"], 2);
        fs::remove_file(place.path("report.json.journal")).unwrap();
    }
    assert_eq!(place.names(), ["all", "report.json"]);
}

/// The signals that the process catches ("SigCgt:") or ignores ("SigIgn:"), as Linux tells: signal
/// N by bit N - 1.
#[cfg(target_os = "linux")]
fn signal_mask(child: &Child, kind: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap()
}

/// Waits until the process catches signals.
#[cfg(target_os = "linux")]
fn wait_until_caught(child: &mut Child) {
    const SIGTERM: u64 = 1 << 14;
    while signal_mask(child, "SigCgt:") & SIGTERM == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn commands_that_only_read_tell_the_signal_too() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    let digest = "00".repeat(32);
    for args in [
        &["verify", "large.safetensors", "--sha256", &digest][..],
        // Which is neither a difference nor trouble.
        &["diff", "large.safetensors", "large.safetensors"],
    ] {
        for (signal, code) in signals() {
            let mut child = start(&place, args);
            wait_until_caught(&mut child);
            send(&child, signal);
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{args:?}: {signal}");
            assert_eq!(output.stderr, b"at1w: error: interrupted\n", "{args:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_goes_before_damage() {
    let place = Place::packed();
    place.write("models/cut.at1w", &place.read("model.at1w")[..1000]);
    write_large_model(&place, "models/large.safetensors");
    let args = ["diff", "models", "models"];
    for (signal, code) in signals() {
        let mut child = start(&place, &args);
        wait_until_caught(&mut child);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
    fs::remove_file(place.path("models/large.safetensors")).unwrap();
    place.fails(&args, 3, "cut.at1w");
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    let script = format!("trap '' HUP; exec {AT1W} pack large.safetensors");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(place.path("")).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while temporaries(&place).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
        std::thread::yield_now();
    }
    assert_eq!(signal_mask(&child, "SigIgn:") & 1, 1);
    send(&child, "-HUP");
    interrupt(&place, child, ("-TERM", 143));
    assert_eq!(place.names(), ["large.safetensors"]);
}

/// A limit on the size of files stands in for a full disk.
fn with_little_space(place: &Place, args: &str) -> common::Outcome {
    // Without the trap the limit would kill the process.
    let script = format!("trap '' XFSZ; ulimit -f 100; exec {AT1W} {args}");
    place.run(Command::new("sh").args(["-c", &script]))
}

#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    let place = Place::new();
    place.write("model.safetensors", model(1));
    fs::create_dir(place.path("repo")).unwrap();
    fs::copy(place.path("model.safetensors"), place.path("repo/model.safetensors")).unwrap();
    place.ok(&["pack", "model.safetensors", "-o", "packed"]);
    for args in [
        "pack model.safetensors",
        "pack repo",
        "unpack packed -o out",
        "get packed embed.weight -o out",
        "get packed embed.weight -o out.npy",
    ] {
        let outcome = with_little_space(&place, args);
        assert_eq!(outcome.code, 1, "{args}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("File too large"), "{args}: {}", outcome.stderr);
    }
    assert_eq!(place.names(), ["model.safetensors", "packed", "repo"]);
    // What is replaced stays until its successor is complete.
    let before = place.read("packed");
    assert_eq!(with_little_space(&place, "pack model.safetensors -o packed --force").code, 1);
    assert_eq!(place.read("packed"), before);
}

/// The temporary files and directories.
fn temporaries(place: &Place) -> Vec<String> {
    place.names().into_iter().filter(|name| name.ends_with(".at1w-tmp")).collect()
}

/// Starts a command, and waits until it has made a temporary one.
fn started(place: &Place, args: &[&str]) -> (Child, String) {
    let before = temporaries(place);
    let mut child = start(place, args);
    loop {
        match temporaries(place).into_iter().find(|name| !before.contains(name)) {
            Some(name) => return (child, name),
            None => assert!(child.try_wait().unwrap().is_none(), "it ended before"),
        }
    }
}

/// Kills once there is a temporary one, which stays.
fn kill(place: &Place, args: &[&str]) -> String {
    let (mut child, temporary) = started(place, args);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.names().contains(&temporary));
    temporary
}

#[test]
fn the_next_pack_removes_what_a_killed_one_left() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    place.write("model.safetensors", model(1));
    place.write("repo/model.safetensors", model(1));
    for (killed, next) in [
        (
            &["pack", "large.safetensors", "-o", "packed"],
            &["pack", "model.safetensors", "-o", "packed"],
        ),
        // What the directory is made of comes from another one than before.
        (&["pack", "large", "-o", "packed.dir"], &["pack", "repo", "-o", "packed.dir"]),
    ] {
        fs::create_dir_all(place.path("large")).unwrap();
        fs::copy(place.path("model.safetensors"), place.path("large/a.safetensors")).unwrap();
        let link = place.path("large/large.safetensors");
        if !link.exists() {
            std::os::unix::fs::symlink(place.path("large.safetensors"), link).unwrap();
        }
        let temporary = kill(&place, killed);
        assert!(!place.path(killed[3]).exists());
        // At most one: that of the first is removed before the second is killed.
        let second = kill(&place, killed);
        assert!(second != temporary && temporaries(&place).len() <= 2);
        place.ok(next);
        assert_eq!(temporaries(&place), [""; 0]);
        place.ok(&["verify", next[3]]);
    }
}

#[test]
fn writers_do_not_wait_for_each_other() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    place.write("model.safetensors", model(1));
    place.write("packed", "what was there before");
    let (mut first, temporary) =
        started(&place, &["pack", "large.safetensors", "-o", "packed", "--force"]);
    let second = ["pack", "model.safetensors", "-o", "packed", "--force"];
    place.ok(&second);
    place.ok(&["verify", "packed"]);
    // That of a living writer is no leftover.
    assert_eq!(temporaries(&place), [&*temporary]);
    first.kill().unwrap();
    first.wait().unwrap();
    place.ok(&second);
    assert_eq!(temporaries(&place), [""; 0]);
}

#[test]
fn many_writers_of_one_target() {
    let place = Place::new();
    place.write("model.safetensors", model(1));
    place.write("repo/model.safetensors", model(1));
    for source in ["model.safetensors", "repo"] {
        let args = ["pack", source, "-o", "packed"];
        let children: Vec<_> = (0..6).map(|_| start(&place, &args)).collect();
        let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
        let (done, refused): (Vec<_>, Vec<_>) = outputs.partition(|out| out.status.success());
        assert_eq!((done.len(), refused.len()), (1, 5));
        for output in refused {
            let message = String::from_utf8(output.stderr).unwrap();
            assert!(message.contains("packed exists already"), "{message}");
        }
        place.ok(&["verify", "packed"]);
        assert_eq!(temporaries(&place), [""; 0]);
        if source == "repo" {
            continue;
        }
        // To replace it, none is refused.
        let args = ["pack", source, "-o", "packed", "--force"];
        let children: Vec<_> = (0..6).map(|_| start(&place, &args)).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
        }
        place.ok(&["verify", "packed"]);
        assert_eq!(temporaries(&place), [""; 0]);
        fs::remove_file(place.path("packed")).unwrap();
    }
}

#[test]
fn a_source_that_shrinks_is_reported() {
    let place = Place::new();
    write_large_model(&place, "large.safetensors");
    let (child, _) = started(&place, &["pack", "large.safetensors"]);
    let file = File::options().write(true).open(place.path("large.safetensors")).unwrap();
    file.set_len(1 << 20).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "no signal ends it");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("large.safetensors: "), "{message}");
    assert_eq!(place.names(), ["large.safetensors"]);
}
