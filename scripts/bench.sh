#!/usr/bin/env bash
# Prints the tables of docs/BENCHMARKS.md, measured here and now. Needs Rust and Python.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/corpus.sh whisper-tiny minilm-l6-v2
cargo run --quiet --release --locked --package at1w-benches --bin table
