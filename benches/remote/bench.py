"""Measures reading by URL over a line of a given rate and delay: `python bench.py FOLDER`.

Figures of packed and plain files come from the same client, over the same line, in turn."""

import statistics
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter

import ml_dtypes
import numpy as np

import at1w
import at1w.numpy

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python" / "tests"))

from proxy import Line  # noqa: E402
from server import Server  # noqa: E402

ROUNDS = 3


def weights(rows, columns, seed):
    """Weights of bfloat16 that look like those of a model."""
    random = np.random.default_rng(seed)
    return (random.standard_normal((rows, columns), np.float32) * 0.02).astype(ml_dtypes.bfloat16)


def make(folder):
    """Makes a model of 700 MB of large tensors, some of 1 MB, and one of 200 small tensors."""
    if (folder / "small.at1w").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    base = weights(4096, 4096, 1)
    tensors = {f"layers.{i}.weight": np.roll(base, 977 * i) for i in range(20)}
    for i in range(20):
        tensors[f"layers.{i}.query"] = weights(512, 1024, 2 + i)
    at1w.numpy.save_file(tensors, folder / "large.safetensors")
    at1w.pack(folder / "large.safetensors", folder / "large.at1w")
    small = {f"bias.{i}": weights(8, 512, i) for i in range(200)}
    at1w.numpy.save_file(small, folder / "small.safetensors")
    at1w.pack(folder / "small.safetensors", folder / "small.at1w")


def line(server, megabits, delay):
    return Line(("127.0.0.1", server.server_port), megabits * 125_000, delay)


def seconds(work):
    start = perf_counter()
    work()
    return perf_counter() - start


def one_tensor(server, folder):
    print("one tensor of 1 MB out of 700 MB, cold, and another one:")
    for name in ("large.at1w", "large.safetensors"):
        server.take_requests()
        with at1w.safe_open(f"{server.url}/{name}", "np") as f:
            f.get_tensor("layers.7.query")
            cold, read = len(server.take_requests()), f.bytes_read
            f.get_tensor("layers.12.query")
            again = len(server.take_requests())
        print(f"  {name:20} {cold} requests, {read} bytes; then {again}")


def whole(server, folder):
    size = {name: (folder / name).stat().st_size for name in ("large.at1w", "large.safetensors")}
    ratio = size["large.at1w"] / size["large.safetensors"]
    print(f"all of 700 MB, packed to {ratio:.3f} of it, 20 ms:")
    for megabits in (200, 1000):
        times = {name: [] for name in size}
        for _ in range(ROUNDS):
            for name in times:
                url = f"{line(server, megabits, 0.02).url}/{name}"
                times[name].append(seconds(lambda: [None for _ in at1w.stream(url)]))
        packed, plain = (statistics.median(times[name]) for name in size)
        print(f"  {megabits} Mbit/s: packed {packed:.1f} s, plain {plain:.1f} s, {packed / plain:.2f} x")


def first(server, folder):
    url = f"{line(server, 1000, 0.1).url}/large.at1w"
    server.take_requests()
    elapsed = seconds(lambda: next(at1w.stream(url, names=["layers.0.query"])))
    print(f"the first tensor, 100 ms: {elapsed / 0.1:.1f} times the delay")


def small(server, folder):
    url = f"{line(server, 1000, 0.1).url}/small.at1w"
    with at1w.safe_open(url, "np") as f:
        names = f.keys()
        server.take_requests()
        elapsed = seconds(lambda: f.get_tensors(names))
        count = len(server.take_requests())
    print(f"200 small tensors, 100 ms: {count} requests, {elapsed / 0.1:.1f} times the delay")


def memory(server, folder):
    code = (
        "import re, sys, at1w, numpy, ml_dtypes\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "most = lambda: int(re.search('VmHWM:\\s+(\\d+)', status())[1]) << 10\n"
        "before = most()\n"
        "kept = 0\n"
        "for _, tensor in at1w.stream(sys.argv[1]): kept = max(kept, tensor.nbytes)\n"
        "print(most() - before - kept)\n"
    )
    for name in ("large.at1w", "large.safetensors"):
        url = f"{server.url}/{name}"
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True)
        print(f"memory beyond the largest tensor, {name}: {int(done.stdout) / (1 << 20):.0f} MiB")


def main():
    folder = Path(sys.argv[1])
    make(folder)
    server = Server(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for measure in (one_tensor, first, small, memory, whole):
        measure(server, folder)


if __name__ == "__main__":
    main()
