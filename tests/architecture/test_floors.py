"""A module imports downwards only."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.reading import ROOT


def test_imports_go_downwards_only():
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
