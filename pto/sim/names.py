"""Names of the compiled functions: which one performs an instruction on tiles of given layouts."""

from __future__ import annotations

from pto.core.types import Layout
from pto.isa.spec import Instr, Kind

ENGINE, WATCHED = "engine", "watched"


def transposes(row: Instr, layouts: tuple[Layout, ...]) -> bool:
    """Whether the function for ROW tiles serves, with rows and columns exchanged: all tiles are COL."""
    tensors = any(operand.kind is Kind.TENSOR for operand in row.operands)
    return not tensors and all(layout is Layout.COL for layout in layouts)


def handler_name(row: Instr, layouts: tuple[Layout, ...], *, lends: bool = False) -> str:
    """The function for an instruction whose tile operands have these layouts, in operand order."""
    if transposes(row, layouts):
        layouts = (Layout.ROW,) * len(layouts)
    return "_".join((row.mnemonic, *(layout.value for layout in layouts), *(("loan",) if lends else ())))
