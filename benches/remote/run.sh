#!/usr/bin/env bash
# Measures reading by URL, over lines of given rates and delays.
source "$(dirname "$0")/../../scripts/lib.sh"

use_venv "$target/bench-remote"
pip install --requirement benches/remote/requirements.txt
pip install --force-reinstall --no-deps ./python
AT1W_CACHE=off "$python" benches/remote/bench.py "$target/bench-remote-files"
