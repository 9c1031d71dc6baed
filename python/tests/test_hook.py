"""The hook: programs that know only safetensors load packed files under its names."""

import multiprocessing
import os
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from conftest import assert_all_same, assert_same
from safetensors import safe_open

import at1w
from at1w import _hook, hook


@pytest.fixture
def hooked():
    hook.enable()
    yield
    hook.disable()


@pytest.fixture
def renamed(packed, tmp_path):
    """A packed file under the name of a safetensors file."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed.read_bytes())
    return path


def test_without_the_hook_safetensors_refuses(renamed):
    for read in (
        lambda: safe_open(renamed, "np"),
        lambda: safetensors.numpy.load_file(renamed),
        lambda: safetensors.numpy.load(renamed.read_bytes()),
    ):
        with pytest.raises(safetensors.SafetensorError, match="header"):
            read()


def test_packed_files_are_opened_by_at1w(hooked, renamed, tensors):
    # The name in this module was imported before the hook was enabled.
    with safe_open(renamed, framework="np") as f:
        assert isinstance(f, safe_open)
        assert_all_same(f.get_tensors(), tensors)
    assert_all_same(safetensors.numpy.load_file(renamed), tensors)
    with open(renamed) as file, safetensors._safe_open_handle(file, "np") as f:
        assert_same(f.get_slice("wide")[3:5], tensors["wide"][3:5])
    entries = dict(safetensors.deserialize(renamed.read_bytes()))
    assert entries["ids"]["data"] == tensors["ids"].tobytes()


def test_plain_files_are_left_to_safetensors(hooked, files):
    (original, _), *_ = _hook._replaced
    with safe_open(files["safetensors"], framework="np") as f:
        assert type(f) is original
        assert isinstance(f, safe_open)
    with pytest.raises(FileNotFoundError):
        safe_open("notafile", framework="np")
    with pytest.raises(TypeError):
        safe_open(7, framework="np")


def test_errors_are_caught_as_those_of_safetensors(hooked, renamed):
    content = bytearray(renamed.read_bytes())
    content[len(content) // 2] ^= 1
    renamed.write_bytes(content)
    with pytest.raises(safetensors.SafetensorError, match="chunk"):
        safetensors.numpy.load_file(renamed)


def test_files_of_other_kinds_are_named(hooked, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    with pytest.raises(safetensors.SafetensorError, match="Git LFS pointer .* run 'git lfs pull'"):
        safe_open(path, framework="np")
    with pytest.raises(FileNotFoundError):
        safe_open(tmp_path / "missing.safetensors", framework="np")


def test_disable_restores(renamed):
    before = dict(vars(safetensors)), safe_open
    hook.enable()
    hook.enable()
    assert hook.enabled() and safe_open is not before[1]
    hook.disable()
    assert not hook.enabled()
    assert (dict(vars(safetensors)), safe_open) == before


def load(path):
    """In a worker process: what safetensors reads."""
    return safetensors.numpy.load_file(path)["ids"].sum()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_workers(hooked, renamed, tensors):
    # The parent has threads by now, and the child must not wait for them.
    safetensors.numpy.load_file(renamed)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(load, [renamed] * 4) == [tensors["ids"].sum()] * 4


SPAWNING = """
import multiprocessing, sys
from safetensors.numpy import load_file

def load(path):
    return load_file(path)["ids"].sum()

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(load, sys.argv[1:] * 2))
"""


@pytest.fixture
def installed():
    """Installs the hook into this environment by its command."""

    def command(name):
        result = subprocess.run(
            [sys.executable, "-m", "at1w.hook", name], capture_output=True, text=True, check=True
        )
        assert result.stderr == ""
        return result.stdout

    assert command("status").startswith("not installed: ")
    assert command("install").startswith("installed: ")
    yield
    assert command("status").startswith("installed: ")
    assert command("uninstall").startswith("not installed: ")
    command("uninstall")


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_installed_hook_reaches_spawned_workers(installed, renamed, tensors, tmp_path):
    script = tmp_path / "load.py"
    script.write_text(SPAWNING)
    result = run(script, renamed)
    assert result.stdout == f"{[tensors['ids'].sum()] * 2}\n", result.stderr
    # A look whether there is safetensors, as transformers has, does not wear the hook out.
    look = "import importlib.util; importlib.util.find_spec('safetensors')"
    load = f"from safetensors.numpy import load_file; load_file({str(renamed)!r})"
    result = run("-c", f"{look}\n{load}")
    assert result.returncode == 0, result.stderr


def modules_at_the_start(*options):
    names = run(*options, "-c", "import sys; print(*sys.modules)").stdout.split()
    return set(names)


def test_installed_hook_imports_nothing_at_the_start(request):
    before = modules_at_the_start()
    request.getfixturevalue("installed")
    assert modules_at_the_start() == before


def test_installed_hook_can_be_disabled(installed, renamed):
    program = (
        "from at1w import hook; assert hook.enabled(); hook.disable(); assert not hook.enabled()\n"
        f"from safetensors.numpy import load_file; load_file({str(renamed)!r})"
    )
    result = run("-c", program)
    assert "SafetensorError: Error while deserializing header" in result.stderr
    # Enabling it once more changes nothing.
    result = run("-c", program.replace("hook.disable(); assert not", "hook.enable(); assert"))
    assert (result.returncode, result.stderr) == (0, "")


def test_installed_hook_outlives_at1w(installed):
    # Without site-packages there is no at1w; the line of the .pth file runs all the same, and
    # safetensors is looked for as ever.
    line = hook._path().read_text()
    assert line.startswith("import ") and line.count("\n") == 1
    look = "import importlib.util; assert importlib.util.find_spec('safetensors') is None"
    result = run("-S", "-c", f"{line}{look}")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_lines_of_older_versions_still_work(installed, renamed):
    hook._path().write_text(
        r'import sys; exec("try:\n    from at1w._hook import enable\n'
        r'except ImportError:\n    pass\nelse:\n    enable()")'
    )
    result = run("-c", f"from safetensors.numpy import load_file; load_file({str(renamed)!r})")
    assert (result.returncode, result.stderr) == (0, "")


def test_packed_files_stand_in_for_missing_ones(hooked, packed, tensors, tmp_path):
    missing, at1w_file = tmp_path / "model.safetensors", tmp_path / "model.at1w"
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        safetensors.numpy.load_file(missing)
    at1w_file.write_bytes(packed.read_bytes())
    for path in (missing, str(missing)):
        assert_all_same(safetensors.numpy.load_file(path), tensors)
        with safe_open(path, framework="np") as f:
            assert_same(f.get_tensor("ids"), tensors["ids"])
    # Only for that suffix, and only where nothing is.
    for name in ("model", "model.bin", "model.safetensors.at1w", "other.safetensors"):
        with pytest.raises(FileNotFoundError):
            safe_open(tmp_path / name, framework="np")
    missing.write_bytes(b"")
    with pytest.raises(safetensors.SafetensorError, match="header"):
        safe_open(missing, framework="np")
    # What is no packed file does not stand in for anything.
    missing.unlink()
    at1w_file.write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    with pytest.raises(FileNotFoundError):
        safe_open(missing, framework="np")


def test_other_frameworks_are_told_why(hooked, renamed):
    for framework in ("tf", "mlx", "paddle"):
        with pytest.raises(
            safetensors.SafetensorError, match=f"model.safetensors is packed, .*{framework}"
        ):
            safe_open(renamed, framework=framework)


def test_dir_shows_the_interface():
    program = (
        "import at1w; print(dir(at1w) == sorted(at1w.__all__)); import at1w.numpy; print(dir(at1w))"
    )
    result = run("-c", program)
    first, second = result.stdout.splitlines()
    assert first == "True", result.stderr
    assert set(eval(second)) == {*at1w.__all__, "numpy"}


def test_vllm_plugin():
    found = entry_points()
    plugins = (
        found.select(group="vllm.general_plugins")
        if hasattr(found, "select")
        else found["vllm.general_plugins"]
    )
    (plugin,) = [plugin for plugin in plugins if plugin.name == "at1w"]
    assert plugin.load() is hook.enable
