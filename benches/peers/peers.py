"""Codecs for weights on the same bf16 files: sizes, and seconds with one thread and all in memory.

python peers.py TABLE FILE.safetensors..., TABLE being the program that measures at1w. A peer that is
not installed gets a line that says so. Every peer's output is decoded and compared.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np

ROUNDS = 5


class Coded(NamedTuple):
    """What coding one file takes."""

    raw: int
    size: int
    encode: float | None
    decode: float


def bf16_bytes(path: Path) -> bytes:
    """The bytes of all bf16 tensors of a safetensors file."""
    data = path.read_bytes()
    header_len = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_len])
    start = 8 + header_len
    spans = sorted(t["data_offsets"] for name, t in header.items() if name != "__metadata__" and t["dtype"] == "BF16")
    return b"".join(data[start + a : start + b] for a, b in spans)


def seconds(work) -> float:
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def zipnn(path: Path) -> Coded:
    from zipnn import ZipNN

    raw = bf16_bytes(path)
    codec = ZipNN(bytearray_dtype="bfloat16", input_format="byte", threads=1)
    encoded = bytes(codec.compress(bytearray(raw)))
    assert bytes(codec.decompress(encoded)) == raw
    # It takes the input as its own memory, so each round gets a copy; the time of the copy is taken off.
    copy = seconds(lambda: bytearray(raw))
    encode = seconds(lambda: codec.compress(bytearray(raw))) - copy
    return Coded(len(raw), len(encoded), encode, seconds(lambda: codec.decompress(encoded)))


def pcodec(path: Path) -> Coded:
    from pcodec import ChunkConfig, standalone

    raw = bf16_bytes(path)
    # It has no bf16: the words as numbers, as its own documents advise for unknown types.
    words = np.frombuffer(raw, dtype=np.uint16)
    config = ChunkConfig(compression_level=8)
    encoded = standalone.simple_compress(words, config)
    assert standalone.simple_decompress(encoded).tobytes() == raw
    encode = seconds(lambda: standalone.simple_compress(words, config))
    return Coded(len(raw), len(encoded), encode, seconds(lambda: standalone.simple_decompress(encoded)))


def lmzip(path: Path) -> Coded:
    import lmz

    # It goes from file to file: these are in memory.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        raw, packed, back = (os.path.join(directory, name) for name in ("raw", "packed", "back"))
        Path(raw).write_bytes(path.read_bytes())

        def encode() -> None:
            Path(packed).unlink(missing_ok=True)
            lmz.compress(raw, packed, workers=1)

        def decode() -> None:
            lmz.decompress(packed, back, workers=1, overwrite=True)

        encode_seconds, decode_seconds = seconds(encode), seconds(decode)
        assert Path(back).read_bytes() == Path(raw).read_bytes()
        return Coded(os.path.getsize(raw), os.path.getsize(packed), encode_seconds, decode_seconds)


PEERS = {"lmzip": lmzip, "zipnn": zipnn, "pcodec -8": pcodec}

# What a peer checks when it decodes.
CHECKS = {"lmzip": "CRC-32, in files"}

LEVELS = ["fast", "default", "max"]


def main() -> None:
    table, *paths = sys.argv[1:]
    rows: dict[str, list[Coded]] = {}
    sizes, problems = [], []
    processor, memcpy = "", 0

    def add(name: str, coded: Coded) -> str:
        rows.setdefault(name, []).append(coded)
        return f"{100 * coded.size / coded.raw:.2f}"

    for path in map(Path, paths):
        raw = path.stat().st_size
        cells = []
        for level, ours in zip(LEVELS, json.loads(subprocess.check_output([table, "peer", path]))):
            processor, memcpy = ours["processor"], memcpy + ours["memcpy"] / len(LEVELS)
            if ours["unverified"]:
                add(f"at1w {level}, nothing, large tensors", Coded(raw, ours["len"], None, ours["unverified"]))
            cells.append(add(f"at1w {level}, SHA-256", Coded(raw, ours["len"], ours["encode"], ours["verified"])))
        for name, peer in list(PEERS.items()):
            try:
                cells.append(add(f"{name}, {CHECKS.get(name, 'nothing')}", peer(path)))
            except ImportError as error:
                problems.append(f"{name}: not installed ({error})")
                del PEERS[name]
        sizes.append(f"| {path.name.removesuffix('.bf16.safetensors')} | {' | '.join(cells)} |")

    names = [*(f"at1w {level}" for level in LEVELS), *PEERS]
    print(f"| bf16, size % | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    print("\n".join(sizes))

    total = sum(path.stat().st_size for path in map(Path, paths))
    print(f"\n{total / 1e6:.0f} MB, one thread of {processor}; memcpy {total / memcpy / 1e9:.1f} GB/s\n")
    print("| codec, and what it checks | size % | encode GB/s | decode GB/s |\n|---|---:|---:|---:|")
    for name, coded in rows.items():
        raw, size = sum(c.raw for c in coded), sum(c.size for c in coded)
        decode = raw / sum(c.decode for c in coded) / 1e9
        encode = "" if coded[0].encode is None else f"{raw / sum(c.encode for c in coded) / 1e9:.2f}"
        print(f"| {name} | {100 * size / raw:.2f} | {encode} | {decode:.2f} |")
    for problem in problems:
        print(f"\n{problem}")


main()
