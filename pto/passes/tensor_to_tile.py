"""Tensor -> Tile: whole-tensor expressions become nests of loops over tiles.

One nest for an expression: for each depth of row reductions a loop over column tiles that carries the
accumulators of that depth, then the loop that stores. What a stage needs of earlier elementwise values it
computes again from the arguments. A matrix product is a loop over tiles of k that carries the sum.
Explicit tile loops are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from pto.core.errors import Loc, UnsupportedError
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Node, Val
from pto.ir.ops import ARG, DIM, TENSOR_OPS, TILE_OPS
from pto.ir.rewrite import Made, Rewriter

MATMUL, ASSIGN = TENSOR_OPS["matmul"], TENSOR_OPS["assign"]
REDUCTIONS = {"tensor.rowmax": ("maximum", float("-inf")), "tensor.rowsum": ("add", 0.0)}


@dataclass(frozen=True, slots=True)
class Tiles:
    """Extents of the tiles that whole-tensor expressions are cut into."""

    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile of an expression is: first row and column, and capacity."""

    i: Val | int
    j: Val | int
    rows: int
    cols: int


def two(dims: tuple[Any, ...]) -> tuple[Any, Any]:
    """Extents as rows and columns; the rows of more than two axes are a tuple, to be multiplied."""
    *rows, cols = dims or (1,)
    return (tuple(rows) if len(rows) > 1 else rows[0] if rows else 1), cols


class Expression:
    """A tensor expression of the old graph, tile by tile in the new one."""

    def __init__(self, old: Graph, graph: Graph, env: dict[int, Any], dims: dict[str, Val], tiles: Tiles) -> None:
        self.old, self.graph, self.env, self.dims, self.tiles = old, graph, env, dims, tiles
        self.depths: dict[int, int] = {}

    def size(self, extent: int | str | tuple[int | str, ...]) -> Val | int:
        if isinstance(extent, tuple):
            return reduce(lambda a, b: self.graph.index("mul", a, b), map(self.size, extent))
        return extent if isinstance(extent, int) else self.dims[extent]

    def window(self, graph: Graph, dims: tuple[Any, ...], at: Place) -> tuple[Any, ...]:
        """Offsets and valid region: what of the tile lies inside the tensor."""
        rows, cols = map(self.size, two(dims))
        valid = [graph.index("min", n, graph.index("sub", size, start))
                 for n, size, start in ((at.rows, rows, at.i), (at.cols, cols, at.j))]
        return at.i, at.j, *valid

    def depth(self, key: int) -> int:
        """How many row reductions lie one after the other below a value."""
        for k, node in self.old.items():  # in order: a long chain is no deep recursion
            if k > key or k in self.depths:
                continue
            below = max([self.depths[i] for i in node.inputs], default=0)
            self.depths[k] = 0 if self.is_leaf(k) else below + (node.op.name in REDUCTIONS)
        return self.depths[key]

    def is_leaf(self, key: int) -> bool:
        return not self.old[key].op.name.startswith("tensor.") or self.old[key].op is ASSIGN

    def reductions(self, key: int, depth: int) -> list[int]:
        """The reductions of a depth, each once, in the order they were written."""
        found: set[int] = set()
        seen: set[int] = set()
        stack = [key]
        while stack:
            k = stack.pop()
            if not self.is_leaf(k) and k not in seen:
                seen.add(k)
                if self.old[k].op.name in REDUCTIONS and self.depth(k) == depth:
                    found.add(k)
                stack += self.old[k].inputs
        return sorted(found)

    def value(self, graph: Graph, key: int, at: Place, done: dict[int, Val], memo: dict[Any, Val]) -> Val:
        """A tile of a value, made in `graph`; `done` has the reductions over whole rows."""
        if key in done:
            return done[key]
        if (key, at) not in memo:
            memo[key, at] = self.make(graph, key, at, done, memo)
        return memo[key, at]

    def make(self, graph: Graph, key: int, at: Place, done: dict[int, Val], memo: dict[Any, Val]) -> Val:
        node = self.old[key]
        assert isinstance(node.type, TensorType)
        rows, cols = two(node.type.dims)
        at = Place(0 if rows == 1 else at.i, 0 if cols == 1 else at.j, 1 if rows == 1 else at.rows,
                   1 if cols == 1 else at.cols)
        if self.is_leaf(key):
            tile = TileType(node.type.dtype, at.rows, at.cols)
            return graph.op(TILE_OPS["load"], self.env[key], *self.window(graph, node.type.dims, at), type=tile,
                            locs=self.locs(key))
        if node.op is MATMUL:
            return self.product(graph, node, at)
        if node.op.name in REDUCTIONS:
            raise UnsupportedError("a reduction inside the operand of a matrix product needs a tensor of its own",
                                   loc=self.old[key].locs[0], hint="split this into two kernels")
        inputs = [self.value(graph, i, at, done, memo) for i in node.inputs]
        return graph.apply(TILE_OPS[node.op.name.removeprefix("tensor.")], *inputs, locs=node.locs,
                           **dict(node.attrs))

    def locs(self, key: int) -> tuple[Loc, ...]:
        """An argument is loaded on behalf of the expressions that use it."""
        return tuple(dict.fromkeys(loc for _, user in self.old.users(key) for loc in user.locs))[:1]

    def product(self, graph: Graph, node: Node, at: Place) -> Val:
        a, b = node.inputs
        inner = self.old[a].type
        assert isinstance(inner, TensorType)
        if self.depth(a) or self.depth(b):
            raise UnsupportedError("a reduction inside the operand of a matrix product needs a tensor of its own",
                                   loc=node.locs[0], hint="split this into two kernels")
        k, dtype = self.tiles.k, inner.dtype
        tile = TileType(dtype, at.rows, at.cols)

        def step(body: Graph, kk: Val, carried: list[Val]) -> list[Val]:
            memo: dict[Any, Val] = {}
            x = self.value(body, a, Place(at.i, kk, at.rows, k), {}, memo)
            y = self.value(body, b, Place(kk, at.j, k, at.cols), {}, memo)
            product = body.apply(TILE_OPS["matmul"], x, y, locs=node.locs)
            return [body.apply(TILE_OPS["add"], carried[0], product, locs=node.locs)]

        zero = graph.op(TILE_OPS["full"], type=tile, scalar=0.0, locs=node.locs)
        return graph.loop((0, self.size(inner.dims[1]), k), [zero], step, node.locs)[0]

    def store(self, graph: Graph, key: int, target: Val, locs: tuple[Loc, ...]) -> Val:
        """The nest that computes an expression and stores it; gives the target's next version."""
        node = self.old[key]
        assert isinstance(node.type, TensorType)
        rows, cols = map(self.size, two(node.type.dims))
        tile_rows = self.tiles.m if rows != 1 else 1

        def body(inner: Graph, i: Val | int, carried: list[Val]) -> list[Val]:
            done: dict[int, Val] = {}
            for depth in range(1, self.depth(key) + 1):
                done.update(self.stage(inner, self.reductions(key, depth), i, tile_rows, done))
            wide = self.tiles.n if cols != 1 else 1

            def last(deep: Graph, j: Val, versions: list[Val]) -> list[Val]:
                at = Place(i, j, tile_rows, wide)
                value = self.value(deep, key, at, done, {})
                where = self.window(deep, node.type.dims, at)  # type: ignore[union-attr]
                return [deep.apply(TILE_OPS["store"], versions[0], value, *where, locs=locs)]

            return inner.loop((0, cols, wide), carried, last, locs)

        if len(node.type.dims) == 1:  # one row: no loop over rows
            return body(graph, 0, [target])[0]
        return graph.loop((0, rows, tile_rows), [target], body, locs)[0]

    def stage(self, graph: Graph, keys: list[int], i: Val | int, rows: int, done: dict[int, Val]) -> dict[int, Val]:
        """The row reductions of one depth, in one loop over column tiles."""
        sources = [self.old[self.old[k].inputs[0]] for k in keys]
        widths = {two(s.type.dims)[1] for s in sources if isinstance(s.type, TensorType)}
        found: dict[int, Val] = {}
        for width in sorted(widths, key=str):
            mine = [k for k, s in zip(keys, sources, strict=True)
                    if isinstance(s.type, TensorType) and two(s.type.dims)[1] == width]
            found.update(zip(mine, self._fold(graph, mine, i, rows, width, done), strict=True))
        return found

    def _fold(self, graph: Graph, keys: list[int], i: Val | int, rows: int, width: Any,
              done: dict[int, Val]) -> list[Val]:
        def column(body: Graph, j: Val, carried: list[Val]) -> list[Val]:
            memo: dict[Any, Val] = {}
            results = []
            for key, so_far in zip(keys, carried, strict=True):
                node = self.old[key]
                source = self.value(body, node.inputs[0], Place(i, j, rows, self.tiles.n), done, memo)
                part = body.apply(TILE_OPS[node.op.name.removeprefix("tensor.")], source, locs=node.locs)
                results.append(body.apply(TILE_OPS[REDUCTIONS[node.op.name][0]], so_far, part, locs=node.locs))
            return results

        inits = []
        for key in keys:
            node = self.old[key]
            assert isinstance(node.type, TensorType)
            inits.append(graph.op(TILE_OPS["full"], type=TileType(node.type.dtype, rows, 1), locs=node.locs,
                                  scalar=REDUCTIONS[node.op.name][1]))
        return graph.loop((0, self.size(width), self.tiles.n), inits, column, self.old[keys[0]].locs)


class TensorToTile(Rewriter):
    """Expands what is needed of each tensor expression where it is stored."""

    level = "tile"

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles

    def run(self, old: Graph) -> Graph:
        new = Graph(name=old.name, level=self.level, symbols=old.symbols)
        env: dict[int, Any] = {}
        for key, node in old.items():  # declarations first: results follow the arguments
            if node.op in (DIM, ARG):
                env[key] = new.op(node.op, type=node.type, **dict(node.attrs))
        self.block(old, new, env)
        new.outputs = tuple(new.use(self.output(old, key, new, env)) for key in old.outputs)
        return new

    def expression(self, old: Graph, new: Graph, env: dict[int, Any]) -> Expression:
        dims = {node["name"]: env[key] for key, node in old.items() if node.op is DIM}
        return Expression(old, new, env, dims, self.tiles)

    def output(self, old: Graph, key: int, new: Graph, env: dict[int, Any]) -> Val:
        if env[key] is not None:
            found: Val = env[key]
            return found
        node = old[key]
        slot = sum(n.op is ARG for _, n in new.items())
        name, taken = f"result{slot}", {n["name"] for _, n in new.items() if n.op in (ARG, DIM)}
        while name in taken:
            name += "_"
        room = new.op(ARG, type=node.type, name=name, slot=slot, result=1)
        return self.expression(old, new, env).store(new, key, room, node.locs)

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made:
        if node.op is ASSIGN:
            target, value = node.inputs
            if env[value] is not None:
                raise UnsupportedError("copying one tensor to another is not built", loc=node.locs[0])
            return self.expression(old, new, env).store(new, value, env[target], node.locs)
        if node.op.name.startswith("tensor."):
            return None  # type: ignore[return-value]  # made where it is stored
        if any(env[i] is None for i in node.inputs):
            raise UnsupportedError("a tile loop reads a whole-tensor expression", loc=(*node.locs, None)[0],
                                   hint="compute the expression on tiles, or split the kernel in two")
        return super().visit(old, key, node, new, env)


def tensor_to_tile(graph: Graph, tiles: Tiles) -> Graph:
    """Cut whole-tensor expressions into tiles of these extents."""
    return TensorToTile(tiles).run(graph)
