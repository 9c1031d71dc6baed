"""Files by URL: the same objects as of local files, by few requests."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import at1w
import at1w.numpy
from conftest import assert_all_same, assert_same
from server import serving


@pytest.fixture
def server(files):
    with serving(files["at1w"].parent) as server:
        yield server


@pytest.fixture(params=["safetensors", "at1w"])
def url(request, server):
    return f"{server.url}/model.{request.param}"


def test_files_are_those_that_lie_here(url, path, tensors):
    assert_all_same(at1w.numpy.load_file(url), tensors)
    with at1w.safe_open(url, "np") as f, at1w.safe_open(path, "np") as here:
        assert (f.keys(), f.metadata()) == (here.keys(), here.metadata())
        assert_same(f.get_tensor("wide"), tensors["wide"])
        assert_same(f.get_slice("wide")[5:9, 3], tensors["wide"][5:9, 3])
        assert_all_same(f.get_tensors(["ids", "empty"]), {k: tensors[k] for k in ("ids", "empty")})
        parts = f.get_slices({"wide": np.s_[7:9], "cube": np.s_[..., 1], "ids": np.s_[-1]})
        assert_same(parts["wide"], tensors["wide"][7:9])
        assert_same(parts["cube"], np.array(tensors["cube"][..., 1]))
        with pytest.raises(at1w.SafetensorError, match="does not contain"):
            f.get_tensor("none")
    digest = at1w.verify(url)
    assert list(digest) == [url]
    assert_same(at1w.load_tensor(url, "ids", slice=np.s_[3:5]), tensors["ids"][3:5])


def test_what_is_read_is_pinned(server, files, tensors):
    url = f"{server.url}/model.at1w"
    with at1w.safe_open(files["at1w"], "np") as f:
        root = f.root
    assert_all_same(at1w.numpy.load_file(url, root=root), tensors)
    for pinned in (at1w.numpy.load_file, at1w.verify, at1w.load):
        with pytest.raises(at1w.IntegrityError, match="the root is"):
            pinned(url, root="00" * 32)
    with pytest.raises(at1w.IntegrityError):
        at1w.load_tensor(url, "ids", sha256="00" * 32)


def test_few_requests(server):
    with at1w.safe_open(f"{server.url}/model.at1w", "np") as f:
        assert len(server.take_requests()) <= 2
        f.get_tensor("wide.bf16")
        assert len(server.take_requests()) == 1
        f.get_slice("wide")[10:12]
        assert len(server.take_requests()) <= 2
        names = f.keys()
        f.prefetch(names)
        f.get_tensors(names)
        assert len(server.take_requests()) <= 3


def test_a_file_that_is_not_there_and_a_server_that_is_not_there(server):
    with pytest.raises(FileNotFoundError, match="gone.at1w"):
        at1w.safe_open(f"{server.url}/gone.at1w", "np")
    with pytest.raises(OSError):
        at1w.safe_open("http://127.0.0.1:1/model.at1w", "np")
    with pytest.raises(ValueError, match="is not hf://"):
        at1w.safe_open("hf://lab/minilm", "np")
    with pytest.raises(ValueError):
        at1w.safe_open("nothing-knows-this://x/y", "np")


def test_a_server_without_ranges_says_so(server, tensors):
    server.ranges = False
    with pytest.warns(UserWarning, match="sends no ranges"):
        assert_all_same(at1w.numpy.load_file(f"{server.url}/model.at1w"), tensors)


def test_damage_on_the_way_is_noticed(tmp_path, packed):
    damaged = bytearray(packed.read_bytes())
    damaged[5000] ^= 1
    (tmp_path / "model.at1w").write_bytes(damaged)
    with serving(tmp_path) as server, pytest.raises(at1w.IntegrityError):
        at1w.numpy.load_file(f"{server.url}/model.at1w")


def test_fsspec(packed, tensors):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/models/model.at1w", packed.read_bytes())
    assert_all_same(at1w.numpy.load_file("memory://models/model.at1w"), tensors)
    with at1w.safe_open("/models/model.at1w", "np", filesystem=memory) as f:
        assert_same(f.get_slice("wide")[3], tensors["wide"][3])
        assert f.bytes_read < packed.stat().st_size
    file = fsspec.open("memory://models/model.at1w")
    with at1w.safe_open(file, "np") as f:
        assert_all_same(f.get_tensors(), tensors)
    with pytest.raises(FileNotFoundError):
        at1w.safe_open("memory://models/gone.at1w", "np")


@pytest.fixture
def repository(tmp_path, tensors):
    """A model in two shards, as it is and packed, and a model in one file."""
    shards = {"model-1.safetensors": ["wide", "ids", "cube"], "model-2.safetensors": []}
    shards["model-2.safetensors"] = [n for n in tensors if n not in shards["model-1.safetensors"]]
    plain = tmp_path / "plain"
    plain.mkdir()
    for file, names in shards.items():
        at1w.numpy.save_file({name: tensors[name] for name in names}, plain / file)
    weight_map = {name: file for file, names in shards.items() for name in names}
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (plain / "model.safetensors.index.json").write_text(index)
    at1w.pack(plain, tmp_path / "packed")
    single = tmp_path / "single"
    single.mkdir()
    at1w.numpy.save_file(tensors, single / "model.at1w")
    return tmp_path


@pytest.mark.parametrize("kind", ["plain", "packed", "single"])
def test_repositories_are_loaded_from_anywhere(repository, kind, tensors):
    with serving(repository) as server:
        for place in (repository / kind, f"{server.url}/{kind}/"):
            assert_all_same(at1w.load(place), tensors)
            some = at1w.load(place, names=["ids", "scalar"])
            assert_all_same(some, {name: tensors[name] for name in ("ids", "scalar")})
            wide = dict(at1w.stream(place, names=lambda name: name.startswith("wide")))
            assert set(wide) == {name for name in tensors if name.startswith("wide")}

            def rows(name, shape):
                return np.s_[: shape[0] // 2] if len(shape) == 2 else None

            for name, tensor in at1w.stream(place, slices=rows):
                whole = tensors[name]
                assert_same(tensor, whole[: len(whole) // 2] if whole.ndim == 2 else whole)
            with pytest.raises(at1w.SafetensorError, match="there is no tensor none"):
                at1w.load(place, names=["ids", "none"])


def test_only_the_shards_that_are_needed_are_read(repository):
    with serving(repository) as server:
        at1w.load(f"{server.url}/plain/", names=["ids"])
        assert not any("model-2" in path for _, path, _ in server.requests)


def test_an_index_leads_nowhere_else(repository):
    index = {"weight_map": {"ids": "../single/model.at1w"}}
    (repository / "plain" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(at1w.SafetensorError, match="out of the folder"):
        at1w.load(repository / "plain")


def test_other_threads_run_while_one_waits(server):
    server.answers.clear()
    opened = []
    waiting = threading.Thread(
        target=lambda: opened.append(at1w.safe_open(f"{server.url}/model.at1w", "np"))
    )
    waiting.start()
    while not server.requests:
        time.sleep(0.01)
    server.answers.set()
    waiting.join()
    assert opened[0].keys()


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT to a process")
@pytest.mark.parametrize("what", ["open", "read"])
def test_waiting_can_be_interrupted(server, what):
    code = (
        "import signal, sys, at1w\n"
        # A process that was started in the background ignores it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "f = None\n"
        "try:\n"
        "    f = at1w.safe_open(sys.argv[1], 'np')\n"
        "    print('opened', flush=True); sys.stdin.readline()\n"
        "    f.get_tensor('wide')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "if f is not None:\n"
        "    sys.stdin.readline(); print(f.get_tensor('ids').sum())\n"
    )
    if what == "open":
        server.answers.clear()
    run = [sys.executable, "-c", code, f"{server.url}/model.at1w"]
    process = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if what == "read":
        assert process.stdout.readline() == "opened\n"
        server.answers.clear()
        server.take_requests()
        process.stdin.write("\n")
        process.stdin.flush()
    while not server.requests:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    server.answers.set()
    # The file can still be read.
    out, _ = process.communicate("\n")
    assert process.returncode == 0
    assert out == ("" if what == "open" else f"{sum(range(1000))}\n")
