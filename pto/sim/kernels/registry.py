"""The functions that can be compiled, by name; kernel modules fill it in when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pto.core.dtypes import DTYPES, S16, S32, U8
from pto.core.types import Layout
from pto.isa.spec import Instr, Trait
from pto.sim.kernels.operands import Body, Compiled, Form, checked
from pto.sim.names import handler_name, type_part

BY_SIZE = {1: U8, 2: S16, 4: S32}  # stand for all types of a size where bits are copied
SIZES = tuple(BY_SIZE)
FUNCTIONS: dict[str, Compiled] = {}
FORMS: dict[str, tuple[Form, Callable[[Form], Body]]] = {}  # of instructions, and what makes the body of each


def function(name: str) -> Compiled:
    """The function with a name."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    form, make = FORMS[name]
    return checked(form, make(form))


def kernel(
    row: Instr, *layouts: Layout, lends: bool = False
) -> Callable[[Callable[[Form], Body]], Callable[[Form], Body]]:
    """Register what makes the body of an instruction on tiles of these layouts, for each of its element types.

    An instruction that copies bits has one for each size of elements. For `lends` see `pto.sim.loans`.
    """
    def register(make: Callable[[Form], Body]) -> Callable[[Form], Body]:
        for names in row.dtypes or ((),):
            types = tuple(DTYPES[name] for name in (names if len(names) != 1 else names * len(row.memory)))
            name = handler_name(row, layouts, type_part(row, types) if types else "", lends=lends)
            if Trait.BITS in row.traits:
                types = tuple(BY_SIZE[dtype.size] for dtype in types)
            FORMS[name] = Form(row, layouts, types), make
        return make
    return register


def always(body: Body) -> Callable[[Form], Body]:
    """What makes the same body for every form."""
    return partial(lambda _form, same: same, same=body)
