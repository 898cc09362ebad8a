"""The functions that can be compiled, by name; kernel modules fill it in when they are imported."""

from __future__ import annotations

from collections.abc import Callable

from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.sim.names import handler_name

Compiled = Callable[[int, int, int], None]
FUNCTIONS: dict[str, Compiled] = {}


def handler(
    row: Instr, *layouts: Layout, types: str = "f32", lends: bool = False
) -> Callable[[Compiled], Compiled]:
    """Register the function that performs an instruction on tiles of these layouts.

    For `types` see `pto.sim.names`, for `lends` `pto.sim.loans`.
    It gets the addresses of the context, of the operand words and of the static words.
    """
    def register(function: Compiled) -> Compiled:
        FUNCTIONS[handler_name(row, layouts, types, lends=lends)] = function
        return function
    return register
