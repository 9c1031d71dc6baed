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


def tune(folder):
    """Changes the last 6 MB of weights as a training would."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 6_000_000, len(content), 10):
        content[at - at % 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("way", ["xet", "lfs"])
@pytest.mark.parametrize("every", [1, 0])
def test_a_tuned_model_takes_little_in_the_end(make, home, tmp_path, way, every):
    server = make(f"[differences]\nevery = {every}")
    more = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for folder in (base, tuned):
        folder.mkdir()
        weights(folder / "model.safetensors", 8)
    tune(tuned)
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


def test_a_range_of_a_packed_form_costs_no_more_than_its_bytes(make, tmp_path):
    server = make("[differences]\nevery = 0")
    folder = tmp_path / "model"
    folder.mkdir()
    weights(folder / "model.safetensors", 8)
    push = [AT1W, "push", "-q", folder, server.store, "lab/model"]
    subprocess.check_call(push)
    tune(folder)
    subprocess.check_call(push)
    path = "/lab/model/resolve/main/model.safetensors?at1w=1&features=ffff"
    status, headers, whole = server.ask(path)
    assert status == 200

    def requests():
        text = server.ask("/metrics", token=server.admin)[2].decode()
        lines = [line for line in text.splitlines() if line.startswith("at1w_store_requests_total")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    before = requests()
    for at in range(0, len(whole), len(whole) // 20):
        status, again, part = server.ask(path, headers={"Range": f"bytes={at}-{at + 9}"})
        assert (status, part) == (206, whole[at : at + 10])
        assert again["ETag"] == headers["ETag"]
    # One looks for the next entry of the log; in a bucket, bytes take some as well.
    each = 4 if "://" in server.store else 1
    assert requests() - before <= 21 * each + 4
