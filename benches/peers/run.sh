#!/usr/bin/env bash
# Prints tables of at1w and its peers on the bf16 files of the corpus, in one session. Needs Rust,
# Python and a C compiler; peers come from PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts/corpus.sh
venv="${CARGO_TARGET_DIR:-target}/peers"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
# One by one: a peer that can't be installed is named in the table, and the others are measured.
grep -v '^#' benches/peers/requirements.txt | while read -r package; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package" ||
        echo "could not install $package" >&2
done
cargo build --quiet --release --locked --package at1w-benches --bin table
# Nearly all of minilm-int8 is no bf16.
GLOBIGNORE=corpus/minilm-int8.*
"$venv/bin/python" benches/peers/peers.py "${CARGO_TARGET_DIR:-target}/release/table" corpus/*.bf16.safetensors
