"""Packing, unpacking and verifying, and how they tell and are stopped."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import assert_all_same

import at1w
import at1w.numpy


@pytest.fixture
def plain(files, tmp_path):
    """A safetensors file alone in a folder."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(files["safetensors"].read_bytes())
    return path


def test_pack_and_unpack(plain, tensors):
    original = plain.read_bytes()
    (packed,) = at1w.pack(plain)
    target = plain.with_suffix(".at1w")
    assert packed.path == str(target)
    assert packed.original_len == len(original)
    assert packed.packed_len == target.stat().st_size < 0.9 * len(original)
    assert at1w.verify(target, original=True) == {str(target): packed.root}
    assert at1w.verify(target, root=packed.root) == {str(target): packed.root}
    with pytest.raises(at1w.IntegrityError, match="root"):
        at1w.verify(target, root="00" * 32)

    with pytest.raises(FileExistsError, match="overwrite=True"):
        at1w.pack(plain)
    at1w.pack(plain, overwrite=True, level="max")
    assert_all_same(at1w.numpy.load_file(target), tensors)

    plain.unlink()
    at1w.unpack(target)
    assert plain.read_bytes() == original


def test_convert(plain, tmp_path):
    original = plain.read_bytes()
    at1w.convert_safetensors(plain, tmp_path / "a.at1w", level="fast")
    at1w.convert_safetensors(tmp_path / "a.at1w", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == original


@pytest.mark.parametrize("keep_names", [False, True])
def test_repository(plain, tmp_path, keep_names):
    repository = tmp_path / "repository"
    repository.mkdir()
    plain.rename(repository / "model.safetensors")
    (repository / "config.json").write_text("{}")
    (packed,) = at1w.pack(repository, keep_names=keep_names)
    target = tmp_path / "repository.at1w"
    assert packed.path == ("model.safetensors" if keep_names else "model.at1w")
    assert at1w.verify(target) == {packed.path: packed.root}
    with pytest.raises(ValueError, match="manifest"):
        at1w.verify(target, root=packed.root)

    at1w.unpack(target, tmp_path / "back")
    for name in os.listdir(repository):
        assert (tmp_path / "back" / name).read_bytes() == (repository / name).read_bytes()

    (target / packed.path).unlink()
    with pytest.raises(at1w.IntegrityError, match="missing"):
        at1w.verify(target)


def test_what_is_no_weights_is_carried_over_with_a_warning(tmp_path):
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "broken.safetensors").write_text("not weights")
    with pytest.warns(at1w.IncompleteWarning, match="broken.safetensors: a text"):
        assert at1w.pack(tmp_path / "repository") == []


def test_bad_arguments(plain):
    with pytest.raises(ValueError, match="level"):
        at1w.pack(plain, level="best")
    with pytest.raises(ValueError, match="keep_names"):
        at1w.pack(plain, keep_names=True)
    with pytest.raises(ValueError, match="name the target"):
        at1w.unpack(plain)
    with pytest.raises(at1w.IntegrityError, match="not packed"):
        at1w.unpack(plain, plain.with_name("new"))
    with pytest.raises(at1w.SafetensorError, match="packed already"):
        at1w.pack(plain)
        at1w.pack(plain.with_suffix(".at1w"), plain.with_name("twice.at1w"))


def test_progress(plain, capsys):
    calls = []
    at1w.pack(plain, progress=lambda done, total: calls.append((done, total)))
    size = plain.stat().st_size
    assert calls == sorted(calls)
    assert calls[-1][1] == size
    assert 0.9 * size < calls[-1][0] <= size
    at1w.verify(plain.with_suffix(".at1w"), progress=True)
    assert "verifying: 100%" in capsys.readouterr().err


def test_an_exception_of_the_callback_stops_the_work(plain):
    def fail(done, total):
        raise KeyError(done)

    with pytest.raises(KeyError):
        at1w.pack(plain, progress=fail)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A safetensors file that takes seconds to pack."""
    path = tmp_path_factory.mktemp("large") / "large.safetensors"
    random = np.random.default_rng(7)
    at1w.numpy.save_file({"a": random.normal(size=(4000, 16000)).astype(np.float32)}, path)
    return path


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupts(large, tmp_path):
    program = (
        "import at1w, signal, sys\n"
        # Where the tests run in the background, it is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('begin', flush=True)\n"
        "try: at1w.pack(sys.argv[1], sys.argv[2], level='max')\n"
        "except KeyboardInterrupt: print('interrupted', flush=True)\n"
    )
    command = [sys.executable, "-c", program, large, tmp_path / "large.at1w"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begin\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert os.listdir(tmp_path) == []
