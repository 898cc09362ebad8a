"""Products with packed weights: what `expression.py` and `tile_to_block.py` build for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pto.core.packed import BY_NAME, COLS, ROWS
from pto.core.types import Space, TensorType, TileType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import BLOCK_OPS, TENSOR_OPS, TILE_OPS
from pto.isa.table.packed import STREAMS, UNPACKS
from pto.passes.choose_tiles import Tiles
from pto.passes.placing import Placing
from pto.passes.windows import Place, Size, Windows

PRODUCT, UNPACK = TENSOR_OPS["packed_matmul"], TENSOR_OPS["unpack"]
TALL = 256  # columns of weights that are expanded together


def cut(nest: Windows, node: Node, tiles: Tiles) -> tuple[int, int]:
    """Rows and columns of the tiles of a nest: panels of a product, or columns of the weights of one panel."""
    if node.op is UNPACK:
        return TALL, ROWS
    panels, _ = nest.extents(node.inputs[1])
    return max(1, tiles.streamed(panels * ROWS) // ROWS), ROWS


def _window(nest: Windows, key: int) -> tuple[Val, tuple[Any, ...]]:
    """The tensor of packed weights, and the view of it as a matrix of panels."""
    found = nest.placed(key)
    return found.base, (found.offset, *map(nest.size, nest.extents(key)), *found.strides)


def product(nest: Windows, graph: Graph, node: Node, at: Place, x: Val) -> Val:
    """Some panels of a product of one row."""
    _, weights = node.inputs
    panels, nbytes = nest.extents(weights)
    base, view = _window(nest, weights)
    assert isinstance(node.type, TensorType) and isinstance(x.type, TileType)
    p = graph.index("min", at.rows, graph.index("sub", panels, at.i))
    return graph.op(TILE_OPS["packed_matmul"], x, base, at.i, p, x.type.cols, nbytes, *view, locs=node.locs,
                    packing=node["packing"], type=TileType(node.type.dtype, at.rows, ROWS))


def unpacked(nest: Windows, graph: Graph, node: Node, at: Place) -> Val:
    """Some columns of the weights of one panel."""
    [weights] = node.inputs
    assert isinstance(node.type, TensorType)
    columns, record = node.type.dims[0], BY_NAME[node["packing"]].record
    base, view = _window(nest, weights)

    def bytes_of(count: Size) -> Size:
        return graph.index("mul", graph.index("div", count, COLS), record)

    assert isinstance(columns, int)
    k = graph.index("min", at.rows, graph.index("sub", columns, at.i))
    return graph.op(TILE_OPS["unpack"], base, graph.index("div", at.j, ROWS), bytes_of(at.i), k, bytes_of(k), *view,
                    locs=node.locs, packing=node["packing"], type=TileType(node.type.dtype, at.rows, ROWS))


def in_block(block: Placing, node: Node, new: Graph, inputs: list[Any]) -> Val:
    """The instruction: a product of a row with weights that are read as they are used, or these as numbers."""
    rows = STREAMS if node.op is TILE_OPS["packed_matmul"] else UNPACKS
    if rows is STREAMS:
        inputs = [block.into(new, inputs[0], Space.UB, node.locs), *inputs[1:]]
    assert isinstance(node.type, TileType)
    return block.make(new, BLOCK_OPS[rows[BY_NAME[node["packing"]]].mnemonic], *inputs, locs=node.locs,
                      type=replace(node.type, space=Space.UB), valid=(inputs[3], None))
