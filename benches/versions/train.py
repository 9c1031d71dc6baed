"""Trains small models and keeps some steps of each: pairs whose words move as those of real ones.

A bag of words goes through an embedding and three residual layers to a class. It is trained first,
then tuned on other labels by AdamW. All of it is seeded. Models of master copies in F32 are kept in
F32 and rounded to BF16; others are trained in BF16 alone, so that most small steps are lost.

    train.py FOLDER [--short]
"""

import argparse
import json
from pathlib import Path

import numpy as np

WORDS, WIDTH, HIDDEN, CLASSES, LAYERS, LENGTH, BATCH = 6000, 192, 768, 64, 3, 24, 32


def bf16(x):
    """Rounds to BF16, kept in F32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def write(path, tensors, dtype):
    """Writes a safetensors file."""
    header, data, end = {}, [], 0
    for name, tensor in tensors.items():
        raw = tensor.astype("<f4")
        raw = (raw.view("<u4") >> 16).astype("<u2") if dtype == "BF16" else raw
        start, end = end, end + raw.nbytes
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end]}
        data.append(raw.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))


def start(random):
    """Returns the weights before training."""
    scale = {"embedding": 1.0, "classes": WIDTH**-0.5}
    shapes = {"embedding": (WORDS, WIDTH), "classes": (WIDTH, CLASSES)}
    for layer in range(LAYERS):
        shapes |= {f"{layer}.up": (WIDTH, HIDDEN), f"{layer}.down": (HIDDEN, WIDTH)}
        scale |= {f"{layer}.up": WIDTH**-0.5, f"{layer}.down": HIDDEN**-0.5}
    normal = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    return {name: (scale[name] * x).astype(np.float32) for name, x in normal.items()}


def gradients(weights, words, labels):
    h = weights["embedding"][words].mean(1)
    kept = []
    for layer in range(LAYERS):
        inner = np.maximum(h @ weights[f"{layer}.up"], 0)
        kept.append((h, inner))
        h = h + inner @ weights[f"{layer}.down"]
    scores = h @ weights["classes"]
    scores -= scores.max(1, keepdims=True)
    shares = np.exp(scores)
    shares /= shares.sum(1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    shares /= len(labels)
    out = {"classes": h.T @ shares}
    d = shares @ weights["classes"].T
    for layer in reversed(range(LAYERS)):
        h, inner = kept[layer]
        out[f"{layer}.down"] = inner.T @ d
        back = (d @ weights[f"{layer}.down"].T) * (inner > 0)
        out[f"{layer}.up"] = h.T @ back
        d = d + back @ weights[f"{layer}.up"].T
    out["embedding"] = np.zeros_like(weights["embedding"])
    np.add.at(out["embedding"], words, np.repeat(d[:, None] / LENGTH, LENGTH, 1))
    return out


def train(weights, steps, rate, random, labels_of, keep=(), round_to=lambda x: x):
    """Trains by AdamW, in place; yields the steps to keep."""
    moments = {name: [np.zeros_like(w), np.zeros_like(w)] for name, w in weights.items()}
    # Words are as rare as in texts.
    shares = 1 / np.arange(1, WORDS + 1)
    shares /= shares.sum()
    for step in range(1, steps + 1):
        words = random.choice(WORDS, (BATCH, LENGTH), p=shares)
        slope = gradients(weights, words, labels_of[words].argmax(1) % CLASSES)
        slow = rate * min(1.0, step / (0.1 * steps))
        for name, w in weights.items():
            first, second = moments[name]
            first[:] = round_to(0.9 * first + 0.1 * slope[name])
            second[:] = round_to(0.999 * second + 0.001 * slope[name] ** 2)
            ahead = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            w[:] = round_to(w - slow * (ahead + 0.01 * w))
        if step in keep:
            yield step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    random = np.random.default_rng(7)
    labels = random.permutation(WORDS)
    weights = start(random)
    for _ in train(weights, 60 if args.short else 300, 1e-3, random, labels):
        pass
    others = random.permutation(WORDS)
    master = {name: w.copy() for name, w in weights.items()}
    rounded = {name: bf16(w) for name, w in master.items()}
    write(args.folder / "master-0.f32.safetensors", master, "F32")
    write(args.folder / "master-0.bf16.safetensors", rounded, "BF16")
    steps = 30 if args.short else 150
    for step in train(master, steps, 2e-5, random, others, {50, 100, steps}):
        name = "last" if step == steps else step
        write(args.folder / f"master-{name}.f32.safetensors", master, "F32")
        tensors = {tensor: bf16(w) for tensor, w in master.items()}
        write(args.folder / f"master-{name}.bf16.safetensors", tensors, "BF16")
    if args.short:
        return
    write(args.folder / "pure-0.bf16.safetensors", rounded, "BF16")
    for _ in train(rounded, 100, 2e-5, random, others, {100}, bf16):
        write(args.folder / "pure-last.bf16.safetensors", rounded, "BF16")


if __name__ == "__main__":
    main()
