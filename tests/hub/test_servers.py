"""Several servers, servers that are killed, and stores that are down."""

import hashlib
import json
import os
import socket
import ssl
import subprocess
import time

import pytest

from conftest import AT1W, Server, same
from test_clients import upload


def test_two_servers_share_a_store(make, home, model, tmp_path):
    first = make()
    second = make(store=first.store, name="second")
    # Addresses for uploads and Xet tokens are signed with one key.
    second.stop()
    (second.secrets / "signing-key").write_bytes((first.secrets / "signing-key").read_bytes())
    second.start()
    upload(first, home, model)
    path = "/lab/model/resolve/main/model.safetensors"
    content = (model / "model.safetensors").read_bytes()
    for server in (first, second):
        assert server.ask(path)[2] == content
    for number in range(10):
        one, other = (first, second) if number % 2 else (second, first)
        line = {"path": "n.txt", "content": "", "encoding": "base64"}
        line["content"] = __import__("base64").b64encode(str(number).encode()).decode()
        lines = [{"key": "header", "value": {"summary": "n"}}, {"key": "file", "value": line}]
        body = "\n".join(map(json.dumps, lines)).encode()
        status, _, answer = one.ask("/api/models/lab/model/commit/main", "POST", first.admin, body)
        assert status == 200, answer
        commit = json.loads(answer)["commitOid"]
        status, headers, text = other.ask("/lab/model/resolve/main/n.txt")
        assert (headers["X-Repo-Commit"], text) == (commit, str(number).encode())


def test_a_commit_that_is_sent_again_is_the_same(server, home, model):
    upload(server, home, model)
    lines = [{"key": "header", "value": {"summary": "n"}},
             {"key": "file", "value": {"path": "n", "content": "eA==", "encoding": "base64"}}]
    body = "\n".join(map(json.dumps, lines)).encode()
    path = "/api/models/lab/model/commit/main"
    answers = {server.ask(path, "POST", server.admin, body)[2] for _ in range(3)}
    assert len(answers) == 1
    log = json.loads(server.ask("/api/models/lab/model/commits/main")[2])
    assert [commit["title"] for commit in log].count("n") == 1


def test_what_was_sent_before_a_kill_is_not_sent_again(server, home, model, tmp_path):
    upload(server, home, model)
    server.kill()
    server.start()
    path = "/lab/model/resolve/main/model.safetensors"
    assert server.ask(path)[2] == (model / "model.safetensors").read_bytes()
    content = bytearray((model / "model.safetensors").read_bytes())
    content[20_000_000:20_000_010] = b"0123456789"
    (model / "model.safetensors").write_bytes(content)
    since = len(server.received())
    upload(server, home, model)
    assert server.received(since).count("/cas/v1/xorbs/") == 1
    assert server.ask(path)[2] == bytes(content)


def test_a_store_that_is_down_is_said_to_be(make, tmp_path, home, monkeypatch):
    moto = pytest.importorskip("moto.server")
    from conftest import free_port
    import urllib.request

    port = free_port()
    bucket = moto.ThreadedMotoServer(port=port)
    bucket.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/down", method="PUT")).read()
    server = make(store="s3://down/store")
    body = json.dumps({"name": "m", "organization": "lab"}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    bucket.stop()
    status, headers, _ = server.ask("/api/models/lab/m")
    assert status == 503 and int(headers["Retry-After"]) > 0
    assert server.ask("/readyz")[0] == 503 and server.ask("/healthz")[0] == 200


def test_repositories_move_with_their_history(server, home, model):
    upload(server, home, model)
    log = json.loads(server.ask("/api/models/lab/model/commits/main")[2])
    body = json.dumps({"fromRepo": "lab/model", "toRepo": "lab/other", "type": "model"}).encode()
    assert server.ask("/api/repos/move", "POST", server.admin, body)[0] == 200
    assert server.ask("/api/models/lab/model")[0] == 404
    assert json.loads(server.ask("/api/models/lab/other/commits/main")[2]) == log
    content = (model / "model.safetensors").read_bytes()
    assert server.ask("/lab/other/resolve/main/model.safetensors")[2] == content
    for command in (["scrub"], ["gc"]):
        done = subprocess.run([AT1W, "store", *command, server.store], capture_output=True)
        assert done.returncode == 0, done
    upload(server, home, model)
    assert server.ask("/api/models/lab/model")[0] == 200


def secured(tmp_path, config=""):
    """Starts a server with a certificate of its own."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    tls = f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    server = Server(tmp_path / "server", config=config + tls)
    server.url = f"https://localhost:{server.port}"
    server.context = ssl.create_default_context(cafile=certificate)
    return server.start(), certificate


def test_a_client_that_takes_nothing_is_left(tmp_path, bucket):
    if bucket:
        pytest.skip("one store is enough")
    server, _ = secured(tmp_path, "[limits]\nidle_time = 2\n")
    body = json.dumps({"name": "m", "organization": "lab"}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    source = tmp_path / "data"
    source.write_bytes(os.urandom(9_000_000))
    subprocess.check_call([AT1W, "push", "-q", source, server.store, "lab/m"])
    held = []
    for length in range(2_160_000, 2_260_000, 4000):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        plain.connect(("127.0.0.1", server.port))
        connection = server.context.wrap_socket(plain, server_hostname="localhost")
        request = f"GET /lab/m/resolve/main/data HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-{length}\r\n\r\n"
        connection.sendall(request.encode())
        held.append(connection)
    port = f":{server.port:04X}"
    rows = lambda: [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    open_ones = lambda: sum(row[1].endswith(port) and row[3] == "01" for row in rows())
    for _ in range(100):
        if not open_ones():
            break
        time.sleep(0.2)
    assert open_ones() == 0
    server.stop()


def test_tls(tmp_path, home, model, bucket):
    if bucket:
        pytest.skip("one store is enough")
    server, certificate = secured(tmp_path)
    more = {"HF_HUB_DISABLE_XET": "1", "SSL_CERT_FILE": str(certificate)}
    upload(server, home, model, **more)
    back = ["hf", "download", "lab/model", "--local-dir", str(tmp_path / "back")]
    server.run(tmp_path / "o", *back, **more)
    same(model, tmp_path / "back")
    server.stop()
