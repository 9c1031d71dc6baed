"""A server of its own for each test, and the unmodified clients that talk to it."""

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from safetensors.numpy import save_file

AT1W = os.environ.get("AT1W", "at1w")


class Server:
    """A server over a store, and what a client needs to know of it."""

    def __init__(self, folder, store=None, config="", port=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = store or str(self.folder / "store")
        self.secrets = self.folder / "secrets"
        self.staging = self.folder / "staging"
        self.config = self.folder / "at1w.toml"
        top, _, tables = f"\n{config}".partition("\n[")
        text = f'secrets = "{self.secrets}"\nstaging = "{self.staging}"\n{top}\n'
        self.config.write_text(text + (f"[{tables}" if tables else ""))
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(self.folder / "log", "ab")
        self.process = None
        self.context = None

    def start(self):
        command = [AT1W, "serve", self.store, "--listen", f"127.0.0.1:{self.port}"]
        command += ["--config", str(self.config)]
        self.process = subprocess.Popen(command, stderr=self.log)
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.url}/healthz", context=self.context).read()
                return self
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(timeout=40) == 0

    @property
    def admin(self):
        return (self.secrets / "admin-token").read_text().strip()

    def token(self, name, *options):
        command = [AT1W, "token", "create", self.store, "--name", name, *options]
        return subprocess.check_output(command, text=True).strip()

    def environment(self, home, token=None, **more):
        known = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        known |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        known |= {"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        return known | more

    def run(self, home, *command, token=None, check=True, **more):
        """Runs a command as a client with a home of its own."""
        environment = self.environment(home, token, **more)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.tail()
        return done

    def tail(self):
        return (self.folder / "log").read_text()[-3000:]

    def ask(self, path, method="GET", token=None, data=None, headers=None, timeout=None):
        """Sends a request of one's own; returns status, headers and body."""
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.context) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read()

    def received(self, since=0):
        return (self.folder / "log").read_text()[since:]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def bucket():
    """The address of a bucket, where the suite runs against one (AT1W_HUB_STORE=s3)."""
    if os.environ.get("AT1W_HUB_STORE") != "s3":
        yield None
        return
    from moto.server import ThreadedMotoServer

    port = free_port()
    server = ThreadedMotoServer(port=port)
    server.start()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    request = urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT")
    urllib.request.urlopen(request).read()
    yield "s3://bucket"
    server.stop()


@pytest.fixture
def make(tmp_path, bucket):
    """Makes servers, which end with the test."""
    servers = []

    def make(config="", store=None, name="server"):
        place = store or (bucket and f"{bucket}/{tmp_path.name}-{os.getpid()}")
        server = Server(tmp_path / name, place, config)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(make):
    return make()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def weights(path, megabytes, seed=0):
    """Writes weights of bfloat16 that look like those of a model."""
    random = np.random.default_rng(seed)
    count = max(1, megabytes // 8)
    import json
    import struct

    header, blobs, at = {}, [], 0
    for layer in range(count):
        rows = megabytes * 1_000_000 // count // 2 // 1024
        values = random.standard_normal((rows, 1024), dtype=np.float32) * 0.02
        raw = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        span = [at, at + len(raw)]
        header[f"layer.{layer}.weight"] = {"dtype": "BF16", "shape": [rows, 1024], "data_offsets": span}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


@pytest.fixture
def model(tmp_path):
    """A folder with a model: weights, and files that go by other ways."""
    folder = tmp_path / "model"
    (folder / "sub dir" / "a").mkdir(parents=True)
    weights(folder / "model.safetensors", 26)
    save_file({"bias": np.zeros(16, np.float32)}, folder / "small.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Model\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "tokens.bin").write_bytes(np.random.default_rng(1).bytes(3_000_000))
    (folder / "sub dir" / "a" / "ü+%.txt").write_text("odd name")
    return folder


def same(a, b):
    """Checks that two folders hold the same files, caches of clients aside."""
    def files(folder):
        found = (path for path in pathlib.Path(folder).rglob("*") if path.is_file())
        found = {str(path.relative_to(folder)): path for path in found}
        own = (".cache", ".gitattributes")
        return {name: path for name, path in found.items() if not name.startswith(own)}

    left, right = files(a), files(b)
    assert left.keys() == right.keys()
    for name, path in left.items():
        assert path.read_bytes() == right[name].read_bytes(), name
