"""Files and repositories that are not what their names say."""

import json
import warnings

import numpy as np
import pytest

import at1w
import at1w.numpy

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4401000000\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, "Git LFS pointer to a file of 4401000000 bytes.*git lfs pull"),
        ("<!doctype html>", "an HTML page.*token"),
        ('{"error": "gated"}', r'a JSON text .*gated.*token'),
        ("", "an empty file.*fetch the file again"),
        ("\x1f\x8b", "a text|compressed"),
    ],
)
def test_what_a_file_is(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content.encode("latin-1"))
    for read in (
        lambda: at1w.safe_open(path, "np"),
        lambda: at1w.numpy.load_file(path),
        lambda: at1w.verify(path),
        lambda: at1w.pack(path, tmp_path / "model.at1w"),
    ):
        with pytest.raises(at1w.SafetensorError, match=message) as raised:
            read()
        assert "model.safetensors" in str(raised.value)
    assert not (tmp_path / "model.at1w").exists()


def test_directories(tmp_path):
    with pytest.raises(at1w.SafetensorError, match="a directory, not a file of weights"):
        at1w.safe_open(tmp_path, "np")


@pytest.fixture
def repository(tmp_path):
    """An index of two shards, of which one is there and one a pointer."""
    folder = tmp_path / "repository"
    folder.mkdir()
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[2]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    at1w.numpy.save_file({"a": np.zeros(9)}, folder / shards[0])
    (folder / shards[1]).write_text(POINTER)
    return folder


def test_repositories_that_are_not_whole(repository, tmp_path):
    packed = tmp_path / "packed"
    with pytest.warns(at1w.IncompleteWarning) as warned:
        (file,) = at1w.pack(repository, packed)
    texts = sorted(str(warning.message) for warning in warned)
    assert file.path == "model-00001-of-00003.at1w"
    assert "model-00002-of-00003.safetensors: a Git LFS pointer" in texts[0]
    assert "model-00003-of-00003.safetensors: is missing" in texts[1]
    assert len(texts) == 2 and warned[0].filename == __file__

    with pytest.warns(at1w.IncompleteWarning, match="is missing"):
        assert len(at1w.verify(packed)) == 1
    with pytest.raises(at1w.SafetensorError, match="not whole.*Git LFS.*is missing"):
        at1w.verify(packed, strict=True)
    with pytest.raises(at1w.SafetensorError, match="not whole.*Git LFS.*is missing"):
        at1w.pack(repository, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_whole_repositories_warn_of_nothing(repository, tmp_path):
    for i, name in ((2, "b"), (3, "c")):
        at1w.numpy.save_file({name: np.zeros(9)}, repository / f"model-0000{i}-of-00003.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at1w.pack(repository, tmp_path / "packed", strict=True)
        at1w.verify(tmp_path / "packed", strict=True)


def test_verifying_a_plain_file(tmp_path):
    import hashlib

    path = tmp_path / "model.safetensors"
    at1w.numpy.save_file({"a": np.zeros(9)}, path)
    assert at1w.verify(path) == {str(path): None}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    at1w.verify(path, sha256=digest)
    at1w.pack(path, tmp_path / "model.at1w")
    at1w.verify(tmp_path / "model.at1w", sha256=digest)
    for file in (path, tmp_path / "model.at1w"):
        with pytest.raises(at1w.IntegrityError, match="another file"):
            at1w.verify(file, sha256="00" * 32)
