"""Real models as published, packed and read back. `scripts/corpus.sh` fetches them."""

from pathlib import Path

import pytest
import safetensors.numpy
from conftest import assert_all_same

import at1w
import at1w.numpy

CORPUS = Path(__file__).resolve().parents[2] / "corpus"


@pytest.mark.parametrize("name", ["minilm-l6-v2", "silero-vad-16k"])
def test_published_model(name, tmp_path):
    original, packed = CORPUS / f"{name}.safetensors", tmp_path / "model.at1w"
    at1w.pack(original, packed)
    tensors = safetensors.numpy.load_file(original)
    assert_all_same(at1w.numpy.load_file(packed), tensors)
    at1w.convert_safetensors(packed, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == original.read_bytes()
