#!/usr/bin/env bash
# Builds the wheel of this machine's system into target/wheels, and runs the examples of the README
# with it where nothing else is installed. One wheel serves every Python from 3.9 on.
source "$(dirname "$0")/lib.sh"

make_work
use_venv "$target/wheel"
pip install 'maturin[zig]>=1.16,<2'
options=()
# zig links with an old glibc, so that the wheel runs on old distributions as well.
[[ $(uname) != Linux ]] || options=(--compatibility manylinux2014 --zig)
rm -rf "$target/wheels"
# maturin finds zig through the python on PATH.
PATH=${python%/*}:$PATH maturin build --release --locked --manifest-path python/Cargo.toml \
    --out "$target/wheels" ${options[@]+"${options[@]}"}

use_venv "$work/fresh"
pip install "$target"/wheels/*.whl
"$python" python/tests/examples.py README.md
