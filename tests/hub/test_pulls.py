"""Pull requests, names of branches, and what else clients ask for."""

import json

from test_clients import python, upload

COMMIT = """
def commit(path, content, **more):
    add = [CommitOperationAdd(path, content)] if content is not None else [CommitOperationDelete(path)]
    return api.create_commit("lab/m", add, commit_message=f"write {path}", **more)
def status(call):
    try: call()
    except Exception as error: return error.response.status_code
def read(path, **more):
    return open(hf_hub_download("lab/m", path, force_download=True, **more)).read()
"""


def test_a_pull_request_is_merged(server, home):
    out = python(server, home, COMMIT + """
out = {}
api.create_repo("lab/m")
commit("old", b"old"); commit("gone", b"gone")
pull = api.create_pull_request("lab/m", title="A title", description="Why")
out["num"], out["reference"] = pull.num, pull.git_reference
out["said"] = [pull.title, pull.status, pull.events[0].content]
commit("new", b"new", revision=pull.git_reference)
commit("gone", None, revision=pull.git_reference)
commit("other", b"other")
api.rename_discussion("lab/m", 1, "Another title")
api.merge_pull_request("lab/m", 1)
out["files"] = sorted(api.list_repo_files("lab/m"))
details = api.get_discussion_details("lab/m", 1)
out["merged"] = [details.status, details.title, details.merge_commit_oid == api.model_info("lab/m").sha]
out["commit"] = api.list_repo_commits("lab/m")[0].title
out["refs"] = [r.ref for r in api.list_repo_refs("lab/m", include_pull_requests=True).pull_requests]
out["again"] = status(lambda: api.merge_pull_request("lab/m", 1))
out["none"] = status(lambda: api.merge_pull_request("lab/m", 9))
out["comment"] = status(lambda: api.comment_discussion("lab/m", 1, "a word"))
# Its number is not used again, and its files are those of main alone.
out["next"] = commit("x", b"x", create_pr=True).pr_num
out["revision"] = status(lambda: read("new", revision="refs/pr/1"))
print(json.dumps(out))
""", token=server.admin)
    assert (out["num"], out["reference"]) == (1, "refs/pr/1")
    assert out["said"] == ["A title", "open", "Why"]
    assert out["files"] == [".gitattributes", "new", "old", "other"]
    assert out["merged"] == ["merged", "Another title", True]
    assert out["commit"] == "Another title (#1)" and out["refs"] == []
    assert (out["again"], out["none"], out["comment"]) == (409, 404, 400)
    assert (out["next"], out["revision"]) == (2, 404)


def test_a_pull_request_is_closed_listed_and_refused(server, home):
    out = python(server, home, COMMIT + """
out = {}
api.create_repo("lab/m")
commit("a", b"1")
for content in (b"2", b"3"): commit("a", content, create_pr=True)
listed = lambda **more: [(d.num, d.title, d.status) for d in api.get_repo_discussions("lab/m", **more)]
out["all"] = listed()
api.change_discussion_status("lab/m", 1, "closed")
out["open"], out["closed"] = listed(discussion_status="open"), listed(discussion_status="closed")
out["mine"] = [len(listed(author=name)) for name in (listed and api.whoami()["fullname"], "nobody")]
out["discussions"] = listed(discussion_type="discussion")
out["closed revision"] = status(lambda: read("a", revision="refs/pr/1"))
out["event"] = api.change_discussion_status("lab/m", 1, "open").new_status
out["opened"] = read("a", revision="refs/pr/1")
api.merge_pull_request("lab/m", 1)
# Both have changed the file.
out["conflict"] = status(lambda: api.merge_pull_request("lab/m", 2))
out["main"] = read("a")
out["still"] = listed(discussion_status="open")
print(json.dumps(out))
""", token=server.admin)
    assert out["all"] == [[2, "write a", "open"], [1, "write a", "open"]]
    assert out["open"] == [[2, "write a", "open"]] and out["closed"] == [[1, "write a", "closed"]]
    assert out["mine"] == [2, 0] and out["discussions"] == []
    assert (out["closed revision"], out["event"], out["opened"]) == (404, "open", "2")
    assert (out["conflict"], out["main"]) == (412, "2")
    assert out["still"] == [[2, "write a", "open"]]


def test_only_those_who_may_write_change_pull_requests(server, home):
    python(server, home, COMMIT + """
api.create_repo("lab/m")
commit("a", b"1", create_pr=True)
print("{}")
""", token=server.admin)
    path = "/api/models/lab/m/discussions"
    reader = server.token("reader", "--namespace", "lab")
    bodies = {"": {"title": "abc", "pullRequest": True}, "/1/merge": {}, "/1/title": {"title": "abc"},
              "/1/status": {"status": "closed"}}
    for way, body in bodies.items():
        body = json.dumps(body).encode()
        assert server.ask(path + way, "POST", reader, body)[0] == 403, way
        assert server.ask(path + way, "POST", None, body)[0] == 401, way
    for method in ("PUT", "PATCH", "DELETE"):
        assert server.ask(f"{path}/1", method, server.admin, b"{}")[0] == 404, method
    long = json.dumps({"title": "a" * 257, "pullRequest": True}).encode()
    assert server.ask(path, "POST", server.admin, long)[0] == 400
    assert json.loads(server.ask(f"{path}/1", token=reader)[2])["status"] == "open"


def test_names_of_branches_may_have_slashes(server, home):
    out = python(server, home, COMMIT + """
out = {}
api.create_repo("lab/m")
api.create_branch("lab/m", branch="feature/x")
commit("b", b"branch", revision="feature/x")
api.create_tag("lab/m", tag="release/v1", revision="feature/x")
out["read"] = [read("b", revision=name) for name in ("feature/x", "release/v1", "refs/heads/feature/x")]
out["listed"] = [e.path for e in api.list_repo_tree("lab/m", revision="feature/x")]
refs = api.list_repo_refs("lab/m")
out["refs"] = [[r.name for r in refs.branches], [r.name for r in refs.tags]]
api.delete_branch("lab/m", branch="feature/x")
api.delete_tag("lab/m", tag="release/v1")
out["gone"] = status(lambda: read("b", revision="feature/x"))
out["refused"] = [status(lambda: api.create_branch("lab/m", branch=name))
    for name in ("refs/pr/1", "a/../b", "/a", "a//b")]
print(json.dumps(out))
""", token=server.admin)
    assert out["read"] == ["branch"] * 3
    assert out["listed"] == [".gitattributes", "b"]
    assert out["refs"] == [["feature/x", "main"], ["release/v1"]]
    assert out["gone"] == 404 and out["refused"] == [400] * 4


def test_names_without_a_namespace_are_those_of_no_repository(server, home):
    for path in ("/gpt2/resolve/main/config.json", "/api/models/gpt2", "/api/models/gpt2/revision/main",
                 "/api/models/gpt2/tree/main"):
        status, headers, _ = server.ask(path, token=server.admin)
        assert (status, headers["X-Error-Code"]) == (404, "RepoNotFound"), path


def test_parameters_count_once(server, home, model):
    # A copy under another name is no further weight.
    (model / "copy.bin").write_bytes((model / "model.safetensors").read_bytes())
    upload(server, home, model)
    out = python(server, home, """
info = api.model_info("lab/model", expand=["safetensors", "createdAt"])
created = info.created_at
api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="lab/model")
metadata = api.get_safetensors_metadata("lab/model")
print(json.dumps([info.safetensors.parameters, metadata.parameter_count,
    api.model_info("lab/model").created_at == created]))
""", token=server.admin)
    assert out[0] == out[1] and sum(out[0].values()) > 12_000_000
    assert out[2]


def test_parameters_of_shards_are_those_that_the_index_names(server, home, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path / "shards"
    folder.mkdir()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"t{number}": np.full(100 + number, number, np.float32)}, folder / name)
    save_file({"other": np.zeros(7, np.float32)}, folder / "adapter.safetensors")
    index = {"metadata": {}, "weight_map": {f"t{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    upload(server, home, folder)
    out = python(server, home, """
info = api.model_info("lab/model", expand=["safetensors"])
metadata = api.get_safetensors_metadata("lab/model")
print(json.dumps([info.safetensors.total, sum(metadata.parameter_count.values()), sorted(metadata.files_metadata)]))
""")
    assert out == [201, 201, names]
    # The headers by one request, as later clients ask for them.
    path = "/api/models/lab/model/safetensors-metadata/model.safetensors.index.json"
    headers = json.loads(server.ask(path)[2])["headers"]
    assert sorted(headers) == names and headers[names[1]]["t1"]["shape"] == [101]
