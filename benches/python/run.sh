#!/usr/bin/env bash
# Prints what loading with the Python package costs, beside SHA-256, zipnn and safetensors, in one
# session, and what the installed hook adds to the start of Python. Needs Rust, Python and a C
# compiler; everything else is fetched.
source "$(dirname "$0")/../../scripts/lib.sh"

scripts/corpus.sh
use_venv "$target/python-bench"
pip install --requirement benches/python/requirements.txt
pip install --force-reinstall --no-deps ./python
"$python" benches/python/bench.py corpus
"$python" benches/python/start.py
