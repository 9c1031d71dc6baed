//! Running the real binary in a directory of its own.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory that is removed with it, in which commands run.
pub(crate) struct Place(TempDir);

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A place with `model.safetensors` and `model.at1w`.
    pub(crate) fn packed() -> Self {
        let place = Self::new();
        place.write("model.safetensors", model(1));
        place.ok(&["pack", "model.safetensors"]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Changes the byte at `offset`.
    pub(crate) fn flip(&self, name: &str, offset: usize) {
        let mut bytes = self.read(name);
        bytes[offset] ^= 1;
        self.write(name, bytes);
    }

    /// The names in the place itself, sorted, hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn at1w(&self, args: &[&str]) -> Outcome {
        // Without copies of remote files in the folder of the user.
        self.run(Command::new(env!("CARGO_BIN_EXE_at1w")).args(args).env("AT1W_CACHE", "off"))
    }

    pub(crate) fn run(&self, command: &mut Command) -> Outcome {
        let Output { status, stdout, stderr } =
            command.current_dir(self.0.path()).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        Outcome { code: status.code().expect("not killed"), stdout, stderr }
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> Vec<u8> {
        let Outcome { code, stdout, stderr } = self.at1w(args);
        assert_eq!(code, 0, "{args:?}: {stderr}");
        stdout
    }

    /// Runs a command that must fail with `code`, and says `problem`.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str], code: i32, problem: &str) -> Outcome {
        let outcome = self.at1w(args);
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(problem), "{args:?}: {}", outcome.stderr);
        outcome
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.ok(args)).unwrap()
    }
}

/// Whether this process ignores the signal with this number: what it starts would ignore it too, as
/// SIGHUP under `nohup`.
pub(crate) fn ignores(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

/// The bytes of a safetensors file of tensors of (name, dtype, shape, data).
pub(crate) fn safetensors(tensors: &[(&str, &str, &[u64], &[u8])]) -> Vec<u8> {
    let mut header = json!({"__metadata__": {"format": "pt"}});
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header[name] = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        data.extend_from_slice(bytes);
    }
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// Bytes much like bf16 weights: random mantissas, few exponents. Other seeds give other bytes.
pub(crate) fn weights(elements: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..elements).map(|_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 40) as u16;
        let exponent = 120 - (state >> 33).trailing_zeros().min(9) as u16;
        (random & 0x807f) | exponent << 7
    });
    words.flat_map(u16::to_le_bytes).collect()
}

/// A model of two tensors, `embed.weight` of several chunks, and `embed.bias`.
pub(crate) fn model(seed: u64) -> Vec<u8> {
    safetensors(&[
        ("embed.weight", "BF16", &[1000, 600], &weights(600_000, seed)),
        ("embed.bias", "BF16", &[600], &weights(600, seed + 1)),
    ])
}

/// Asserts that two trees hold the same.
#[track_caller]
pub(crate) fn assert_same_tree(a: &Path, b: &Path) {
    let output = Command::new("diff").arg("-r").args([a, b]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
