"""Instructions of the cube unit: matrix products."""

from pto.core.types import Layout, Space
from pto.isa.spec import GM, Instr, Pipe, Role, Route, Trait, index, tensor, tile

DOT_LANES = 32  # sums of a streamed product: what keeps a register machine busy
UB = (Space.UB, Layout.ROW)

TMATMUL = Instr(
    "tmatmul", 0x40,
    (tile("c", "m", "n", role=Role.INOUT), tile("a", "m", "k"), tile("b", "k", "n"), *index("m", "n", "k", "acc")),
    "c = a times b where acc is 0, else c + a times b; "
    "products are added in increasing k, each with one rounding; sums of integers wrap",
    dtypes=(("f32",), ("f32", "f16", "f16"), ("f32", "bf16", "bf16"), ("s32", "s8", "s8"), ("s32", "s16", "s8")),
    routes=(Route(((Space.L0C, Layout.PANEL), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL)), Pipe.M),),
    traits=Trait.ACCUMULATES,
)


STREAMED = (  # of y, x and w
    ("f32",), ("f32", "f32", "f16"), ("f32", "f32", "bf16"), ("f32", "f32", "s8"),
    ("f32", "f16", "f16"), ("f32", "bf16", "bf16"), ("s32", "s8", "s8"), ("s32", "s16", "s8"),
)


def stream(mnemonic: str, opcode: int, role: Role, doc: str, rows: int | str, *where: str) -> Instr:
    """A product of rows with those of a matrix that comes from global memory as it is used."""
    w = tensor("w", "n", "k", column="j" if "j" in where else 0)
    operands = (tile("y", rows, "n", role=role), tile("x", rows, "k"), w, *index(*where))
    order = (
        f"sum number l of {DOT_LANES} adds the products at k = l, l + {DOT_LANES}, ..., each with one rounding; then "
        f"sum l and sum l + h are added, for h from {DOT_LANES // 2} down by halves"
    )
    return Instr(mnemonic, opcode, operands, f"{doc}; {order}; sums of integers wrap", dtypes=STREAMED,
                 routes=(Route((UB, UB, GM), Pipe.M, also=Pipe.MTE2),))


TGEMV_STREAM = stream(
    "tgemv_stream", 0x41, Role.OUT, "y = x times the transpose of the window w of n x k elements at row i, column j",
    1, "i", "j", "n", "k",
)
TGEMV_STREAM_ACC = stream(
    "tgemv_stream_acc", 0x42, Role.INOUT,
    "y = y + (x times the transpose of the window w of n x k elements at row i, column j)", 1, "i", "j", "n", "k",
)
TGEMM_STREAM = stream(  # ours
    "tgemm_stream", 0x4C, Role.OUT, "y = x times the transpose of the window w of n x k elements at row i, column 0",
    "m", "i", "m", "n", "k",
)


def stream_by_rows(mnemonic: str, opcode: int, rows: int | str, column: int | str, *where: str) -> Instr:
    """Rows of sums, to which the product of rows with a matrix is added that comes from global memory row by row."""
    y, x, w = tile("y", rows, "n", role=Role.INOUT), tile("x", rows, "k"), tensor("w", "k", "n", column=column)
    doc = (
        f"y = y + (x times the window w of k x n elements at row i, column {column}); products are added in increasing "
        "k, each with one rounding; sums of integers wrap"
    )
    return Instr(mnemonic, opcode, (y, x, w, *index(*where)), doc, dtypes=STREAMED,
                 routes=(Route((UB, UB, GM), Pipe.M, also=Pipe.MTE2),))


TGEVM_STREAM = stream_by_rows("tgevm_stream", 0x43, 1, "j", "i", "j", "k", "n")  # ours
TGEMM_STREAM_ROWS = stream_by_rows("tgemm_stream_rows", 0x4D, "m", 0, "i", "m", "k", "n")  # ours
