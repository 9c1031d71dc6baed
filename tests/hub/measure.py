"""Measures a server on loopback, one client at a time: verified downloads of rebuilt weights at two
levels; the first bytes at any offset and HEAD, also while the server scrubs its store.

measure.py [MODEL]; AT1W is the command line. Without MODEL, weights are made up.
"""

import contextlib
import hashlib
import http.client
import multiprocessing
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from conftest import AT1W, Server, weights

TIMES = 100
ROUNDS = 3


def cpu(process):
    """The seconds of processor time that a process took."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(connection, path, method="GET", headers={}):
    """Returns the answer and the seconds until its first byte."""
    began = time.perf_counter()
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    first = answer.read(1)
    took = time.perf_counter() - began
    return first + answer.read(), took


def figures(times):
    """Returns the median and the 99th percentile, in milliseconds."""
    times = sorted(times)
    return statistics.median(times) * 1e3, times[len(times) * 99 // 100] * 1e3


def ask_for_scrubs(server, began):
    """Has a server scrub its store again and again. A process of its own: threads of Python wait for
    each other."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Authorization": f"Bearer {server.admin}", "Origin": server.url}
    headers |= {"Content-Type": "application/x-www-form-urlencoded"}
    while True:
        connection.request("POST", "/admin/scrub", "", headers)
        answer = connection.getresponse()
        answer.read()
        # One that runs is a conflict.
        assert answer.status in (303, 409), answer.status
        began.set()
        time.sleep(0.01)


@contextlib.contextmanager
def scrubbing(server):
    began = multiprocessing.Event()
    process = multiprocessing.Process(target=ask_for_scrubs, args=(server, began), daemon=True)
    process.start()
    assert began.wait(10)
    try:
        yield
        assert process.is_alive()
    finally:
        process.terminate()
        process.join()


def latency(server, path, content):
    """Returns the times of first bytes at any offset, and of HEAD."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    times = {"first byte at any offset": [], "HEAD": []}
    for _ in range(TIMES):
        start = random.randrange(len(content))
        body, took = ask(connection, path, headers={"Range": f"bytes={start}-{start + 999}"})
        assert body == content[start : start + 1000]
        times["first byte at any offset"].append(took)
        times["HEAD"].append(ask(connection, path, "HEAD")[1])
    return times


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        model = place / "model.safetensors"
        if len(sys.argv) > 1:
            model.write_bytes(pathlib.Path(sys.argv[1]).read_bytes())
        else:
            weights(model, 100)
        content = model.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        limits = "[limits]\nrequests = 0\ndownloads = 0\n"
        server = Server(place / "server", config=limits)
        for level in ("fast", "default"):
            push = [AT1W, "push", "-q", "--level", level, str(model), server.store, f"{level}/model"]
            subprocess.check_call(push)
        server.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for level in ("fast", "default"):
            path = f"/{level}/model/resolve/main/model.safetensors"
            assert hashlib.sha256(ask(connection, path)[0]).hexdigest() == digest
            before, began = cpu(server.process.pid), time.perf_counter()
            for _ in range(10):
                assert len(ask(connection, path)[0]) == len(content)
            took, cores = time.perf_counter() - began, cpu(server.process.pid) - before
            gigabytes = 10 * len(content) / 1e9
            print(f"{level}: {gigabytes / cores:.2f} GB/s a core, {gigabytes / took:.2f} GB/s in all")
        server.stop()
        # In turns, so that other work of the machine slows all of them alike.
        kinds = {"": None, ", while a scrub runs at any rate": 0, ", at 100 MB/s": 100_000_000}
        times = {}
        for _ in range(ROUNDS):
            for kind, rate in kinds.items():
                config = f"{limits}[scrub]\nrate = {rate or 0}\n"
                server = Server(place / "server", config=config).start()
                latency(server, path, content)
                with contextlib.nullcontext() if rate is None else scrubbing(server):
                    for what, taken in latency(server, path, content).items():
                        times.setdefault((what, kind), []).extend(taken)
                server.stop()
        for (what, kind), taken in times.items():
            (median, most), (alone, _) = figures(taken), figures(times[what, ""])
            print(f"{what}{kind}: median {median:.2f} ms, 99 % {most:.2f} ms,"
                  f" {median / alone:.2f} x")


main()
