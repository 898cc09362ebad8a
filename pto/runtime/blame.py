"""Which node makes a wrong value: what two graphs of one kernel compute is compared, expression by expression.

Lowering changes how values are cut and when they are made, so nodes do not correspond one to one; but every node names
the expression of the author that it is there for. The result of an expression is what its last node computes; each
element of it must be among those that the lowered graph computes for that expression, wherever they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import Loc
from pto.ir.graph import Graph, Node
from pto.ir.text import line
from pto.isa.disasm import instruction
from pto.isa.program import Program

Array = NDArray[Any]
MOST = 1 << 26  # elements that are kept; of a larger run only the stores are blamed


Item = Node | int  # a node of a graph, or the number of an instruction of a program


@dataclass
class Recording:
    """What the nodes of one run computed, by the expression that each is there for.

    Attributes:
        last: what computed something for an expression last.
        of: what was computed, by the identity of the node, or the number of the instruction.
    """

    values: dict[Loc, list[Array]] = field(default_factory=dict)
    last: dict[Loc, Item] = field(default_factory=dict)
    of: dict[int, list[Array]] = field(default_factory=dict)
    size: int = 0

    def note(self, item: Item, locs: Sequence[Loc], value: Array) -> None:
        """A value was computed for an expression."""
        self.size += value.size
        if not locs or self.size > MOST:
            return
        kept = np.array(value, np.float64).ravel()
        self.values.setdefault(locs[0], []).append(kept)
        self.of.setdefault(_identity(item), []).append(kept)
        self.last[locs[0]] = item

    @property
    def complete(self) -> bool:
        """Was everything kept?"""
        return self.size <= MOST

    def result(self, loc: Loc) -> Array:
        """The elements of an expression's result."""
        return elements(self.of[_identity(self.last[loc])])

    def inner_first(self) -> list[Loc]:
        """The expressions, each after those whose values it uses: as their results were first made."""
        order = {key: at for at, key in enumerate(self.of)}
        return sorted(self.last, key=lambda loc: order[_identity(self.last[loc])])


def _identity(item: Item) -> int:
    return item if isinstance(item, int) else id(item)


def elements(parts: Sequence[Array]) -> Array:
    """All elements, without what is no number."""
    found: Array = np.concatenate(parts) if parts else np.empty(0)
    return np.extract(~np.isnan(found), found)


def missing(values: Array, among: Array, tolerance: float) -> bool:
    """Is one of the values not nearly among others?"""
    if not values.size or not among.size:
        return bool(values.size)
    sorted_ = np.sort(among)
    right = np.searchsorted(sorted_, values).clip(0, len(sorted_) - 1)
    with np.errstate(invalid="ignore"):
        near = np.minimum(abs(sorted_[right] - values), abs(sorted_[(right - 1).clip(0)] - values))
        finite = values[np.isfinite(values)]
        return bool((near > tolerance * (1.0 + abs(finite).max(initial=0.0))).any())


def first_wrong(before: Recording, after: Recording, tolerance: float) -> Item | None:
    """What ends, in the later run, the first expression whose result is not computed there."""
    if not (before.complete and after.complete):
        return None
    for loc in before.inner_first():
        if loc in after.last and missing(before.result(loc), elements(after.values[loc]), tolerance):
            return after.last[loc]
    return None


def quoted(item: Item, graph: Graph | None, program: Program) -> str:
    """A node as its graph's text shows it, or an instruction as the program's listing does."""
    if isinstance(item, int):
        return f"pc {item} of the program: {instruction(program, program.code[item])}"
    assert graph is not None
    number, written = line(graph, item)
    return f"line {number} of the {graph.level} graph: {written}"
