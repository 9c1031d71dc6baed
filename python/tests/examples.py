"""Runs the Python examples of a Markdown file: `python examples.py FILE` in a new folder, in their
order, in one namespace. Those that need torch are marked as ```python torch, and run on request."""

import os
import re
import sys
import tempfile
from pathlib import Path


def examples(text, marks):
    """The examples that are marked with nothing but these words."""
    blocks = re.findall(r"^```python([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for words, code in blocks if set(words.split()) <= set(marks)]


def run(path, marks=()):
    """Runs them."""
    found = examples(Path(path).read_text(), marks)
    assert found, f"{path} has no examples"
    names = {}
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for number, code in enumerate(found, 1):
                exec(compile(code, f"{path}, example {number}", "exec"), names)
        finally:
            os.chdir(home)


if __name__ == "__main__":
    run(sys.argv[1])
