"""A server that keeps what another one has."""

import json

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
