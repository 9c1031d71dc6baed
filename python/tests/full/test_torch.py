"""Tensors of torch, in both formats."""

import os
import signal
import subprocess
import sys
import time

import at1w
import at1w.torch
import pytest
import safetensors.torch
import torch
from server import serving

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32),
    *(torch.uint64, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2),
    *(torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
]


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same(ours, theirs):
    assert (ours.dtype, ours.shape, ours.device) == (theirs.dtype, theirs.shape, theirs.device)
    assert torch.equal(raw(ours), raw(theirs))


def assert_all_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert_same(tensor, theirs[name])


@pytest.fixture(scope="module")
def tensors():
    torch.manual_seed(7)
    bytes = torch.randint(0, 2, (16, 64), dtype=torch.uint8)
    kinds = {str(dtype): bytes.clone().view(dtype) for dtype in DTYPES}
    large = torch.randn(3000, 900)
    return {**kinds, "large": large, "large.bf16": large.bfloat16(), "empty": torch.empty(0, 3)}


@pytest.fixture(scope="module", params=["at1w", "safetensors"])
def path(request, tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / f"model.{request.param}"
    at1w.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_load_file(path, tensors, backend):
    loaded = at1w.torch.load_file(path, backend=backend)
    assert loaded.keys() == tensors.keys()
    for name, tensor in loaded.items():
        assert_same(tensor, tensors[name])


def test_load(path, tensors):
    for name, tensor in at1w.torch.load(path.read_bytes()).items():
        assert_same(tensor, tensors[name])


def test_default_device_does_not_matter(path):
    with torch.device("meta"):
        assert at1w.torch.load_file(path)["large"].device.type == "cpu"


INDICES = [
    *(slice(None), slice(-10, None), slice(0, 9999), slice(5, 2), 7, -1, ..., (..., 3)),
    *((slice(3, 2000, 7), slice(None, -1, 2)), (5, 6), (), [], [1, 5], None, torch.tensor([2, 4])),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_slices_are_those_of_torch(path, tensors, index):
    with at1w.safe_open(path, "pt") as f:
        for name in ("large", "large.bf16"):
            assert_same(f.get_slice(name)[index], tensors[name][index])


@pytest.mark.parametrize("index", [3000, (0, 0, 0), slice(None, None, -1), 1.5], ids=str)
def test_bad_slices_are_refused_as_by_torch(path, tensors, index):
    with pytest.raises(Exception) as theirs:
        tensors["large"][index]
    with at1w.safe_open(path, "pt") as f, pytest.raises(theirs.type):
        f.get_slice("large")[index]


def test_negative_steps_say_what_to_do(path):
    with at1w.safe_open(path, "pt") as f:
        with pytest.raises(ValueError, match=r"step must be greater than zero: .*\.flip\(\)"):
            f.get_slice("large")[::-2]


def test_pinned_part(path, tensors):
    import hashlib

    digest = hashlib.sha256(tensors["large"].numpy().tobytes()).hexdigest()
    part = at1w.torch.load_tensor(path, "large", slice=(slice(-5, None), 3), sha256=digest)
    assert_same(part, tensors["large"][-5:, 3])


@pytest.mark.parametrize("device", ["nowhere", "meta", "cuda:x", 1.5])
def test_bad_devices(path, device):
    with pytest.raises(at1w.SafetensorError, match=f"device {device} is invalid"):
        at1w.safe_open(path, "pt", device)


def test_dtypes_that_torch_has_not(tmp_path):
    header = b'{"six":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}'
    path = tmp_path / "six.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"123")
    at1w.pack(path)
    for name in ("six.safetensors", "six.at1w"):
        with pytest.raises(
            at1w.SafetensorError, match=f'{name}: tensor "six": .*torch .* no .F6_E2M3'
        ):
            at1w.torch.load_file(tmp_path / name)


@pytest.mark.parametrize("suffix", ["at1w", "safetensors"])
def test_load_model_returns_what_safetensors_returns(tmp_path, suffix):
    def model(*names):
        return torch.nn.ModuleDict({name: torch.nn.Linear(3, 4) for name in names})

    at1w.torch.save_model(model("a", "b"), tmp_path / f"model.{suffix}")
    at1w.torch.save_model(model("a", "b"), tmp_path / "plain.safetensors")
    for names, strict in ((("a", "b"), True), (("b", "c", "d"), False)):
        loaded = model(*names)
        ours = at1w.torch.load_model(loaded, tmp_path / f"model.{suffix}", strict=strict)
        theirs = safetensors.torch.load_model(loaded, tmp_path / "plain.safetensors", strict=strict)
        assert [type(names) for names in ours] == [type(names) for names in theirs] == [set, list]
        assert (ours[0], sorted(ours[1])) == (theirs[0], sorted(theirs[1]))
    with pytest.raises(RuntimeError) as ours:
        at1w.torch.load_model(model("c"), tmp_path / f"model.{suffix}")
    with pytest.raises(RuntimeError) as theirs:
        safetensors.torch.load_model(model("c"), tmp_path / "plain.safetensors")
    assert str(ours.value) == str(theirs.value)


def test_models_are_streamed_into(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(50, 8)
            self.norm = torch.nn.BatchNorm1d(8)
            self.head = torch.nn.Linear(8, 50, bias=False)
            self.head.weight = self.embed.weight

    saved = Tied()
    with torch.no_grad():
        saved.norm.running_mean.normal_()
    at1w.torch.save_model(saved, tmp_path / "model.at1w")
    with serving(tmp_path) as server:
        for device in ("cpu", "meta"):
            with torch.device(device):
                loaded = Tied()
            source = tmp_path if device == "cpu" else f"{server.url}/model.at1w"
            assert at1w.torch.load_model_from(source, loaded) == (set(), [])
            assert loaded.head.weight is loaded.embed.weight
            assert isinstance(loaded.norm.running_mean, torch.Tensor)
            assert_all_same(loaded.state_dict(), saved.state_dict())
    # What the file lacks, and what the model does not use.
    other = torch.nn.ModuleDict({"norm": torch.nn.BatchNorm1d(8), "more": torch.nn.Linear(2, 2)})
    missing, unexpected = at1w.torch.load_model_from(tmp_path, other, strict=False)
    assert missing == {"more.weight", "more.bias"}
    assert len(unexpected) == 1
    with pytest.raises(RuntimeError, match="Missing key"):
        at1w.torch.load_model_from(tmp_path, other)
    wide = torch.nn.ModuleDict({"norm": torch.nn.BatchNorm1d(9)})
    with pytest.raises(RuntimeError, match="shape"):
        at1w.torch.load_model_from(tmp_path, wide, strict=False)
@pytest.mark.parametrize("suffix", ["at1w", "safetensors"])
def test_a_model_is_streamed_into_its_memory(tmp_path, suffix):
    def model(*names, dtype=torch.float32):
        layers = {name: torch.nn.Linear(3, 4, dtype=dtype) for name in names}
        return torch.nn.ModuleDict(layers)

    saved = model("a", "b")
    path = tmp_path / f"model.{suffix}"
    at1w.torch.save_model(saved, path)
    loaded = model("a", "b")
    pointers = [tensor.data_ptr() for tensor in loaded.state_dict().values()]
    assert at1w.torch.load_model_from(path, loaded) == (set(), [])
    assert [tensor.data_ptr() for tensor in loaded.state_dict().values()] == pointers
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    half = model("a", "b", dtype=torch.float16)
    at1w.torch.load_model_from(path, half)
    assert torch.equal(half["a"].weight, saved["a"].weight.half())

    # Names are judged as load_model judges them.
    other = model("b", "c")
    ours = at1w.torch.load_model_from(path, other, strict=False)
    theirs = at1w.torch.load_model(other, path, strict=False)
    assert (ours[0], sorted(ours[1])) == (theirs[0], sorted(theirs[1]))
    with pytest.raises(RuntimeError, match="Missing key"):
        at1w.torch.load_model_from(path, other)
    tied = model("a", "b")
    tied["b"].weight = tied["a"].weight
    at1w.torch.save_model(tied, tmp_path / f"tied.{suffix}")
    assert at1w.torch.load_model_from(tmp_path / f"tied.{suffix}", tied) == (set(), [])
    with pytest.raises(RuntimeError, match="another shape"):
        at1w.torch.load_model_from(path, torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4)}))
    if suffix == "at1w":
        with pytest.raises(at1w.IntegrityError):
            at1w.torch.load_model_from(path, loaded, root="00" * 32)


def test_shared_memory_is_refused(tmp_path):
    tensor = torch.zeros(4, 4)
    with pytest.raises(RuntimeError, match="share memory"):
        at1w.torch.save_file({"a": tensor, "b": tensor[1:]}, tmp_path / "model.at1w")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("strides", [(0, 1), (1, 1), (3, 0)], ids=str)
def test_no_value_is_lost_to_a_tensor_that_overlaps_itself(tmp_path, strides):
    model = torch.nn.Module()
    whole = torch.arange(4.0)
    model.register_buffer("z", whole)
    model.register_buffer("a", whole.as_strided((2, 2), strides))
    path = tmp_path / "model.safetensors"
    at1w.torch.save_model(model, path)
    assert torch.equal(at1w.torch.load_file(path)["z"], torch.arange(4.0))


def test_an_interrupted_load_ends(tmp_path):
    path = tmp_path / "large.at1w"
    at1w.torch.save_file({str(i): torch.randn(4096, 4096) for i in range(4)}, path)
    program = (
        "import at1w.torch, signal, sys\n"
        # Where the tests run in the background, it is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('begin', flush=True)\n"
        "try:\n"
        "    while True: at1w.torch.load_file(sys.argv[1])\n"
        "except KeyboardInterrupt: print('interrupted', flush=True)\n"
    )
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begin\n"
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
        assert time.monotonic() - begin < 30


def test_tensors_in_memory_follow_versions(tmp_path):
    old = {"w": torch.randn(300, 200, dtype=torch.bfloat16), "frozen": torch.randn(900)}
    new = {"w": old["w"] + old["w"] * torch.rand(300, 200).lt(0.1) * 0.01, "frozen": old["frozen"]}
    paths = [tmp_path / "0.at1w", tmp_path / "1.at1w"]
    at1w.torch.save_file(old, paths[0])
    at1w.torch.save_file(new, paths[1], base=paths[0])
    assert paths[1].stat().st_size < paths[0].stat().st_size / 2
    tensors = {name: tensor.clone() for name, tensor in old.items()}
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    receipt = at1w.torch.update(tensors, paths[1])
    assert receipt.root == at1w.safe_open(paths[1], "pt").root
    assert sorted(receipt.tensors) == ["frozen", "w"]
    for name, tensor in tensors.items():
        assert tensor.data_ptr() == addresses[name]
        assert_same(tensor, new[name])
    # Parameters of a model are updated too.
    model = torch.nn.Linear(200, 300, bias=False, dtype=torch.bfloat16)
    model.weight.data.copy_(old["w"])
    product = model(torch.ones(200, dtype=torch.bfloat16, requires_grad=True)).sum()
    at1w.torch.update({"w": model.weight}, paths[1])
    assert torch.equal(model.weight, new["w"])
    # Autograd is told, and computes no gradient of weights that are gone.
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()
    with pytest.raises(ValueError, match="contiguous"):
        at1w.torch.update({"w": tensors["w"].t()}, paths[1])
    with pytest.raises(ValueError, match="in place"):
        at1w.torch.update({"w": torch.conj(tensors["w"].to(torch.complex64))}, paths[1])
