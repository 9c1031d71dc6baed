"""A trainer that writes the steps of a model, and workers that follow it in memory.

    follow.py FOLDER [--steps N] [--workers N]

The trainer saves each step as a version of the one before, which costs a small part of the model.
A worker loads the first step once. From then on it turns what it has in memory into the next step,
in place, each tensor proven before it changes, and tells which root it has.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np

import at1w
import at1w.numpy

PERIOD = 0.05


def train(folder, steps):
    random = np.random.default_rng(0)
    weights = {f"{i}.weight": random.standard_normal((512, 512), np.float32) for i in range(4)}
    before = None
    for step in range(steps + 1):
        path = folder / f"step{step}.at1w"
        # A file appears when it is complete.
        at1w.numpy.save_file(weights, path, base=before)
        print(f"trainer: step {step}, {path.stat().st_size} bytes", flush=True)
        for weight in weights.values():
            weight += np.float32(1e-6) * random.standard_normal(weight.shape, np.float32)
        before = path


def wait_for(path):
    while not path.exists():
        time.sleep(PERIOD)
    return path


def follow(folder, steps, worker):
    weights = at1w.numpy.load_file(wait_for(folder / "step0.at1w"))
    for step in range(1, steps + 1):
        receipt = at1w.numpy.update(weights, wait_for(folder / f"step{step}.at1w"))
        print(f"worker {worker}: follows step {step}, root {receipt.root[:8]}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=follow, args=(args.folder, args.steps, worker))
        for worker in range(args.workers)
    ]
    for worker in workers:
        worker.start()
    train(args.folder, args.steps)
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(worker.exitcode)


if __name__ == "__main__":
    main()
