"""Instructions that report: what an author prints, and what an assertion found.

A log is a tensor of s32 in global memory, a row of `LOG` words for each core, zero at the start: how many words behind
the first two are taken, and how many records found no room. A record is a site, rows, columns, and two words for each
element, row by row: an int64, the lower word first, that is the integer or the bits of a float64.
"""

from pto.core.dtypes import DTYPES
from pto.core.types import Layout, Space
from pto.isa.spec import GM, Instr, Kind, Operand, Pipe, Role, Route, Trait, index, tile

LOG = 1 << 16  # words of a core's row
HEADER, RECORD_HEADER = 2, 3  # words
UB, COLUMN = (Space.UB, Layout.ROW), (Space.UB, Layout.COL)
ROW = Operand("log", Kind.TENSOR, Role.INOUT, 1, LOG, ("row", 0))
RECORD = "a record of site with the elements of src is added to row `row` of log; where there is no room, it is counted"

MLOG = Instr(
    "mlog", 0x28, (ROW, tile("src"), *index("row", "site", "rows", "cols")), RECORD,
    dtypes=tuple(("s32", name) for name in DTYPES),
    routes=tuple(Route((GM, place), Pipe.MTE3, passes=16) for place in (UB, COLUMN)), traits=Trait.REPORTS,
)
MLOG_UNLESS = Instr(
    "mlog_unless", 0x29, (ROW, tile("src"), tile("mask"), *index("row", "site", "rows", "cols")),
    f"where an element of mask is false, {RECORD}; behind the elements is a word for each of mask",
    dtypes=tuple(("s32", name, "pred") for name in DTYPES),
    routes=tuple(Route((GM, place, place), Pipe.MTE3, passes=16) for place in (UB, COLUMN)), traits=Trait.REPORTS,
)
