"""Of a checkpoint with experts and one of adapters, what is fetched is what is asked for."""

import numpy as np
import pytest
from conftest import assert_same

import at1w
import at1w.numpy

# Index of the file, and what each tensor has beside its chunks: model and chunk table.
OVERHEAD = 100_000


def weights(*shape):
    random = np.random.default_rng(sum(shape))
    return random.normal(0, 0.02, shape).astype(np.float16)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two layers of experts: stacked in one tensor, and a tensor for each."""
    tensors = {"layers.0.experts.up": weights(32, 512, 512)}
    for expert in range(32):
        tensors[f"layers.1.experts.{expert}.up"] = weights(512, 512)
        tensors[f"layers.1.experts.{expert}.down"] = weights(512, 512)
    path = tmp_path_factory.mktemp("experts") / "model.at1w"
    at1w.numpy.save_file(tensors, path)
    return path, tensors


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Adapters of low rank for several tasks."""
    tensors = {
        f"{task}.layers.{layer}.{part}": weights(*shape)
        for task in ("chat", "code", "math")
        for layer in range(12)
        for part, shape in (("lora_A", (16, 2048)), ("lora_B", (2048, 16)))
    }
    path = tmp_path_factory.mktemp("adapters") / "adapters.at1w"
    at1w.numpy.save_file(tensors, path)
    return path, tensors


def fetched(path, tensors, names, index=None):
    """How many bytes of the file it takes to read these tensors, or a part of each."""
    with at1w.safe_open(path, "np") as f:
        for name in names:
            part = f.get_tensor(name) if index is None else f.get_slice(name)[index]
            assert_same(part, tensors[name] if index is None else tensors[name][index])
        return f.bytes_read


def test_one_expert_of_a_stack(experts):
    path, tensors = experts
    stacked = tensors["layers.0.experts.up"]
    # An expert is a chunk.
    assert fetched(path, tensors, ["layers.0.experts.up"], 7) < stacked[7].nbytes + OVERHEAD


def test_one_separate_expert(experts):
    path, tensors = experts
    names = [f"layers.1.experts.7.{part}" for part in ("up", "down")]
    assert fetched(path, tensors, names) < sum(tensors[n].nbytes for n in names) + OVERHEAD


def test_one_layer(experts):
    path, tensors = experts
    names = [name for name in tensors if name.startswith("layers.1.")]
    assert fetched(path, tensors, names) < sum(tensors[n].nbytes for n in names) + OVERHEAD


def test_one_adapter(adapters):
    path, tensors = adapters
    names = [name for name in tensors if name.startswith("code.")]
    assert fetched(path, tensors, names) < sum(tensors[n].nbytes for n in names) + OVERHEAD
