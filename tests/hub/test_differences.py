"""What unmodified clients commit becomes differences by itself."""

import json
import subprocess
import time

import pytest
from conftest import AT1W, same, weights
from test_clients import upload


def used(server):
    done = subprocess.run(
        [AT1W, "store", "stats", server.store, "--json"], capture_output=True, check=True
    )
    return sum(namespace["used_bytes"] for namespace in json.loads(done.stdout)["namespaces"])


@pytest.mark.parametrize("way", ["xet", "lfs"])
@pytest.mark.parametrize("every", [1, 0])
def test_a_tuned_model_takes_little_in_the_end(make, home, tmp_path, way, every):
    server = make(f"[differences]\nevery = {every}")
    more = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder in (base, tuned):
        folder.mkdir()
        weights(folder / "model.safetensors", 8)
    content = bytearray((tuned / "model.safetensors").read_bytes())
    for at in range(len(content) - 6_000_000, len(content), 10):
        content[at - at % 2] ^= 1
    (tuned / "model.safetensors").write_bytes(content)
    (tuned / "README.md").write_text("---\nbase_model: lab/base\n---\n# Tuned\n")
    upload(server, home, base, repo="lab/base", **more)
    first = used(server)
    upload(server, home, tuned, repo="lab/tuned", **more)
    most = first * 13 // 10
    # It has become differences by then already, or will.
    for _ in range(300 if every else 40):
        if used(server) < most:
            break
        time.sleep(0.1)
    assert (used(server) < most) == bool(every), server.tail()
    for name, folder in (("base", base), ("tuned", tuned)):
        back = tmp_path / f"back-{name}"
        command = ("hf", "download", f"lab/{name}", "--local-dir", str(back))
        server.run(tmp_path / "other", *command, **more)
        same(folder, back)
    done = subprocess.run([AT1W, "store", "scrub", server.store], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
