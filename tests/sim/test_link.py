"""What the linker states of instructions: how much fuel each may take."""

from __future__ import annotations

from pto.isa.asm import assemble
from pto.sim.layout import WEIGHT_AT
from pto.sim.link import link

TILES = """\
.program weights
.target V2
.tensor %x f32[1024, 1024] read
.tensor %y f32[1024, 1024] write
.tile %rows tile<ub, 64x64xf32> at 0x0 slots 1
.tile %line tile<ub, 1x1024xf32> at 0x4000 slots 1
.tile %column tile<ub, 1024x1xf32, col> at 0x5000 slots 1
.tile %ids tile<ub, 64x64xs32> at 0x8000 slots 1
.tile %which tile<ub, 64x1xs32, col> at 0xC000 slots 1
"""


def weights(*lines: str) -> list[int]:
    code = link(assemble(TILES + "\n".join((*lines, "halt")) + "\n")).code
    return [int(row[WEIGHT_AT]) for row in code[:len(lines)]]


def test_a_column_of_memory_weighs_more_than_a_row():
    line, column = weights("tload %line, %x, 0, 0, 1, 1024", "tload %column, %x, 0, 0, 1024, 1")
    assert column > 4 * line
    line, column = weights("tstore %y, %line, 0, 0, 1, 1024", "tstore %y, %column, 0, 0, 1024, 1")
    assert column > 4 * line


def test_elements_from_anywhere_weigh_more_than_rows():
    rows, elements = weights("mgather %rows, %x, %which, 0, 64, 64", "mgather_elem %rows, %x, %ids, 0, 64, 64, 64")
    assert elements > 4 * rows


def test_one_element_weighs_nothing_by_its_tile():
    [one], [function] = weights("tgetval r5, %rows, 0, 0"), weights("tsin %rows, %rows, 64, 64")
    assert function > 100 * one
