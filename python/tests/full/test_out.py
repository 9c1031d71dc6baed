"""Reading into tensors of torch and models that are there already."""

import at1w.torch
import pytest
import torch
from test_torch import assert_all_same


def saved(path, model):
    at1w.torch.save_model(model, path)
    return path


class Model(torch.nn.Module):
    """A model with all that a state has: tied weights, buffers, several dtypes, and a scalar."""

    def __init__(self, outputs=50):
        super().__init__()
        self.embed = torch.nn.Embedding(50, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.head = torch.nn.Linear(8, outputs, bias=False, dtype=torch.bfloat16)
        self.tied = torch.nn.Linear(8, 50)
        self.tied.weight = self.embed.weight
        self.register_buffer("ids", torch.arange(9))
        torch.nn.init.normal_(self.norm.running_mean)


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(params=["at1w", "safetensors"])
def suffix(request):
    return request.param


def test_tensors_are_filled_and_returned(tmp_path, suffix):
    tensors = {"a": torch.randn(300, 400), "b": torch.randn(7).bfloat16(), "c": torch.tensor(2.5)}
    path = tmp_path / f"model.{suffix}"
    at1w.torch.save_file(tensors, path)
    out = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    version = out["a"]._version
    loaded = at1w.torch.load_file(path, out=out)
    assert all(loaded[name] is tensor for name, tensor in out.items())
    assert_all_same(loaded, tensors)
    # Autograd would find out.
    assert out["a"]._version > version
    zero = torch.zeros(300, 400)
    for wrong, message in [
        (zero.T, "of shape"),
        (torch.zeros(400, 300).T, "contiguous"),
        (zero.double(), "has torch.float64"),
        (torch.zeros(1, 400).expand(300, 400), "contiguous"),
        (torch.empty(300, 400, device="meta"), "on meta"),
        (zero.numpy(), "not numpy.ndarray"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            at1w.torch.load_file(path, out={**out, "a": wrong})
    shared = torch.zeros(300 * 400 + 7)
    both = {"a": shared[: 300 * 400].view(300, 400), "c": shared[5].view(())}
    with at1w.safe_open(path, "pt") as f, pytest.raises(ValueError, match="also that of"):
        f.get_tensors(out=both)
    assert not shared.any()


def test_models_take_tensors_in_their_memory(tmp_path, suffix, monkeypatch):
    model = Model()
    path = saved(tmp_path / f"model.{suffix}", model)
    loaded = Model()
    memory = {name: tensor.data_ptr() for name, tensor in loaded.state_dict().items()}

    def refused(*_arguments, **_options):
        raise AssertionError("nothing is loaded first")

    with monkeypatch.context() as patch:
        patch.setattr(at1w.torch, "load_file", refused)
        assert at1w.torch.load_model(loaded, path) == (set(), [])
    assert_all_same(loaded.state_dict(), model.state_dict())
    assert {name: t.data_ptr() for name, t in loaded.state_dict().items()} == memory
    assert loaded.tied.weight is loaded.embed.weight
    # Another dtype, and memory that is not contiguous, are copied to.
    other = Model()
    other.head = other.head.double()
    other.embed.weight.data = torch.zeros(8, 50).T
    other.tied.weight = other.embed.weight
    assert at1w.torch.load_model(other, path) == (set(), [])
    assert torch.equal(other.embed.weight, model.embed.weight)
    assert torch.equal(other.head.weight, model.head.weight.double())


def test_nothing_changes_where_a_model_does_not_fit(tmp_path, suffix):
    path = saved(tmp_path / f"model.{suffix}", Model())
    wide, more, less = Model(outputs=51), Model(), Model()
    more.more = torch.nn.Linear(2, 2)
    del less.head
    for model, message in [
        (wide, r"size mismatch for head.weight: copying a param with shape .*\[50, 8\]"),
        (more, "Missing key.*more.bias"),
        (less, "Unexpected key.*head.weight"),
    ]:
        before = copied(model)
        with pytest.raises(RuntimeError, match=message):
            at1w.torch.load_model(model, path)
        assert_all_same(model.state_dict(), before)
    missing, unexpected = at1w.torch.load_model(more, path, strict=False)
    assert (missing, unexpected) == ({"more.weight", "more.bias"}, [])
    # A file without the counter of a norm is whole, as torch has it.
    state = copied(Model().norm)
    del state["num_batches_tracked"]
    at1w.torch.save_file(state, tmp_path / "norm.safetensors")
    norm = torch.nn.BatchNorm1d(8)
    assert at1w.torch.load_model(norm, tmp_path / "norm.safetensors") == (set(), [])


def test_a_model_with_ways_of_its_own_is_loaded_its_way(tmp_path, suffix):
    class Doubling(torch.nn.Linear):
        def _load_from_state_dict(self, state, prefix, *rest):
            state = {name: 2 * tensor for name, tensor in state.items()}
            super()._load_from_state_dict(state, prefix, *rest)

    linear = torch.nn.Linear(3, 4)
    path = saved(tmp_path / f"model.{suffix}", linear)
    doubling = Doubling(3, 4)
    at1w.torch.load_model(doubling, path)
    assert torch.equal(doubling.weight, 2 * linear.weight)
    hooked, calls = torch.nn.Linear(3, 4), []
    hooked.register_load_state_dict_post_hook(lambda module, keys: calls.append(module))
    at1w.torch.load_model(hooked, path)
    assert calls == [hooked] and torch.equal(hooked.weight, linear.weight)


def test_damage_is_told(tmp_path):
    model = torch.nn.Sequential(*(torch.nn.Linear(700, 700) for _ in range(3)))
    path = saved(tmp_path / "model.at1w", model)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    loaded = torch.nn.Sequential(*(torch.nn.Linear(700, 700) for _ in range(3)))
    with pytest.raises(at1w.IntegrityError, match="some is old or zero"):
        at1w.torch.load_model(loaded, path)
