"""Every example runs, and says that it is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_example_runs(file):
    done = subprocess.run([sys.executable, "-W", "error", "-m", "pto", "run", str(file)], cwd=ROOT, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert "False" not in done.stdout
