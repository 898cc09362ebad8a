"""Every ```python and ```sh block that a reader sees runs: the blocks of a page one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pto.models.catalog import MODELS

ROOT = Path(__file__).parents[1]
PAGES = [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if p.exists()]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SKIPPED = ("make ", "git ", "pip ", "pto model pull", "uv ",
           "python -m venv", "python3 -m venv", "cd ", ". ", "source ", "pto model pull ")
FETCHED = ("smollm2-135m", "pto chat")  # lines with these need the model that `pto model pull` fetches
BLOCKS = [(page, [(lang, text) for lang, text in BLOCK.findall(page.read_text()) if lang in ("python", "sh")])
          for page in PAGES]


def commands(text: str) -> str:
    """The lines of a shell block that need no network and no fresh clone."""
    lines = [line.removeprefix("$ ") for line in text.replace("\\\n", " ").splitlines()]
    skipped = () if MODELS["smollm2-135m"].present else FETCHED
    return "\n".join(line for line in lines if line and not line.startswith(SKIPPED)
                     and not any(words in line for words in skipped))


def environment(folder: Path) -> dict[str, str]:
    """As after `make`: `pto` and `python` are on the path."""
    pto = folder / "bin" / "pto"
    pto.parent.mkdir(exist_ok=True)
    pto.write_text(f'#!/bin/sh\nexec {sys.executable} -m pto "$@"\n')
    pto.chmod(0o755)
    path = f"{pto.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


@pytest.mark.parametrize(("page", "blocks"), [b for b in BLOCKS if b[1]], ids=[p.name for p, b in BLOCKS if b])
def test_blocks_run(page, blocks, tmp_path):
    for name in ("examples", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    environ = environment(tmp_path)
    python = "".join(text for lang, text in blocks if lang == "python")
    if python:
        script = tmp_path / "page.py"
        script.write_text(python)
        run([sys.executable, "-W", "error", str(script)], tmp_path, environ)
    for lang, text in blocks:
        if lang == "sh" and commands(text):
            run(["sh", "-e", "-c", commands(text)], tmp_path, environ)


def run(command: list[str], folder: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def test_a_decision_has_a_number_of_its_own():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    assert all(page.read_text().startswith(f"# {number}. ") for number, page in zip(numbers, pages, strict=True))
