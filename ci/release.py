"""The builds that the checks in Python run: of the profile AT1W_PROFILE, or else release."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILE = os.environ.get("AT1W_PROFILE", "release")
FOLDER = PROFILE.replace("dev", "debug")
RELEASE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / FOLDER


def build_at1w() -> None:
    """Builds the command line as the checks in shell do."""
    command = ["bash", "-c", "source scripts/lib.sh && build_at1w"]
    subprocess.run(command, cwd=ROOT, check=True)


def build(*what: str) -> None:
    """Builds what these arguments of cargo select."""
    subprocess.run(["cargo", "build", "--profile", PROFILE, "--locked", *what], cwd=ROOT, check=True)
