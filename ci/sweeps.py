"""One bf16 tensor, packed by at1w and by its peers: what reading gives after single bit flips,
spread evenly over each file. For ci/sweeps, with the path of at1w as the argument.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import safetensors
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reference"))
import at1w  # noqa: E402

FLIPS = 2000
ELEMENTS = 16_384


def weights() -> bytes:
    values = numpy.random.default_rng(1).normal(0, 0.03, ELEMENTS).astype(numpy.float32)
    return (values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()


def safetensors_file(data: bytes) -> bytes:
    info = {"dtype": "BF16", "shape": [128, ELEMENTS // 128], "data_offsets": [0, len(data)]}
    header = json.dumps({"w": info}).encode()
    return len(header).to_bytes(8, "little") + header + data


def read_safetensors(file: bytes) -> bytes:
    ((_, tensor),) = safetensors.deserialize(file)
    return bytes(tensor["data"])


def read_zipnn(file: bytes) -> bytes:
    import zipnn

    return bytes(zipnn.ZipNN(bytearray_dtype="bfloat16").decompress(file))


def read_reference(file: bytes) -> bytes:
    (tensor,) = at1w.File(file).tensors
    return tensor.decode()


def attempt(read, file: bytes, expected: bytes) -> int:
    """0 refused, 1 as it was, 2 silently wrong."""
    # What a decoder prints is of no interest.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        return 1 if read(file) == expected else 2
    except BaseException:
        return 0


def in_child(read, file: bytes, expected: bytes) -> int:
    """The same in a process of its own; 3 if that crashed or did not end."""
    child = os.fork()
    if child == 0:
        import signal

        signal.alarm(20)
        os._exit(10 + attempt(read, file, expected))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code - 10 if code >= 10 else 3


def flips(name: str, file: bytes, read, expected: bytes, count: int = FLIPS) -> None:
    assert read(file) == expected, name
    tally = [0, 0, 0, 0]
    for i in range(count):
        bit = i * len(file) * 8 // count
        damaged = bytearray(file)
        damaged[bit // 8] ^= 1 << (bit % 8)
        tally[in_child(read, bytes(damaged), expected)] += 1
    refused, equal, wrong, crashed = tally
    print(f"| {name} | {count} | {refused} | {equal} | {wrong} | {crashed} |", flush=True)


def main() -> None:
    data = weights()
    original = safetensors_file(data)
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder, "w.safetensors"), Path(folder, "w.at1w")
        source.write_bytes(original)
        subprocess.run([sys.argv[1], "--quiet", "pack", source, "-o", packed], check=True)
        ours = packed.read_bytes()
    print("\n| one tensor, single bits flipped | tried | refused | read as it was | silently wrong | crashed |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    flips("at1w, the reference decoder in Python", ours, read_reference, data)
    flips("safetensors", original, read_safetensors, data)
    plain = zstandard.ZstdCompressor(3).compress(data)
    flips("zstd", plain, zstandard.ZstdDecompressor().decompress, data)
    summed = zstandard.ZstdCompressor(3, write_checksum=True).compress(data)
    flips("zstd, with its checksum", summed, zstandard.ZstdDecompressor().decompress, data)
    try:
        import zipnn

        compressed = bytes(zipnn.ZipNN(bytearray_dtype="bfloat16").compress(bytearray(data)))
        flips("zipnn", compressed, read_zipnn, data, FLIPS // 10)
    except ImportError as error:
        print(f"| zipnn: {error} | | | | | |")


if __name__ == "__main__":
    main()
