"""Instructions that move tiles: between global memory and a core, and between a core's memories."""

from pto.core.dtypes import DTYPES
from pto.core.types import Layout, Space
from pto.isa.spec import GM, Instr, Pipe, Role, Route, Trait, index, tensor, tile

ANY = tuple((name,) for name in DTYPES)
L1, L0A, L0B = (Space.L1, Layout.ROW), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL)
L0C, UB, COLUMN = (Space.L0C, Layout.PANEL), (Space.UB, Layout.ROW), (Space.UB, Layout.COL)

TLOAD = Instr(
    "tload", 0x30,
    (tile("dst", role=Role.OUT), tensor("src"), *index("i", "j", "rows", "cols")),
    "dst = the window of rows x cols elements of src whose first element is at row i, column j",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((L1, GM), Pipe.MTE2), Route((UB, GM), Pipe.MTE2), Route((COLUMN, GM), Pipe.MTE2, passes=8)),
)
TSTORE = Instr(
    "tstore", 0x31,
    (tensor("dst", role=Role.OUT), tile("src"), *index("i", "j", "rows", "cols")),
    "the window of rows x cols elements of dst whose first element is at row i, column j = src",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((GM, UB), Pipe.MTE3), Route((GM, COLUMN), Pipe.MTE3, passes=8), Route((GM, L0C), Pipe.FIX)),
)
TEXTRACT = Instr(
    "textract", 0x32,
    (tile("dst", role=Role.OUT), tile("src", at=("i", "j")), *index("i", "j", "rows", "cols")),
    "dst = the region of rows x cols elements of src at row i, column j; "
    "what completes the last panel of dst is zero",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((L0A, L1), Pipe.MTE1), Route((L0B, L1), Pipe.MTE1)),
)
TEXTRACT_T = Instr(
    "textract_t", 0x34,
    (tile("dst", role=Role.OUT), tile("src", "cols", "rows", at=("i", "j")), *index("i", "j", "rows", "cols")),
    "dst = the transpose of the region of cols x rows elements of src at row i, column j; "
    "what completes the last panel of dst is zero",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((L0A, L1), Pipe.MTE1), Route((L0B, L1), Pipe.MTE1)),
)
TEXTRACT_ROWS = Instr(
    "textract_rows", 0x2F,
    (tile("dst", role=Role.OUT), tile("src", at=("i", 0)), *index("i", "rows", "cols")),
    "dst = the first cols elements of rows i to i + rows - 1 of src",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((UB, L0C), Pipe.FIX),),
)
TTRANS = Instr(
    "ttrans", 0x35,
    (tile("dst", role=Role.OUT), tile("src", "cols", "rows"), *index("rows", "cols")),
    "dst = the transpose of src",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((UB, UB), Pipe.V), Route((UB, COLUMN), Pipe.V), Route((COLUMN, UB), Pipe.V)),
)
TINSERT = Instr(
    "tinsert", 0x37,
    (tile("dst", at=("i", "j"), role=Role.INOUT), tile("src"), *index("i", "j", "rows", "cols")),
    "the region of rows x cols elements of dst at row i, column j = src; what is around it stays",
    dtypes=ANY, traits=Trait.BITS,
    routes=(Route((UB, UB), Pipe.V), Route((COLUMN, COLUMN), Pipe.V)),
)
TMOV = Instr(
    "tmov", 0x33,
    (tile("dst", role=Role.OUT), tile("src"), *index("rows", "cols")),
    "dst = src",
    dtypes=ANY, traits=Trait.BITS,
    routes=(
        Route((UB, L0C), Pipe.FIX), Route((COLUMN, L0C), Pipe.FIX),
        Route((L1, UB), Pipe.MTE3), Route((L1, COLUMN), Pipe.MTE3),
        Route((UB, UB), Pipe.V), Route((COLUMN, COLUMN), Pipe.V),
    ),
)
