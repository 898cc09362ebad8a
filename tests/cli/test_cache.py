"""`pto cache`, as a process: what it shows, what it removes, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pto.core.cache import KINDS, FileCache

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """One file of 1,000 bytes of each kind, and a fetched model."""
    for kind in KINDS:
        cache = FileCache("b" * 32, tmp_path / "pto" / kind, kind=kind)
        cache.put("a", bytes(1000))
        size = cache.path("a").stat().st_size
        assert size > 1000
    (tmp_path / "pto" / "models").mkdir()
    (tmp_path / "pto" / "models" / "m.gguf").write_bytes(b"GGUF")
    return tmp_path, size


def run(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pto", "cache", *words], text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PTO_CACHE_DIR": str(folder), **environ})


def kept(folder: Path) -> dict[str, int]:
    return {row["kind"]: row["bytes"] for row in json.loads(run(folder, "--json").stdout)["kinds"]}


def test_it_shows_what_there_is(folder):
    where, size = folder
    assert kept(where) == dict.fromkeys(KINDS, size)
    text = run(where, "weights", PTO_WEIGHTS_CACHE_GB="0.5").stdout
    assert "1 files" in text and "of 0.5 GB" in text and str(where / "pto" / "weights") in text
    assert "programs" not in text


def test_it_removes_what_it_is_told_and_no_model(folder):
    where, size = folder
    assert run(where, "weights", "--clear").stdout == "freed 0.0 MB\n"
    assert kept(where) == {**dict.fromkeys(KINDS, size), "weights": 0}
    assert json.loads(run(where, "--clear", "--json").stdout)["freed"] == 2 * size
    assert kept(where) == dict.fromkeys(KINDS, 0)
    assert (where / "pto" / "models" / "m.gguf").read_bytes() == b"GGUF"


def test_a_cache_that_is_not_there_is_empty(tmp_path):
    assert kept(tmp_path / "none") == dict.fromkeys(KINDS, 0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("words", "environ", "expected"), [
    (["models"], {}, "'models' is not one of"),
    ([], {"PTO_WEIGHTS_CACHE_GB": "x"}, "is 'x', not a number of gigabytes"),
])
def test_mistakes_end_in_one_message(tmp_path, words, environ, expected):
    done = run(tmp_path, *words, **environ)
    assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr
