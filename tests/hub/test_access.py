"""Who may do what, and what hostile requests get."""

import json
import os
import stat
import struct
import sys
import hashlib

import pytest

from test_clients import python, upload


def test_secrets_are_for_their_owner_alone(server):
    for name in ("admin-token", "signing-key"):
        assert stat.S_IMODE(os.stat(server.secrets / name).st_mode) == 0o600
    assert len(server.admin) == 40 and server.admin.startswith("hf_")


def test_private_repositories_look_like_none(server, home, model):
    code = "api.create_repo('lab/secret', private=True)\nprint('{}')"
    python(server, home, code, token=server.admin)
    other = server.token("other", "--write", "--namespace", "other")
    reader = server.token("reader", "--namespace", "lab")
    addresses = ["/api/models/lab/{}", "/lab/{}/resolve/main/.gitattributes", "/api/models/lab/{}/refs",
                 "/api/models/lab/{}/tree/main", "/api/models/lab/{}/revision/main"]
    for address in addresses:
        for token in (None, other):
            found = [server.ask(address.format(name), token=token) for name in ("secret", "none")]
            (a, first, body), (b, second, none) = found
            assert (a, body, first["X-Error-Code"]) == (b, none, second["X-Error-Code"]), address
            assert a == 404
        assert server.ask(address.format("secret"), token=reader)[0] == 200
    assert server.ask("/api/models")[2] == b"[]"
    # Writing tells no more than reading.
    for name in ("secret", "none"):
        status, headers, _ = server.ask(f"/api/models/lab/{name}/commit/main", "POST", other, b"")
        assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_tokens_allow_what_they_say(server, home, model):
    upload(server, home, model)
    lab = server.token("lab", "--write", "--namespace", "lab")
    reader = server.token("reader")
    body = json.dumps({"name": "new", "organization": "lab"}).encode()
    assert server.ask("/api/repos/create", "POST", None, body)[0] == 401
    assert server.ask("/api/repos/create", "POST", reader, body)[0] == 403
    elsewhere = json.dumps({"name": "new", "organization": "other"}).encode()
    assert server.ask("/api/repos/create", "POST", lab, elsewhere)[0] == 403
    assert server.ask("/api/repos/create", "POST", lab, body)[0] == 200
    for wrong in ("hf_" + "a" * 37, "x", "hf_../../store.json"):
        status, headers, _ = server.ask("/api/models/lab/model", token=wrong)
        assert status == 401
        assert headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    ended = server.token("ended", "--expires", "0s")
    assert server.ask("/api/whoami-v2", token=ended)[0] == 401
    assert json.loads(server.ask("/api/whoami-v2", token=lab)[2])["orgs"][0]["name"] == "lab"


def test_proxies_and_other_names_are_not_this_machine(server, home, model):
    upload(server, home, model)
    path = "/api/models/lab/model"
    assert server.ask(path)[0] == 200
    assert server.ask(path, headers={"X-Forwarded-For": "1.2.3.4"})[0] == 401
    assert server.ask(path, headers={"Host": "evil.test"})[0] == 401


def test_paths_that_escape_and_odd_addresses(server, home, model):
    upload(server, home, model)
    for path in ("/..%2f..%2fstore.json", "/lab/model/resolve/main/..%2F..%2Fstore.json", "/%ff",
                 "/lab/..%2Fmodel/resolve/main/a", "/api/models/lab/model/tree/..%2F..", "/a%2"):
        assert server.ask(path)[0] in (400, 404), path
    for path in ("../x", "/x", "a//b", "a/./b", "a\\b", "a\x01"):
        lines = [{"key": "header", "value": {"summary": "x"}},
                 {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}}]
        body = "\n".join(map(json.dumps, lines)).encode()
        assert server.ask("/api/models/lab/model/commit/main", "POST", server.admin, body)[0] == 400
    for body in (b"{", b"[]", b'{"key":"file"}', b'{"key":"none","value":{}}', b"\xff"):
        status = server.ask("/api/models/lab/model/commit/main", "POST", server.admin, body)[0]
        assert status == 400, body


def test_a_sha256_alone_gives_nothing(server, home, model):
    upload(server, home, model)
    content = (model / "model.safetensors").read_bytes()
    oid = hashlib.sha256(content).hexdigest()
    other = server.token("other", "--write", "--namespace", "other")
    body = json.dumps({"name": "mine", "organization": "other"}).encode()
    assert server.ask("/api/repos/create", "POST", other, body)[0] == 200
    lines = [{"key": "header", "value": {"summary": "x"}},
             {"key": "lfsFile", "value": {"path": "m", "algo": "sha256", "oid": oid, "size": len(content)}}]
    body = "\n".join(map(json.dumps, lines)).encode()
    assert server.ask("/api/models/other/mine/commit/main", "POST", other, body)[0] == 400
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(content)}]}
    body = json.dumps(batch).encode()
    _, _, answer = server.ask("/other/mine.git/info/lfs/objects/batch", "POST", other, body)
    actions = json.loads(answer)["objects"][0]["actions"]
    # What arrives there must be what its SHA-256 says.
    path = actions["upload"]["href"].removeprefix(server.url)
    assert server.ask(path, "PUT", data=b"x" * len(content))[0] == 400
    assert server.ask(path, "PUT", data=b"short")[0] == 400
    assert server.ask(path[:-1] + ("0" if path[-1] != "0" else "1"), "PUT", data=b"x")[0] == 403
    assert server.ask(path, "PUT", data=content)[0] == 200


def xet(server, token, repo="lab/model"):
    _, headers, _ = server.ask(f"/api/models/{repo}/xet-write-token/main", token=token)
    return headers["X-Xet-Access-Token"]


def test_forged_xorbs_and_shards(server, home, model):
    upload(server, home, model)
    token = xet(server, server.admin)
    chunk = b"\0\3\0\0\0\3\0\0abc"
    name = "0" * 64
    for body in (chunk, b"", b"\0", chunk[:-1], b"\0\3\0\0\1\3\0\0abc", b"\1" + chunk[1:], b"\xff" * 99):
        assert server.ask(f"/cas/v1/xorbs/default/{name}", "POST", token, body)[0] == 400, body
    assert server.ask("/cas/v1/xorbs/default/..", "POST", token, chunk)[0] in (400, 404)
    assert server.ask(f"/cas/v1/xorbs/default/{name}", "POST", None, chunk)[0] == 401
    assert server.ask(f"/cas/v1/xorbs/default/{name}", "POST", server.admin, chunk)[0] == 401
    record = lambda hash, *rest: hash + struct.pack("<4I", *rest)
    head, end = record(b"\0" * 32, 2, 0, 0, 0), record(b"\xff" * 32, 0, 0, 0, 0)
    foreign = head + record(b"\1" * 32, 1 << 30, 1, 0, 0) + record(b"\2" * 32, 0, 3, 0, 1)
    foreign += record(b"\3" * 32, 0, 0, 0, 0) + end
    assert server.ask("/cas/v1/shards", "POST", token, foreign)[0] == 400
    # A million times one chunk is more than a file may have.
    bomb = head + record(b"\1" * 32, 1 << 30, 5000, 0, 0) + record(b"\2" * 32, 0, (1 << 32) - 1, 0, 1) * 5000
    bomb += record(b"\3" * 32, 0, 0, 0, 0) + end
    assert server.ask("/cas/v1/shards", "POST", token, bomb)[0] == 413
    for body in (b"", head, head[:-1], foreign[:100], head + record(b"\1" * 32, 0, (1 << 32) - 1, 0, 0)):
        assert server.ask("/cas/v1/shards", "POST", token, body)[0] == 400
    _, _, frames = server.ask("/cas/v2/shards", "POST", token, foreign)
    assert json.loads(frames.splitlines()[-1])["type"] == "error"
    assert server.ask("/healthz")[0] == 200


def test_limits(make, home):
    server = make("[limits]\ncommit = 1000\nrequests = 20\n")
    body = json.dumps({"name": "m", "organization": "lab"}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    path = "/api/models/lab/m/commit/main"
    assert server.ask(path, "POST", server.admin, b" " * 2000)[0] == 413
    answers = [server.ask("/api/models/lab/m") for _ in range(30)]
    status, headers, _ = answers[-1]
    assert status == 429 and headers["RateLimit"].startswith('"api";r=0;t=')
    assert int(headers["Retry-After"]) > 0


def test_damage_at_rest_is_not_sent(make, home, model, bucket):
    if bucket:
        pytest.skip("the bytes of a bucket are damaged elsewhere")
    server = make()
    upload(server, home, model)
    content = (model / "model.safetensors").read_bytes()
    path = "/lab/model/resolve/main/model.safetensors"
    packs = [os.path.join(d, f) for d, _, fs in os.walk(server.store + "/packs") for f in fs]
    pack = max(packs, key=os.path.getsize)
    with open(pack, "r+b") as file:
        file.seek(os.path.getsize(pack) * 3 // 4)
        file.write(b"\xaa" * 64)
    status = None
    try:
        status, _, body = server.ask(path)
        assert body != content
        raise AssertionError("the answer did not end early")
    except (OSError, __import__("http").client.IncompleteRead):
        pass
    assert server.ask(path)[0] == 500
    assert "damaged" in server.received()
