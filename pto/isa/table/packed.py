"""Instructions on packed weights: codes of a few bits, 16 rows together, see `pto.core.packed`."""

from pto.core.packed import COLS, PACKINGS, ROWS, Packing
from pto.core.types import Layout, Space
from pto.isa.spec import GM, Instr, Kind, Operand, Pipe, Role, Route, index, tensor, tile

UB = (Space.UB, Layout.ROW)


def _records(packing: Packing) -> str:
    return (f"each row of the window w is records of {packing.record} bytes that hold {COLS} columns of {ROWS} rows; "
            "what is no whole record, or has no element of x, counts nothing")


def stream(opcode: int, packing: Packing) -> Instr:
    """A product of a row with packed weights that come from global memory as they are used."""
    window = Operand("w", Kind.TENSOR, Role.IN, "p", "b", ("i", 0))
    operands = tile("y", "p", ROWS, role=Role.OUT), tile("x", 1, "k"), window, *index("i", "p", "k", "b")
    added = "an exact sum of products, as f32, times its scale is added, rounded once"
    added += "; then the sum of x, as f32, times its offset, rounded once" if packing.shifted else ""
    order = f"for each record in turn {added}" if packing.scaled else "sums wrap"
    result = "f32" if packing.scaled else "s32"
    return Instr(
        f"tgemv_{packing.name}", opcode, operands,
        f"y = x times the transpose of packed weights, {ROWS} results a row; {_records(packing)}; {order}",
        dtypes=((result, "s16", "u8"), (result, "s8", "u8")), routes=(Route((UB, UB, GM), Pipe.M, also=Pipe.MTE2),))


def unpack(opcode: int, packing: Packing) -> Instr:
    """Packed weights of 16 rows as numbers, transposed."""
    result = "f32" if packing.scaled else "s32"
    return Instr(
        f"tunpack_{packing.name}", opcode,
        (tile("dst", "k", ROWS, role=Role.OUT), tensor("w", 1, "b"), *index("i", "j", "k", "b")),
        f"dst = the transpose of packed weights, a column for each of {ROWS} rows; {_records(packing).split(';')[0]}; "
        "what no whole record holds is zero" + ("; an integer times its scale, rounded once" if packing.scaled else "")
        + ("; plus its offset, rounded once" if packing.shifted else ""),
        dtypes=((result, "u8"),), routes=(Route((UB, GM), Pipe.MTE2),))


TGEMV_Q8, TGEMV_Q4, TGEMV_T3, TGEMV_T2 = (stream(0x44 + n, row) for n, row in enumerate(PACKINGS))
TUNPACK_Q8, TUNPACK_Q4, TUNPACK_T3, TUNPACK_T2 = (unpack(0x48 + n, row) for n, row in enumerate(PACKINGS))
STREAMS = dict(zip(PACKINGS, (TGEMV_Q8, TGEMV_Q4, TGEMV_T3, TGEMV_T2), strict=True))
UNPACKS = dict(zip(PACKINGS, (TUNPACK_Q8, TUNPACK_Q4, TUNPACK_T3, TUNPACK_T2), strict=True))
