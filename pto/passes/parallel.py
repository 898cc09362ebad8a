"""Which loops may run in any order, and the nests of them that become a grid."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from pto.core.types import TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, captures
from pto.ir.ops import CONST, FOR, GET, INDEX_OPS, STRUCTURE
from pto.passes.analysis import LOAD, STORE
from pto.passes.offsets import Block, Offsets, Sum


def is_parallel(node: Node) -> bool:
    """May the iterations of a loop run in any order, on any core?

    A pass that made the loop says so; else every carried value is a tensor, and all that an iteration stores to it, or
    loads of it, lies in rows, in columns or in matrices that are this iteration's alone.
    """
    body = node.body
    if dict(node.attrs).get("parallel"):
        return True
    if body is None or not node.carried:
        return False
    _, *rest = body.params
    carried, captured = rest[:node.carried], rest[node.carried:]
    tensors = [p for p in captured if isinstance(body[p].type, TensorType)]
    if any(access.op is STORE for p in tensors for _, access in touching(body, p)):
        return False  # scratch that every iteration uses
    shares = Shares(body, _constant_step(node))
    return all(isinstance(body[p].type, TensorType) and shares.are_apart(p) for p in carried)


def _constant_step(loop: Node) -> int:
    """The step of a loop, where its body's graph tells; else 0."""
    outer = loop.body.outer if loop.body is not None else None
    return (outer.constant(loop.inputs[2]) or 0) if outer is not None else 0


def touching(graph: Graph, version: int) -> Iterator[tuple[Graph, Node]]:
    """What uses a tensor, this version of it and those that follow, here and in loops."""
    for key, node in graph.users(version):
        if node.op is not FOR:
            yield graph, node
        if node.op is STORE:
            yield from touching(graph, key)
        if node.body is None:
            continue
        for position, source in enumerate(node.inputs[LOOP_BOUNDS:]):
            if source == version:
                yield from touching(node.body, node.body.params[1 + position])
                for result, get in graph.users(key):
                    if get.op is GET and get["index"] == position:
                        yield from touching(graph, result)


@dataclass(frozen=True, slots=True)
class Share:
    """A way to deal a tensor to the iterations of a loop, as rows, as columns or as matrices.

    Attributes:
        way: which of these, and how the tensor is seen.
        moves: how far apart the windows of two iterations are.
        base: where they begin, but for a constant.
    """

    way: Hashable
    moves: Sum
    base: Sum


@dataclass(frozen=True, slots=True)
class Window:
    """What an access touches of a share: from where on, and how much."""

    start: int
    extent: Sum


class Shares:
    """What each iteration of a loop touches of a tensor.

    Args:
        step: of the loop; 0 where it is unknown.
    """

    def __init__(self, body: Graph, step: int) -> None:
        self.body, self.step, self.offsets = body, step, Offsets()
        self.inside = {id(body), *(id(n.body) for _, _, n in body.walk() if n.body is not None)}

    def are_apart(self, version: int) -> bool:
        """Is there a way to deal a tensor in which no iteration touches what is another one's?"""
        accesses = list(touching(self.body, version))
        if any(self.step <= 0 or node.op not in (STORE, LOAD) for _, node in accesses):
            return False
        found: dict[Share, list[Window]] = {}
        for graph, node in accesses:
            for share, window in self.of(graph, node):
                found.setdefault(share, []).append(window)
        return not accesses or any(len(windows) == len(accesses) and self.fit(share, windows)
                                   for share, windows in found.items())

    def fit(self, share: Share, windows: list[Window]) -> bool:
        """Do windows reach no further than to the next iteration's?"""
        first = min(window.start for window in windows)
        return all(self.offsets.is_within(window.extent + Sum.number(window.start - first), share.moves)
                   for window in windows)

    def of(self, graph: Graph, node: Node) -> Iterator[tuple[Share, Window]]:
        """The ways in which what a store or load touches is the iteration's own."""
        tile = graph[node.inputs[1]].type if node.op is STORE else node.type
        assert isinstance(tile, TileType)
        row, col, _, _, *view = (self.offsets.of(graph, key) for key in node.inputs[2 if node.op is STORE else 1:])
        matrix, offset = None, Sum()
        if view:
            offset, rows, cols, down, across = view
            matrix = Block.of(self.offsets, ((rows, down), (cols, across)))
            if matrix is None or not all(map(self.stays, view[1:])):
                return
            yield from self.dealt("matrices", offset, matrix.size)
            offset = offset.modulo(matrix.size)  # another matrix has other rows and columns
        if self.stays(offset):
            yield from self.dealt(("rows", matrix, offset), row, Sum.number(tile.rows))
            yield from self.dealt(("columns", matrix, offset), col, Sum.number(tile.cols))

    def dealt(self, way: Hashable, start: Sum, extent: Sum) -> Iterator[tuple[Share, Window]]:
        """A window, if it moves by as much from each iteration to the next."""
        slope, base = start.by((id(self.body), self.body.params[0]))
        if slope.terms and self.stays(slope) and self.stays(base):
            share = Share(way, slope * Sum.number(self.step), base - Sum.number(base.constant))
            yield share, Window(base.constant, extent)

    def stays(self, value: Sum) -> bool:
        """Is a value the same in all iterations?"""
        return not any(home in self.inside for home, _ in value.values)


def inner_work(graph: Graph) -> list[Node]:
    """The nodes of a body that are more than integers and structure."""
    return [n for _, n in graph.items() if n.op.name not in INDEX_OPS and (n.op not in STRUCTURE or n.op is FOR)]


def parallel_nest(node: Node) -> list[Node]:
    """A parallel loop and the parallel loops that are all its work, while their bounds depend on no counter."""
    loops, outside = [node], set(node.body.params[1 + node.carried:]) if node.body else set()
    while True:
        body = loops[-1].body
        assert body is not None
        work = inner_work(body)
        if len(work) != 1 or work[0].op is not FOR or not is_parallel(work[0]):
            return loops
        fixed = {k for k, n in body.items() if n.op is CONST} | outside
        if not fixed.issuperset(work[0].inputs[:LOOP_BOUNDS]):
            return loops
        loops.append(work[0])
        outside = {inner for outer, inner in captures(work[0]) if outer in fixed}
