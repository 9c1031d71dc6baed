"""Runs the tests of safetensors 0.8.0 against at1w, unchanged: what they import from safetensors is
of at1w. With AT1W_PACKED=1, what they save to a file is packed, whatever the name of the file.

To be copied beside the folder of those tests, as scripts/python.sh does.
"""

import importlib
import os
import sys

import pytest
from at1w import serialize_file

PACKED = os.environ.get("AT1W_PACKED") == "1"

# It cannot be collected without tensorflow, which at1w has no part for.
collect_ignore = ["tests/test_tf_comparison.py"]

# Tests that are not run, and why not.
DESELECTED = (
    {
        "test_simple.py::TestCase::test_serialization": "compares the bytes of a saved file",
        "test_pt_comparison.py::TorchTestCase::test_serialization": "compares the bytes of a saved file",
        "test_pt_model.py::TorchModelTestCase::test_save": "compares the bytes of a saved file",
        "test_pread_backend.py::PreadBackendTests::test_truncated_header_is_rejected": (
            "cuts the saved file by the length of a header that it takes its first bytes for"
        ),
    }
    if PACKED
    else {}
)

# With safetensors itself, torch, numpy and flax.
PASSED = 70


def save_packed(tensor_dict, filename, metadata=None, **options):
    temporary = f"{os.fspath(filename)}.at1w"
    serialize_file(tensor_dict, temporary, metadata, **options)
    os.replace(temporary, filename)


if PACKED:
    for name in ("at1w", "at1w.numpy", "at1w.torch"):
        importlib.import_module(name).serialize_file = save_packed
for part in ("", ".numpy", ".torch", ".flax"):
    sys.modules[f"safetensors{part}"] = importlib.import_module(f"at1w{part}")


def pytest_collection_modifyitems(config, items):
    deselected = [item for item in items if item.nodeid.removeprefix("tests/") in DESELECTED]
    assert len(deselected) == len(DESELECTED)
    items[:] = [item for item in items if item not in deselected]
    config.hook.pytest_deselected(items=deselected)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if len(reporter.stats.get("passed", [])) < PASSED - len(DESELECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
