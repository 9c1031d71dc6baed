"""The commands of the README."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

from conftest import AT1W, free_port, weights

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


def test_from_nothing_to_a_model(tmp_path):
    text = README.read_text().split("## Run a registry")[1]
    commands = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].strip().splitlines()
    assert len(commands) == 3
    loads = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    if not loads:
        # Without them the model is fetched, and not made.
        commands[2] = re.sub(r'python -c .*', "hf download lab/minilm --local-dir back", commands[2])
    model = tmp_path / "minilm"
    model.mkdir()
    if loads:
        from test_models import MAKE

        made = MAKE.format(single=str(model), sharded=str(tmp_path / "sharded"))
        subprocess.run([sys.executable, "-c", made], check=True, capture_output=True)
    else:
        weights(model / "model.safetensors", 2)
    wait = "until curl -sf http://127.0.0.1:8080/healthz; do sleep 0.1; done"
    script = ["trap 'kill %1' EXIT", commands[0], wait, *commands[1:]]
    script = "\n".join(script).replace("8080", str(free_port()))
    script = script.replace("at1w serve models", f"'{AT1W}' serve models --listen 127.0.0.1:PORT")
    port = re.search(r"127.0.0.1:(\d+)", script)[1]
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")}
    environment.pop("HF_TOKEN", None)
    done = subprocess.run(["bash", "-euc", script.replace("PORT", port)], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
