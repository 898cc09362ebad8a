"""`pto compare`, as a process, on the models that ship."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.test_texts import run

TEXT = "One morning, Ida walked to the wide river."


def test_the_table():
    done = run("compare", "tiny", "--precision", "f32", "w8a8", "--text", TEXT)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:2] == ["tiny w8a8 against tiny f32, 43 tokens", "layer         cosine   SQNR dB     largest"]
    names = ["embedding", "layer 0  ", "layer 1  ", "layer 2  ", "layer 3  ", "logits   "]
    for line, name in zip(lines[2:8], names, strict=True):
        assert re.fullmatch(rf"{name}   [01]\.\d{{6}}     [2-9]\d\.\d\d   \d\.\d{{3}}e[+-]\d\d", line)
    assert re.fullmatch(r"perplexity  \d+\.\d{4}, then \d+\.\d{4}: [+-]\d+\.\d\d %", lines[8])
    assert re.fullmatch(r"the same best token after \d+\.\d % of the tokens", lines[9]) and len(lines) == 10


def test_a_model_against_itself_is_all_ones():
    done = run("compare", "tiny", "--precision", "f16", "f16", "--text", "A", "--kv", "f16", "f16")
    assert re.sub(r"([\d.]+), then \1:", "P, then P:", done.stdout) == """\
tiny f16 kv f16 against tiny f16 kv f16, 2 tokens
layer         cosine   SQNR dB     largest
embedding   1.000000       inf   0.000e+00
layer 0     1.000000       inf   0.000e+00
layer 1     1.000000       inf   0.000e+00
layer 2     1.000000       inf   0.000e+00
layer 3     1.000000       inf   0.000e+00
logits      1.000000       inf   0.000e+00
perplexity  P, then P: +0.00 %
the same best token after 100.0 % of the tokens
"""


def test_the_document(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    words = ("compare", "tiny", "tiny-ternary", "--precision", "f32", "ternary", "--json", "--context", "16")
    found = json.loads(run(*words, "--file", str(tmp_path / "text")).stdout)
    assert found == json.loads(run(*words, "--file", "-", text=TEXT).stdout)
    assert (found["schema"], found["tokens"], len(found["layers"])) == (1, 43, 6)
    sides = found["first"], found["second"]
    assert [(s["model"], s["precision"], s["kv"]) for s in sides] == [("tiny", "f32", "f32"),
                                                                       ("tiny-ternary", "ternary", "f32")]
    assert all(1 < side["perplexity"] < 100 for side in sides)
    assert all(0.1 < row["cosine"] < 1 and row["largest"] > 0 and row["sqnr_db"] < 20 for row in found["layers"][1:])
    same = json.loads(run("compare", "tiny", "--precision", "f32", "f32", "--text", "A", "--json").stdout)
    assert {row["sqnr_db"] for row in same["layers"]} == {None}


def test_the_story_is_read_in_the_precision_that_is_chosen():
    done = run("compare", "tiny")
    assert done.stdout.startswith("tiny w8a14 against tiny f32, 199 tokens\n") and done.returncode == 0


@pytest.mark.parametrize("words", [("compare", "tiny", "--file"), ("generate", "tiny", "A", "--prompts")])
def test_a_file_that_is_no_text(words, tmp_path):
    (tmp_path / "words").write_bytes(b"A dog\xff\n")
    done = run(*words, str(tmp_path / "words"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "words: byte 5 is no text in UTF-8" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "expected"), [
    (["tiny", "--precision", "f32", "w9"], "there is no precision 'w9'"),
    (["tiny", "--precision", "f32"], "requires 2 arguments"),
    (["tiny", "--kv", "f32", "s4"], "no type of keys and values 's4'"),
    (["tiny", "tiny", "tiny"], "two models are compared, not 3"),
    (["none.gguf"], "there is no model none.gguf"),
    (["tiny", "--text", "A", "--file", "-"], "--text and --file are both given"),
    (["tiny", "--context", "1000000"], "a context has 1 to 512 positions"),
])
def test_mistakes_end_in_one_message(words, expected):
    done = run("compare", *words, text="A")
    assert done.returncode == 2 and expected in done.stderr and done.stdout == ""
