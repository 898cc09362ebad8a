"""Instructions of the cube unit: matrix products."""

from pto.core.types import Layout, Space
from pto.isa.spec import Instr, Pipe, Role, Route, Trait, index, tile

TMATMUL = Instr(
    "tmatmul", 0x40,
    (tile("c", "m", "n", role=Role.INOUT), tile("a", "m", "k"), tile("b", "k", "n"), *index("m", "n", "k", "acc")),
    "c = a times b where acc is 0, else c + a times b; "
    "products are added in increasing k, each with one rounding",
    dtypes=(("f32",),),
    routes=(Route(((Space.L0C, Layout.PANEL), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL)), Pipe.M),),
    traits=Trait.ACCUMULATES,
)
