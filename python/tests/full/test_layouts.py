"""Whatever the memory of a tensor is like, its values are saved, or it is refused by name."""

import os

import at1w
import at1w.flax
import at1w.torch
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import torch
from torch._subclasses import FakeTensorMode

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32),
    *(torch.uint64, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2),
    *(torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
]
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor):
    """The same memory as integers, which every function of torch takes."""
    return tensor.view(INTEGERS[tensor.element_size()])


def raw(tensor):
    """The elements in row-major order."""
    return bits(tensor).contiguous().view(torch.uint8).numpy().tobytes()


def values(dtype, shape):
    """Any bits there are, those of NaNs among them."""
    size = torch.empty(0, dtype=dtype).element_size()
    limit = 2 if dtype is torch.bool else 256
    return torch.randint(0, limit, (*shape[:-1], shape[-1] * size), dtype=torch.uint8).view(dtype)


class Subclass(torch.Tensor):
    """One with memory of its own, like those of torchvision."""


# Each makes a tensor of the same values with memory of another kind.
DENSE = {
    "as it is": lambda tensor: tensor,
    "subclass": lambda tensor: tensor.as_subclass(Subclass),
    "parameter": lambda tensor: torch.nn.Parameter(tensor, requires_grad=False),
    "stride of a dimension of one": lambda tensor: tensor.as_strided((1, 4, 6), (7, 6, 1)),
}
PARTS = {
    "end of a larger one": lambda tensor: torch.cat([bits(tensor)] * 2)[4:].view(tensor.dtype),
    "middle": lambda tensor: torch.cat([bits(tensor)] * 3)[4:8].view(tensor.dtype),
}
STRIDED = {
    "transposed": lambda tensor: bits(tensor).t().contiguous().t().view(tensor.dtype),
    "channels last": lambda tensor: (
        bits(tensor).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last).view(tensor.dtype)
    ),
}


def made(layouts):
    """Tensors of every dtype with memory of these kinds, and the bytes of each."""
    torch.manual_seed(7)
    given, expected = {}, {}
    for dtype in DTYPES:
        for layout, arrange in layouts.items():
            name, tensor = f"{dtype} {layout}".replace(".", "-"), values(dtype, (4, 6))
            given[name], expected[name] = arrange(tensor), raw(tensor)
    return given, expected


def marked():
    """Tensors of which the memory is not the values, and the bytes of the values."""
    torch.manual_seed(7)
    given, expected = {}, {}

    def add(name, view, tensor):
        assert view.is_conj() or view.is_neg()
        assert torch.equal(view, tensor)
        given[name], expected[name] = view, raw(tensor)

    tensor = torch.randn(4, 6, dtype=torch.complex64)
    add("conjugate", tensor.conj_physical().conj(), tensor)
    add("negative and conjugate", torch._neg_view(-tensor.conj_physical()).conj(), tensor)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.int32):
        tensor = torch.randn(4, 6).mul(100).to(dtype)
        add(f"negative {dtype}".replace(".", "-"), torch._neg_view(-tensor), tensor)
    return given, expected


class Model(torch.nn.Module):
    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def save(tensors, path):
    path.write_bytes(at1w.torch.save(tensors))


def serialize(tensors, path):
    specs, _alive = at1w.torch._specs(tensors)
    path.write_bytes(at1w.serialize(specs))


def serialize_file(tensors, path):
    specs, _alive = at1w.torch._specs(tensors)
    at1w.serialize_file(specs, path)


def save_model(tensors, path):
    at1w.torch.save_model(Model(tensors), path, force_contiguous=False)


WRITERS = [
    *((save, "safetensors"), (serialize, "safetensors")),
    *((serialize_file, "safetensors"), (serialize_file, "at1w")),
    *((at1w.torch.save_file, "safetensors"), (at1w.torch.save_file, "at1w")),
    *((save_model, "safetensors"), (save_model, "at1w")),
]


def contents(path):
    """The bytes of each tensor, by a reader that is not ours."""
    if path.suffix == ".at1w":
        at1w.unpack(path)
    read = safetensors.deserialize(path.with_suffix(".safetensors").read_bytes())
    return {name: bytes(entry["data"]) for name, entry in read}


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_values_are_saved(tmp_path, write, suffix):
    # save_model takes no part of a memory that it would not save whole.
    layouts = DENSE if write is save_model else {**DENSE, **PARTS}
    for number, (given, expected) in enumerate((made(layouts), marked())):
        path = tmp_path / f"{number}.{suffix}"
        write(given, path)
        for name, tensor in at1w.torch.load_file(path).items():
            assert (tensor.dtype, tensor.shape) == (given[name].dtype, given[name].shape)
            assert raw(tensor) == expected[name]
        assert contents(path) == expected


@pytest.mark.parametrize("suffix", ["safetensors", "at1w"])
def test_what_is_not_contiguous(tmp_path, suffix):
    given, expected = made(STRIDED)
    path = tmp_path / f"model.{suffix}"
    for name, tensor in given.items():
        for write in (at1w.torch.save_file, serialize, save_model):
            with pytest.raises(ValueError, match=f'^tensor "{name}": .*non contiguous.*contiguous'):
                write({name: tensor}, path)
    assert os.listdir(tmp_path) == []
    at1w.torch.save_model(Model(given), path, level="fast")
    assert contents(path) == expected


@pytest.mark.parametrize("suffix", ["safetensors", "at1w"])
def test_models_with_marked_tensors_load_again(tmp_path, suffix):
    def model(tensor):
        return Model(
            {"a": tensor, "b": tensor.conj(), "c": tensor.t(), "d": torch._neg_view(tensor)}
        )

    saved, loaded = model(torch.randn(4, 4, dtype=torch.complex64)), model(torch.zeros(4, 4) + 0j)
    at1w.torch.save_model(saved, tmp_path / f"model.{suffix}")
    assert at1w.torch.load_model(loaded, tmp_path / f"model.{suffix}") == (set(), [])
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, saved.state_dict()[name])


class Wrapper(torch.Tensor):
    """One that has no memory but that of another tensor, like those of quantizers."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        return NotImplemented


def resized(size, tensor):
    tensor.untyped_storage().resize_(size)
    return tensor


def fake():
    with FakeTensorMode():
        return torch.zeros(3)


REFUSED = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "jagged": lambda: torch.nested.nested_tensor(
        [torch.zeros(2), torch.zeros(3)], layout=torch.jagged
    ),
    "mkldnn": lambda: torch.zeros(3, 3).to_mkldnn(),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
    "meta": lambda: torch.zeros(3, device="meta"),
    "fake": fake,
    "wrapper": lambda: Wrapper(torch.zeros(3)),
    "masked": lambda: torch.masked.masked_tensor(torch.zeros(3), torch.ones(3).bool()),
    "uninitialized": lambda: torch.nn.UninitializedParameter(),
    "freed": lambda: resized(0, torch.zeros(4, 6)),
    "shorter": lambda: resized(95, torch.zeros(4, 6)),
    "shorter conjugate": lambda: resized(95, torch.zeros(4, 3, dtype=torch.complex64).conj()),
    "shorter transposed": lambda: resized(95, torch.zeros(4, 6).t()),
    "expanded": lambda: torch.zeros(1, 3).expand(4, 3),
    "complex double": lambda: torch.zeros(3, dtype=torch.complex128),
    "complex half": lambda: torch.zeros(3, dtype=torch.complex32),
    "array": lambda: np.zeros(3),
    "list": lambda: [1.0],
    "nothing": lambda: None,
}

# Their messages name the tensor in the way of safetensors.
UPSTREAM = {"sparse", "csr", "expanded", "array", "list", "nothing"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_saved_is_refused_by_name(tmp_path, kind):
    tensors = {"good": torch.zeros(3), "layers.0.bad": REFUSED[kind]()}
    model = torch.nn.Module()
    model.state_dict = lambda: dict(tensors)
    for name in ("model.at1w", "model.safetensors"):
        for write in (
            lambda: at1w.torch.save_file(tensors, tmp_path / name),  # noqa: B023
            lambda: at1w.torch.save_model(model, tmp_path / name),  # noqa: B023
            lambda: at1w.torch.save(tensors),
        ):
            with pytest.raises((ValueError, RuntimeError, at1w.SafetensorError)) as error:
                write()
            assert "layers.0.bad" in str(error.value)
            if kind not in UPSTREAM:
                assert str(error.value).startswith('tensor "layers.0.bad": ')
    assert os.listdir(tmp_path) == []


JAX = [jnp.bool_, jnp.int8, jnp.uint32, jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64]
FLAX = [at1w.flax.save_file, lambda arrays, path: path.write_bytes(at1w.flax.save(arrays))]


@pytest.mark.parametrize(
    ("write", "suffix"), [(FLAX[0], "at1w"), (FLAX[0], "safetensors"), (FLAX[1], "safetensors")]
)
def test_arrays_of_jax(tmp_path, write, suffix):
    arrays = {}
    for dtype in JAX:
        array = jnp.arange(24).reshape(4, 6).astype(dtype)
        name = jnp.dtype(dtype).name
        arrays |= {f"{name}": array, f"{name} transposed": array.T, f"{name} reversed": array[::-1]}
        arrays |= {
            f"{name} broadcast": jnp.broadcast_to(array[0], (3, 6)),
            f"{name} part": array[1:, ::2],
        }
        # Arrays of numpy are taken as well.
        arrays[f"{name} numpy"] = np.asarray(array).T[::-1]
    path = tmp_path / f"model.{suffix}"
    write(arrays, path)
    expected = {name: np.asarray(array).tobytes() for name, array in arrays.items()}
    assert {
        name: np.asarray(a).tobytes() for name, a in at1w.flax.load_file(path).items()
    } == expected
    assert contents(path) == expected


@pytest.mark.parametrize(
    "bad",
    [jax.random.key(7), [1.0], None, np.ma.masked_array([1.0], [True]), jnp.zeros(3, jnp.int4)],
    ids=str,
)
def test_what_is_no_array_of_jax_is_refused_by_name(tmp_path, bad):
    with pytest.raises((TypeError, at1w.SafetensorError), match='^tensor "layers.0.bad": '):
        at1w.flax.save_file({"good": jnp.zeros(3), "layers.0.bad": bad}, tmp_path / "model.at1w")
    assert os.listdir(tmp_path) == []
