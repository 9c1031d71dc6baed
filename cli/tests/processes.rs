//! Several processes on one store, and processes that are killed: nothing that was acknowledged is
//! lost. In a directory; with `ci/bucket` in a bucket as well.

mod common;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Place, model};
use serde_json::Value;

fn push(place: &Place, store: &str, source: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
    command.current_dir(place.path("."));
    command.args(["--threads", "1", "push", source, store, "lab/model", "--json", "-q"]);
    command
}

/// Does some work while a collector runs, with the shortest grace that leases allow.
fn collecting<T>(place: &Place, store: &str, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                place.ok(&["--threads", "1", "store", "gc", store, "--grace", "1h"]);
            }
        });
        let done = catch_unwind(AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        collector.join().unwrap();
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Pushes `each` files by each of `writers` processes at a time, all into one branch.
fn race(place: &Place, store: &str, writers: usize, each: usize) {
    place.ok(&["store", "init", store]);
    let pushing = || {
        thread::scope(|scope| {
            let writer = |writer: usize| {
                move || {
                    let one = |n: usize| {
                        let path = format!("w{writer}/{writer}-{n}.txt");
                        place.write(&path, format!("{writer} {n}"));
                        let output = push(place, store, &path).output().unwrap();
                        let error = String::from_utf8_lossy(&output.stderr).into_owned();
                        assert!(output.status.success(), "{error}");
                        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
                        summary["commit"].as_str().unwrap().to_owned()
                    };
                    (0..each).map(one).collect::<Vec<_>>()
                }
            };
            let threads: Vec<_> = (0..writers).map(|n| scope.spawn(writer(n))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    };
    let acknowledged: Vec<String> = collecting(place, store, pushing);
    assert_eq!(acknowledged.len(), writers * each);
    let log = place.ok(&["repo", "log", store, "lab/model", "--json"]);
    let log: Value = serde_json::from_slice(&log).unwrap();
    let commits: BTreeSet<_> =
        log["commits"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(commits.len(), acknowledged.len());
    assert!(acknowledged.iter().all(|commit| commits.contains(commit.as_str())));
    place.ok(&["pull", store, "lab/model", "-o", "all"]);
    assert_eq!(std::fs::read_dir(place.path("all")).unwrap().count(), writers * each);
    place.ok(&["store", "check", store]);
}

/// Kills pushes at random moments; a collector runs all the while.
fn kill(place: &Place, store: &str, kills: u64) {
    place.ok(&["store", "init", store]);
    let acknowledged = collecting(place, store, || kill_pushes(place, store, kills));
    place.ok(&["store", "check", store]);
    place.ok(&["store", "scrub", store]);
    place.ok(&["pull", store, "lab/model", "-o", "all"]);
    for n in &acknowledged {
        let name = format!("{n}.safetensors");
        assert_eq!(place.read(&format!("all/{name}")), place.read(&format!("w/{name}")));
    }
    // What the killed have left behind goes once they are given up.
    let leases = place.path(&format!("{store}/leases"));
    if leases.exists() {
        std::fs::remove_dir_all(&leases).unwrap();
        place.ok(&["store", "gc", store, "--grace", "0s"]);
        let stats = place.ok(&["store", "stats", store, "--json"]);
        let stats: Value = serde_json::from_slice(&stats).unwrap();
        let packs = std::fs::read_dir(place.path(&format!("{store}/packs/lab"))).unwrap();
        let packs: u64 = packs.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(stats["namespaces"][0]["used_bytes"].as_u64().unwrap(), packs);
        place.ok(&["store", "scrub", store]);
    }
}

/// Pushes, and kills each push at a random moment; returns those that were acknowledged.
fn kill_pushes(place: &Place, store: &str, kills: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut took = Duration::from_millis(300);
    for n in 0..kills {
        let source = format!("w/{n}.safetensors");
        place.write(&source, model(n));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = took.mul_f64((random >> 40) as f64 / (1 << 24) as f64 * 1.2);
        let begin = Instant::now();
        let mut command = push(place, store, &source);
        let mut child: Child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        while begin.elapsed() < wait && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            took = begin.elapsed();
        }
        if !output.stdout.is_empty() {
            acknowledged.push(n);
        }
        if n == 0 {
            place.write("w/first.safetensors", model(1000));
            assert!(push(place, store, "w/first.safetensors").status().unwrap().success());
        }
    }
    acknowledged
}

#[test]
fn processes_share_a_directory() {
    race(&Place::new(), "models", 4, 5);
}

#[test]
fn a_process_that_is_killed_loses_nothing() {
    kill(&Place::new(), "models", 12);
}

#[test]
#[ignore = "takes a minute: ci/full"]
fn many_processes_share_a_directory() {
    race(&Place::new(), "models", 8, 20);
}

#[test]
#[ignore = "takes a minute: ci/full"]
fn many_processes_are_killed() {
    kill(&Place::new(), "models", 50);
}

/// A place of its own in the bucket of `AT1W_BUCKET`.
fn bucket(name: &str) -> Option<String> {
    Some(format!("{}/{name}-{}", std::env::var("AT1W_BUCKET").ok()?, std::process::id()))
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn many_processes_share_a_bucket() {
    let Some(store) = bucket("race") else { return };
    race(&Place::new(), &store, 8, 20);
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn many_processes_are_killed_in_a_bucket() {
    let Some(store) = bucket("kill") else { return };
    kill(&Place::new(), &store, 50);
}
