"""Block -> Block: two instructions that one does the work of are one.

- The sum of the rows of a product that nothing else needs is `trowdot`: no tile of products is made. The products are
  not rounded before they are added, so the sums are as near to the true ones as before, or nearer.
- What is not below a number and not above another is `tclamps`, in one pass over the elements; the bits are the same.
- Reductions over the rows of a tile that is a transpose in memory are reductions over columns of the tile as it lies
  there: its rows are loaded in one piece each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pto.core.dtypes import F32
from pto.core.types import Layout, TileType
from pto.ir.graph import Graph, Node, Val, joined
from pto.ir.ops import BLOCK_OPS
from pto.ir.rewrite import Made, Rewriter
from pto.isa.table import move, vector

SUM, MUL, DOT = (BLOCK_OPS[row.mnemonic] for row in (vector.TROWSUM, vector.TMUL, vector.TROWDOT))
LOWER, UPPER, CLAMP = (BLOCK_OPS[row.mnemonic] for row in (vector.TMAXS, vector.TMINS, vector.TCLAMPS))
PARTS = {MUL: SUM, LOWER: UPPER}  # what may become a part of its only user
LOAD, TRANSPOSE = BLOCK_OPS[move.TLOAD.mnemonic], BLOCK_OPS[move.TTRANS.mnemonic]
BY_COLUMNS = {  # for reductions over rows, those over columns
    BLOCK_OPS[rows.mnemonic]: BLOCK_OPS[columns.mnemonic] for rows, columns in (
        (vector.TROWSUM, vector.TCOLSUM), (vector.TROWPROD, vector.TCOLPROD), (vector.TROWMAX, vector.TCOLMAX),
        (vector.TROWMIN, vector.TCOLMIN), (vector.TROWANY, vector.TCOLANY), (vector.TROWALL, vector.TCOLALL))
}
WINDOW = 5  # operands of a load: the tensor, and where; those of a view follow


class Combine(Rewriter):
    """Copies a graph, pairs of instructions as one."""

    def __init__(self) -> None:
        self.turned: set[Val] = set()  # tiles of the new graph that lie as their transposes do in memory

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if self.is_part(old, key, node):
            return None  # of what uses it
        if self.is_transpose(old, key, node):
            return self.load(node, new, [env[i] for i in node.inputs])
        if node.op is SUM and env[node.inputs[0]] is None:
            product = old[node.inputs[0]]
            a, b = (env[i] for i in product.inputs[:2])
            return new.op(DOT, a, b, *(env[i] for i in node.inputs[1:]), type=node.type,
                          locs=joined(node.locs, product.locs))
        if node.op is UPPER and env[node.inputs[0]] is None:
            lower = old[node.inputs[0]]
            source, *region = (env[i] for i in (lower.inputs[0], *node.inputs[1:]))
            return new.op(CLAMP, source, *region, type=node.type, locs=joined(node.locs, lower.locs),
                          low=lower["scalar"], high=node["scalar"])
        if node.op in BY_COLUMNS and env[node.inputs[0]] in self.turned:
            return self.reduction(node, new, [env[i] for i in node.inputs])
        return super().visit(old, key, node, new, env)

    def is_part(self, old: Graph, key: int, node: Node) -> bool:
        """Is it computed for one instruction alone, on the same region, that can do its work?"""
        users = old.users(key)
        if node.op not in PARTS or key in old.outputs or len(users) != 1 or users[0][1].op is not PARTS[node.op]:
            return False
        assert isinstance(node.type, TileType)
        region = len(users[0][1].inputs) - 1
        return (node.op is not MUL or node.type.dtype == F32) and users[0][1].inputs[1:] == node.inputs[-region:]

    def is_transpose(self, old: Graph, key: int, node: Node) -> bool:
        """Is it a window of a view whose columns lie in one piece, and only reduced?"""
        if node.op is not LOAD or len(node.inputs) == WINDOW or key in old.outputs:
            return False
        assert isinstance(node.type, TileType)
        down, across = (old.constant(i) for i in node.inputs[-2:])
        users = old.users(key)
        return (down == 1 and across != 1 and min(node.type.rows, node.type.cols) > 1
                and bool(users) and all(user.op in BY_COLUMNS for _, user in users))

    def load(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """The window as it lies in memory."""
        tensor, i, j, rows, cols, offset, height, width, down, across = inputs
        assert isinstance(node.type, TileType)
        type = replace(node.type, rows=node.type.cols, cols=node.type.rows, layout=Layout.ROW)
        made = new.op(LOAD, tensor, j, i, cols, rows, offset, width, height, across, down, type=type, locs=node.locs)
        self.turned.add(made)
        return made

    def reduction(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """The same reduction over columns, whose row becomes a column."""
        tile, rows, cols = inputs
        assert isinstance(node.type, TileType)
        type = replace(node.type, rows=1, cols=node.type.rows, layout=Layout.ROW)
        row = new.op(BY_COLUMNS[node.op], tile, cols, rows, type=type, locs=node.locs, **dict(node.attrs))
        return new.op(TRANSPOSE, row, rows, 1, type=node.type, locs=node.locs)


def combine(graph: Graph) -> Graph:
    """Make one instruction of two where one does their work."""
    return Combine().run(graph)
