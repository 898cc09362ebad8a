"""Where tiles live and how much of them counts: what placing a graph on a target asks of every operation.

`Placing` has the simple cases, in which an operation is one instruction; `tile_to_block` has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from pto.core.errors import Loc, UnsupportedError
from pto.core.target import Target
from pto.core.types import Layout, Space, TileType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import BLOCK_OPS, TILE_OPS, Op
from pto.ir.rewrite import Made, Promise, Rewriter
from pto.isa.table import cube, gather, move, vector

Size = Val | int
TOPK, GATHER = TILE_OPS["topk"], TILE_OPS["gather"]


@dataclass(frozen=True, slots=True)
class Fill(Promise):
    """A tile of one value that no memory holds yet; its valid region is whatever its user wants."""

    type: TileType
    value: float
    locs: tuple[Loc, ...]


def in_ub(tile: TileType) -> TileType:
    """The type a tile has in the vector unit's memory: columns lie contiguous."""
    return replace(tile, space=Space.UB, layout=Layout.COL if tile.cols == 1 else Layout.ROW)


def shape(tile: Val) -> tuple[int, int]:
    """Capacity of a tile."""
    assert isinstance(tile.type, TileType)
    return tile.type.rows, tile.type.cols


def from_column(graph: Graph, column: Size, view: Sequence[Size]) -> list[Size]:
    """A view that begins at a column, for instructions that have no room for a first one."""
    offset, height, width, down, across = view
    return [graph.index("madd", column, across, offset), height, graph.index("sub", width, column), down, across]


class Placing(Rewriter):
    """Tiles of a Block graph under construction."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.valid: dict[Val, tuple[Size | None, Size | None]] = {}
        self.width: dict[Val, int] = {}  # columns of an accumulator that are not there to complete a panel
        self.moved: dict[tuple[Graph, Val, Space], Val] = {}
        self.in_grid = False
        self.core: Size = 0
        self.cores: Size = 1

    # tiles and their valid regions

    def size(self, tile: Val) -> tuple[Size, Size]:
        """Valid rows and columns; one that nothing determined is the capacity."""
        rows, cols = self.valid.get(tile, (None, None))
        assert isinstance(tile.type, TileType)
        return tile.type.rows if rows is None else rows, tile.type.cols if cols is None else cols

    def make(self, graph: Graph, op: Op, *inputs: Size, type: TileType, valid: tuple[Size | None, Size | None],
             locs: tuple[Loc, ...], **attrs: Any) -> Val:
        value = graph.op(op, *inputs, type=type, locs=locs, **attrs)
        self.valid[value] = valid
        return value

    def into(self, graph: Graph, tile: Val | Fill, space: Space, locs: tuple[Loc, ...]) -> Val:
        """A tile in a memory, by a move if need be."""
        if isinstance(tile, Fill):
            return self.fill(graph, tile, space, locs)
        assert isinstance(tile.type, TileType)
        if tile.type.space is space:
            return tile
        if tile.type.space is Space.L0C and space is Space.L1:
            tile = self.into(graph, tile, Space.UB, locs)
            assert isinstance(tile.type, TileType)
        if (graph, tile, space) not in self.moved:
            assert isinstance(tile.type, TileType)
            type = in_ub(replace(tile.type, cols=self.width.get(tile, tile.type.cols)))
            if space is not Space.UB:
                type = replace(type, space=space, layout=Layout.ROW)
            self.moved[graph, tile, space] = self.make(graph, BLOCK_OPS[move.TMOV.mnemonic], tile, *self.size(tile),
                                                       type=type, valid=self.valid.get(tile, (None, None)), locs=locs)
        return self.moved[graph, tile, space]

    def fill(self, graph: Graph, tile: Fill, space: Space, locs: tuple[Loc, ...]) -> Val:
        type = in_ub(tile.type)
        made = self.make(graph, BLOCK_OPS["texpands"], type.rows, type.cols, type=type, valid=(None, None),
                         locs=tile.locs, scalar=tile.value)
        return self.into(graph, made, space, locs)

    def agreed(self, graph: Graph, sizes: list[Size | None]) -> Size | None:
        """The valid size that the operands have in common: windows at different places end differently at an edge."""
        found = dict.fromkeys(s for s in sizes if s is not None)
        return reduce(lambda a, b: graph.index("min", a, b), found) if found else None

    def copy(self, graph: Graph, tile: Val, locs: tuple[Loc, ...]) -> Val:
        """A tile in a place of its own."""
        assert isinstance(tile.type, TileType)
        return self.make(graph, BLOCK_OPS[move.TMOV.mnemonic], tile, *self.size(tile), type=tile.type,
                         valid=self.valid.get(tile, (None, None)), locs=locs)

    # operations that are one instruction

    def iota(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        assert isinstance(node.type, TileType)
        return self.make(new, BLOCK_OPS[gather.TCI.mnemonic], *inputs, node.type.rows, node.type.cols,
                         type=in_ub(node.type), valid=(None, None), locs=node.locs)

    def stream(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """A product of rows with a matrix that is read from global memory as it is used."""
        left, tensor, i, j, n, k, *view = inputs
        assert isinstance(node.type, TileType)
        x, row = self.into(new, left, Space.UB, node.locs), cube.TGEMV_STREAM
        rows, where = self.size(x)[0], [i, j, n, k]
        if node.type.rows > 1:
            view, row, where = from_column(new, j, view), cube.TGEMM_STREAM, [i, rows, n, k]
        return self.make(new, BLOCK_OPS[row.mnemonic], x, tensor, *where, *view, type=in_ub(node.type),
                         valid=(rows, n), locs=node.locs)

    def largest(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """The largest elements of each row, or where they are."""
        assert isinstance(node.type, TileType)
        tile = self.into(new, inputs[0], Space.UB, node.locs)
        row = vector.TTOPK if node.op is TOPK else vector.TTOPK_INDEX
        rows, cols = self.size(tile)
        return self.make(new, BLOCK_OPS[row.mnemonic], tile, rows, cols, inputs[1], type=in_ub(node.type),
                         valid=(rows, inputs[1]), locs=node.locs)

    def pick(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """In each row, the columns that integers name."""
        assert isinstance(node.type, TileType)
        source, index = (self.into(new, v, Space.UB, node.locs) for v in inputs)
        (rows, cols), (_, width) = self.size(index), self.size(source)
        return self.make(new, BLOCK_OPS[gather.TGATHER.mnemonic], source, index, rows, cols, width,
                         type=in_ub(node.type), valid=(rows, cols), locs=node.locs)

    def gather(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """Rows of a tensor in global memory by a column of integers, or elements of its rows by a tile of them."""
        tensor, ids, *where = inputs
        assert isinstance(node.type, TileType)
        row = gather.MGATHER if node.op is GATHER else gather.MGATHER_ELEM
        if node.type.cols == 1 and node.op is GATHER:
            raise UnsupportedError("rows of one element are not gathered", loc=(*node.locs, None)[0],
                                   hint="give the table more than one column")
        index = self.into(new, ids, Space.UB, node.locs)
        return self.make(new, BLOCK_OPS[row.mnemonic], tensor, index, *where, type=in_ub(node.type),
                         valid=(where[1], where[2]), locs=node.locs)

    def changed(self, old: Graph, key: int, new: Graph, value: Val | Fill, locs: tuple[Loc, ...]) -> Val:
        """The tile that a node changes: its first operand, in its place where nothing needs it any more."""
        tile, source = self.into(new, value, Space.UB, locs), old[key].inputs[0]
        needed = source in old.outputs or any(user > key for user, _ in old.users(source))
        return self.copy(new, tile, locs) if needed and not isinstance(value, Fill) else tile

    def over(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """A tile over the valid region of another."""
        under, tile = inputs[0], self.into(new, inputs[1], Space.UB, node.locs)
        assert isinstance(node.type, TileType)
        return self.make(new, BLOCK_OPS[move.TINSERT.mnemonic], under, tile, 0, 0, *self.size(tile),
                         type=in_ub(node.type), valid=self.valid.get(under, (None, None)), locs=node.locs)

    def stream_rows(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """A product of rows with a matrix that is read by rows as it is used, added to rows of sums."""
        sums, left, tensor, i, j, k, n, *view = inputs
        assert isinstance(node.type, TileType)
        x, row = self.into(new, left, Space.UB, node.locs), cube.TGEVM_STREAM
        rows, where = self.size(x)[0], [i, j, k, n]
        if node.type.rows > 1:
            view, row, where = from_column(new, j, view), cube.TGEMM_STREAM_ROWS, [i, rows, k, n]
        return self.make(new, BLOCK_OPS[row.mnemonic], sums, x, tensor, *where, *view, type=in_ub(node.type),
                         valid=(rows, n), locs=node.locs)

    def once(self, new: Graph, versions: list[Val], body: Callable[[Graph, list[Val]], list[Val]],
             locs: tuple[Loc, ...]) -> list[Val]:
        """Every core computes what lies outside of the grid; one of them stores it."""
        return new.loop((self.core, 1, self.cores), versions, lambda g, _, carried: body(g, carried), locs, grid=0)

    def report(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A record in this core's row of the log."""
        log, *given, site = inputs
        tiles = [self.into(new, v, Space.UB, node.locs) for v in given]
        sizes = zip(*(self.size(v) for v in tiles), strict=True)
        rows, cols = (self.agreed(new, list(both)) for both in sizes)
        assert node.op.instr is not None and rows is not None and cols is not None
        op = BLOCK_OPS[node.op.instr.mnemonic]

        def put(graph: Graph, _: list[Val]) -> list[Val]:
            graph.op(op, log, *tiles, self.core, site, rows, cols, type=node.type, locs=node.locs)
            return []

        if self.in_grid:
            put(new, [])
        else:
            self.once(new, [], put, node.locs)
        made: Made = log
        return made
