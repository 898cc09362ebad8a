"""The rows say the element types that the design of the instruction set says."""

from __future__ import annotations

import pytest

from pto.isa.spec import Instr
from pto.isa.table import TABLE
from tests.isa.legality import legal

TILE_ROWS = [row for row in TABLE if row.memory]


@pytest.mark.parametrize("row", TILE_ROWS, ids=lambda row: row.mnemonic)
def test_a_row_has_the_types_of_its_family(row: Instr) -> None:
    memory = tuple(row.operands[i].name for i in row.memory)
    stated = [names * len(memory) if len(names) == 1 else names for names in row.dtypes]
    assert set(stated) == legal(row.mnemonic, memory)
    assert len(set(stated)) == len(stated)
