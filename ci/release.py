"""The release builds that the checks in Python run."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"


def build(*what: str) -> None:
    """Builds what these arguments of cargo select."""
    subprocess.run(["cargo", "build", "--release", "--locked", *what], cwd=ROOT, check=True)
