#!/usr/bin/env bash
# Prints tables of at1w and its peers on the bf16 files of the corpus, in one session. Needs Rust,
# Python and a C compiler; peers come from PyPI.
source "$(dirname "$0")/../../scripts/lib.sh"

scripts/corpus.sh
use_venv "$target/peers"
# One by one: a peer that can't be installed is named in the table, and the others are measured.
grep -v '^#' benches/peers/requirements.txt | while read -r package; do
    pip install "$package" || echo "could not install $package" >&2
done
cargo build --quiet --release --locked --package at1w-benches --bin table
# Nearly all of minilm-int8 is no bf16.
GLOBIGNORE='corpus/minilm-int8.*'
"$python" benches/peers/peers.py "$target/release/table" corpus/*.bf16.safetensors
