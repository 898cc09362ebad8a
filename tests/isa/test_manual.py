"""The manual is what the rows say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pto.core.errors import UsageError
from pto.isa.manual import entry, manual, syntax
from pto.isa.table import BY_MNEMONIC, TABLE

PAGE = Path(__file__).parents[2] / "docs" / "isa.md"
REMEDY = "run: python -c 'from pto.isa.manual import manual; print(manual(), end=\"\")' > docs/isa.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == manual(), REMEDY


def test_every_row_is_in_it():
    text = manual()
    for row in TABLE:
        assert text.count(f"\n### {row.mnemonic}\n") == 1
        assert row.doc[1:] in text and f"`{syntax(row)}`" in text
        assert entry(row.mnemonic) in text


def test_an_entry():
    assert entry("trowprod") == """\
### trowprod

`trowprod %dst, %a, rows, cols` (opcode 0x83)

dst[i] = product over j of a[i, j], from the left.

- `dst`: tile, written: `rows` x 1
- `a`: tile, read: `rows` x `cols`
- `rows`: index
- `cols`: index

Element types: all f32; all f16; all bf16; all s32

| dst | a | pipe |
|---|---|---|
| ub col | ub | V |
"""


def test_an_unknown_name_is_refused():
    with pytest.raises(UsageError) as err:
        entry("taddd")
    assert str(err.value) == "error[PTO-E0002]: no instruction is called 'taddd'\nhelp: did you mean tadd?"
    assert syntax(BY_MNEMONIC["halt"]) == "halt"
