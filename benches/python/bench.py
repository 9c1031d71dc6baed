"""Measures loading and reading rows with at1w, beside one SHA-256, zipnn and safetensors, and
loading a model with transformers through the hook, packed and plain: `python bench.py CORPUS`. One
file has the bf16 tensors of all models of the corpus, another the random f16 weights of a model.
AT1W_SIMD forces a back-end.

Each number of threads is measured in a process of its own, where all take turns; first loads are
measured in several. Prints medians.
"""

import hashlib
import json
import mmap
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from safetensors import safe_open as open_plain
from safetensors.torch import load_file as load_plain
from safetensors.torch import save_file

import at1w
import at1w.hook
import at1w.torch

ROUNDS = 9
# The number of processes that measure their first load.
PROCESSES = 5
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


def processor_seconds(work) -> float:
    """Measures the processor time of all threads: other work of the machine adds little to it."""
    start = time.process_time()
    work()
    return time.process_time() - start


def both(work) -> tuple[float, float]:
    """Measures seconds, and those of the processor."""
    start = time.perf_counter(), time.process_time()
    result = work()
    end = time.perf_counter(), time.process_time()
    del result
    return end[0] - start[0], end[1] - start[1]


def speeds(plain: str, packed: str) -> dict[str, tuple[float, float]]:
    """Measures medians of seconds, and of those of the processor, in a process with
    RAYON_NUM_THREADS."""
    tensors = at1w.torch.load_file(packed)
    expected = load_plain(plain)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    del expected
    everything = b"".join(raw(tensor) for tensor in tensors.values())
    there = {name: tensor.clone() for name, tensor in tensors.items()}
    baselines = {
        "at1w": lambda: at1w.torch.load_file(packed),
        "at1w, into tensors that are there": lambda: at1w.torch.load_file(packed, out=there),
        "hashlib.sha256": lambda: hashlib.sha256(everything).digest(),
        "safetensors, touched": lambda: {n: t.clone() for n, t in load_plain(plain).items()},
    }
    try:
        baselines["zipnn"] = zipnn_load(tensors, int(os.environ["RAYON_NUM_THREADS"]))
    except ImportError as error:
        print(f"zipnn: not measured ({error})", file=sys.stderr)
    del tensors
    return in_turns(baselines, both)


def fresh(plain: str, packed: str) -> dict[str, tuple[float, float]]:
    """Measures a first load of a process, into memory that the system has yet to provide."""
    with open(plain, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        hashlib.sha256(data).digest()
        one_stream = both(lambda: hashlib.sha256(data).digest())
    return {
        "at1w, a first load": both(lambda: at1w.torch.load_file(packed)),
        "hashlib.sha256": one_stream,
    }


def model(folder: str) -> dict[str, float]:
    """Saves a model of random f16 weights, plain and packed. Returns the sizes of both."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=8000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=8,
        num_attention_heads=12,
    )
    plain, packed = Path(folder, "plain"), Path(folder, "packed")
    LlamaForCausalLM(config).half().save_pretrained(plain)
    at1w.pack(plain, packed, keep_names=True)
    weights = "model.safetensors"
    return {kind.name: (kind / weights).stat().st_size for kind in (plain, packed)}


def pretrained(folder: str) -> dict[str, float]:
    """Measures a first `from_pretrained` of a process through the hook, and touching each page of
    the parameters after it: a file that safetensors maps is read then."""
    at1w.hook.enable()
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    start = time.perf_counter()
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16)
    load = time.perf_counter()
    for parameter in loaded.parameters():
        raw(parameter.detach())[::4096].tobytes()
    return {"load": load - start, "touched": time.perf_counter() - start}


def in_turns(baselines, measured=seconds) -> dict:
    """Measures medians of seconds, or of all that `measured` measures."""
    times = {name: [] for name in baselines}
    for _ in range(ROUNDS):
        for name, work in baselines.items():
            times[name].append(measured(work))
    return {name: median(all_times) for name, all_times in times.items()}


def median(values: list) -> float | tuple[float, ...]:
    """Returns the median of numbers; of tuples, that of each of their numbers."""
    if isinstance(values[0], float):
        return statistics.median(values)
    return tuple(map(statistics.median, zip(*values)))


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


def rows(plain: str, packed: str) -> dict[str, float]:
    """Measures the processor time for a row of the largest matrix, and for a list of 300 rows, of
    both formats. Each walk begins with a file that was just opened."""
    # Threads of torch wait busily for more work, which would count.
    torch.set_num_threads(1)
    with at1w.safe_open(packed, "np") as f:
        shapes = {name: f.get_slice(name).get_shape() for name in f.keys()}
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    name = max(matrices, key=lambda name: torch.Size(shapes[name]).numel())
    count = shapes[name][0]
    drawn = random.Random(7)
    # As tokens are: the most frequent ones come first, and again and again.
    skewed = [min(int(drawn.paretovariate(0.6)) - 1, count - 1) for _ in range(3000)]
    walks = {
        "in order": list(range(count // 4, count // 4 + 3000)),
        "skewed": skewed,
        "uniform": [drawn.randrange(count) for _ in range(300)],
    }

    def walk(open_file, framework, rows):
        with open_file(framework) as f:
            part = f.get_slice(name)
            start = time.process_time()
            for row in rows:
                part[row]
            return (time.process_time() - start) / len(rows)

    def listed(rows):
        def ours(framework):
            with at1w.safe_open(packed, framework) as f:
                return processor_seconds(lambda: f.get_slice(name)[rows])

        def theirs(framework):
            # It takes no lists: the tensor is read, and rows are taken of it.
            with open_plain(plain, framework) as f:
                return processor_seconds(lambda: f.get_tensor(name)[rows])

        return ours, theirs

    packed_file = lambda framework: at1w.safe_open(packed, framework)
    plain_file = lambda framework: open_plain(plain, framework)
    times = {}
    for framework in ("np", "pt"):
        for what, rows in walks.items():
            ours = lambda rows=rows: walk(packed_file, framework, rows)
            theirs = lambda rows=rows: walk(plain_file, framework, rows)
            times[f"{framework}, {what}"] = pair(ours, theirs)
        for what in ("skewed", "uniform"):
            ours, theirs = listed(walks[what][:300])
            key = f"{framework}, a list of 300, {what}"
            times[key] = pair(lambda: ours(framework), lambda: theirs(framework))
    return times


def pair(ours, theirs) -> tuple[float, float]:
    """Returns the medians of two measures that take turns."""
    found = [(ours(), theirs()) for _ in range(ROUNDS)]
    return tuple(statistics.median(times) for times in zip(*found))


MEASURES = {
    measure.__name__: measure
    for measure in (speeds, fresh, levels, memory, slices, rows, model, pretrained)
}

# What is asked for, as ratios: with AVX-512 nothing of its own.
ASKED = {
    "at1w, a first load": "0.65",
    "at1w, into tensors that are there": "0.75",
    "zipnn": "1.15",
    "two threads": "1.85",
    "from_pretrained": "2.2",
    "in order": "3",
    "skewed": "8",
    "a list of 300, skewed": "1.3",
    "a list of 300, uniform": "1.3",
}


def machine() -> str:
    """Returns the class of the machine, or the one that AT1W_SIMD has it be."""
    if platform.machine() in ("aarch64", "arm64"):
        return "NEON"
    flags = set(Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split())
    forced = os.environ.get("AT1W_SIMD", "")
    if forced == "scalar":
        return "scalar"
    if not forced.startswith("avx2") and "avx512_vbmi2" in flags:
        return "AVX-512"
    sha = "sha_ni" in flags and forced != "avx2-soft"
    return "AVX2 with SHA extensions" if sha else "AVX2 without SHA extensions"


def processor() -> str:
    """Returns the name that the system has for the processor."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def measure(name: str, *files: str, threads: int = 2) -> dict[str, float]:
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, name, *files]
    return json.loads(subprocess.check_output(command, env=environment))


def in_processes(name: str, arguments: list[tuple], threads: int) -> list[dict[str, float]]:
    """Measures in new processes, which take turns. Returns the medians for each of the arguments.
    """
    turn = lambda: [measure(name, *each, threads=threads) for each in arguments]
    found = [turn() for _ in range(PROCESSES)]
    medians = lambda all: {key: median([one[key] for one in all]) for key in all[0]}
    return [medians(all) for all in zip(*found)]


def ratio(value: float) -> str:
    """Writes a ratio with two digits at least that are not leading zeros."""
    decimals = 2
    while decimals < 6 and value * 10 ** (decimals - 1) < 1:
        decimals += 1
    return f"{value:.{decimals}f}"


def print_speeds(files: tuple[str, str], size: int) -> None:
    """Prints speeds by the time of the processor for one thread, to which other work of the machine
    adds little, and by the clock for two."""
    print("| load | threads | GB/s | x hashlib.sha256 | asked |\n|---|---:|---:|---:|---:|")
    warm, first = {}, {}
    for threads in (1, 2):
        warm[threads] = measure("speeds", *files, threads=threads)
        (first[threads],) = in_processes("fresh", [files], threads)
        # Each beside the stream of its own processes.
        for pairs in (first[threads], warm[threads]):
            times = {name: pair[threads == 1] for name, pair in pairs.items()}
            for name, time in times.items():
                if pairs is first[threads] and name == "hashlib.sha256":
                    continue
                to_hash = times["hashlib.sha256"] / time
                asked = ASKED.get(name, "") if threads == 1 and name != "zipnn" else ""
                speed = size / time / 1e9
                print(f"| {name} | {threads} | {speed:.2f} | {ratio(to_hash)} | {asked} |")
    print("\n| load | ratio | asked |\n|---|---:|---:|")
    if "zipnn" in warm[1]:
        for threads, times in warm.items():
            asked = ASKED["zipnn"] if threads == 1 else ""
            at = threads == 1
            faster = ratio(times["zipnn"][at] / times["at1w"][at])
            what = f"at1w, {('one thread', 'two threads')[threads - 1]}"
            print(f"| {what} | {faster} x zipnn | {asked} |")
    for times, name in (
        (first, "at1w, a first load"),
        (warm, "at1w"),
        (warm, "at1w, into tensors that are there"),
    ):
        faster = ratio(times[1][name][0] / times[2][name][0])
        print(f"| {name}, two threads | {faster} x one thread | {ASKED['two threads']} |")


def print_pretrained(folder: Path) -> None:
    sizes = measure("model", str(folder))
    plain, packed = sizes["plain"], sizes["packed"]
    folders = [(str(folder / kind),) for kind in ("plain", "packed")]
    plain_times, packed_times = in_processes("pretrained", folders, 2)
    print(f"\n{plain / 1e6:.0f} MB of f16, packed {100 * packed / plain:.2f} %, two threads\n")
    print("| first from_pretrained of a process | plain, ms | packed, ms | x plain | asked |")
    print("|---|---:|---:|---:|---:|")
    rows = (("load", "", ASKED["from_pretrained"]), ("touched", ", each page touched", ""))
    for key, what, asked in rows:
        theirs, ours = plain_times[key], packed_times[key]
        times = f"{1e3 * theirs:.0f} | {1e3 * ours:.0f} | {ratio(ours / theirs)}"
        print(f"| through the hook{what} | {times} | {asked} |")


def main(corpus: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "large.safetensors"), Path(folder, "large.at1w")
        large_file(Path(corpus), plain)
        at1w.pack(plain, packed)
        size = plain.stat().st_size
        files = str(plain), str(packed)
        print(f"{size / 1e6:.0f} MB of bf16, packed {100 * packed.stat().st_size / size:.2f} %\n")
        print(f"{processor()}, {machine()}\n")
        print_speeds(files, size)
        print("\n| load, by level | threads | ms | x default |\n|---|---:|---:|---:|")
        for threads in (1, 2):
            times = measure("levels", *files, threads=threads)
            for name, time in times.items():
                print(f"| {name} | {threads} | {1e3 * time:.0f} | {time / times['default']:.2f} |")
        print("\n| rows of the largest matrix | µs | safetensors, µs | x safetensors | asked |")
        print("|---|---:|---:|---:|---:|")
        for name, (ours, theirs) in measure("rows", *files, threads=1).items():
            asked = ASKED.get(name.split(", ", 1)[1], "")
            micros = f"{1e6 * ours:.1f} | {1e6 * theirs:.1f}"
            print(f"| {name} | {micros} | {ratio(ours / theirs)} | {asked} |")
        print_pretrained(Path(folder, "model"))
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
