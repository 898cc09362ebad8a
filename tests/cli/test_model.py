"""`pto model`, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PTO_CACHE_DIR": str(folder)}
    return subprocess.run([sys.executable, "-m", "pto", "model", *words], cwd=folder, text=True, env=environ,
                          capture_output=True, timeout=60)


def test_the_list_says_what_is_here(tmp_path):
    done = run(tmp_path, "list")
    assert done.returncode == 0 and "smollm2-135m" in done.stdout and "pto model pull" in done.stdout
    rows = {row["name"]: row for row in json.loads(run(tmp_path, "list", "--json").stdout)["models"]}
    assert rows["tiny"]["present"] and not rows["smollm2-135m"]["present"]


def test_the_facts_of_the_shipped_model(tmp_path):
    found = json.loads(run(tmp_path, "info", "tiny", "--json").stdout)
    assert (found["layers"], found["vocab"], found["kv_heads"], found["tokenizer"]) == (4, 257, 2, "gpt2 gpt-2")
    assert found["weight_bytes"] == 4 * found["parameters"] and found["chat"] is None
    text = run(tmp_path, "info", "tiny").stdout
    assert "kv heads" in text and "820,480" in text


def test_pulling_what_is_here_gives_its_path(tmp_path):
    done = run(tmp_path, "pull", "tiny")
    assert done.returncode == 0 and Path(done.stdout.strip()).is_file()


@pytest.mark.parametrize(("words", "code", "expected"), [
    (["info", "smollm2-135m"], 2, "help: pto model pull smollm2-135m"), (["info", "none.gguf"], 2, "there is no model"),
    (["pull", "gpt"], 2, "there is no model 'gpt'"), (["info", "bad.gguf"], 3, "bad.gguf: byte 0: magic"),
    (["info", "."], 3, "config.json: cannot be read"), ([], 2, "Usage"), (["nonsense"], 2, "No such command"),
])
def test_mistakes_end_in_one_message(tmp_path, words, code, expected):
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    done = run(tmp_path, *words)
    assert done.returncode == code and expected in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_names_reach_no_terminal(tmp_path):
    (tmp_path / "\x1b[2Jx.gguf").write_bytes(b"GGUF")
    done = run(tmp_path, "info", "\x1b[2Jx.gguf")
    assert done.returncode == 3 and "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["pull", "--help"], ["list"]])
def test_the_light_commands_import_no_numpy(tmp_path, words):
    code = (f"import sys; sys.argv = ['pto', 'model', *{words!r}]\nfrom pto.cli.main import main\ntry: main()\n"
            "except SystemExit: pass\nprint('numpy' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "PTO_CACHE_DIR": str(tmp_path)})
    assert done.stdout.splitlines()[-1] == "False"
