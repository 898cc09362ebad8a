"""Instructions that choose elements by index tiles, sequences, and reads of single elements by the scalar unit.

An index tile has element type s32; before an instruction has any effect, each index is checked.
A gather or scatter in global memory counts as an access to every row of its columns.
"""

from pto.core.dtypes import DTYPES
from pto.core.types import Layout, Space
from pto.isa.spec import GM, WHOLE, Instr, Kind, Operand, Pipe, Role, Route, Trait, index, tile

UB, COLUMN = (Space.UB, Layout.ROW), (Space.UB, Layout.COL)
CHOSEN = tuple((name, name, "s32") for name in DTYPES)
REGISTER = Operand("dst", Kind.DEST)


def rows_of(name: str, role: Role = Role.IN) -> Operand:
    """Columns `j` and on of all rows of an argument in global memory."""
    return Operand(name, Kind.TENSOR, role, WHOLE, "cols", (0, "j"))


def by_row(of: str) -> Operand:
    """A column of row numbers of another operand."""
    return tile("index", "rows", 1, picks=(of, "rows"))


def by_column(of: str) -> Operand:
    """A tile of column numbers of another operand."""
    return tile("index", picks=(of, "cols"))


MGATHER = Instr(
    "mgather", 0x38, (tile("dst", role=Role.OUT), rows_of("src"), by_row("src"), *index("j", "rows", "cols")),
    "dst[i] = cols elements of row index[i] of src, from column j",
    dtypes=CHOSEN, routes=(Route((UB, GM, COLUMN), Pipe.MTE2, passes=2),), traits=Trait.BITS,
)
MSCATTER = Instr(
    "mscatter", 0x39, (rows_of("dst", Role.INOUT), tile("src"), by_row("dst"), *index("j", "rows", "cols")),
    "cols elements of row index[i] of dst, from column j = src[i], in increasing i",
    dtypes=CHOSEN, routes=(Route((GM, UB, COLUMN), Pipe.MTE3, passes=16),), traits=Trait.BITS,
)
MSCATTER_ADD = Instr(
    "mscatter_add", 0x3A, (rows_of("dst", Role.INOUT), tile("src"), by_row("dst"), *index("j", "rows", "cols")),
    "src[i] is added to cols elements of row index[i] of dst, from column j, in increasing i; integers wrap",
    dtypes=(("f32", "f32", "s32"), ("s32",)), routes=(Route((GM, UB, COLUMN), Pipe.MTE3, passes=16),),
)
TGATHER = Instr(
    "tgather", 0x3B,
    (tile("dst", role=Role.OUT), tile("src", "rows", "width"), by_column("src"), *index("rows", "cols", "width")),
    "dst[i, j] = src[i, index[i, j]]",
    dtypes=CHOSEN, routes=(Route((UB, UB, UB), Pipe.V, passes=16),), traits=Trait.BITS,
)
MGATHER_ELEM = Instr(
    "mgather_elem", 0x36,
    (tile("dst", role=Role.OUT), Operand("src", Kind.TENSOR, Role.IN, "rows", "width", ("i", 0)), by_column("src"),
     *index("i", "rows", "cols", "width")),
    "dst[r, c] = element index[r, c] of row i + r of src, of whose columns the first width count",
    dtypes=CHOSEN, traits=Trait.BITS,
    routes=tuple(Route((place, GM, place), Pipe.MTE2, passes=16) for place in (UB, COLUMN)),
)
TSCATTER = Instr(
    "tscatter", 0x3C,
    (tile("dst", "rows", "width", role=Role.INOUT), tile("src"), by_column("dst"), *index("rows", "cols", "width")),
    "dst[i, index[i, j]] = src[i, j], in increasing j; other elements stay",
    dtypes=CHOSEN, routes=(Route((UB, UB, UB), Pipe.V, passes=16),), traits=Trait.BITS,
)
TCI = Instr(
    "tci", 0x3D, (tile("dst", role=Role.OUT), *index("start", "row_step", "col_step", "rows", "cols")),
    "dst[i, j] = start + i * row_step + j * col_step, a 64-bit integer that wraps, then rounded or wrapped to the type",
    dtypes=(("s32",), ("f32",)), routes=(Route((UB,), Pipe.V, passes=16), Route((COLUMN,), Pipe.V, passes=16)),
)
TGETVAL = Instr(
    "tgetval", 0x3E, (REGISTER, tile("src", 1, 1, at=("i", "j")), *index("i", "j")),
    "dst = src[i, j]: an integer, or the bits of a float64",
    dtypes=tuple((name,) for name in DTYPES),
    routes=(Route((UB,), Pipe.S, passes=0), Route((COLUMN,), Pipe.S, passes=0)),
)
LDG = Instr(
    "ldg", 0x3F, (REGISTER, Operand("src", Kind.TENSOR, Role.IN, 1, 1, ("i", "j")), *index("i", "j")),
    "dst = src[i, j]: an integer, or the bits of a float64",
    dtypes=tuple((name,) for name in DTYPES), routes=(Route((GM,), Pipe.S),),
)
