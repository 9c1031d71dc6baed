#!/usr/bin/env bash
# Runs the tests: the Rust workspace, and the reference decoder on the golden files and on a real
# model. Needs Rust and Python; everything else is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --workspace --locked
cargo run --quiet --locked --package at1w-codec --example store

cargo build --release --locked --package at1w
scripts/corpus.sh minilm-l6-v2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CARGO_TARGET_DIR:-target}/release/at1w" --quiet pack corpus/minilm-l6-v2.bf16.safetensors -o "$work/minilm.at1w"
AT1W_MINILM="$work/minilm.at1w" .venv/bin/python -m unittest discover -v -s tests/reference
