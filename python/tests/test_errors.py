"""What is wrong is said by exceptions of the kinds of safetensors, and nothing is left behind."""

import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import safetensors

import at1w
import at1w.numpy
from at1w._errors import located


def test_kinds():
    assert issubclass(at1w.SafetensorError, safetensors.SafetensorError)
    assert issubclass(at1w.IntegrityError, at1w.SafetensorError)
    assert at1w.SafetensorError.__module__ == "at1w"


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="^No such file or directory: notafile$"):
        at1w.safe_open("notafile", "np")


def test_missing_tensor(path):
    with at1w.safe_open(path, "np") as f:
        for read in (f.get_tensor, f.get_slice):
            with pytest.raises(
                at1w.SafetensorError, match="File does not contain tensor wid.*wide"
            ):
                read("wid")


def test_closed(path):
    with at1w.safe_open(path, "np") as f:
        pass
    for use in (f.keys, f.offset_keys, f.metadata, f.get_tensors, lambda: f.get_tensor("wide")):
        with pytest.raises(at1w.SafetensorError, match="^File is closed$"):
            use()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("no-framework",), at1w.SafetensorError, "framework no-framework is invalid"),
        ((7,), TypeError, "framework must be a str"),
        (
            ("np", "cuda:0"),
            at1w.SafetensorError,
            "Device cuda:0 is not supported for framework numpy",
        ),
    ],
)
def test_bad_arguments(path, arguments, error, message):
    with pytest.raises(error, match=message):
        at1w.safe_open(path, *arguments)


def test_bad_backend_and_root(path):
    with pytest.raises(at1w.SafetensorError, match='backend "disk" is invalid'):
        at1w.safe_open(path, "np", backend="disk")
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        at1w.safe_open(path, "np", root="12")
    with pytest.raises(at1w.IntegrityError, match="root"):
        at1w.safe_open(path, "np", root="00" * 32)
    with pytest.raises(TypeError):
        at1w.safe_open(7, "np")


def test_wrong_sha256(path):
    with pytest.raises(at1w.IntegrityError, match='tensor "wide" has SHA-256'):
        at1w.load_tensor(path, "wide", sha256="00" * 32)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 100, b"at1w\r\n\x1a\n" + b"x" * 500]
)
def test_no_weights(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(at1w.SafetensorError, match="model.safetensors"):
        at1w.safe_open(path, "np")
    with pytest.raises(at1w.SafetensorError):
        at1w.numpy.load(content)
    with pytest.raises(at1w.SafetensorError):
        at1w.deserialize(content)


def damaged_copy(packed, tmp_path):
    """A copy with a byte changed in the payloads of its largest tensor."""
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "damaged.at1w"
    copy.write_bytes(content)
    return copy


def test_damage_is_named(packed, tmp_path):
    damaged = damaged_copy(packed, tmp_path)
    names = r'damaged.at1w: damaged tensor "wide[^"]*" in chunk \d+ at offset \d+'
    for read in (
        lambda: at1w.numpy.load_file(damaged),
        lambda: at1w.numpy.load(damaged.read_bytes()),
        lambda: at1w.deserialize(damaged.read_bytes()),
        lambda: at1w.verify(damaged),
        lambda: at1w.unpack(damaged, tmp_path / "out.safetensors"),
    ):
        with pytest.raises(at1w.IntegrityError, match=names.removeprefix("damaged.at1w: ")):
            read()
    with pytest.raises(at1w.IntegrityError, match=names):
        at1w.numpy.load_file(damaged)
    # What is not damaged can be read.
    assert at1w.load_tensor(damaged, "scalar") == 2.5
    assert os.listdir(tmp_path) == ["damaged.at1w"]


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_shrinking_files(path, tmp_path, backend):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    with at1w.safe_open(copy, "np", backend=backend) as f:
        os.truncate(copy, 4096)
        with pytest.raises(OSError, match=path.name):
            f.get_tensor("wide")
        copy.write_bytes(b"")
        with pytest.raises(OSError, match=path.name):
            f.get_tensors()


def test_flips_of_any_bit_do_no_harm(tmp_path):
    tensors = {"a": np.arange(99, dtype=np.float32), "b": np.ones((3, 5), dtype=np.float16)}
    at1w.numpy.save_file(tensors, tmp_path / "small.at1w")
    content = (tmp_path / "small.at1w").read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(at1w.SafetensorError):
            at1w.numpy.load(bytes(damaged))


def test_bad_specs():
    spec = at1w.TensorSpec(dtype="float32", shape=[2, 3], data_ptr=0, data_len=0)
    assert repr(spec) == "TensorSpec(dtype='F32', shape=[2, 3], data_ptr=0, data_len=0)"
    with pytest.raises(at1w.SafetensorError, match='tensor "a" has 0 bytes.*need 24'):
        at1w.serialize({"a": spec})
    with pytest.raises(at1w.SafetensorError, match='Unknown dtype "nonsense"'):
        at1w.TensorSpec(dtype="nonsense", shape=[1], data_ptr=0, data_len=0)
    with pytest.raises(at1w.SafetensorError, match="data_ptr is null"):
        at1w.TensorSpec(dtype="float32", shape=[1], data_ptr=0, data_len=4)
    with pytest.raises(TypeError, match='"a"'):
        at1w.serialize({"a": {"dtype": "float32"}})


def test_failed_saves_leave_nothing(tmp_path):
    array = {"a": np.zeros(4)}
    for target in ("missing/model.at1w", "missing/model.safetensors"):
        with pytest.raises(FileNotFoundError):
            at1w.numpy.save_file(array, tmp_path / target)
    with pytest.raises(at1w.SafetensorError, match="Unknown dtype"):
        at1w.numpy.save_file({"a": np.array(["text"])}, tmp_path / "model.at1w")
    with pytest.raises(TypeError):
        at1w.numpy.save_file(array, tmp_path / "model.at1w", {"a": 1})
    assert os.listdir(tmp_path) == []


def test_dtypes_that_numpy_has_not(tmp_path):
    header = b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    path = tmp_path / "f4.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x12")
    at1w.pack(path)
    for name in ("f4.safetensors", "f4.at1w"):
        names = f"""{name}: tensor "a": Dtype not understood: numpy has no 'F4'"""
        with at1w.safe_open(tmp_path / name, "np") as f:
            with pytest.raises(at1w.SafetensorError, match=names):
                f.get_tensors()
            with pytest.raises(at1w.SafetensorError, match=names):
                f.get_slice("a")[:2]
    with pytest.raises(at1w.SafetensorError, match='^tensor "a": Dtype not understood'):
        at1w.numpy.load(path.read_bytes())


@pytest.mark.parametrize("framework", ["tf", "tensorflow", "paddle", "mlx"])
def test_frameworks_that_only_safetensors_reads_to(files, framework):
    with pytest.raises(
        at1w.SafetensorError, match=f"model.at1w is packed, .* to {framework}: unpack"
    ):
        at1w.safe_open(files["at1w"], framework)
    with pytest.raises(at1w.SafetensorError, match=f"framework {framework} is invalid"):
        at1w.safe_open(files["safetensors"], framework)


# Opens a file, then gives up all rights to start threads, and goes on.
WITHOUT_THREADS = """
import os, resource, sys
import at1w.numpy

f = at1w.safe_open(sys.argv[1], "np")
os.chmod(sys.argv[2], 0o777)
{before}
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.getuid() == 0:
    # The limit does not bind root.
    os.setuid(65534)
for _ in range(2):
    try:
        {work}
    except OSError as error:
        print("refused:", error, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize(
    ("before", "work"),
    [
        # The thread that works while another waits, threads to work side by side, and those of a
        # child that has forked from a process with threads.
        ("", "f.get_tensors()"),
        ("", "at1w.numpy.save_file({}, sys.argv[2] + '/model.at1w')"),
        ("", "f.get_tensor('wide')"),
        ("f.get_tensor('wide')\nif os.fork(): sys.exit(os.wait()[1])", "f.get_tensor('wide')"),
    ],
)
def test_a_machine_out_of_threads(packed, before, work):
    program = WITHOUT_THREADS.format(before=before, work=work)
    # The folders of pytest are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", program, packed, folder]
        result = subprocess.run(command, capture_output=True, text=True)
        assert os.listdir(folder) == []
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.match("refused: .*no thread could be started: .*RAYON_NUM_THREADS", line)


def test_exceptions_of_frameworks_keep_their_kind():
    class OutOfMemory(RuntimeError):
        pass

    error = OutOfMemory("no memory")
    assert located(error, "here") is error
    assert str(error) == "here: no memory"
    interruption = KeyboardInterrupt()
    assert located(interruption, "here") is interruption
    with pytest.raises(MemoryError) as memory:
        np.empty(1 << 60, np.uint8)
    assert type(memory.value) is not MemoryError
    replaced = located(memory.value, "here")
    assert (type(replaced), replaced.__cause__) == (MemoryError, memory.value)
    assert str(replaced).startswith("here: Unable to allocate")


def test_bf16_without_ml_dtypes(packed):
    program = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import at1w\n"
        f"at1w.load_tensor({str(packed)!r}, 'wide.bf16')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    message = """tensor "wide.bf16": data type 'bfloat16' not understood: install ml_dtypes"""
    assert f"TypeError: {packed}: {message}" in result.stderr
