"""Unmodified clients push and pull."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from conftest import AT1W, same, weights


def python(server, home, code, token=None, **more):
    """Runs Python as a client; what it prints is JSON."""
    prelude = "import json, os, sys\nfrom huggingface_hub import *\napi = HfApi()\n"
    done = server.run(home, sys.executable, "-c", prelude + code, token=token, **more)
    return json.loads(done.stdout or "null")


def upload(server, home, folder, repo="lab/model", **more):
    return server.run(home, "hf", "upload", repo, str(folder), token=server.admin, **more)


def header_len(content):
    return int.from_bytes(content[:8], "little")


@pytest.mark.parametrize("way", ["xet", "lfs"])
def test_a_folder_goes_up_and_comes_back(server, home, model, tmp_path, way):
    more = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
    upload(server, home, model, **more)
    other = tmp_path / "other"
    server.run(other, "hf", "download", "lab/model", "--local-dir", str(tmp_path / "back"))
    same(model, tmp_path / "back")
    server.run(other, "hf", "download", "lab/model")
    verified = server.run(other, "hf", "cache", "verify", "lab/model")
    assert "mismatch" not in verified.stdout.lower()
    scrubbed = subprocess.run([AT1W, "store", "scrub", server.store], capture_output=True, text=True)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


def test_only_what_changed_is_sent_again(server, home, model, tmp_path):
    upload(server, home, model)
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[13_000_000:13_000_100] = os.urandom(100)
    path.write_bytes(content)
    since = len(server.received())
    upload(server, home, model)
    assert server.received(since).count("/cas/v1/xorbs/") == 1
    server.run(tmp_path / "o", "hf", "download", "lab/model", "--local-dir", str(tmp_path / "back"))
    same(model, tmp_path / "back")


def test_the_same_again_is_no_commit(server, home, model):
    upload(server, home, model)
    count = "print(json.dumps(len(api.list_repo_commits('lab/model'))))"
    before = python(server, home, count)
    upload(server, home, model)
    assert python(server, home, count) == before


def test_many_parts(server, home, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    weights(folder / "model.safetensors", 80)
    upload(server, home, folder, HF_HUB_DISABLE_XET="1")
    assert server.received().count("method=PUT") == 5
    server.run(tmp_path / "o", "hf", "download", "lab/model", "--local-dir", str(tmp_path / "back"))
    same(folder, tmp_path / "back")


def test_large_folders_are_several_commits(server, home, tmp_path):
    folder = tmp_path / "many"
    for number in range(620):
        place = folder / f"{number % 7}" / f"{number}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"file {number}")
    upload(server, home, folder, repo="lab/many")
    server.run(tmp_path / "o", "hf", "download", "lab/many", "--local-dir", str(tmp_path / "back"))
    same(folder, tmp_path / "back")
    titles = python(server, home, "print(json.dumps([c.title for c in api.list_repo_commits('lab/many')]))")
    assert len(titles) >= 3, titles


def test_the_api(server, home, model):
    upload(server, home, model)
    out = python(server, home, """
out = {}
info = api.model_info("lab/model", files_metadata=True)
out["sha"] = info.sha
out["siblings"] = sorted(s.rfilename for s in info.siblings)
out["tree"] = sorted(e.path for e in api.list_repo_tree("lab/model", recursive=True))
out["top"] = sorted(e.path for e in api.list_repo_tree("lab/model"))
out["paths"] = [e.path for e in api.get_paths_info("lab/model", ["config.json", "sub dir", "none"])]
out["exists"] = [api.file_exists("lab/model", "config.json"), api.file_exists("lab/model", "none")]
out["repos"] = [m.id for m in api.list_models(author="lab")]
fs = HfFileSystem()
out["ls"] = sorted(fs.ls("lab/model", detail=False))
with fs.open("lab/model/model.safetensors", "rb") as f:
    f.seek(1000); out["read"] = f.read(100).hex()
    f.seek(-7, 2); out["tail"] = f.read().hex()
out["parameters"] = api.get_safetensors_metadata("lab/model").parameter_count
for name, call in {
    "repo": lambda: api.model_info("lab/none"),
    "revision": lambda: api.model_info("lab/model", revision="none"),
    "entry": lambda: hf_hub_download("lab/model", "none"),
}.items():
    try: call(); out[name] = "nothing"
    except Exception as error: out[name] = type(error).__name__
json.dump(out, sys.stdout)
""")
    files = sorted(str(p.relative_to(model)) for p in model.rglob("*") if p.is_file())
    files = sorted(files + [".gitattributes"])
    assert len(out["sha"]) == 40
    assert out["siblings"] == files
    assert out["tree"] == sorted(files + ["sub dir", "sub dir/a"])
    assert "sub dir" in out["top"] and "sub dir/a" not in out["top"]
    assert sorted(out["paths"]) == ["config.json", "sub dir"]
    assert out["exists"] == [True, False]
    assert out["repos"] == ["lab/model"]
    content = (model / "model.safetensors").read_bytes()
    assert sum(out["parameters"].values()) == (len(content) - 8) // 2 - header_len(content) // 2
    assert out["read"] == content[1000:1100].hex() and out["tail"] == content[-7:].hex()
    assert out["repo"] == "RepositoryNotFoundError"
    assert out["revision"] == "RevisionNotFoundError"
    assert out["entry"] in ("EntryNotFoundError", "RemoteEntryNotFoundError")


def test_commits_copy_delete_branch_tag_and_pull_request(server, home, model):
    upload(server, home, model)
    out = python(server, home, """
out = {}
api.create_commit("lab/model", [
    CommitOperationCopy("model.safetensors", "copy.safetensors"),
    CommitOperationDelete("config.json"),
    CommitOperationDelete("sub dir/"),
    CommitOperationAdd("new.txt", b"new"),
], commit_message="several")
out["files"] = sorted(api.list_repo_files("lab/model"))
api.create_branch("lab/model", branch="next")
api.create_tag("lab/model", tag="v1")
api.upload_file(path_or_fileobj=b"branch", path_in_repo="b.txt", repo_id="lab/model", revision="next")
out["next"] = "b.txt" in api.list_repo_files("lab/model", revision="next")
out["main"] = "b.txt" in api.list_repo_files("lab/model")
refs = api.list_repo_refs("lab/model")
out["branches"] = sorted(r.name for r in refs.branches)
out["tags"] = [r.name for r in refs.tags]
for name, call in {
    "branch": lambda: api.create_branch("lab/model", branch="next"),
    "tag": lambda: api.create_tag("lab/model", tag="v1"),
    "repo": lambda: api.create_repo("lab/model"),
    "parent": lambda: api.create_commit("lab/model", [CommitOperationAdd("x", b"x")],
        commit_message="x", parent_commit=api.list_repo_commits("lab/model")[-1].commit_id),
}.items():
    try: call(); out[name] = "nothing"
    except Exception as error: out[name] = error.response.status_code
api.create_branch("lab/model", branch="next", exist_ok=True)
api.create_repo("lab/model", exist_ok=True)
pull = api.create_commit("lab/model", [CommitOperationAdd("pr.txt", b"pr")], commit_message="pr", create_pr=True)
out["pr"] = pull.pr_revision
out["pr file"] = "pr.txt" in api.list_repo_files("lab/model", revision="refs/pr/1")
api.delete_branch("lab/model", branch="next")
api.delete_tag("lab/model", tag="v1")
api.update_repo_settings("lab/model", private=True)
out["private"] = api.model_info("lab/model").private
api.create_repo("lab/data", repo_type="dataset")
api.upload_file(path_or_fileobj=b"row", path_in_repo="d.csv", repo_id="lab/data", repo_type="dataset")
out["dataset"] = open(hf_hub_download("lab/data", "d.csv", repo_type="dataset")).read()
api.delete_repo("lab/data", repo_type="dataset")
out["gone"] = api.repo_exists("lab/data", repo_type="dataset")
json.dump(out, sys.stdout)
""", token=server.admin)
    assert "copy.safetensors" in out["files"] and "new.txt" in out["files"]
    assert not {"config.json", "sub dir/a/ü+%.txt"} & set(out["files"])
    assert (out["next"], out["main"]) == (True, False)
    assert out["branches"] == ["main", "next"] and out["tags"] == ["v1"]
    assert [out[k] for k in ("branch", "tag", "repo", "parent")] == [409, 409, 409, 412]
    assert out["pr"] == "refs/pr/1" and out["pr file"]
    assert out["private"] and out["dataset"] == "row" and not out["gone"]


def test_ranges_and_headers(server, home, model):
    upload(server, home, model)
    content = (model / "model.safetensors").read_bytes()
    path = "/lab/model/resolve/main/model.safetensors"
    status, headers, body = server.ask(path, "HEAD")
    assert (status, body) == (200, b"")
    assert headers["ETag"].strip('"') == hashlib.sha256(content).hexdigest()
    assert headers["Content-Length"] == str(len(content))
    assert len(headers["X-Repo-Commit"]) == 40
    assert "X-Xet-Hash" not in headers and headers["Content-Encoding"] is None
    size = len(content)
    for wanted, span in {
        "0-0": (0, 1), "5-": (5, size), "-9": (size - 9, size), f"{size-1}-": (size - 1, size),
        "999999-5000000": (999_999, 5_000_001), f"7-{size+5}": (7, size),
    }.items():
        status, headers, body = server.ask(path, headers={"Range": f"bytes={wanted}"})
        assert status == 206 and body == content[slice(*span)], wanted
        assert headers["Content-Range"] == f"bytes {span[0]}-{span[1]-1}/{size}"
    status, headers, _ = server.ask(path, headers={"Range": f"bytes={size}-"})
    assert status == 416 and headers["Content-Range"] == f"bytes */{size}"
    status, headers, _ = server.ask("/lab/model/resolve/main/none")
    assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert len(headers["X-Repo-Commit"]) == 40


def test_the_packed_form_has_an_address_of_its_own(server, home, model, tmp_path):
    upload(server, home, model)
    path = "/lab/model/resolve/main/model.safetensors"
    _, headers, _ = server.ask(path, "HEAD")
    assert 'rel="alternate"; type="application/vnd.at1w"' in headers["Link"]
    status, headers, packed = server.ask(f"{path}?at1w=1&features=ffff")
    assert status == 200 and headers["Content-Type"] == "application/vnd.at1w"
    (tmp_path / "m.at1w").write_bytes(packed)
    subprocess.check_call([AT1W, "unpack", str(tmp_path / "m.at1w")])
    assert (tmp_path / "m.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    _, again, part = server.ask(f"{path}?at1w=1&features=ffff", headers={"Range": "bytes=10-99"})
    assert part == packed[10:100] and again["ETag"] == headers["ETag"]


def test_a_broken_download_goes_on(server, home, model, tmp_path):
    upload(server, home, model)
    content = (model / "model.safetensors").read_bytes()
    code = f"""
import httpx2 as httpx
from huggingface_hub import file_download
real = httpx.Response.iter_bytes
state = dict(cut=True)
def cut(self, *a, **k):
    seen = 0
    for piece in real(self, *a, **k):
        seen += len(piece)
        if state["cut"] and seen > 12_000_000:
            state["cut"] = False
            raise httpx.RemoteProtocolError("cut")
        yield piece
httpx.Response.iter_bytes = cut
print(json.dumps(hf_hub_download("lab/model", "model.safetensors")))
"""
    place = python(server, tmp_path / "o", code)
    assert open(place, "rb").read() == content
