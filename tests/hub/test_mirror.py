"""A server that keeps what another one has."""

import hashlib
import http.server
import json
import threading
import time

import pytest

from conftest import same
from test_clients import python, upload


@pytest.fixture
def pair(make, home, model, tmp_path):
    """A server with a model, and one that mirrors it."""
    upstream = make()
    upload(upstream, home, model)
    token = upstream.token("mirror")
    (tmp_path / "token").write_text(token)
    config = f'[mirror]\nupstream = "{upstream.url}"\ntoken_file = "{tmp_path / "token"}"\nlifetime = 0\n'
    store = f"{upstream.store}-mirror"
    return upstream, make(config, store=store, name="mirror")


def test_a_miss_is_fetched_once_and_kept(pair, home, model, tmp_path):
    upstream, mirror = pair
    path = "/lab/model/resolve/main/model.safetensors"
    _, there, _ = upstream.ask(path, "HEAD")
    # Without a token nothing is fetched, and nothing is asked upstream.
    assert mirror.ask(path)[0] == 404
    back = ["hf", "download", "lab/model", "--local-dir", str(tmp_path / "back")]
    mirror.run(tmp_path / "o", *back, token=mirror.admin)
    same(model, tmp_path / "back")
    status, headers, body = mirror.ask(path)
    assert body == (model / "model.safetensors").read_bytes()
    for name in ("ETag", "X-Repo-Commit", "Content-Length"):
        assert headers[name] == there[name]
    # A revision stays pinned by the name that it has upstream, and upstream may be away.
    upstream.stop()
    pinned = path.replace("main", there["X-Repo-Commit"])
    assert mirror.ask(pinned, token=mirror.admin)[2] == body
    assert mirror.ask(path, token=mirror.admin)[2] == body
    upstream.start()


def test_a_branch_that_moves_is_followed(pair, home, model):
    upstream, mirror = pair
    path = "/lab/model/resolve/main/config.json"
    _, before, _ = mirror.ask(path, token=mirror.admin)
    (model / "config.json").write_text('{"model_type": "other"}')
    (model / "empty.txt").unlink()
    code = """api.create_commit("lab/model", [CommitOperationDelete("empty.txt"),
    CommitOperationAdd("config.json", b'{"model_type": "other"}')], commit_message="m")\nprint("{}")"""
    python(upstream, home, code, token=upstream.admin)
    status, after, body = mirror.ask(path, token=mirror.admin)
    assert body == b'{"model_type": "other"}'
    assert after["X-Repo-Commit"] == upstream.ask(path)[1]["X-Repo-Commit"]
    assert mirror.ask("/lab/model/resolve/main/empty.txt", token=mirror.admin)[0] == 404
    pinned = path.replace("main", before["X-Repo-Commit"])
    assert mirror.ask(pinned, token=mirror.admin)[2] == b'{"model_type": "bert"}'


def test_a_namespace_is_local_or_mirrored(pair, home):
    upstream, mirror = pair
    new = lambda namespace, name: json.dumps({"name": name, "organization": namespace}).encode()
    assert mirror.ask("/api/models/lab/model", token=mirror.admin)[0] == 200
    assert mirror.ask("/api/repos/create", "POST", mirror.admin, new("lab", "own"))[0] == 403
    assert mirror.ask("/api/repos/create", "POST", mirror.admin, new("own", "a"))[0] == 200
    assert upstream.ask("/api/repos/create", "POST", upstream.admin, new("own", "b"))[0] == 200
    since = len(upstream.received())
    # A local namespace is not asked for upstream, whoever asks.
    assert mirror.ask("/api/models/own/b", token=mirror.admin)[0] == 404
    assert "own/b" not in upstream.received(since)
    assert mirror.ask("/api/models/lab/none", token=mirror.admin)[0] == 404


def test_the_quota_holds(make, home, model, tmp_path):
    upstream = make()
    upload(upstream, home, model)
    config = f'anonymous = "never"\n[mirror]\nupstream = "{upstream.url}"\nquota = 1000000\n'
    mirror = make(config, store=f"{upstream.store}-mirror", name="mirror")
    status, _, body = mirror.ask("/api/models/lab/model", token=mirror.admin)
    assert status == 403 and b"quota" in body


def test_what_is_closed_upstream_is_closed_here(pair, home):
    upstream, mirror = pair
    body = json.dumps({"name": "secret", "organization": "corp", "private": True}).encode()
    assert upstream.ask("/api/repos/create", "POST", upstream.admin, body)[0] == 200
    (mirror.folder.parent / "token").write_text(upstream.admin)
    mirror.stop()
    mirror.start()
    path = "/corp/secret/resolve/main/.gitattributes"
    elsewhere = mirror.token("elsewhere", "--namespace", "other")
    assert mirror.ask(path, token=elsewhere)[0] == 404
    assert mirror.ask(path, token=mirror.admin)[0] == 200
    for token in (None, elsewhere):
        assert mirror.ask(path, token=token)[0] == 404
    # It is opened here when it is opened there, and closed again.
    for private in (False, True):
        settings = json.dumps({"private": private}).encode()
        assert upstream.ask("/api/models/corp/secret/settings", "PUT", upstream.admin, settings)[0] == 200
        assert mirror.ask(path, token=mirror.admin)[0] == 200
        assert mirror.ask(path)[0] == (404 if private else 200)


class Upstream(http.server.BaseHTTPRequestHandler):
    """A hub that says what it is told to say."""

    revisions, status = {}, 200

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if self.status != 200:
            return self.answer(self.status, b"")
        if parts[0] == "api":
            sha, files = self.revisions.get(parts[5], (None, None))
            if sha is None:
                return self.answer(404, b"", "RevisionNotFound")
            blob = lambda data: hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            siblings = [{"rfilename": path, "size": len(data), "blobId": blob(data)}
                        for path, data in files.items()]
            return self.answer(200, json.dumps({"sha": sha, "siblings": siblings}).encode())
        sha, path = parts[3], "/".join(parts[4:])
        files = {sha: files for sha, files in self.revisions.values()}[sha]
        self.answer(200, files[path])

    def answer(self, status, body, code=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def odd(make):
    """An odd upstream, and a server that mirrors it."""
    handler = type("Odd", (Upstream,), {"revisions": {}, "status": 200})
    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{upstream.server_port}"
    yield handler, make(f'[mirror]\nupstream = "{url}"\nlifetime = 1\nnamespaces = ["corp"]\n')
    upstream.shutdown()


def test_a_branch_is_not_served_as_another_one(odd):
    upstream, mirror = odd
    upstream.revisions["b" * 40] = ("b" * 40, {"old.txt": b"old"})
    upstream.revisions["main"] = ("c" * 40, {"a": b"a", "a/b": b"b"})
    ask = lambda revision: mirror.ask(f"/corp/three/resolve/{revision}/old.txt", token=mirror.admin)
    assert ask("b" * 40)[2] == b"old"
    for _ in range(2):
        assert ask("main")[0] >= 400
    upstream.revisions["main"] = ("d" * 40, {"old.txt": b"new"})
    time.sleep(1.5)
    status, headers, body = ask("main")
    assert (status, body, headers["X-Repo-Commit"]) == (200, b"new", "d" * 40)


def test_a_failure_of_upstream_passes(odd):
    upstream, mirror = odd
    upstream.revisions["main"] = ("c" * 40, {"a": b"a"})
    upstream.status = 500
    ask = lambda repo="corp/m", revision="main": mirror.ask(f"/{repo}/resolve/{revision}/a",
                                                          token=mirror.admin)
    assert [ask()[0] for _ in range(2)] == [503, 503]
    upstream.status = 200
    time.sleep(1.5)
    assert ask()[2] == b"a"
    # It is away, and what is here is served.
    upstream.status = 500
    time.sleep(1.5)
    assert ask()[2] == b"a"
    upstream.status = 200
    for _ in range(2):
        status, headers, _ = ask(revision="none")
        assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")
    # Other namespaces are nobody's business there.
    assert ask("other/m")[0] == 404
    body = json.dumps({"name": "own", "organization": "other"}).encode()
    assert mirror.ask("/api/repos/create", "POST", mirror.admin, body)[0] == 200
