"""Prints the time that the installed hook adds to the start of Python: `python start.py`, in an
environment that has at1w. Two environments with nothing else take turns; one has the hook. Prints
medians, and the lowest of each, since other work of the machine only adds time.
"""

import re
import shutil
import statistics
import subprocess
import tempfile
import time
import venv
from pathlib import Path

from at1w import hook

PAIRS = 40


def environment(folder: Path) -> Path:
    """Makes an environment with at1w. Returns the path of its Python."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.check_output([python, "-c", program], text=True).strip()
    shutil.copytree(Path(hook.__file__).parent, Path(packages, "at1w"))
    return python


def start(python: Path, *options: str) -> tuple[float, str]:
    """Runs a process that does nothing. Returns its milliseconds and its standard error."""
    begin = time.perf_counter()
    result = subprocess.run(
        [python, *options, "-c", "pass"], capture_output=True, text=True, check=True
    )
    return 1e3 * (time.perf_counter() - begin), result.stderr


def import_time(python: Path) -> float:
    """Returns the milliseconds that Python counts for its own imports at the start."""
    _, report = start(python, "-X", "importtime")
    return sum(map(int, re.findall(r"import time:\s*(\d+) \|", report))) / 1e3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        without, hooked = (environment(Path(folder, name)) for name in ("without", "with"))
        subprocess.run([hooked, "-m", "at1w.hook", "install"], check=True, capture_output=True)
        rows = [
            *pairs("`-X importtime` of all imports, ", import_time, without, hooked),
            *pairs("process, ", lambda python: start(python)[0], without, hooked),
        ]
    print("| start of Python, ms | median | lowest |\n|---|---:|---:|")
    for name, times in rows:
        print(f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} |")


def pairs(what: str, measure, without: Path, hooked: Path) -> list[tuple[str, list[float]]]:
    """Measures both in turn, and the extra time of the second over the first, pair by pair."""
    found = []
    for turn in range(PAIRS):
        order = (without, hooked) if turn % 2 else (hooked, without)
        times = {python: measure(python) for python in order}
        found.append((times[without], times[hooked]))
    added = statistics.median(b - a for a, b in found)
    return [
        (f"{what}without the hook", [a for a, _ in found]),
        (f"{what}with it: {added:+.2f} in the median of {PAIRS} pairs", [b for _, b in found]),
    ]


if __name__ == "__main__":
    main()
