"""What those who may write, read, or only connect could do to others."""

import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import AT1W, weights
from test_access import xet
from xorbs import shard, turned, xorb


def create(server, name="m", namespace="lab", **more):
    body = json.dumps({"name": name, "organization": namespace} | more).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200
    return f"{namespace}/{name}"


def lines(*values, summary="x", **header):
    """Returns a commit."""
    all = [{"key": "header", "value": {"summary": summary} | header}]
    for key, value in values:
        all.append({"key": key, "value": value})
    return "\n".join(map(json.dumps, all)).encode()


def add(path, content):
    content = base64.b64encode(content).decode()
    return ("file", {"path": path, "content": content, "encoding": "base64"})


def commit(server, repo, body, query="", token=None):
    address = f"/api/models/{repo}/commit/main{query}"
    status, headers, answer = server.ask(address, "POST", token or server.admin, body)
    return status, json.loads(answer)


def head(server, repo):
    return json.loads(server.ask(f"/api/models/{repo}", token=server.admin)[2])["sha"]


def memory(server, name="VmRSS"):
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) // 1024


def connect(server, text):
    """Opens a connection, and sends the beginning of a request."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(text.replace("\n", "\r\n").encode("latin-1"))
    return connection


def lfs(server, content, repo="lab/m"):
    """Returns what the server says about an upload by Git LFS."""
    oid = hashlib.sha256(content).hexdigest()
    object = {"oid": oid, "size": len(content)}
    body = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [object]}
    address = f"/{repo}.git/info/lfs/objects/batch"
    _, _, answer = server.ask(address, "POST", server.admin, json.dumps(body).encode())
    return oid, json.loads(answer)["objects"][0]


def put(server, content):
    oid, object = lfs(server, content)
    path = object["actions"]["upload"]["href"].removeprefix(server.url)
    assert server.ask(path, "PUT", data=content)[0] == 200
    return oid


def test_paths_have_limits(server):
    repo = create(server)
    for path in ("/".join("a" * 65), "a" * 256, "/".join(["a" * 200] * 6)):
        assert commit(server, repo, lines(add(path, b"x")))[0] == 400
        body = json.dumps({"files": [{"path": path, "size": 1, "sample": ""}]}).encode()
        address = f"/api/models/{repo}/preupload/main"
        assert server.ask(address, "POST", server.admin, body)[0] == 400


def test_what_trees_cannot_have_is_not_committed(server):
    repo = create(server)
    oid = put(server, b"data")
    for path in ("x/", "x//y", "/x", ""):
        line = ("lfsFile", {"path": path, "algo": "sha256", "oid": oid, "size": 4})
        assert commit(server, repo, lines(line))[0] == 400, path
    assert commit(server, repo, lines(add("y", b"y")))[0] == 200
    for command in ("gc", "scrub"):
        done = subprocess.run([AT1W, "store", command, server.store], capture_output=True)
        assert done.returncode == 0, done


def test_folders_are_removed_once(server):
    repo = create(server)
    files = [add(f"a/{number}", b"x") for number in range(1000)]
    assert commit(server, repo, lines(*files, add("b", b"x")))[0] == 200
    before = memory(server)
    many = [("deletedFolder", {"path": "a"})] * 10_000
    assert commit(server, repo, lines(("deletedFile", {"path": "a/1"}), *many))[0] == 200
    assert memory(server, "VmHWM") - before < 200
    tree = json.loads(server.ask(f"/api/models/{repo}/tree/main")[2])
    assert sorted(entry["path"] for entry in tree) == [".gitattributes", "b"]


def test_slow_uploads_hold_no_threads(make):
    server = make("[limits]\nidle_time = 600\n")
    create(server)
    _, object = lfs(server, b"x" * 1000)
    path = object["actions"]["upload"]["href"].removeprefix(server.url)
    text = f"PUT {path} HTTP/1.1\nHost: x\nContent-Length: 1000\n\nx"
    held = [connect(server, text) for _ in range(600)]
    time.sleep(1)
    assert server.ask("/api/models/lab/m", timeout=60)[0] == 200
    assert server.ask("/readyz", timeout=60)[0] == 200
    for connection in held:
        connection.close()


def test_strangers_hold_no_memory(server):
    create(server)
    before = memory(server)
    held = []
    for address in ("/api/models/lab/none/paths-info/main", "/api/models/x/paths-info/preupload/main"):
        text = f"POST {address} HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 8388608\n\n"
        for _ in range(30):
            connection = connect(server, text)
            try:
                connection.sendall(b"a=" + b"x" * 3_000_000)
            except OSError:
                pass
            held.append(connection)
    time.sleep(1)
    assert memory(server) - before < 60
    status, _, body = server.ask("/api/models/lab/m/paths-info/main", "POST", None, b"paths=.gitattributes",
                                 {"Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200 and json.loads(body)[0]["path"] == ".gitattributes"


def test_bodies_share_one_memory(make):
    server = make("[limits]\nmemory = 1\n")
    create(server)
    before = memory(server)
    text = (f"POST /api/models/lab/m/preupload/main HTTP/1.1\nHost: x\nContent-Length: 8000000\n"
            f"Authorization: Bearer {server.admin}\n\n")
    held = []
    for _ in range(60):
        connection = connect(server, text)
        try:
            connection.sendall(b"x" * 7_900_000)
        except OSError:
            pass
        held.append(connection)
    assert memory(server) - before < 250
    for connection in held:
        connection.close()
    time.sleep(0.5)
    body = json.dumps({"files": []}).encode()
    assert server.ask("/api/models/lab/m/preupload/main", "POST", server.admin, body)[0] == 200


def test_work_whose_client_is_gone_keeps_its_place(make, tmp_path):
    server = make("[limits]\npacking = 1\n")
    create(server)
    leases, most = pathlib.Path(server.store) / "leases", 0
    for number in range(5):
        path = tmp_path / "w"
        weights(path, 40, seed=number)
        content = path.read_bytes()
        _, object = lfs(server, content)
        address = object["actions"]["upload"]["href"].removeprefix(server.url)
        connection = connect(server, f"PUT {address} HTTP/1.1\nHost: x\nContent-Length: {len(content)}\n\n")
        connection.sendall(content)
        time.sleep(0.2)
        connection.close()
    for _ in range(200):
        held = {path.parent for path in leases.rglob("*") if path.is_file()}
        most = max(most, len(held))
        time.sleep(0.01)
    assert most <= 1


def test_uploads_are_not_counted_with_strangers(make):
    server = make("[limits]\nrequests = 40\n")
    create(server)
    _, object = lfs(server, b"content")
    token = xet(server, server.admin, "lab/m")
    assert any(server.ask("/nothing")[0] == 429 for _ in range(60))
    assert server.ask("/cas/v1/nothing", token=token)[0] == 404
    path = object["actions"]["upload"]["href"].removeprefix(server.url)
    assert server.ask(path, "PUT", data=b"content")[0] == 200
    # Those who guess addresses are counted as well.
    assert any(server.ask(f"/lfs/x{number}", "PUT", data=b"")[0] == 429 for number in range(60))


def test_a_proxy_says_for_whom_it_asks(make):
    server = make('proxies = ["127.0.0.1"]\nanonymous = "always"\n[limits]\nrequests = 10\n')
    ask = lambda client: server.ask("/nothing", headers={"X-Forwarded-For": f"6.6.6.6, {client}"})[0]
    assert [ask("1.1.1.1") for _ in range(12)][-1] == 429
    assert ask("2.2.2.2") == 404


def test_of_commits_that_name_their_parent_one_wins(server):
    repo = create(server)
    for round in range(10):
        parent = head(server, repo)
        bodies = [lines(add(f"{name}-{round}", name.encode() * size), parentCommit=parent)
                  for name, size in (("a", 1), ("b", 200_000))]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = sorted(status for status, _ in pool.map(lambda b: commit(server, repo, b), bodies))
        assert found == [200, 412]
    assert commit(server, repo, lines(add("z", b""), parentCommit=""))[0] == 412
    assert commit(server, repo, lines(add("z", b""), parentCommit=head(server, repo)[:7]))[0] == 200


def test_a_pull_request_that_is_sent_again_is_the_same(server):
    repo = create(server)
    body = lines(add("x", b"x"))
    first = commit(server, repo, body, "?create_pr=1")
    assert first[0] == 200 and first == commit(server, repo, body, "?create_pr=1")
    assert first[1]["pullRequestUrl"].endswith("/discussions/1")
    wrong = lines(add("x", b"x"), parentCommit="0" * 40)
    assert commit(server, repo, wrong, "?create_pr=1")[0] == 412
    refs = json.loads(server.ask(f"/api/models/{repo}/refs?include_prs=1")[2])
    assert [pull["ref"] for pull in refs["pullRequests"]] == ["refs/pr/1"]
    tree = json.loads(server.ask(f"/api/models/{repo}/tree/refs%2Fpr%2F1")[2])
    assert sorted(entry["path"] for entry in tree) == [".gitattributes", "x"]


@pytest.mark.parametrize("way", ["delete", "move"])
def test_a_commit_is_for_the_repository_that_was_there(server, tmp_path, way):
    repo = create(server, "secret", private=True)
    weights(tmp_path / "w", 24)
    content = (tmp_path / "w").read_bytes()
    done = []
    body = lines(add("new.safetensors", content), add("rest", os.urandom(6_000_000)))
    push = threading.Thread(target=lambda: done.append(commit(server, repo, body)))
    push.start()
    time.sleep(0.3)
    if way == "delete":
        gone = {"name": "secret", "organization": "lab"}
        address, method = "/api/repos/delete", "DELETE"
    else:
        gone = {"fromRepo": repo, "toRepo": "lab/moved", "type": "model"}
        address, method = "/api/repos/move", "POST"
    assert server.ask(address, method, server.admin, json.dumps(gone).encode())[0] == 200
    push.join()
    assert server.ask(f"/api/models/{repo}")[0] == 404
    assert server.ask(f"/api/models/{repo}", token=server.admin)[0] == 404
    assert done[0][0] in (200, 404, 412)
    if way == "move":
        assert server.ask("/api/models/lab/moved")[0] == 404
        # A commit that was faster has moved with the repository, and any other one is nowhere.
        tree = server.ask("/api/models/lab/moved/tree/main", token=server.admin)
        assert tree[0] == 200
        moved = "new.safetensors" in [entry["path"] for entry in json.loads(tree[2])]
        assert moved == (done[0][0] == 200)


def test_removing_a_tag_leaves_branches_alone(server):
    repo = create(server)
    assert server.ask(f"/api/models/{repo}/branch/next", "POST", server.admin)[0] == 200
    tag = json.dumps({"tag": "v1"}).encode()
    assert server.ask(f"/api/models/{repo}/tag/main", "POST", server.admin, tag)[0] == 201
    for address in ("tag/next", "branch/v1", "tag/none"):
        assert server.ask(f"/api/models/{repo}/{address}", "DELETE", server.admin)[0] == 404
    for address in ("branch/next", "tag/v1"):
        assert server.ask(f"/api/models/{repo}/{address}", "DELETE", server.admin)[0] == 200


def test_gates_are_refused(server):
    repo = create(server)
    address = f"/api/models/{repo}/settings"
    assert server.ask(address, "PUT", server.admin, b'{"gated": "manual"}')[0] == 400
    assert server.ask(address, "PUT", server.admin, b'{"gated": false, "private": true}')[0] == 200
    assert server.ask(f"/api/models/{repo}")[0] == 404


def test_names_that_addresses_need_are_reserved(server):
    for name in ("lfs", "cas", "api"):
        body = json.dumps({"name": "m", "organization": name}).encode()
        assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 400
    # A name without a namespace is one in that of the caller.
    body = json.dumps({"name": "mine"}).encode()
    assert server.ask("/api/repos/create", "POST", server.admin, body)[0] == 200


def test_what_a_killed_server_staged_is_removed(server, tmp_path):
    create(server)
    _, object = lfs(server, b"x" * 1_000_000)
    path = object["actions"]["upload"]["href"].removeprefix(server.url)
    held = connect(server, f"PUT {path} HTTP/1.1\nHost: x\nContent-Length: 1000000\n\nx")
    held.sendall(b"x" * 900_000)
    time.sleep(0.5)
    files = lambda: [path for path in server.staging.rglob("*") if path.is_file() and path.name != "lock"]
    assert files()
    server.kill()
    server.start()
    assert not files() and len(list(server.staging.iterdir())) == 1


def test_a_damaged_file_is_sent_again(server, bucket):
    if bucket:
        pytest.skip("the bytes of a bucket are damaged elsewhere")
    repo = create(server)
    content = os.urandom(2_000_000)
    oid = put(server, content)
    line = ("lfsFile", {"path": "data.bin", "algo": "sha256", "oid": oid, "size": len(content)})
    assert commit(server, repo, lines(line))[0] == 200
    assert "actions" not in lfs(server, content)[1]
    packs = [path for path in pathlib.Path(server.store, "packs").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    with open(pack, "r+b") as file:
        file.write(b"damage")
    subprocess.run([AT1W, "store", "scrub", server.store], capture_output=True)
    assert "actions" in lfs(server, content)[1]
    put(server, content)
    assert commit(server, repo, lines(line))[0] == 200
    assert server.ask(f"/{repo}/resolve/main/data.bin")[2] == content


def test_a_completion_that_is_sent_again_is_done(server):
    create(server)
    content = os.urandom(70_000_000)
    _, object = lfs(server, content)
    upload = object["actions"]["upload"]
    size = int(upload["header"]["chunk_size"])
    for number in range(-(-len(content) // size)):
        path = upload["header"][str(number + 1)].removeprefix(server.url)
        part = content[number * size : (number + 1) * size]
        assert server.ask(path, "PUT", data=part)[0] == 200
    path = upload["href"].removeprefix(server.url)
    for _ in range(2):
        assert server.ask(path, "POST", data=b'{"parts": []}')[0] == 200


def test_shards_that_are_bombs_are_refused(server):
    create(server)
    token = xet(server, server.admin, "lab/m")
    digest, other = hashlib.sha256(b"a").digest(), b"\2" * 32
    # Too many chunks of a byte, and too many files of one chunk.
    small = shard((digest, [(other, 1, 0, 8192)] * 100))
    files = shard(*[(digest, [(other, 1, 0, 1)])] * 20_001)
    large = shard(*[(digest, [(other, (1 << 32) - 1, 0, 1)] * 30)] * 20)
    for body in (small, files, large):
        assert server.ask("/cas/v1/shards", "POST", token, body)[0] == 413
    assert server.ask("/healthz")[0] == 200


@pytest.mark.parametrize("first", ["packed", "plain"])
def test_one_content_has_two_names(server, model, first):
    repo = create(server)
    content = (model / "small.safetensors").read_bytes()
    names = ["model.safetensors", "copy.bin"]
    if first == "plain":
        names.reverse()
    for name in names:
        assert commit(server, repo, lines(add(name, content)))[0] == 200
    both = create(server, "both")
    assert commit(server, both, lines(*[add(name, content) for name in names]))[0] == 200
    for repo in (repo, both):
        for name in names:
            # What was opened before would hide what is stored.
            server.kill()
            server.start()
            assert server.ask(f"/{repo}/resolve/main/{name}")[2] == content, name


def test_places_of_chunks_that_are_gone_are_forgotten(server):
    repo = create(server)
    token = xet(server, server.admin, repo)
    chunks = [os.urandom(70_000) for _ in range(4)]
    name, body = xorb(*chunks)
    send = lambda: server.ask(f"/cas/v1/xorbs/default/{name}", "POST", token, body)
    hash = turned(bytes.fromhex(name))
    file = lambda *chosen: (hashlib.sha256(b"".join(chunks[c] for c in chosen)).digest(),
                            [(hash, 70_000, c, c + 1) for c in chosen])
    ask = lambda *files: server.ask("/cas/v1/shards", "POST", token, shard(*files))[0]
    assert send()[0] == 200
    assert ask(file(0, 1, 2, 3)) == 200
    done = subprocess.run([AT1W, "store", "gc", "--grace", "0s", server.store], capture_output=True)
    assert done.returncode == 0, done
    # Its file is gone: the xorb has to come again, and stays until all of it lies elsewhere.
    assert ask(file(0)) == 400
    assert send()[0] == 200
    for chosen in ((0,), (1,), (0, 2), (3,)):
        assert ask(file(*chosen)) == 200, chosen
    assert ask(file(3, 2, 1, 0)) == 200


def test_parameters_are_counted_once(server, model):
    repo = create(server)
    content = (model / "small.safetensors").read_bytes()
    files = [add(name, content) for name in ("model.safetensors", "copy.bin", "again.safetensors")]
    assert commit(server, repo, lines(*files))[0] == 200
    info = json.loads(server.ask(f"/api/models/{repo}?expand=safetensors")[2])
    assert info["safetensors"] == {"parameters": {"F32": 16}, "total": 16}


def test_headers_of_shards(server, model):
    repo = create(server)
    content = (model / "small.safetensors").read_bytes()
    index = {"metadata": {"total_size": 64}, "weight_map": {"bias": "a.safetensors"}}
    name = "model.safetensors.index.json"
    files = [add("a.safetensors", content), add(name, json.dumps(index).encode())]
    assert commit(server, repo, lines(*files))[0] == 200
    found = json.loads(server.ask(f"/api/models/{repo}/safetensors-metadata/{name}")[2])
    length = struct.unpack("<Q", content[:8])[0]
    assert found == {"index": index, "headers": {"a.safetensors": json.loads(content[8 : 8 + length])}}


def test_parts_have_a_quota(make):
    server = make("[limits]\nstaging = 80000000\n")
    create(server)
    content = os.urandom(70_000_000)
    first, second = (lfs(server, content)[1]["actions"]["upload"] for _ in range(2))
    # A second try goes on with the first one.
    put = lambda upload: server.ask(upload["header"]["1"].removeprefix(server.url), "PUT",
                                    data=content[: int(upload["header"]["chunk_size"])])[0]
    assert [put(first), put(second)] == [200, 200]
    other = os.urandom(70_000_000)
    found = []
    for number in range(5):
        upload = lfs(server, other)[1]["actions"]["upload"]
        size = int(upload["header"]["chunk_size"])
        path = upload["header"][str(number + 1)].removeprefix(server.url)
        found.append(server.ask(path, "PUT", data=other[number * size : (number + 1) * size])[0])
    assert 503 in found
