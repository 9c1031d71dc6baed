#!/usr/bin/env bash
# Installs the Python package into a virtual environment of its own and runs its tests. With --all
# also those that need torch and transformers, and the tests of safetensors itself. Needs Rust and
# Python; everything else is fetched.
source "$(dirname "$0")/lib.sh"

make_work
use_venv "$target/python"
pip install --requirement python/tests/requirements.txt
pip install --force-reinstall --no-deps ./python
scripts/corpus.sh minilm-l6-v2 silero-vad-16k
"$python" -m pytest --quiet python/tests

# The example of the README, where nothing else is installed.
use_venv "$work/fresh"
pip install ./python
"$python" python/tests/examples.py README.md

[[ ${1-} == --all ]] || exit 0
use_venv "$target/python"
pip install --requirement python/tests/full/requirements.txt
"$python" -m pytest --quiet python/tests/full

# The tests of safetensors as they are published. They write to the folder that they run in.
pip download --no-deps --no-binary safetensors --dest "$work" safetensors==0.8.0
tar -xzf "$work"/safetensors-0.8.0.tar.gz -C "$work"
cp python/tests/upstream/conftest.py "$work/safetensors-0.8.0/bindings/python/"
cd "$work/safetensors-0.8.0/bindings/python"
for packed in 0 1; do
    AT1W_PACKED=$packed "$python" -m pytest --quiet tests
done
