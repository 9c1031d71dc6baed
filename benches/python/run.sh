#!/usr/bin/env bash
# Prints what loading with the Python package costs, beside SHA-256, zipnn and safetensors, in one
# session, and what the installed hook adds to the start of Python. Needs Rust, Python and a C compiler; everything else is fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts/corpus.sh
venv=target/python-bench
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
pip --requirement benches/python/requirements.txt
pip --force-reinstall --no-deps ./python
"$venv/bin/python" benches/python/bench.py corpus
"$venv/bin/python" benches/python/start.py
