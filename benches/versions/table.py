"""Packs pairs of files, each new one on its base, reads it back, and prints a table.

    table.py AT1W FOLDER [short]
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import zstandard

CORPUS = Path("corpus")
# Name, base, new file, and the most that the version may take of the raw bytes, in percent.
TRAINED = [
    ("trained, BF16 of an F32 master", "master-0.bf16", "master-last.bf16", 12.0),
    ("trained, F32 master", "master-0.f32", "master-last.f32", 55.0),
    ("trained, BF16 alone", "pure-0.bf16", "pure-last.bf16", 2.0),
    ("BF16 twin of the F32 model", "master-last.f32", "master-last.bf16", 0.2),
    ("the same file", "master-0.f32", "master-0.f32", 0.1),
]
REAL = [
    ("chgnet to r2scan, BF16", "chgnet-0.3.0.bf16", "chgnet-r2scan.bf16", 60.0),
    ("ANI-1x to ANI-1ccx, F32, half frozen", "ani-1x", "ani-1ccx", 17.2),
    ("realcugan, no denoise to denoise1x, F16", "realcugan-no-denoise", "realcugan-denoise1x", 75.0),
    ("MiniLM, BF16 twin of F32", "minilm-l6-v2", "minilm-l6-v2.bf16", 0.1),
    ("ligandmpnn 010 to 020, F32", "ligandmpnn_v_32_010", "ligandmpnn_v_32_020", None),
]
SHORT = [TRAINED[0], TRAINED[1]]


def tensors(path):
    """Returns dtype, shape and bytes of each tensor."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    found = {}
    for name, info in header.items():
        start, stop = info["data_offsets"]
        found[name] = (info["dtype"], info["shape"], data[end + start : end + stop])
    return found


def xor_size(base, new):
    """Returns what XOR with zstd -1 takes; tensors that do not fit are compressed alone."""
    old, size = tensors(base), 0
    for name, (dtype, shape, raw) in tensors(new).items():
        other = old.get(name)
        if other and other[:2] == (dtype, shape):
            pair = (np.frombuffer(other[2], np.uint8), np.frombuffer(raw, np.uint8))
            raw = (pair[0] ^ pair[1]).tobytes()
        size += len(zstandard.ZstdCompressor(level=1).compress(raw))
    return size


def main():
    at1w, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    short = sys.argv[3:] == ["short"]

    def run(*args):
        command = [at1w, "--quiet", *map(str, args)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    pairs = [(folder, pair) for pair in (SHORT if short else TRAINED)]
    pairs += [(CORPUS, pair) for pair in ([] if short else REAL)]
    print("| pair | alone | XOR, zstd -1 | version |")
    print("|---|---:|---:|---:|")
    failed = []
    for place, (what, base, new, most) in pairs:
        base, new = (place / f"{name}.safetensors" for name in (base, new))
        alone, version = folder / "alone.at1w", folder / "version.at1w"
        run("pack", new, "-f", "-o", alone)
        run("pack", new, "-f", "-o", version, "--base", base)
        run("verify", version, "--bases", base.parent, "--threads", "1")
        back = folder / "back.safetensors"
        run("unpack", version, "-f", "-o", back, "--bases", base.parent)
        if back.read_bytes() != new.read_bytes():
            failed.append(f"{what}: does not come back")
        raw = new.stat().st_size
        sizes = [alone.stat().st_size, xor_size(base, new), version.stat().st_size]
        percent = [f"{100 * size / raw:.2f} %" for size in sizes]
        print("|", what, "|", " | ".join(percent), "|", flush=True)
        if sizes[2] > sizes[0]:
            failed.append(f"{what}: larger than alone")
        if most is not None and 100 * sizes[2] / raw > most:
            failed.append(f"{what}: more than {most} % of raw")
        if what.startswith("trained") and 5 * sizes[2] > 4 * sizes[1]:
            failed.append(f"{what}: more than 4/5 of XOR with zstd -1")
    sys.exit("\n".join(failed) or None)


if __name__ == "__main__":
    main()
