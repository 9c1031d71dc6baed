"""A wrong AT1W_SIMD is an exception that names it, and ends no process."""

import os
import subprocess
import sys

OPEN = """
import sys, at1w
try:
    at1w.safe_open(sys.argv[1], "np")
except at1w.SafetensorError as error:
    print(error)
"""


def test_wrong_back_end(packed):
    environment = {**os.environ, "AT1W_SIMD": "sse9"}
    command = [sys.executable, "-c", OPEN, packed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'AT1W_SIMD="sse9" is not a back-end; available here: ' in done.stdout
