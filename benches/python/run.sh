#!/usr/bin/env bash
# Prints what loading with the Python package costs, beside SHA-256, zipnn and safetensors, in one
# session. Needs Rust, Python and a C compiler; everything else is fetched.
source "$(dirname "$0")/../../scripts/lib.sh"

scripts/corpus.sh
use_venv "$target/python-bench"
pip install --requirement benches/python/requirements.txt
pip install --force-reinstall --no-deps ./python
exec "$python" benches/python/bench.py corpus
