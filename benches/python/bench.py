"""Measures loading with at1w.torch, beside one SHA-256, zipnn and safetensors: `python bench.py
CORPUS`. One file has the bf16 tensors of all models of the corpus.

Each number of threads is measured in a process of its own, where all take turns. Prints medians.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from safetensors.torch import load_file as load_plain
from safetensors.torch import save_file

import at1w
import at1w.torch

ROUNDS = 9
MIB = 1 << 20


def large_file(corpus: Path, path: Path) -> None:
    """Returns all bf16 tensors of the corpus, each content once."""
    seen, tensors = set(), {}
    for file in sorted(corpus.glob("*.bf16.safetensors")):
        for name, tensor in load_plain(file).items():
            digest = hashlib.sha256(raw(tensor)).digest()
            if tensor.dtype == torch.bfloat16 and digest not in seen:
                seen.add(digest)
                tensors[f"{file.stem}.{name}"] = tensor
    save_file(tensors, path)


def raw(tensor: torch.Tensor) -> memoryview:
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def zipnn_load(tensors: dict[str, torch.Tensor], threads: int):
    """Encodes the tensors with zipnn. Returns a function that decodes them from memory."""
    from zipnn import ZipNN

    codec = ZipNN(bytearray_dtype="bfloat16", input_format="torch", threads=threads)
    encoded = {name: bytes(codec.compress(tensor.clone())) for name, tensor in tensors.items()}

    def load():
        return {name: codec.decompress(data) for name, data in encoded.items()}

    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load().items())
    return load


def seconds(work) -> float:
    start = time.perf_counter()
    result = work()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def speeds(plain: str, packed: str) -> dict[str, float]:
    """Measures medians of seconds, in a process with RAYON_NUM_THREADS."""
    tensors = at1w.torch.load_file(packed)
    expected = load_plain(plain)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    everything = b"".join(raw(tensor) for tensor in tensors.values())
    baselines = {
        "at1w": lambda: at1w.torch.load_file(packed),
        "hashlib.sha256": lambda: hashlib.sha256(everything).digest(),
        "safetensors, touched": lambda: {n: t.clone() for n, t in load_plain(plain).items()},
    }
    try:
        baselines["zipnn"] = zipnn_load(tensors, int(os.environ["RAYON_NUM_THREADS"]))
    except ImportError as error:
        print(f"zipnn: not measured ({error})", file=sys.stderr)
    del tensors, expected
    return in_turns(baselines)


def in_turns(baselines) -> dict[str, float]:
    """Measures medians of seconds."""
    times = {name: [] for name in baselines}
    for _ in range(ROUNDS):
        for name, work in baselines.items():
            times[name].append(seconds(work))
    return {name: statistics.median(all_times) for name, all_times in times.items()}


def levels(plain: str, _packed: str) -> dict[str, float]:
    """Measures the median seconds of `load_file` by level, beside safetensors."""
    rivals = {"safetensors, touched": lambda: {n: t.clone() for n, t in load_plain(plain).items()}}
    with tempfile.TemporaryDirectory() as folder:
        for level in ("fast", "default", "max"):
            packed = Path(folder, f"{level}.at1w")
            at1w.pack(plain, packed, level=level)
            rivals[level] = lambda packed=packed: at1w.torch.load_file(packed)
        return in_turns(rivals)


def anonymous() -> int:
    """Returns the bytes of resident memory that no file backs."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024


def memory(_plain: str, packed: str) -> dict[str, float]:
    """Measures how far memory rises while a file is loaded, sampled every millisecond, and the time
    of a first small read."""
    with at1w.safe_open(packed, "pt") as f:
        small = min(f.keys(), key=lambda name: torch.Size(f.get_slice(name).get_shape()).numel())
    first = seconds(lambda: at1w.load_tensor(packed, small, "pt"))
    before, peak, done = anonymous(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    tensors = at1w.torch.load_file(packed)
    done.set()
    watcher.join()
    size = sum(tensor.nbytes for tensor in tensors.values())
    peak = max(peak, anonymous())
    return {"above": peak - before - size, "size": size, "first": first}


def slices(_plain: str, packed: str) -> dict[str, float]:
    """Returns the bytes read for one in a hundred rows of the largest tensor, side by side."""
    with at1w.safe_open(packed, "pt") as f:
        shapes = {name: f.get_slice(name).get_shape() for name in f.keys()}
        name = max(shapes, key=lambda name: torch.Size(shapes[name]).numel())
        rows, columns = shapes[name][0], torch.Size(shapes[name][1:]).numel()
        opened = f.bytes_read
        part = f.get_slice(name)[rows // 2 : rows // 2 + rows // 100]
        read = f.bytes_read - opened
    return {"read": read, "part": part.nbytes, "whole": rows * columns * 2}


MEASURES = {"speeds": speeds, "levels": levels, "memory": memory, "slices": slices}


def measure(name: str, *files: str, threads: int = 2) -> dict[str, float]:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, name, *files]
    return json.loads(subprocess.check_output(command, env=environment))


def main(corpus: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "large.safetensors"), Path(folder, "large.at1w")
        large_file(Path(corpus), plain)
        at1w.pack(plain, packed)
        size = plain.stat().st_size
        files = str(plain), str(packed)
        print(f"{size / 1e6:.0f} MB of bf16, packed {100 * packed.stat().st_size / size:.2f} %\n")
        print("| load | threads | GB/s | x hashlib.sha256 |\n|---|---:|---:|---:|")
        for threads in (1, 2):
            times = measure("speeds", *files, threads=threads)
            for name, time in times.items():
                ratio = times["hashlib.sha256"] / time
                print(f"| {name} | {threads} | {size / time / 1e9:.2f} | {ratio:.2f} |")
        print("\n| load, by level | threads | ms | x default |\n|---|---:|---:|---:|")
        for threads in (1, 2):
            times = measure("levels", *files, threads=threads)
            for name, time in times.items():
                print(f"| {name} | {threads} | {1e3 * time:.0f} | {time / times['default']:.2f} |")
        print()
        found = measure("memory", *files)
        print(
            f"load_file takes {found['above'] / MIB:.0f} MiB above the tensors' "
            f"{found['size'] / MIB:.0f}, the first load_tensor {1e3 * found['first']:.2f} ms"
        )
        found = measure("slices", *files)
        print(
            f"get_slice of 1 % of the rows of a tensor of {found['whole']} bytes: "
            f"{found['part']} bytes, {found['read']} read"
        )


if __name__ == "__main__":
    if sys.argv[1] in MEASURES:
        print(json.dumps(MEASURES[sys.argv[1]](*sys.argv[2:])))
    else:
        main(sys.argv[1])
