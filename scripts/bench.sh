#!/usr/bin/env bash
# Prints the tables of docs/BENCHMARKS.md, measured here and now. Needs Rust and Python.
#
# "scripts/bench.sh levels" prints the tables of levels, over the whole corpus. It runs for half an
# hour, most of it xz -9e. "levels bytes" and "levels speeds" print the second and the third alone.
source "$(dirname "$0")/lib.sh"

if [ "${1-}" = levels ]; then
    scripts/corpus.sh
    exec cargo run --quiet --release --locked --package at1w-benches --bin levels -- "${@:2}"
fi
scripts/corpus.sh whisper-tiny minilm-l6-v2 minilm-int8
cargo run --quiet --release --locked --package at1w-benches --bin table
cargo run --quiet --release --locked --package at1w-benches --bin tiny
cargo run --quiet --release --locked --package at1w-benches --bin store
cargo run --quiet --release --locked --package at1w-benches --bin proof
