"""Loads a server with mixed HEAD, range and full reads for some seconds, hashes every answer, and
reports errors, wrong bytes, throughput and memory.

load.py [CONNECTIONS] [SECONDS]; AT1W is the command line. Then wrk, which hashes nothing and costs
next to nothing, asks for ranges and for whole files for a sixth of the time each.
"""

import hashlib
import http.client
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

from conftest import AT1W, Server, weights

CONNECTIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 60
PATH = "/lab/model/resolve/main/model.safetensors"


def memory(process):
    """The resident memory of a process now and at most, in MiB."""
    text = pathlib.Path(f"/proc/{process}/status").read_text()
    return [int(text.split(f"{name}:")[1].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")]


def work(server, content, digest, until, counts, lock):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    while time.time() < until:
        kind, headers, span = random.choice(["head", "range", "range", "full"]), {}, slice(None)
        if kind == "range":
            start = random.randrange(len(content))
            end = min(len(content), start + random.randrange(1, 2_000_000))
            headers["Range"], span = f"bytes={start}-{end - 1}", slice(start, end)
        began = time.time()
        try:
            connection.request("HEAD" if kind == "head" else "GET", PATH, headers=headers)
            answer = connection.getresponse()
            first = time.time() - began
            body = answer.read()
            if kind == "head":
                good = answer.status == 200 and answer.headers["ETag"] == f'"{digest}"'
            elif kind == "full":
                good = hashlib.sha256(body).hexdigest() == digest
            else:
                expected = hashlib.sha256(content[span]).digest()
                good = answer.status == 206 and hashlib.sha256(body).digest() == expected
            outcome = "right" if good else "wrong"
        except OSError as error:
            outcome, body, first = "error", b"", 0
            print(error, file=sys.stderr)
            connection.close()
        with lock:
            counts[outcome] = counts.get(outcome, 0) + 1
            counts["bytes"] = counts.get("bytes", 0) + len(body)
            counts.setdefault(f"first {kind}", []).append(first)


def wrk(server, name, headers):
    """Runs wrk; prints its figures, and returns the number of its errors."""
    seconds = max(5, SECONDS // 6)
    command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    for header in headers:
        command += ["-H", header]
    said = subprocess.check_output([*command, server.url + PATH], text=True)
    rates = re.search(r"Requests/sec: +(\S+)\nTransfer/sec: +(\S+)", said)
    print(f"wrk, {name}: {rates[1]} requests/s, {rates[2]}/s")
    errors = re.findall(r"(?:Non-2xx.*|Socket errors:.*)", said)
    for error in errors:
        print(f"wrk, {name}: {error.strip()}", file=sys.stderr)
    return len(errors)


def main():
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "model").mkdir()
        weights(place / "model" / "model.safetensors", 26)
        content = (place / "model" / "model.safetensors").read_bytes()
        server = Server(place / "server", config="[limits]\nrequests = 0\ndownloads = 0\n")
        push = [AT1W, "push", str(place / "model"), server.store, "lab/model", "-q"]
        subprocess.check_call(push)
        server.start()
        counts, lock = {}, threading.Lock()
        until = time.time() + SECONDS
        arguments = (server, content, hashlib.sha256(content).hexdigest(), until, counts, lock)
        threads = [threading.Thread(target=work, args=arguments) for _ in range(CONNECTIONS)]
        before = memory(server.process.pid)[0]
        began = time.time()
        for thread in threads:
            thread.start()
        samples = []
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            samples.append(memory(server.process.pid)[0])
        took = time.time() - began
        most = memory(server.process.pid)[1]
        errors = wrk(server, "ranges of 1 MB", ["Range: bytes=5000000-5999999"])
        errors += wrk(server, "whole", [])
        server.stop()
        print(f"{CONNECTIONS} connections, {took:.0f} s, {counts.get('right', 0)} right,",
              f"{counts.get('wrong', 0)} wrong, {counts.get('error', 0)} errors,",
              f"{counts['bytes'] / took / 1e6:.0f} MB/s")
        print(f"memory: {before} MiB before, {most} MiB at most,",
              f"{(most - before) / CONNECTIONS:.2f} MiB a connection;",
              f"by tenth: {samples[:: max(1, len(samples) // 10)]}")
        for name, times in sorted((k, v) for k, v in counts.items() if k.startswith("first")):
            times.sort()
            print(f"{name} byte: median {times[len(times) // 2] * 1e3:.1f} ms,",
                  f"99 % {times[len(times) * 99 // 100] * 1e3:.1f} ms")
        sys.exit(counts.get("wrong", 0) + counts.get("error", 0) + errors > 0)


main()
