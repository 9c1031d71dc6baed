"""A store of model repositories."""

import json

import numpy as np
import pytest
from at1w import IntegrityError, Store
from at1w.numpy import save_file


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "minilm"
    folder.mkdir()
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.02, (300, 200)).astype("f4") for name in "abc"}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"layers": 3}))
    return folder, weights


def test_what_is_pushed_is_opened_and_pulled(model, tmp_path):
    folder, weights = model
    store = Store(tmp_path / "models")
    seen = []
    pushed = store.push(folder, "lab/minilm", progress=lambda done, total: seen.append(total))
    assert pushed["new"] and pushed["new_tensors"] == 3 and seen[-1] > 0
    with store.open("lab/minilm", "model.safetensors") as file:
        assert sorted(file.keys()) == ["a", "b", "c"]
        assert (file.get_tensor("b") == weights["b"]).all()
        assert (file.get_slice("c")[10:20] == weights["c"][10:20]).all()
    commit = store.pull("lab/minilm", tmp_path / "back")
    assert commit == pushed["commit"]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    (repo,) = store.repos()
    assert (repo.name, repo.commit, repo.files) == ("lab/minilm", commit, 2)


def test_revisions_are_compared(model, tmp_path):
    folder, weights = model
    store = Store(tmp_path / "models")
    first = store.push(folder, "lab/minilm", message="first")["commit"]
    weights["b"] = weights["b"] + 1
    weights["d"] = weights.pop("c")
    save_file(weights, folder / "model.safetensors")
    second = store.push(folder, "lab/minilm")
    assert second["new_tensors"] == 1
    difference = store.diff("lab/minilm", first, "main")
    assert difference == (["d"], ["c"], ["b"], 2)
    assert [commit["message"] for commit in store.log("lab/minilm")] == ["", "first"]
    assert store.scrub() == []
    store.repack("lab/minilm")
    assert store.scrub("lab/minilm") == []


def test_errors_say_what_is_wrong(model, tmp_path):
    folder, _ = model
    store = Store(tmp_path / "models")
    with pytest.raises(FileNotFoundError, match="no store"):
        store.repos()
    store.push(folder, "lab/minilm")
    with pytest.raises(FileNotFoundError, match="no such repository"):
        store.open("lab/other", "model.safetensors")
    with pytest.raises(FileNotFoundError, match="no file"):
        store.open("lab/minilm", "other.safetensors")
    with pytest.raises(ValueError, match="no name"):
        store.push(folder, "lab/..")
    with pytest.raises(IntegrityError, match="another revision"):
        store.pull("lab/minilm", tmp_path / "back", root="0" * 64)
