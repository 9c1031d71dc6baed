"""Copies of remote files on this disk."""

import numpy as np
import pytest

import at1w
import at1w.numpy
from conftest import assert_all_same
from server import serving


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AT1W_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(files):
    with serving(files["at1w"].parent) as server:
        yield server


@pytest.fixture
def root(packed):
    with at1w.safe_open(packed, "np") as f:
        return f.root


def test_whole_files_are_kept_and_parts_are_not(server, cache, root, tensors):
    url = f"{server.url}/model.at1w"
    at1w.load_tensor(url, "ids")
    at1w.load(url, names=["ids"])
    assert not cache.exists()
    assert_all_same(at1w.numpy.load_file(url), tensors)
    assert [path.name for path in cache.iterdir()] == [root]
    server.take_requests()
    assert_all_same(at1w.load(url), tensors)
    at1w.load_tensor(url, "wide", slice=np.s_[3])
    assert len(server.take_requests()) <= 4
    # The root says which file it is: nothing is asked.
    assert_all_same(at1w.numpy.load_file(url, root=root), tensors)
    assert not server.take_requests()


def test_plain_files_are_not_kept(server, cache, tensors):
    assert_all_same(at1w.numpy.load_file(f"{server.url}/model.safetensors"), tensors)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_damaged_copy_is_noticed_and_removed(server, cache, root, tensors):
    url = f"{server.url}/model.at1w"
    at1w.numpy.load_file(url)
    copy = cache / root
    for offset in (5000, copy.stat().st_size - 200):
        content = bytearray(copy.read_bytes())
        content[offset] ^= 1
        copy.write_bytes(content)
        if offset == 5000:
            with pytest.raises(at1w.IntegrityError):
                at1w.numpy.load_file(url, root=root)
            assert not copy.exists()
        # One whose index is damaged is passed over at once.
        assert_all_same(at1w.numpy.load_file(url, root=root), tensors)
        assert copy.exists()


def test_copies_are_bounded(server, cache, monkeypatch):
    monkeypatch.setenv("AT1W_CACHE_SIZE", "1000")
    at1w.numpy.load_file(f"{server.url}/model.at1w")
    assert not cache.exists() or not list(cache.iterdir())
    monkeypatch.setenv("AT1W_CACHE", "off")
    at1w.numpy.load_file(f"{server.url}/model.at1w")


def test_a_cache_that_cannot_be_written_is_no_error(server, cache, tensors):
    cache.write_text("a file in the place of the folder")
    assert_all_same(at1w.numpy.load_file(f"{server.url}/model.at1w"), tensors)
