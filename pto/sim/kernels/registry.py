"""The functions that can be compiled, by name; kernel modules fill it in when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pto.core.dtypes import DTYPES, DType
from pto.core.types import Layout
from pto.isa.spec import Instr
from pto.sim.names import handler_name, type_part

Compiled = Callable[[int, int, int], None]
FUNCTIONS: dict[str, Compiled] = {}
FACTORIES: dict[str, Callable[[], Compiled]] = {}  # of functions that are made when they are first asked for
SIZES = (1, 2, 4)


def function(name: str) -> Compiled:
    """The function with a name."""
    return FUNCTIONS[name] if name in FUNCTIONS else FACTORIES[name]()


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


def family(
    row: Instr, *layouts: Layout, types: int = 0
) -> Callable[[Callable[[DType], Compiled]], Callable[[DType], Compiled]]:
    """Register what makes an instruction's function for each of its element types.

    It gets the type of the memory operand number `types`.
    """
    def register(make: Callable[[DType], Compiled]) -> Callable[[DType], Compiled]:
        for names in row.dtypes:
            dtypes = tuple(DTYPES[name] for name in names)
            name = handler_name(row, layouts, type_part(row, dtypes))
            FACTORIES[name] = partial(make, dtypes[types if len(dtypes) > 1 else 0])
        return make
    return register


def by_size(row: Instr, *layouts: Layout) -> Callable[[Callable[[int], Compiled]], Callable[[int], Compiled]]:
    """Register what makes the function of an instruction that copies bits, for each size of elements."""
    def register(make: Callable[[int], Compiled]) -> Callable[[int], Compiled]:
        for size in SIZES:
            FACTORIES[handler_name(row, layouts, f"b{8 * size}")] = partial(make, size)
        return make
    return register
