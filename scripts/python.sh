#!/usr/bin/env bash
# Installs the Python package into a virtual environment of its own and runs its tests. With --all
# also those that need torch and transformers, and the tests of safetensors itself. Needs Rust and
# Python; everything else is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

all=${1-}
venv=target/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pip() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"; }

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
pip "$venv" --requirement python/tests/requirements.txt
pip "$venv" --force-reinstall --no-deps ./python
scripts/corpus.sh minilm-l6-v2 silero-vad-16k
"$venv/bin/python" -m pytest --quiet python/tests

# The example of the README, where nothing else is installed.
python3 -m venv "$work/fresh"
pip "$work/fresh" ./python
"$work/fresh/bin/python" python/tests/examples.py README.md

[ "$all" = --all ] || exit 0
pip "$venv" --requirement python/tests/full/requirements.txt
"$venv/bin/python" -m pytest --quiet python/tests/full

# The tests of safetensors as they are published. They write to the folder that they run in.
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check \
    --no-deps --no-binary safetensors --dest "$work" safetensors==0.8.0
tar -xzf "$work"/safetensors-0.8.0.tar.gz -C "$work"
cp python/tests/upstream/conftest.py "$work/safetensors-0.8.0/bindings/python/"
python=$PWD/$venv/bin/python
cd "$work/safetensors-0.8.0/bindings/python"
for packed in 0 1; do
    AT1W_PACKED=$packed "$python" -m pytest --quiet tests
done
