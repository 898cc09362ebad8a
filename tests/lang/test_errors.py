"""What a user reads: file, line, caret, reason and remedy of each mistake, against golden files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pto.core.errors import PtoError
from tests.lang.errors import MISTAKES

HERE = str(Path(__file__).parent)


@pytest.mark.parametrize("name", MISTAKES)
def test_message_says_where_what_and_what_to_do(name, golden):
    with pytest.raises(PtoError) as caught:
        MISTAKES[name]()
    message = str(caught.value).replace(HERE, "tests/lang")
    assert re.match(r"tests/lang/errors\.py:\d+:\d+: error\[PTO-E\d{4}\]: ", message)
    assert re.search(r"^ +\^+$", message, re.MULTILINE)
    assert "help: " in message
    golden(f"errors/{name}.txt", message + "\n")


def test_no_golden_is_left_over():
    kept = {p.stem for p in (Path(HERE).parent / "golden" / "errors").glob("*.txt")}
    assert kept == set(MISTAKES)
