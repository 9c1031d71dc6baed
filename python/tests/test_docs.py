"""The examples of the documentation run."""

from pathlib import Path

import pytest
from examples import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/PYTHON.md"])
def test_examples(page):
    run(ROOT / page)
