"""With the hook, unmodified downloads of huggingface_hub arrive packed, and load."""

import json
import os
import sys

from conftest import same
from test_clients import upload

PRELUDE = """
import hashlib, json, os, sys
import ml_dtypes
import at1w.hook
at1w.hook.enable()
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors.numpy import load_file
def facts(path):
    tensors = {name: hashlib.sha256(t.tobytes()).hexdigest() for name, t in load_file(path).items()}
    return [os.path.getsize(path), open(path, 'rb').read(4).hex(), sorted(tensors.items())]
"""


def hooked(server, home, code, prelude=PRELUDE, **more):
    done = server.run(home, sys.executable, "-c", prelude + code, **more)
    return json.loads(done.stdout.splitlines()[-1])


def plain(server, home, code):
    return hooked(server, home, code, PRELUDE.replace("at1w.hook.enable()", ""))


DOWNLOAD = "print(json.dumps(facts(hf_hub_download('lab/model', 'model.safetensors'))))"


def test_downloads_arrive_packed_and_load(server, home, model, tmp_path):
    upload(server, home, model)
    size, start, tensors = plain(server, tmp_path / "plain", DOWNLOAD)
    cache = tmp_path / "packed"
    packed_size, packed_start, same_tensors = hooked(server, cache, DOWNLOAD)
    assert packed_size < size and packed_start != start
    assert tensors == same_tensors
    # All of it, by the other function; nothing is fetched twice.
    folder = hooked(server, cache, "print(json.dumps(snapshot_download('lab/model')))")
    assert os.path.getsize(os.path.join(folder, "model.safetensors")) == packed_size
    # Under the names that others have, with the way back beside it.
    repository = cache / "hub" / "models--lab--model"
    note = (repository / "at1w.txt").read_text()
    assert f"at1w unpack --in-place {repository}" in note
    status = server.run(cache, sys.executable, "-m", "at1w.hook", "status")
    assert f"1 packed files, {packed_size} bytes in place of {size}" in status.stdout
    command = note.split("    ")[1].split("\n")[0]
    server.run(cache, "sh", "-c", command.replace("at1w", os.environ.get("AT1W", "at1w"), 1))
    same(model, folder)


def test_other_downloads_stay_as_they_are(server, home, model, tmp_path):
    upload(server, home, model)
    size, start, _ = plain(server, tmp_path / "plain", DOWNLOAD)
    folder = tmp_path / "folder"
    code = f"print(json.dumps(snapshot_download('lab/model', local_dir={str(folder)!r})))"
    hooked(server, tmp_path / "packed", code)
    same(model, folder)
    # Without the announcement, as of any other server.
    code = "import at1w._hub\nat1w._hub._TYPE = 'none'\n" + DOWNLOAD
    assert hooked(server, tmp_path / "other", code)[:2] == [size, start]


def test_what_is_not_what_was_announced_is_downloaded_as_it_is(server, home, model, tmp_path):
    upload(server, home, model)
    size, start, tensors = plain(server, tmp_path / "plain", DOWNLOAD)
    damage = """
import at1w._hub
head = at1w._hub._announcement
def other(response):
    found = head(response)
    return found and found._replace(sha256='00' * 32)
at1w._hub._announcement = other
"""
    assert hooked(server, tmp_path / "other", damage + DOWNLOAD) == [size, start, tensors]


def test_a_download_that_breaks_off_is_resumed(server, home, model, tmp_path):
    upload(server, home, model)
    _, start, tensors = plain(server, tmp_path / "plain", DOWNLOAD)
    breaking = """
import huggingface_hub.file_download as download
session = download.http_stream_backoff
from contextlib import contextmanager
ranges = []
@contextmanager
def broken(**kwargs):
    with session(**kwargs) as response:
        ranges.append(kwargs['headers'].get('Range'))
        whole = response.iter_bytes
        def some(**more):
            for at, chunk in enumerate(whole(chunk_size=1 << 20)):
                if len(ranges) == 1 and at == 3:
                    raise download.httpx2.RemoteProtocolError('the line is cut')
                yield chunk
        response.iter_bytes = some
        yield response
download.http_stream_backoff = broken
found = facts(hf_hub_download('lab/model', 'model.safetensors'))
print(json.dumps([ranges, found]))
"""
    ranges, found = hooked(server, tmp_path / "packed", breaking)
    assert ranges == [None, f"bytes={3 << 20}-"]
    assert found[1] != start and found[2] == tensors
