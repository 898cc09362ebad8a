"""Classic mistakes: each has its code, its line, its caret and a remedy, and the script with the remedy runs."""

from __future__ import annotations

import linecache
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.errors import PtoError

LEAST = 30
HEAD = """import math

import numpy as np

import pto as pt


def zeros(*shape):
    return np.zeros(shape, np.float32)


"""


@dataclass(frozen=True)
class Mistake:
    """A script with a mistake, and with its remedy."""

    name: str
    code: str
    caret: str
    words: str
    wrong: str
    right: str


def mistakes() -> list[Mistake]:
    """The table, read from its file."""
    found = []
    for block in Path(__file__).with_name("mistakes.diff").read_text().split("\n# ")[1:]:
        head, _, body = block.partition("\n")
        wrong, right = ("\n".join(line[1:] if line[:1] == mark else line for line in body.splitlines()
                                  if line[:1] != other) for mark, other in ("-+", "+-"))
        found.append(Mistake(*head.split(" | "), HEAD + wrong + "\n", HEAD + right + "\n"))
    return found


MISTAKES = mistakes()


def run(script: str, file: Path) -> None:
    file.write_text(script)
    linecache.checkcache(str(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a list becomes an array: what is stored to it would be lost
        exec(compile(script, str(file), "exec"), {"__name__": "script"})


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name.replace(" ", "-"))
def test_the_mistake_is_shown_and_its_remedy_works(mistake, tmp_path):
    file = tmp_path / "wrong.py"
    with pytest.raises(PtoError) as caught:
        run(mistake.wrong, file)
    err = caught.value
    assert (err.code, err.loc.file) == (mistake.code, str(file)), str(err)
    assert err.loc.source()[err.loc.col:err.loc.end] == mistake.caret, str(err)
    assert mistake.words in str(err), str(err)
    assert err.hint, str(err)
    run(mistake.right, tmp_path / "right.py")


def test_the_table_is_long_and_each_row_is_another_mistake():
    assert len(MISTAKES) >= LEAST
    assert len({m.name for m in MISTAKES}) == len(MISTAKES)
    assert all(m.wrong != m.right for m in MISTAKES)


def test_a_kernel_without_a_source_says_so():
    space = {"pt": pt}
    exec("@pt.tile_kernel\ndef k(X):\n    for i in pt.range(X.shape[0]):\n        X = X * 2.0\n    return X\n", space)
    with pytest.raises(PtoError, match="write the kernel in a file"):
        space["k"](np.ones((3, 4), np.float32))
