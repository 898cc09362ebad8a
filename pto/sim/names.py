"""Names of the compiled functions: which one performs an instruction on tiles of given layouts."""

from __future__ import annotations

from pto.core.dtypes import DType
from pto.core.types import Layout
from pto.isa.spec import Instr, Kind, Trait

ENGINE, WATCHED, STORING, STANDING = "engine", "watched", "storing", "standing"


def transposes(row: Instr, layouts: tuple[Layout, ...]) -> bool:
    """Whether the function for ROW tiles serves, with rows and columns exchanged: all tiles are COL, and alike."""
    alike = all(
        operand.kind is Kind.TILE and (operand.rows, operand.cols) in (("rows", "cols"), (1, 1))
        for operand in row.operands if operand.is_memory
    )
    return alike and all(layout is Layout.COL for layout in layouts)


def type_part(row: Instr, dtypes: tuple[DType, ...]) -> str:
    """What of the element types of the memory operands a function depends on."""
    if Trait.BITS in row.traits:
        return f"b{dtypes[0].bits}"
    return "_".join(map(str, dtypes[:1] if len(set(dtypes)) == 1 else dtypes))


def handler_name(row: Instr, layouts: tuple[Layout, ...], types: str = "", *, lends: bool = False) -> str:
    """The function for an instruction whose tile operands have these layouts, in operand order."""
    if transposes(row, layouts):
        layouts = (Layout.ROW,) * len(layouts)
    return "_".join(filter(None, (row.mnemonic, *(layout.value for layout in layouts), types, "loan" if lends else "")))
