"""The examples of the documentation, those with torch among them."""

from pathlib import Path

from examples import run


def test_examples():
    run(Path(__file__).resolve().parents[3] / "docs" / "PYTHON.md", ["torch"])
