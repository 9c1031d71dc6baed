"""The work on a store as tasks of a Ray cluster.

python -m at1w.ray push STORE NS DIR...      each directory becomes NS/its name
python -m at1w.ray scrub STORE [NS]          each repository is read and proven
python -m at1w.ray repack STORE [NS]         each repository is stored at level max

There is one task for a repository. The store is a bucket that all workers reach, and so are the
directories to push. A worker that dies costs a retry: a task that is run again finds what it has
done already, and does the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from ._store import Store

#: The number of times that a task is run again after its worker has died.
RETRIES = 5


def push(store: str, namespace: str, source: str, level: str) -> dict[str, Any]:
    """Pushes a directory. One that was pushed before makes no new commit."""
    name = os.path.basename(os.path.normpath(source))
    repo = f"{namespace}/{name}"
    pushed = Store(store).push(source, repo, level=level, message="pushed by at1w.ray")
    return {"repository": repo, "bytes": pushed["bytes"], "stored_bytes": pushed["stored_bytes"]}


def scrub(store: str, repo: str) -> dict[str, Any]:
    """Reads and proves a repository."""
    return {"repository": repo, "damaged": Store(store).scrub(repo)}


def repack(store: str, repo: str, level: str) -> dict[str, Any]:
    """Stores a repository at another level. What is stored so already stays."""
    before, after = Store(store).repack(repo, level=level)
    return {"repository": repo, "before_bytes": before, "after_bytes": after}


def run(tasks: list[tuple[Any, tuple[Any, ...]]], out: Any = sys.stdout) -> int:
    """Runs tasks on the cluster, prints a line of JSON for each as it ends, and a summary."""
    import ray

    begin = time.monotonic()
    # The credentials of this process are those of the workers.
    names = ("AWS_", "AZURE_", "GOOGLE_", "AT1W_")
    variables = {key: value for key, value in os.environ.items() if key.startswith(names)}
    remotes = {}
    pending = {}
    for function, arguments in tasks:
        if function not in remotes:
            options = {"max_retries": RETRIES, "runtime_env": {"env_vars": variables}}
            remotes[function] = ray.remote(**options)(function)
        pending[remotes[function].remote(*arguments)] = arguments
    done = failed = damaged = 0
    while pending:
        (ready,), _ = ray.wait(list(pending), num_returns=1)
        arguments = pending.pop(ready)
        try:
            result = ray.get(ready)
        except Exception as error:  # noqa: BLE001 - every failure is one of the task
            failed += 1
            line = {"event": "failed", "arguments": list(arguments), "problem": str(error)}
        else:
            done += 1
            damaged += bool(result.get("damaged"))
            line = {"event": "done", **result}
        line["left"] = len(pending)
        print(json.dumps(line), file=out, flush=True)
    seconds = round(time.monotonic() - begin, 1)
    summary = {"event": "summary", "done": done, "failed": failed, "damaged": damaged}
    print(json.dumps({**summary, "seconds": seconds}), file=out, flush=True)
    return 3 if damaged else 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m at1w.ray", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--address", help="the address of the cluster [default: RAY_ADDRESS]")
    parser.add_argument("--level", default=None, choices=["fast", "default", "max"])
    parser.add_argument("command", choices=["push", "scrub", "repack"])
    parser.add_argument("store", metavar="STORE")
    parser.add_argument("rest", nargs="*", metavar="NS | DIR")
    given = parser.parse_args(arguments)
    if given.command == "push" and len(given.rest) < 2:
        parser.error("push takes STORE NS DIR...")

    import ray

    ray.init(address=given.address, log_to_driver=False)
    if given.command == "push":
        namespace, *sources = given.rest
        level = given.level or "default"
        tasks = [
            (push, (given.store, namespace, os.path.abspath(source), level)) for source in sources
        ]
    else:
        repos = Store(given.store).repos(given.rest[0] if given.rest else None)
        if given.command == "scrub":
            tasks = [(scrub, (given.store, repo.name)) for repo in repos]
        else:
            level = given.level or "max"
            tasks = [(repack, (given.store, repo.name, level)) for repo in repos]
    return run(tasks)


if __name__ == "__main__":
    # The tasks are of the module that workers can import, not of `__main__`.
    from at1w.ray import main as imported_main

    sys.exit(imported_main())
