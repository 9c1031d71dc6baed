"""Codecs for weights on the same bf16 bytes: seconds and sizes, one thread, in memory.

python peers.py TABLE FILE.safetensors, TABLE being the program that measures at1w. A peer that is
not installed gets a line that says so.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np

ROUNDS = 5


def bf16_bytes(path: str) -> bytes:
    """The bytes of all bf16 tensors of a safetensors file."""
    with open(path, "rb") as file:
        data = file.read()
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


def zipnn(raw: bytes):
    from zipnn import ZipNN

    codec = ZipNN(bytearray_dtype="bfloat16", input_format="byte", threads=1)
    encoded = bytes(codec.compress(bytearray(raw)))
    assert bytes(codec.decompress(encoded)) == raw
    # It takes the input as its own memory, so each round gets a copy; the time of the copy is taken off.
    copy = seconds(lambda: bytearray(raw))
    encode = seconds(lambda: codec.compress(bytearray(raw))) - copy
    return len(encoded), encode, seconds(lambda: codec.decompress(encoded))


def pcodec(raw: bytes):
    from pcodec import ChunkConfig, standalone

    # It has no bf16: the words as numbers, as its own documents advise for unknown types.
    words = np.frombuffer(raw, dtype=np.uint16)
    config = ChunkConfig(compression_level=8)
    encoded = standalone.simple_compress(words, config)
    assert standalone.simple_decompress(encoded).tobytes() == raw
    encode = seconds(lambda: standalone.simple_compress(words, config))
    return len(encoded), encode, seconds(lambda: standalone.simple_decompress(encoded))


def main() -> None:
    table, path = sys.argv[1:]
    raw = bf16_bytes(path)
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "bf16")
        with open(file, "wb") as out:
            out.write(raw)
        ours = json.loads(subprocess.check_output([table, "peer", file]))

    rows = [
        ("at1w, decode unverified", ours["len"], None, ours["decode"]),
        ("at1w, encode with all digests, decode verified", ours["len"], ours["encode"], ours["verified"]),
    ]
    problems = []
    for name, peer in [("zipnn", zipnn), ("pcodec -8", pcodec)]:
        try:
            size, encode, decode = peer(raw)
            rows.append((f"{name} (verifies nothing)", size, encode, decode))
        except ImportError as error:
            problems.append(f"{name}: not installed ({error})")
    reference = next((row for row in rows if row[0].startswith("zipnn")), None)

    def cell(time: float | None, index: int) -> str:
        if time is None:
            return "|"
        ratio = f" ({reference[index] / time:.1f} x zipnn)" if reference else ""
        return f"{len(raw) / time / 1e9:.2f}{ratio} |"

    print(f"{len(raw) / 1e6:.0f} MB of bf16, one thread; memcpy {len(raw) / ours['memcpy'] / 1e9:.1f} GB/s\n")
    print("| codec | size % | encode GB/s | decode GB/s |\n|---|---|---|---|")
    for name, size, encode, decode in rows:
        print(f"| {name} | {100 * size / len(raw):.2f} | {cell(encode, 2)} {cell(decode, 3)}")
    print("\nlmz: not measured, the package of that name on PyPI is another project")
    for problem in problems:
        print(problem)


main()
