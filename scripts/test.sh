#!/usr/bin/env bash
# Runs the tests: the Rust workspace, and the reference decoder on the golden files and on a real
# model. Needs Rust and Python; everything else is fetched.
source "$(dirname "$0")/lib.sh"

# The benches have no tests; ci/lint compiles them.
cargo test --workspace --exclude at1w-benches --locked
cargo run --quiet --locked --package at1w-codec --example store

build_at1w
scripts/corpus.sh minilm-l6-v2
make_work
"$at1w" --quiet pack corpus/minilm-l6-v2.bf16.safetensors -o "$work/minilm.at1w"
use_venv .venv
AT1W_MINILM="$work/minilm.at1w" "$python" -m unittest discover -v -s tests/reference
