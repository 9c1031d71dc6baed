#!/usr/bin/env bash
# Runs corpus.py, with the arguments given, in a virtual environment that has its requirements.
source "$(dirname "$0")/lib.sh"

use_venv .venv
# The copy is written last: an installation that was cut short is done again.
if ! cmp -s scripts/requirements.txt .venv/requirements.txt; then
    pip install --requirement scripts/requirements.txt
    cp scripts/requirements.txt .venv/
fi
exec "$python" scripts/corpus.py "$@"
