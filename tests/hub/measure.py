"""Measures a server on loopback, one client at a time: verified downloads of rebuilt weights at two
levels, the first bytes at any offset, and HEAD.

measure.py [MODEL]; AT1W is the command line. Without MODEL, weights are made up.
"""

import hashlib
import http.client
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from conftest import AT1W, Server, weights

TIMES = 200


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


def shown(name, times):
    times = sorted(times)
    print(f"{name}: median {statistics.median(times) * 1e3:.2f} ms,"
          f" 99 % {times[len(times) * 99 // 100] * 1e3:.2f} ms")


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
        server = Server(place / "server", config="[limits]\nrequests = 0\ndownloads = 0\n")
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
        for name, method in (("first byte at any offset", "GET"), ("HEAD", "HEAD")):
            times = []
            for _ in range(TIMES):
                start = random.randrange(len(content))
                headers = {"Range": f"bytes={start}-{start + 999}"} if method == "GET" else {}
                body, took = ask(connection, path, method, headers)
                assert method == "HEAD" or body == content[start : start + 1000]
                times.append(took)
            shown(name, times)
        server.stop()


main()
