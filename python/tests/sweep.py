"""Damages small packed files and reads all there is of them. As a program, for ci/sweeps: takes a
folder of files to damage, those named splice-* to be put together, and prints a table.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import at1w
import at1w.numpy


def equal_arrays(ours, theirs):
    return (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


class Intact:
    """What is in a file that nothing happened to."""

    def __init__(self, content):
        self.content = content
        with tempfile.NamedTemporaryFile(suffix=".at1w") as file:
            file.write(content)
            file.flush()
            with at1w.safe_open(file.name, "np") as f:
                self.header = header(f)
                self.tensors = f.get_tensors()


def header(f):
    slices = {name: f.get_slice(name) for name in f.offset_keys()}
    return f.metadata(), {name: (s.get_shape(), s.get_dtype()) for name, s in slices.items()}


def outcome(path, content, intact):
    """What reading a damaged file gives: "refused", if anything was; "equal", if all of it is as in
    one of those that it was made of; "wrong", if anything else was read. Any exception other than
    SafetensorError is raised.
    """
    path.write_bytes(content)
    refused = False

    def attempt(read):
        nonlocal refused
        try:
            return read()
        except at1w.SafetensorError:
            refused = True
            return None

    def all_in(i, tensors):
        return all(name in i.tensors and equal_arrays(t, i.tensors[name]) for name, t in tensors.items())

    # As a whole: from the file, and from memory.
    for read in (lambda: at1w.numpy.load_file(path), lambda: at1w.numpy.load(content)):
        whole = attempt(read)
        if whole is None:
            continue
        if not any(whole.keys() == i.tensors.keys() and all_in(i, whole) for i in intact):
            return "wrong"
    attempt(lambda: at1w.verify(path))

    # One tensor after the other.
    f = attempt(lambda: at1w.safe_open(path, "np"))
    if f is None:
        return "refused"
    with f:
        tensors = {}
        for name in f.keys():
            tensor = attempt(lambda: f.get_tensor(name))  # noqa: B023
            if tensor is not None:
                tensors[name] = tensor
        if not any(header(f) == i.header and all_in(i, tensors) for i in intact):
            return "wrong"
    return "refused" if refused else "equal"


def flips(content, stride):
    for bit in range(0, len(content) * 8, stride):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def cuts(content, stride):
    return (content[:length] for length in range(0, len(content), stride))


def splices(one, other, stride):
    for a, b in ((one, other), (other, one)):
        for at in range(0, min(len(a), len(b)), stride):
            yield a[:at] + b[at:]
            # Counted from the end, so that the indices meet.
            yield a[: len(a) - at] + b[len(b) - at :]
            for length in (1, 8, 32, 64, 200):
                end = min(at + length, len(a), len(b))
                yield a[:at] + b[at:end] + a[end:]


def sweep(cases, intact):
    """How often each outcome came about."""
    tally = Counter(refused=0, equal=0, wrong=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "damaged.at1w")
        for content in cases:
            tally[outcome(path, content, intact)] += 1
    return tally


def main(folder):
    names = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("splice-"))
    every = []
    for path in names:
        intact = Intact(path.read_bytes())
        every.append((f"{path.stem}: single bits flipped", flips(intact.content, 1), [intact]))
        every.append((f"{path.stem}: truncated", cuts(intact.content, 1), [intact]))
    pair = [Intact(path.read_bytes()) for path in sorted(Path(folder).glob("splice-*"))]
    every.append(("two files spliced", splices(*(i.content for i in pair), 1), pair))

    print("\n| file and damage, through Python | tried | refused | read as it was | silently wrong |")
    print("|---|---:|---:|---:|---:|", flush=True)
    total = Counter()
    for what, cases, intact in every:
        tally = sweep(cases, intact)
        total += tally
        print(row(what, tally), flush=True)
    print(row("all", total))
    sys.exit(total["wrong"] != 0)


def row(what, tally):
    counts = (sum(tally.values()), tally["refused"], tally["equal"], tally["wrong"])
    return f"| {what} | " + " | ".join(map(str, counts)) + " |"


if __name__ == "__main__":
    main(sys.argv[1])
