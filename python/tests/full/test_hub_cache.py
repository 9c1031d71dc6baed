"""A hub cache that was packed is one that unmodified programs load from, with the hook."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import at1w
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

LOAD = """
import sys, torch
from at1w import hook
hook.enable()
from transformers import AutoModelForCausalLM
from huggingface_hub import scan_cache_dir
model = AutoModelForCausalLM.from_pretrained("org/llama", revision=sys.argv[1])
torch.save(model.state_dict(), sys.argv[2])
assert {repo.repo_id for repo in scan_cache_dir().repos} == {"org/llama"}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A hub cache of one repository with two snapshots that share the weights."""
    root = tmp_path_factory.mktemp("cache")
    config = LlamaConfig(
        vocab_size=8000, hidden_size=512, num_hidden_layers=2, num_attention_heads=8,
        intermediate_size=1024,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(root / "saved")
    repo = root / "hub/models--org--llama"
    for revision in ("a" * 40, "b" * 40):
        snapshot = repo / "snapshots" / revision
        snapshot.mkdir(parents=True)
        for file in (root / "saved").iterdir():
            content = file.read_bytes()
            if file.name == "generation_config.json":
                content += b" " * len(list((repo / "snapshots").iterdir()))
            blob = repo / "blobs" / hashlib.sha256(content).hexdigest()
            blob.parent.mkdir(exist_ok=True)
            blob.write_bytes(content)
            (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text("b" * 40)
    return root / "hub"


def load(cache: Path, revision: str, out: Path):
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", LOAD, revision, out], env=environment, check=True)
    return torch.load(out)


def disk_use(folder: Path) -> int:
    return int(subprocess.check_output(["du", "-s", folder]).split()[0])


def test_a_packed_hub_cache_loads(cache, tmp_path):
    at1w.pack(cache, tmp_path / "packed")
    assert disk_use(tmp_path / "packed") <= 0.68 * disk_use(cache)
    snapshot = tmp_path / "packed/models--org--llama/snapshots" / ("a" * 40)
    assert all(file.is_symlink() for file in snapshot.iterdir())
    expected = load(cache, "main", tmp_path / "expected")
    # Nothing of the original is there to be read.
    moved = cache.rename(cache.with_name("moved"))
    try:
        for revision in ("main", "a" * 40):
            loaded = load(tmp_path / "packed", revision, tmp_path / "loaded")
            assert loaded.keys() == expected.keys()
            assert all(torch.equal(loaded[name], expected[name]) for name in expected)
    finally:
        moved.rename(cache)
    shutil.rmtree(tmp_path / "packed")
