"""A server that keeps what another one has."""

import base64
import contextlib
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
    return upstream, mirror_of(make, upstream, token_file=str(tmp_path / "token"), lifetime=0)


def mirror_of(make, upstream, url=None, top="", **options):
    """Starts a server that mirrors another one, every namespace unless the options name some."""
    options = {"namespaces": ["*"]} | options | {"upstream": url or upstream.url}
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    config = top + "[mirror]\n" + "\n".join(lines) + "\n"
    return make(config, store=f"{upstream.store}-mirror", name="mirror")


def create(server, namespace, name, token=None, **more):
    body = json.dumps({"name": name, "organization": namespace} | more).encode()
    return server.ask("/api/repos/create", "POST", token or server.admin, body)[0]


def commit(server, repo, **files):
    """Commits small files; returns the name of the commit."""
    lines = [{"key": "header", "value": {"summary": "m"}}]
    for path, content in files.items():
        content = base64.b64encode(content).decode()
        lines.append({"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}})
    body = "\n".join(map(json.dumps, lines)).encode()
    status, _, answer = server.ask(f"/api/models/{repo}/commit/main", "POST", server.admin, body)
    assert status == 200, answer
    return json.loads(answer)["commitOid"]


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
    # A request for a single file does not wait for the weights.
    assert mirror.ask("/api/models/lab/model", token=mirror.admin)[0] == 200
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
    _, _, listed = mirror.ask("/api/models/lab/model/commits/main", token=mirror.admin)
    names = [commit["id"] for commit in json.loads(listed)]
    assert names == [after["X-Repo-Commit"], before["X-Repo-Commit"]]


def test_a_branch_that_goes_back_has_its_old_name(make, tmp_path):
    upstream = make()
    create(upstream, "lab", "m")
    names = [commit(upstream, "lab/m", a=content) for content in (b"1", b"2")]
    with hostile() as (url, repos):
        file = {"a": b"1"}
        repos["lab/m"] = {"main": (names[0], file), names[0]: (names[0], file)}
        mirror = mirror_of(make, upstream, url=url, lifetime=0)
        for name, content in zip((0, 1, 0), (b"1", b"2", b"1")):
            repos["lab/m"]["main"] = (names[name], {"a": content})
            _, headers, body = mirror.ask("/lab/m/resolve/main/a", token=mirror.admin)
            assert (headers["X-Repo-Commit"], body) == (names[name], content)


def test_a_namespace_is_local_or_mirrored(pair, home):
    upstream, mirror = pair
    assert mirror.ask("/api/models/lab/model", token=mirror.admin)[0] == 200
    assert create(mirror, "lab", "own") == 403
    assert create(mirror, "own", "a") == 200
    assert create(upstream, "own", "b") == 200
    since = len(upstream.received())
    # A local namespace is not asked for upstream, whoever asks.
    assert mirror.ask("/api/models/own/b", token=mirror.admin)[0] == 404
    assert "own/b" not in upstream.received(since)
    assert mirror.ask("/api/models/lab/none", token=mirror.admin)[0] == 404


def test_only_what_the_configuration_names_is_asked_for(make):
    upstream = make()
    assert create(upstream, "lab", "m") == create(upstream, "newteam", "x") == 200
    mirror = mirror_of(make, upstream, namespaces=["lab"])
    reader = mirror.token("reader")
    since = len(upstream.received())
    assert mirror.ask("/api/models/newteam/x", token=reader)[0] == 404
    assert "newteam" not in upstream.received(since)
    # So nobody who merely reads gives a name away.
    assert create(mirror, "newteam", "own") == 200
    assert mirror.ask("/api/models/lab/m", token=reader)[0] == 200


def private_pair(make, tmp_path, **options):
    """A server with a private repository, and one that mirrors it with a token that may read it."""
    upstream = make()
    create(upstream, "corp", "secret", private=True)
    commit(upstream, "corp/secret", w=b"secret")
    (tmp_path / "token").write_text(upstream.token("mirror"))
    return upstream, mirror_of(make, upstream, token_file=str(tmp_path / "token"), lifetime=0, **options)


FILE = "/corp/secret/resolve/main/w"


def test_what_is_private_upstream_stays_there(make, tmp_path):
    upstream, mirror = private_pair(make, tmp_path)
    for path in (FILE, "/api/models/corp/secret", "/api/models/corp/secret/revision/none"):
        for token in (mirror.admin, mirror.token("other", "--namespace", "other")):
            status, headers, body = mirror.ask(path, token=token)
            assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound") or "none" in path
            assert b"secret" not in body
    assert "/resolve/" not in upstream.received()


def test_what_is_private_upstream_is_private_here(make, tmp_path):
    upstream, mirror = private_pair(make, tmp_path, private=True)
    other = mirror.token("other", "--namespace", "other")
    answers = lambda token: [mirror.ask(path, token=token)[0] for path in (FILE, FILE + "x")]
    assert answers(other) == [404, 404] and "/resolve/" not in upstream.received()
    for path in ("/api/models/corp/secret/revision/none", "/corp/secret/resolve/none/w"):
        status, headers, _ = mirror.ask(path, token=other)
        assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound")
    corp = mirror.token("corp", "--namespace", "corp")
    assert mirror.ask(FILE, token=corp)[2] == b"secret"
    assert json.loads(mirror.ask("/api/models/corp/secret", token=corp)[2])["private"]
    assert answers(other) == answers(None) == [404, 404]
    # Upstream publishes it, and takes it back.
    for private in (False, True):
        body = json.dumps({"private": private}).encode()
        upstream.ask("/api/models/corp/secret/settings", "PUT", upstream.admin, body)
        assert mirror.ask(FILE, token=corp)[0] == 200
        assert mirror.ask(FILE)[0] == (404 if private else 200)


def test_what_upstream_takes_back_is_hidden_here(make, tmp_path):
    upstream, mirror = private_pair(make, tmp_path)
    settings = lambda private: upstream.ask("/api/models/corp/secret/settings", "PUT", upstream.admin,
                                            json.dumps({"private": private}).encode())
    settings(False)
    other = mirror.token("other", "--namespace", "other")
    assert mirror.ask(FILE, token=other)[2] == mirror.ask(FILE)[2] == b"secret"
    settings(True)
    assert mirror.ask(FILE, token=other)[0] == 404
    assert mirror.ask(FILE)[0] == 404
    # Those who may read all of the namespace keep what is here.
    assert mirror.ask(FILE, token=mirror.admin)[2] == b"secret"


def test_a_failure_of_upstream_is_no_word_about_a_repository(make, tmp_path):
    upstream = make()
    create(upstream, "lab", "m")
    # Long enough that a failure is not merely forgotten.
    mirror = mirror_of(make, upstream, lifetime=3600)
    path = "/api/models/lab/m"
    upstream.stop()
    assert mirror.ask(path, token=mirror.admin)[0] == 503
    upstream.start()
    while (status := mirror.ask(path, token=mirror.admin)[0]) != 200:
        assert status == 503
        time.sleep(0.2)
    # A revision that upstream does not have is one that the repository does not have, each time.
    for _ in range(2):
        status, headers, _ = mirror.ask(f"{path}/revision/none", token=mirror.admin)
        assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")
        status, headers, _ = mirror.ask("/api/models/lab/none", token=mirror.admin)
        assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_a_wrong_token_for_upstream_is_a_failure(make, tmp_path):
    upstream = make()
    create(upstream, "lab", "m")
    (tmp_path / "token").write_text("hf_" + "a" * 37)
    mirror = mirror_of(make, upstream, token_file=str(tmp_path / "token"))
    assert mirror.ask("/api/models/lab/m", token=mirror.admin)[0] == 503


def test_the_quota_holds(make, home, model):
    upstream = make()
    upload(upstream, home, model)
    mirror = mirror_of(make, upstream, top='anonymous = "never"\n', quota=1_000_000)
    status, _, body = mirror.ask("/api/models/lab/model", token=mirror.admin)
    assert status == 403 and b"quota" in body


def test_the_quota_counts_every_commit_and_each_file_once(make):
    upstream = make()
    create(upstream, "lab", "m")
    content = [bytes([number]) * 40_000 for number in range(4)]
    commits = [commit(upstream, "lab/m", w=content[number]) for number in range(3)]
    mirror = mirror_of(make, upstream, quota=100_000)
    answers = [mirror.ask(f"/lab/m/resolve/{name}/w", token=mirror.admin)[0] for name in commits]
    assert answers == [200, 200, 403]
    # Which of them is asked for does not matter, and what is kept is served.
    assert mirror.ask("/lab/m/resolve/main/w", token=mirror.admin)[0] == 403
    assert mirror.ask(f"/lab/m/resolve/{commits[1]}/w", token=mirror.admin)[2] == content[1]


@contextlib.contextmanager
def hostile():
    """An upstream that says what a test has it say: a revision is a commit and its files."""
    repos = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            parts = self.path.split("?")[0].strip("/").split("/")
            api = parts[0] == "api"
            repo = "/".join(parts[2:4] if api else parts[:2])
            revisions = repos.get(repo, {})
            status, headers, body = 404, {"X-Error-Code": "RevisionNotFound" if revisions else "RepoNotFound"}, b""
            if api and parts[5] in revisions:
                sha, files = revisions[parts[5]]
                blob = lambda content: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                siblings = [{"rfilename": path, "size": len(content), "blobId": blob(content)}
                            for path, content in files.items()]
                status, body = 200, json.dumps({"sha": sha, "siblings": siblings}).encode()
            elif not api:
                found = [files for sha, files in revisions.values() if sha == parts[3]]
                content = found and found[0].get("/".join(parts[4:]))
                if isinstance(repos.get("redirect"), str):
                    status, headers = 302, {"Location": repos["redirect"]}
                elif found:
                    status, body = 200, content
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", repos
    server.shutdown()
    server.server_close()


def test_a_branch_that_cannot_be_kept_is_not_another_one(make):
    other = make()
    with hostile() as (url, repos):
        old, new = "b" * 40, "c" * 40
        repos["lab/m"] = {old: (old, {"old": b"old"}), "main": (new, {"a": b"1", "a/b": b"2"})}
        mirror = mirror_of(make, other, url=url, lifetime=0)
        assert mirror.ask(f"/lab/m/resolve/{old}/old", token=mirror.admin)[2] == b"old"
        for _ in range(2):
            # One path within another cannot be kept.
            assert mirror.ask("/api/models/lab/m", token=mirror.admin)[0] == 503
            assert mirror.ask("/lab/m/resolve/main/old", token=mirror.admin)[0] == 503
            assert mirror.ask("/lab/m/resolve/main/old")[0] == 404
        repos["lab/m"]["main"] = (new, {"new": b"new"})
        _, headers, body = mirror.ask("/lab/m/resolve/main/new", token=mirror.admin)
        assert (headers["X-Repo-Commit"], body) == (new, b"new")
        assert mirror.ask("/lab/m/resolve/main/old", token=mirror.admin)[0] == 404


def test_redirects_lead_to_tls_or_stay_upstream(make):
    other = make()
    with hostile() as (url, repos):
        repos["lab/m"] = {"main": ("b" * 40, {"a": b"1"})}
        # An address in this network, which the upstream could not reach itself.
        repos["redirect"] = f"{other.url}/from-upstream"
        mirror = mirror_of(make, other, url=url, lifetime=0)
        assert mirror.ask("/api/models/lab/m", token=mirror.admin)[0] == 503
        assert "from-upstream" not in other.received()


def test_without_namespaces_an_administrator_chooses_them(make, tmp_path):
    upstream = make(name="upstream")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.txt").write_text("a")
    for repo in ("lab/m", "other/m"):
        upload = ["hf", "upload", repo, str(tmp_path / "m")]
        upstream.run(tmp_path / "home", *upload, token=upstream.admin)
    mirror = mirror_of(make, upstream, namespaces=[])
    reader = mirror.token("reader")
    path = "/Lab/m/resolve/main/a.txt"
    assert mirror.ask(path, token=reader)[0] == 404
    assert mirror.ask(path, token=mirror.admin)[2] == b"a"
    # From then on for everybody, however the namespace is spelled.
    assert mirror.ask("/lab/m/resolve/main/a.txt", token=reader)[2] == b"a"
    assert mirror.ask(path)[2] == b"a"
    assert mirror.ask("/api/models/other/m", token=reader)[0] == 404
    assert create(mirror, "other", "own") == 200
    assert mirror.ask("/api/models/other/m", token=mirror.admin)[0] == 404
