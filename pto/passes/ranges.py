"""Between which numbers the integers of a graph lie, whatever it is launched with: which conditions never hold, which
loops never run.

Symbols have limits, a counter lies between the bounds of its loop, and operations make ranges of ranges. What a loop
carries is followed through its first iteration, and then through any number of further ones, for the first is often
alone in what it does: `break` says in one iteration what all later ones look at.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, product, repeat

from pto.core.types import INDEX
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, captures
from pto.ir.ops import CONST, DIM, FOR, GET, INDEX_OPS
from pto.isa.meaning.scalar import SIGN
from pto.isa.table import scalar

Range = tuple[int, int]  # the least and the largest value
ALL = -SIGN, SIGN - 1
EXTENT = 2**31 - 1  # of an axis, and of the cores of a machine
MACHINE = {"core": (0, EXTENT), "cores": (1, EXTENT)}
NESTED = 3  # loops around each other whose carried integers are followed; those of deeper ones may be any

_EXACT: dict[str, Callable[..., int]] = {  # what has its extremes where each operand has one of its own
    scalar.ADD.mnemonic: operator.add, scalar.SUB.mnemonic: operator.sub, scalar.MUL.mnemonic: operator.mul,
    scalar.MADD.mnemonic: lambda a, b, c: a * b + c, scalar.DIV.mnemonic: operator.floordiv,
    scalar.MIN.mnemonic: min, scalar.MAX.mnemonic: max, scalar.LT.mnemonic: operator.lt,
}
_PICKED = {scalar.MIN.mnemonic: operator.le, scalar.MAX.mnemonic: operator.ge}


def _of(name: str, operands: Sequence[Range]) -> Range:
    """The range of an operation's result; what may wrap may be any."""
    if all(low == high for low, high in operands):
        number = INDEX_OPS[name].fold(*(low for low, _ in operands))
        return ALL if number is None else (int(number), int(number))
    if name == scalar.MOD.mnemonic:
        return _remainder(*operands)
    if name not in _EXACT or (name == scalar.DIV.mnemonic and operands[1][0] <= 0 <= operands[1][1]):
        return ALL
    values = [int(_EXACT[name](*ends)) for ends in product(*operands)]
    low, high = min(values), max(values)
    return (low, high) if ALL[0] <= low and high <= ALL[1] else ALL


def _remainder(value: Range, by: Range) -> Range:
    if by[0] < 1:
        return ALL
    return value if value[0] >= 0 and value[1] < by[0] else (0, by[1] - 1)


def _joined(one: Range, other: Range) -> Range:
    return min(one[0], other[0]), max(one[1], other[1])


def _widened(known: Range, new: Range) -> Range:
    """What a value may become that has left its range once more."""
    return ALL[0] if new[0] < known[0] else known[0], ALL[1] if new[1] > known[1] else known[1]


class Ranges:
    """The ranges of all integers of a graph, in every body that may run."""

    def __init__(self, root: Graph) -> None:
        self.symbols = MACHINE | {s.name: (s.low, s.high) for s in root.symbols}
        self.found: dict[tuple[int, int], Range] = {}  # of each integer, by the identity of its graph and its key
        self.entered: set[int] = set()  # bodies, by their identities
        self.nested = 0
        self._block(root, {})

    def runs(self, loop: Node) -> bool:
        """May a loop have an iteration?"""
        return id(loop.body) in self.entered

    def of(self, graph: Graph, key: int) -> Range:
        """Between which numbers an integer lies, as seen in one of the bodies."""
        return self.found.get((id(graph), key), ALL)

    def known(self, graph: Graph, key: int) -> int | None:
        """The one number that an integer can be, if there is but one."""
        low, high = self.of(graph, key)
        return low if low == high else None

    def picked(self, graph: Graph, node: Node) -> int | None:
        """The operand that is always the smaller, or the larger, of the two that a node takes that of."""
        if node.op.name not in _PICKED:
            return None
        first, second = (self.of(graph, i) for i in node.inputs)
        for chosen, (one, other) in zip(node.inputs, ((first, second), (second, first)), strict=True):
            if all(_PICKED[node.op.name](a, b) for a, b in product(one, other)):
                return chosen
        return None

    def _block(self, graph: Graph, env: dict[int, Range]) -> list[Range]:
        """Follow a graph whose parameters lie in the ranges of `env`; gives those of its outputs."""
        loops: dict[int, list[Range]] = {}
        for key, node in graph.items():
            if node.op is FOR:
                loops[key] = self._loop(node, env)
            elif node.op is GET and node.type == INDEX:
                env[key] = loops[node.inputs[0]][node["index"]]
            elif node.type == INDEX and key not in env:
                env[key] = self._value(node, env)
        for key, found in env.items():
            at = id(graph), key
            self.found[at] = _joined(self.found.get(at, found), found)
        return [env.get(key, ALL) for key in graph.outputs]

    def _value(self, node: Node, env: dict[int, Range]) -> Range:
        if node.op is CONST:
            return int(node["value"]), int(node["value"])
        if node.op is DIM:
            return self.symbols.get(node["name"], ALL)
        return _of(node.op.name, [env[i] for i in node.inputs]) if node.op.name in INDEX_OPS else ALL

    def _loop(self, node: Node, env: dict[int, Range]) -> list[Range]:
        """Follow a loop; gives what it carried to its end."""
        body, (low, high, step) = node.body, (env[i] for i in node.inputs[:LOOP_BOUNDS])
        assert body is not None
        start = [env.get(i, ALL) for i in node.inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]]
        if high[1] <= low[0]:
            return start
        self.entered.add(id(body))
        given, top = {inner: env[key] for key, inner in captures(node) if key in env}, high[1] - 1
        counts = step[0] > 0 and top + step[1] <= ALL[1]  # else the counter may wrap

        def turn(counter: Range, state: Sequence[Range]) -> list[Range]:
            return self._block(body, given | dict(zip(body.params, (counter, *state), strict=False)))

        if self.nested == NESTED or not any(body[key].type == INDEX for key in body.outputs):
            turn((low[0] if counts else ALL[0], top), [ALL] * node.carried)
            return [ALL] * node.carried
        self.nested += 1
        last = turn((low[0], min(low[1], top)), start)
        if not counts or low[0] + step[0] <= top:
            last = _settled(partial(turn, (low[0] + step[0] if counts else ALL[0], top)), last)
        self.nested -= 1
        return last if low[1] < high[0] else [*map(_joined, start, last)]


def _settled(turn: Callable[[Sequence[Range]], list[Range]], known: list[Range]) -> list[Range]:
    """What a loop carries after any number of iterations."""
    for widen in chain((False,), repeat(True)):
        new = [*map(_joined, known, turn(known))]
        if new == known:
            break
        known = [*map(_widened, known, new)] if widen else new
    return known
