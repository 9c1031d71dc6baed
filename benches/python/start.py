"""Prints what the installed hook adds to the start of Python: `python start.py`, in an environment
that has at1w. Starts without it and with it take turns; medians, and the lowest of each, since a
machine that is busy with other things only adds.
"""

import re
import statistics
import subprocess
import sys
import time

from at1w import hook

PAIRS = 40


def start(*options: str) -> tuple[float, str]:
    """Seconds of a whole process that does nothing, and what it prints on standard error."""
    begin = time.perf_counter()
    command = [sys.executable, *options, "-c", "pass"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, result.stderr


def import_time() -> float:
    """Seconds that Python itself counts for what the hook imports."""
    _, report = start("-X", "importtime")
    (line,) = re.findall(r"import time:\s*\d+ \|\s*(\d+) \|\s*_at1w_hook\n", report)
    return int(line) / 1e6


def main() -> None:
    was_installed = hook.installed()
    times: dict[str, list[float]] = {"without": [], "with": [], "import": []}
    try:
        for _ in range(PAIRS):
            hook.uninstall()
            times["without"].append(start()[0])
            hook.install()
            times["with"].append(start()[0])
            times["import"].append(import_time())
    finally:
        hook.install() if was_installed else hook.uninstall()
    times["difference"] = [w - o for o, w in zip(times["without"], times["with"])]
    rows = {
        "without the hook": "without",
        "with it": "with",
        f"difference of {PAIRS} pairs": "difference",
        "`-X importtime` of what it imports": "import",
    }
    print("| start of Python | ms | lowest |\n|---|---:|---:|")
    for row, name in rows.items():
        median, lowest = 1e3 * statistics.median(times[name]), 1e3 * min(times[name])
        print(f"| {row} | {median:.2f} | {'' if name == 'difference' else f'{lowest:.2f}'} |")


if __name__ == "__main__":
    main()
