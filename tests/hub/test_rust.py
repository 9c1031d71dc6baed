"""The Rust clients of hubs, and those that read files by ranges alone."""

import os
import pathlib
import subprocess

import pytest

from conftest import same

CLIENTS = os.environ.get("AT1W_HUB_CLIENTS")


@pytest.mark.skipif(not CLIENTS, reason="ci/hub all builds them")
def test_the_rust_clients_upload_and_download(server, model, tmp_path):
    for folder in ("sub dir", "empty.txt"):
        # The clients are given files alone, and 0.4 takes a range of each, which an empty one has not.
        path = model / folder
        if path.is_dir():
            subprocess.check_call(["rm", "-r", str(path)])
        else:
            path.unlink()
    command = [CLIENTS, server.url, server.admin, str(model), str(tmp_path / "out")]
    server.run(tmp_path / "home", *command)
    for version in ("0.4", "1.0"):
        same(model, tmp_path / "out" / version)


def test_a_client_of_ranges_reads_all(server, model, tmp_path):
    """As llama.cpp does: HEAD for the length and the mark, then ranges, and on from where it was."""
    server.run(tmp_path / "home", "hf", "upload", "lab/model", str(model), token=server.admin)
    agent = {"User-Agent": "llama-cpp"}
    status, _, refs = server.ask("/api/models/lab/model/refs", headers=agent)
    assert status == 200 and b"targetCommit" in refs
    for name in ("model.safetensors", "tokens.bin", "config.json"):
        path = f"/lab/model/resolve/main/{name}"
        status, head, body = server.ask(path, "HEAD", headers=agent)
        assert (status, body, head["Accept-Ranges"]) == (200, b"", "bytes")
        size, came = int(head["Content-Length"]), b""
        assert head["ETag"] and head["X-Linked-Size"] == str(size)
        while len(came) < size:
            last = min(size, len(came) + 7_000_001) - 1
            want = agent | {"Range": f"bytes={len(came)}-{last}", "If-Range": head["ETag"]}
            status, answer, piece = server.ask(path, headers=want)
            assert status == 206, status
            assert answer["Content-Range"] == f"bytes {len(came)}-{last}/{size}"
            came += piece
        assert came == pathlib.Path(model / name).read_bytes()
        rest = agent | {"Range": f"bytes={size - 5}-"}
        assert server.ask(path, headers=rest)[2] == came[-5:]
