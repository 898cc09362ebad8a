"""The four levels: which operations each allows, and what must be true of its graphs beyond their types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pto.core.types import Layout, TileType
from pto.ir.graph import Graph, Node
from pto.ir.ops import ALLOC, BLOCK_OPS, EXECUTION_OPS, INDEX_OPS, STRUCTURE, TENSOR_OPS, TILE_OPS, Op

Check = Callable[[Graph, Node], Iterator[str]]


def tiles_unplaced(graph: Graph, node: Node) -> Iterator[str]:
    """Tiles have no memory space yet."""
    if isinstance(node.type, TileType) and node.type.space is not None:
        yield f"is placed in {node.type.space.value} before the Block level"


def tiles_placed(graph: Graph, node: Node) -> Iterator[str]:
    """Every tile has a memory space, and a layout that the space allows."""
    if isinstance(node.type, TileType):
        if node.type.space is None:
            yield "has no memory space"
        elif node.type.cols == 1 and node.type.space.value == "ub" and node.type.layout is not Layout.COL:
            yield "is a column that is not in column layout"


def no_tiles(graph: Graph, node: Node) -> Iterator[str]:
    """Tiles are buffers now: no value is a tile."""
    if isinstance(node.type, TileType):
        yield "is still a tile value"


def buffers_known(graph: Graph, node: Node) -> Iterator[str]:
    """Instructions name declared buffers."""
    root = graph
    while root.outer is not None:
        root = root.outer
    names = root.buffer_names
    for key, value in node.attrs:
        if key == "tiles":
            yield from (f"names no buffer: {name}" for name in value if name not in names)


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the chain."""

    name: str
    ops: dict[str, Op]
    checks: tuple[Check, ...]
    doc: str


def _table(*groups: dict[str, Op]) -> dict[str, Op]:
    structure = {op.name: op for op in STRUCTURE}
    rows = {op.name: op for group in groups for op in group.values()}
    return {**structure, **{op.name: op for op in INDEX_OPS.values()}, **rows}


TENSOR = Level("tensor", _table(TENSOR_OPS, TILE_OPS), (tiles_unplaced,),
               "whole tensors; explicit tile loops where the author wrote them")
TILE = Level("tile", _table(TILE_OPS), (tiles_unplaced,), "loop nests over tiles, windows and valid regions")
BLOCK = Level("block", _table(BLOCK_OPS, {"alloc": ALLOC}), (tiles_placed,),
              "one block of the grid: instructions on tiles that have a memory space")
EXECUTION = Level("execution", _table(EXECUTION_OPS), (no_tiles, buffers_known),
                  "instructions in order, on buffers with addresses, with flags")
LEVELS = {level.name: level for level in (TENSOR, TILE, BLOCK, EXECUTION)}
