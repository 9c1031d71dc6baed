"""Measures versions in memory beside SHA-256 and memcpy, and packing on a base beside packing alone.

    speed.py AT1W FOLDER [GIGABYTES]

The model of random BF16 has one word in a hundred moved by one, as a step of training moves them.
Ratios are medians of rounds in which all take turns.
"""

import hashlib
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import ml_dtypes
import numpy as np

import at1w.numpy

ROUNDS = 5
ROWS, COLUMNS = 8192, 4096
CORPUS = Path("corpus")
APART = [f"ligandmpnn_v_32_{number}" for number in ("010", "020")]


def trained(random):
    """Returns weights of BF16 that look trained."""
    weights = random.standard_normal((ROWS, COLUMNS), np.float32) * 0.02
    return weights.astype(ml_dtypes.bfloat16)


def moved(random, weights):
    """Returns the weights with one word in a hundred moved to the next one."""
    words = weights.view(np.uint16).copy()
    words += (random.random(words.shape, np.float32) < 0.01).astype(np.uint16)
    return words.view(ml_dtypes.bfloat16)


def seconds(work):
    start = perf_counter()
    work()
    return perf_counter() - start


def update(folder, gigabytes):
    """Turns a model in memory into its next step, beside hashing it by two streams."""
    random = np.random.default_rng(1)
    count = max(2, round(gigabytes * 1e9 / (2 * ROWS * COLUMNS)))
    old = {f"layers.{at}.weight": trained(random) for at in range(count)}
    new = {name: moved(random, weights) for name, weights in old.items()}
    base, step = folder / "step0.at1w", folder / "step1.at1w"
    at1w.numpy.save_file(old, base, level="fast")
    at1w.numpy.save_file(new, step, base=base)
    size = sum(weights.nbytes for weights in old.values())
    live = {name: weights.copy() for name, weights in old.items()}
    flat = [weights.view(np.uint8).reshape(-1) for weights in new.values()]
    halves = [flat[: count // 2], flat[count // 2 :]]

    def sha256(half):
        state = hashlib.sha256()
        for part in half:
            state.update(part)

    def copy(source, target):
        for name, weights in source.items():
            np.copyto(target[name], weights)

    ratios, times = {"one SHA-256 by two streams": [], "memcpy": []}, []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            copying = seconds(lambda: copy(old, live))
            hashing = seconds(lambda: list(pool.map(sha256, halves)))
            updating = seconds(lambda: at1w.numpy.update(live, step))
            times.append(updating)
            ratios["one SHA-256 by two streams"].append(updating / hashing)
            ratios["memcpy"].append(updating / copying)
    assert all(np.array_equal(live[name].view(np.uint16), new[name].view(np.uint16)) for name in new)
    rate = size / statistics.median(times) / 1e9
    for yardstick, measured in ratios.items():
        asked = "1.2" if yardstick.startswith("one") else ""
        what = f"update of {size / 1e9:.1f} GB, 1 % of its words moved, proven: {rate:.2f} GB/s"
        print(f"| {what} | {statistics.median(measured):.2f} x {yardstick} | {asked} |")
    print(f"| the file of that step | {100 * step.stat().st_size / size:.2f} % of raw | |")


def apart(program, folder):
    """Packs a model on one that was trained apart, beside packing it alone."""
    base, new = (CORPUS / f"{name}.safetensors" for name in APART)
    packed = folder / "apart.at1w"

    def pack(*options):
        command = [program, "--quiet", "pack", new, "-f", "-o", packed, *options]
        return seconds(lambda: subprocess.run(command, check=True))

    ratios, sizes = [], []
    for _ in range(2 * ROUNDS + 1):
        alone = pack()
        sizes.append(packed.stat().st_size)
        ratios.append(pack("--base", base) / alone)
        sizes.append(packed.stat().st_size)
    assert len(set(sizes)) == 1, "a model that was trained apart is packed to the same bytes"
    ratio = statistics.median(ratios)
    print(f"| packing a model on one that was trained apart | {ratio:.2f} x alone | 1.05 |")


def main():
    program, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    print("\n| what | ratio | asked |\n|---|---|---|")
    update(folder, float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)
    apart(program, folder)


if __name__ == "__main__":
    main()
