"""A row reduction tile by tile: what is known of the tiles so far, and how one more tile changes it.

A sum carries one value for each row; the position of an extreme carries the extreme and its position, last.
"""

from __future__ import annotations

from pto.core.dtypes import S32, DType
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import REDUCTIONS, TILE_OPS, Reduction


def how(node: Node) -> Reduction:
    """The row of a node's reduction."""
    return REDUCTIONS[node.op.name.removeprefix("tensor.")]


def states(node: Node) -> int:
    """How many values a reduction carries for each row; the last is its result."""
    return 2 if how(node).of else 1


def reduced(graph: Graph, node: Node, tile: Val, column: Val | int) -> list[Val]:
    """What one tile gives, whose first column is `column` of the row."""
    row, name = how(node), node.op.name.removeprefix("tensor.")
    found = graph.apply(TILE_OPS[name], tile, locs=node.locs)
    if not row.of:
        return [found]
    if not isinstance(column, int) or column:
        first = graph.op(TILE_OPS["iota"], column, 0, 0, type=found.type, locs=node.locs)
        found = graph.apply(TILE_OPS["add"], found, first, locs=node.locs)
    return [graph.apply(TILE_OPS[row.of], tile, locs=node.locs), found]


def merged(graph: Graph, node: Node, before: list[Val], later: list[Val]) -> list[Val]:
    """What the tiles up to one give, by what the earlier ones and what it gives."""
    row = how(node)

    def make(name: str, *inputs: Val, **attrs: str) -> Val:
        return graph.apply(TILE_OPS[name], *inputs, locs=node.locs, **attrs)

    value = make(row.combine, before[0], later[0])
    if not row.of:
        return [value]
    takes = make("compare", later[0], before[0], cmp=row.better)
    assert isinstance(value.type, TileType)
    if value.type.dtype.kind == "f":  # a number takes the place of nothing but NaN
        first = make("compare", before[0], before[0], cmp="ne")
        number = make("compare", later[0], later[0], cmp="eq")
        takes = make("or", takes, make("and", first, number))
    return [value, make("select", takes, later[1], before[1])]


def neutral(graph: Graph, node: Node, dtype: DType, rows: int) -> list[Val]:
    """What no tiles give, for elements of a type."""
    row = how(node)
    assert isinstance(node.type, TensorType)
    kinds = [(row, node.type.dtype)] if not row.of else [(REDUCTIONS[row.of], dtype), (row, S32)]
    return [graph.op(TILE_OPS["full"], type=TileType(kind, rows, 1), scalar=one.neutral(kind), locs=node.locs)
            for one, kind in kinds]
