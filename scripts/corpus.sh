#!/usr/bin/env bash
# Runs corpus.py, with the arguments given, in a virtual environment that has
# what it needs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

requirements=scripts/requirements.txt
stamp=.venv/requirements.sha256

[ -x .venv/bin/pip ] || python3 -m venv .venv

# The stamp is written last: an installation that was cut short is done again.
if ! sha256sum --check --status "$stamp" 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    sha256sum "$requirements" >"$stamp"
fi

exec .venv/bin/python scripts/corpus.py "$@"
