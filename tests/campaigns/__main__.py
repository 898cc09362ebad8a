"""Runs campaigns one after the other, each in its own process: `python -m tests.campaigns NAME...`."""

from __future__ import annotations

import subprocess
import sys


def main(names: list[str]) -> int:
    """Run each, also where one before has failed; gives the number of those that failed."""
    return sum(subprocess.run([sys.executable, "-m", f"tests.campaigns.{name}"]).returncode != 0 for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
