"""A whole-tensor expression, tile by tile: the nest that computes and stores it.

For each depth of row reductions there is a stage over column tiles that makes the accumulators of that depth, then
the stage that stores. The first column tile of a row is kept from stage to stage: what is loaded and computed of it is
there once, and a row that is no wider has no loop. Of the tiles after it a stage computes again what it needs of
earlier elementwise values; what does not depend on the column is computed before the loop. A matrix product is a loop
over tiles of k that carries the sum; a nest with one keeps nothing, for its tiles are large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import accumulate
from math import isqrt
from typing import Any

from pto.core.dtypes import DType
from pto.core.errors import Loc, UnsupportedError
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Node, Val, joined
from pto.ir.ops import PRODUCTS, REDUCTIONS, STREAMED, TENSOR_OPS, TILE_OPS
from pto.passes import packed
from pto.passes.analysis import view_of
from pto.passes.choose_tiles import PIECE, Tiles
from pto.passes.reducing import merged, neutral, reduced, states
from pto.passes.windows import Dims, Place, Size, Strided, Windows

MATMUL, IOTA, GATHER, TAKE, FULL = (
    TENSOR_OPS[name] for name in ("matmul", "iota", "gather", "take", "full")
)
REDUCES = {TENSOR_OPS[name] for name in REDUCTIONS}
KEEPS_AXES = {MATMUL, IOTA, GATHER, TAKE, packed.PRODUCT, packed.UNPACK, *REDUCES}
FEW = 12  # rows of a product that is streamed at most
TALLEST, SMALLEST = 64, 4096  # rows of a tile, so that a matrix of few columns has tiles for all cores, or its elements
Step = tuple[int, Place]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of tiles under construction.

    Attributes:
        graph: where it is built.
        at: the place of its tiles, whatever their columns.
        done: the reductions over whole rows.
        first: what is known of the first tile, and of what does not depend on the column.
    """

    graph: Graph
    at: Place
    done: dict[int, Val] = field(default_factory=dict)
    first: dict[Step, Val] = field(default_factory=dict)


def least(tile: int, extent: object) -> int:
    """A tile's extent along an axis: no more than there is."""
    return min(tile, extent) if isinstance(extent, int) else tile


class Expression(Windows):
    """A tensor expression of the old graph, tile by tile in the new one."""

    def __init__(self, old: Graph, graph: Graph, env: dict[int, Any], dims: dict[str, Val], tiles: Tiles) -> None:
        super().__init__(old, graph, env, dims)
        self.tiles = tiles
        self.depths: dict[int, int] = {}
        self.keeps = self.shared = False  # the first tile of a row is kept; cores share the tiles of a row
        self.in_pieces = False  # products are made whole, and what uses them some rows at a time
        self.place: Strided | None = None  # where in its target a value is stored, if not everywhere
        self.tall, self.wide = tiles.vector  # tiles of this nest
        self.rest = tiles.rest  # how many times as narrow the tiles after the first one of a row are

    def inside(self, key: int) -> list[int]:
        """The keys of an expression, leaves included, each once."""
        seen: dict[int, None] = {}
        stack = [key]
        while stack:
            k = stack.pop()
            if k not in seen:
                seen[k] = None
                inputs = () if self.is_leaf(k) else self.old[k].inputs
                stack += [i for i in inputs if isinstance(self.old[i].type, TensorType)]
        return sorted(seen)

    def can_be_flat(self, key: int) -> bool:
        """Are all leading axes alike and contiguous, so that the rows of all of them are one axis?"""
        leading = self.extents(key)[:-1]
        keys = self.inside(key)
        if len(leading) < 2 or any(self.old[k].op is MATMUL or view_of(self.old, k) for k in keys):
            return False
        return all(self.extents(k)[:-1] in (leading, (), (1,) * len(leading)) for k in keys)

    def trailing(self, key: int) -> int:
        """How many of the last axes can be one: what has them lies in one piece, and the rest is the same along them.

        One axis is left for the rows; a nest of products or reductions keeps its axes, and one that the author directs.
        """
        keys, dims = self.inside(key), self.extents(key)
        if not self.tiles.area or any(not self.is_leaf(k) and self.old[k].op in KEEPS_AXES for k in keys):
            return 1

        def alike(k: int, count: int) -> bool:
            mine = self.extents(k)[-count:]
            return set(mine) <= {1} or (mine == dims[-count:] and not view_of(self.old, k))

        return next((n for n in range(len(dims) - 1, 1, -1) if all(alike(k, n) for k in keys)), 1)

    def depth(self, key: int) -> int:
        """How many row reductions lie one after the other below a value."""
        if key in self.depths:
            return self.depths[key]
        for k in self.inside(key):  # in order: a long chain is no deep recursion
            node, leaf = self.old[k], self.is_leaf(k)
            below = 0 if leaf else max([self.depths[i] for i in node.inputs if i in self.depths], default=0)
            self.depths[k] = below + (not leaf and node.op in REDUCES)
        return self.depths[key]

    def reductions(self, key: int, depth: int) -> list[int]:
        """The reductions of a depth, each once, in the order they were written."""
        return [k for k in self.inside(key) if self.old[k].op in REDUCES and self.depth(k) == depth]

    # values

    def value(self, graph: Graph, key: int, at: Place, row: Row | None = None,
              memo: dict[Step, Val] | None = None) -> Val:
        """A tile of a value, made in `graph`; what does not depend on the column is made for the whole row of tiles.

        Operands are made before what uses them, by a stack of our own: an expression may be thousands of operations
        deep.
        """
        memo = {} if memo is None else memo
        row = row or Row(graph, at, first=memo)
        wanted = key, self.narrow(key, at)
        stack = [wanted]
        while stack:
            step = stack[-1]
            missing = [o for o in self.operands(*step) if self.known(o, row, memo) is None]
            if missing and self.known(step, row, memo) is None:
                stack += missing[:1]
                continue
            stack.pop()
            if self.known(step, row, memo) is None:
                home, kept = (row.graph, row.first) if self.for_row(step[1], row) else (graph, memo)
                inputs = [v for o in self.operands(*step) if (v := self.known(o, row, memo)) is not None]
                with home.because(self.locs(step[0]) if self.is_leaf(step[0]) else self.old[step[0]].locs):
                    kept[step] = self.make(home, *step, inputs)
        found = self.known(wanted, row, memo)
        assert found is not None
        return found

    def for_row(self, at: Place, row: Row) -> bool:
        """Is a place the same for all tiles of a row? Where cores share a row, each sees to its tiles."""
        return not self.shared and at.cols == 1 and at.j == 0 and at.i in (0, row.at.i)

    def known(self, step: Step, row: Row, memo: dict[Step, Val]) -> Val | None:
        """A tile that was made already."""
        return row.done.get(step[0]) or memo.get(step) or (row.first.get(step) if self.for_row(step[1], row) else None)

    def narrow(self, key: int, at: Place) -> Place:
        """The place of a value that is one row, or one column, for all."""
        rows, cols = self.two(self.extents(key))
        if rows == 1 or (isinstance(rows, tuple) and set(rows) == {1}):
            at = replace(at, i=0, rows=1)
        return replace(at, j=0, cols=1) if cols == 1 else at

    def operands(self, key: int, at: Place) -> list[Step]:
        """What is computed tile by tile before a value, and where; some operations see to their own operands."""
        if self.is_leaf(key) or self.old[key].op in (MATMUL, IOTA, GATHER, FULL, packed.PRODUCT, packed.UNPACK):
            return []
        inputs = self.old[key].inputs
        return [(i, self.narrow(i, at)) for i in (inputs[1:] if self.old[key].op is TAKE else inputs)]

    def make(self, graph: Graph, key: int, at: Place, inputs: list[Val]) -> Val:
        node = self.old[key]
        if self.is_leaf(key):
            return self.load(graph, key, at)
        if node.op is MATMUL:
            return self.product(graph, node, at)
        if node.op is IOTA:
            start, step = (self.env[i] for i in node.inputs)
            return graph.op(TILE_OPS["iota"], graph.index("madd", at.j, step, start), 0, step, locs=node.locs,
                            type=TileType(self.dtype(key), at.rows, at.cols))
        if node.op is GATHER:
            return self.gathered(graph, node, at)
        if node.op is packed.PRODUCT:
            row = replace(at, i=0, rows=1, j=0, cols=self.extents(node.inputs[0])[-1])
            return packed.product(self, graph, node, at, self.value(graph, node.inputs[0], row))
        if node.op is packed.UNPACK:
            return packed.unpacked(self, graph, node, at)
        if node.op is TAKE:
            return self.taken(graph, node, at, inputs[0])
        if node.op is FULL:
            return graph.op(TILE_OPS["full"], locs=node.locs, scalar=node["scalar"],
                            type=TileType(self.dtype(key), at.rows, at.cols))
        # An operation whose type its operands do not tell, as a conversion, has the element type of the value.
        op, attrs = TILE_OPS[node.op.name.removeprefix("tensor.")], dict(node.attrs)
        type = op.rule(tuple(v.type for v in inputs), attrs, TileType(self.dtype(key), at.rows, at.cols))
        return graph.op(op, *inputs, type=type, locs=node.locs, **attrs)

    def cast(self, graph: Graph, tile: Val, dtype: DType, locs: tuple[Loc, ...]) -> Val:
        """A tile in another element type, to nearest."""
        assert isinstance(tile.type, TileType)
        return graph.op(TILE_OPS["cast"], tile, type=replace(tile.type, dtype=dtype), locs=locs, round="rne", sat="off")

    def gathered(self, graph: Graph, node: Node, at: Place) -> Val:
        """Rows of a table in memory, by integers in memory."""
        table, ids = node.inputs
        locs = joined(node.locs, self.seen_as(table, ids))
        rows, type = self.extents(ids)[-1], self.old[table].type
        source = self.placed(ids)
        offset = source.offset
        ids_type = self.old[ids].type
        assert isinstance(type, TensorType) and isinstance(ids_type, TensorType)
        leading = self.leading((*ids_type.dims, type.dims[1]), at)
        for (_, coordinate), stride in zip(leading, source.strides[:-1], strict=True):
            offset = graph.index("madd", coordinate, stride, offset)
        count, cols = self.valid(graph, (rows, type.dims[1]), at)
        index = graph.op(TILE_OPS["load"], source.base, at.i, 0, count, 1, offset, self.size(rows), 1,
                         source.strides[-1], 1, type=TileType(ids_type.dtype, at.rows, 1), locs=locs)
        found = self.placed(table)
        view = (found.offset, *map(self.size, type.dims), *found.strides)
        return graph.op(TILE_OPS["gather"], found.base, index, at.j, count, cols, *view, locs=locs,
                        type=TileType(type.dtype, at.rows, at.cols))

    def taken(self, graph: Graph, node: Node, at: Place, index: Val) -> Val:
        """Elements of each row of a tensor in memory, by a tile of integers."""
        source, ids = node.inputs
        type = self.old[source].type
        assert isinstance(type, TensorType)
        rows, cols = self.valid(graph, self.extents(ids), at)
        i, *_, offset, height, width, down, across = self.seen(graph, self.placed(source), type.dims, at)
        return graph.op(TILE_OPS["take"], self.placed(source).base, index, i, rows, cols, width, offset, height, width,
                        down, across, type=TileType(type.dtype, at.rows, at.cols),
                        locs=joined(node.locs, self.seen_as(source)))

    def streams(self, node: Node) -> bool:
        """Is a product of few rows whose right operand lies in memory with its columns or its rows contiguous?"""
        a, b = node.inputs
        rows = self.extents(a)[-2]
        narrow = 1 in (self.extents(a)[-1], self.tiles.stream[1], self.extents(b)[-1])  # its tile lies otherwise
        if node.attrs or narrow or not isinstance(rows, int) or rows > FEW or not self.is_leaf(b):
            return False
        down, across = self.placed(b).strides[-2:]
        by_rows = rows == 1 or self.dtype(a).kind == "f"  # several of integers the cube unit multiplies as fast
        return (down == 1 or (across == 1 and by_rows)) and (self.dtype(a), self.dtype(b)) in STREAMED

    def cut(self, key: int) -> tuple[int, int]:
        """Rows and columns of the tiles of a nest."""
        inside = self.inside(key)
        products = list(self.products(key).values())
        self.keeps = self.depth(key) > 0 and not products
        self.shared = bool(products) and not self.depth(key)
        for node in (self.old[k] for k in inside if not self.is_leaf(k)):
            if node.op in (packed.PRODUCT, packed.UNPACK):
                return packed.cut(self, node, self.tiles)
        if products and all(map(self.streams, products)):
            by_rows = all(self.placed(product.inputs[1]).strides[-2] != 1 for product in products)
            rows = max(self.extents(product.inputs[0])[-2] for product in products)
            return rows, self.tiles.streamed(self.extents(key)[-1], by_rows=by_rows)
        if products:
            computed = any(not self.is_leaf(p.inputs[1]) or self.common(p) for p in products)
            self.in_pieces = not computed and self.can_be_in_pieces(key)
            together = len(products) if self.in_pieces else 1
            return self.tiles.multiplied(self.extents(key)[-1], computed=computed, together=together)
        tiles = self.tiles.of_bytes(max(self.dtype(k).size for k in inside))
        tall, wide = (1, tiles.line) if self.two(self.extents(key))[0] == 1 else tiles.vector
        folded = [self.old[k].inputs[0] for k in inside if self.old[k].op in REDUCES and not self.is_leaf(k)]
        if tall > 1 and tiles.area and any(map(self.lies_transposed, folded)):
            self.rest = 1
            return 2 * isqrt(tiles.area), isqrt(tiles.area) // 2  # so that its pieces of memory are not short
        extents = [self.two(self.extents(k))[1] for k in (key, *folded)]
        widest, known = max((e for e in extents if isinstance(e, int)), default=0), all(
            isinstance(e, int) for e in extents)
        if tall > 1 and tiles.area and known and widest <= wide:
            tall = max(tall, min(tiles.area // widest, max(TALLEST, SMALLEST // widest)))
        if self.keeps and known and widest <= tiles.area:
            return tall if widest <= wide or tall == 1 else max(tiles.area // widest, 1), widest
        return tall, wide

    def can_be_in_pieces(self, key: int) -> bool:
        """Do products of all the rows of a tile and their use fit at once if it is of some rows at a time?

        Then a tile of the right operand is read for many rows, though the vector unit has room for few.
        """
        products, dims = self.products(key), self.extents(key)
        few = isinstance(dims[-2], int) and dims[-2] <= PIECE
        if not self.tiles.area or self.depth(key) or few or len(products) > 2 or key in products:
            return False
        inner = [self.extents(product.inputs[0])[-1] for product in products.values()]
        return all(isinstance(k, int) and k > self.tiles.matrix[2] for k in inner) and all(
            isinstance(p.type, TensorType) and p.type.dims[-2:] == dims[-2:] and not p.attrs for p in products.values())

    def stream(self, graph: Graph, node: Node, at: Place) -> Val:
        """A product of few rows with a matrix in memory, which is read once."""
        a, b = node.inputs
        type, source, dims = node.type, self.placed(b), self.extents(b)
        assert isinstance(type, TensorType)
        at = self.narrow(a, at)
        inner, most = self.extents(a)[-1], self.tiles.streamed_inner(at.rows)
        k = inner if isinstance(inner, int) and inner <= most else most
        kind, locs = TileType(type.dtype, at.rows, at.cols), joined(node.locs, self.seen_as(b))
        turned = replace(source, strides=(*source.strides[:-2], source.strides[-1], source.strides[-2]))
        turned_dims = (*dims[:-2], dims[-1], dims[-2])

        def part(body: Graph, kk: Size, sums: Val) -> Val:
            x = self.value(body, a, replace(at, j=kk, cols=k))
            if source.strides[-2] != 1:
                here = self.seen(body, source, dims, replace(at, i=kk, rows=k))
                return body.op(TILE_OPS["gevm"], sums, x, source.base, *here, type=kind, locs=locs)
            here = self.seen(body, turned, turned_dims, replace(at, i=at.j, rows=at.cols, j=kk, cols=k))
            made = body.op(TILE_OPS["gemv"], x, source.base, *here, type=kind, locs=locs)
            return made if k == inner else body.apply(TILE_OPS["add"], sums, made, locs=node.locs)

        zero = self.zero(graph, node, at)
        if k == inner:
            return part(graph, 0, zero)
        return graph.loop((0, self.size(inner), k), [zero], lambda body, kk, sums: [part(body, kk, sums[0])],
                          node.locs)[0]

    def product(self, graph: Graph, node: Node, at: Place) -> Val:
        a, b = node.inputs
        if self.streams(node) and at.cols > 1:
            return self.stream(graph, node, at)
        if self.depth(a) or self.depth(b):
            raise UnsupportedError("a reduction inside the operand of a matrix product needs a tensor of its own",
                                   loc=node.locs[0], hint="split this into two kernels")
        return self.sums(graph, [node], at)[0]

    def sums(self, graph: Graph, nodes: Sequence[Node], at: Place) -> list[Val]:
        """Products of one left operand, a slice of which meets all of the right ones."""
        node, (a, b) = nodes[0], nodes[0].inputs
        common = self.common(node)
        k = self.tiles.slice(max(dtype.size for dtype in common or (self.dtype(a), self.dtype(b))))
        inner = self.size(self.extents(a)[-1])
        over = self.extents(a)[:dict(node.attrs).get("over", 0)]

        def operand(body: Graph, key: int, here: Place) -> Val:
            tile = self.value(body, key, here)
            for dtype in (dtype for dtype in common if dtype != self.dtype(key)):
                tile = self.cast(body, tile, dtype, node.locs)
            return tile

        def step(body: Graph, count: Val, carried: list[Val]) -> list[Val]:
            kk, batch = self.term(body, count, inner, k, over)
            x = operand(body, a, replace(at, j=kk, cols=k, batch=(*batch, *at.batch)))
            found = list[Val]()
            for one, sofar in zip(nodes, carried, strict=True):
                y = operand(body, one.inputs[1], replace(at, i=kk, rows=k, batch=(*batch, *at.batch)))
                product = body.apply(TILE_OPS["matmul"], x, y, locs=one.locs)
                found.append(body.apply(TILE_OPS["add"], sofar, product, locs=one.locs))
            return found

        zeros = [self.zero(graph, one, at) for one in nodes]
        bounds = (0, inner, k)
        if over:
            parts = graph.index("div", graph.index("add", inner, k - 1), k)
            bounds = (0, reduce(lambda x, y: graph.index("mul", x, y), map(self.size, over), parts), 1)
        return graph.loop(bounds, zeros, step, joined(*(one.locs for one in nodes)))

    def zero(self, graph: Graph, node: Node, at: Place) -> Val:
        """What sums of products begin with."""
        assert isinstance(node.type, TensorType)
        return graph.op(TILE_OPS["full"], type=TileType(node.type.dtype, at.rows, at.cols), scalar=0.0, locs=node.locs)

    def beside(self, keys: Iterable[int]) -> list[list[int]]:
        """Products in groups that share slices of a left operand."""
        groups: dict[tuple[int, DType], list[int]] = {}
        for k in keys:
            left, right = self.old[k].inputs
            groups.setdefault((left, self.dtype(right)), []).append(k)
        return list(groups.values())

    def common(self, product: Node) -> tuple[DType, ...]:
        """What both operands are converted to: where the cube unit has no such product, to what is added up."""
        a, b = product.inputs
        assert isinstance(product.type, TensorType)
        return () if (self.dtype(a), self.dtype(b)) in PRODUCTS else (product.type.dtype,)

    def term(self, graph: Graph, count: Val, inner: Size, k: int, over: Dims) -> tuple[Size, tuple[Size, ...]]:
        """Of a product that is added up over axes: the first inner element and the axes' coordinates, of a slice."""
        if not over:
            return count, ()
        parts = graph.index("div", graph.index("add", inner, k - 1), k)
        first, rest = graph.index("mul", graph.index("mod", count, parts), k), graph.index("div", count, parts)
        at: list[Size] = []
        for extent in reversed(over[1:]):
            at.insert(0, graph.index("mod", rest, self.size(extent)))
            rest = graph.index("div", rest, self.size(extent))
        return first, (rest, *at)

    # nests

    def store(self, graph: Graph, key: int, target: Val, locs: tuple[Loc, ...], place: Strided | None = None) -> Val:
        """The nest that computes an expression and stores it, at a place; gives the target's next version."""
        self.place = place
        self.flat, dims = place is None and self.can_be_flat(key), self.extents(key)
        self.merged = 1 if place or self.flat else self.trailing(key)
        if self.merged > 1:
            self.place = self.dense(target, dims)
        self.tall, self.wide = self.cut(key)
        leading = () if self.flat else dims[:-1 - self.merged]
        if self.shares_streams(key):  # a tile of the matrix is read once, for all rows
            def column(inner: Graph, j: Val, versions: list[Val]) -> list[Val]:
                return self.each(inner, leading, (), versions, lambda deep, batch, vs: self.put(
                    deep, key, Place(0, j, self.tall, self.wide, batch), vs, locs), locs)

            return graph.loop((0, self.size(dims[-1]), self.wide), [target], column, locs, parallel=1)[0]

        def nest(inner: Graph, batch: tuple[Size, ...], versions: list[Val]) -> list[Val]:
            rows = self.size(self.two(dims)[0])
            tall = least(self.tall, rows)
            if len(dims) < 2 and not self.keeps:  # one row: no loop over rows
                return self.row(inner, key, Place(0, 0, tall, 1, batch), versions, locs)
            return inner.loop((0, rows, tall), versions,
                              lambda g, i, vs: self.row(g, key, Place(i, 0, tall, 1, batch), vs, locs), locs,
                              parallel=1)

        return self.each(graph, leading, (), [target], nest, locs)[0]

    def shares_streams(self, key: int) -> bool:
        """Is a value made of several products of few rows with the same streamed matrices?"""
        products = self.products(key)
        rows = [n for n in self.extents(key)[:-2] if n != 1]
        return bool(rows) and bool(products) and not self.depth(key) and all(
            self.streams(p) and set(self.extents(p.inputs[1])[:-2]) <= {1} for p in products.values())

    def products(self, key: int) -> dict[int, Node]:
        """The matrix products in an expression."""
        return {k: self.old[k] for k in self.inside(key) if self.old[k].op is MATMUL and not self.is_leaf(k)}

    def each(self, graph: Graph, dims: Dims, batch: tuple[Size, ...], versions: list[Val],
             body: Callable[[Graph, tuple[Size, ...], list[Val]], list[Val]], locs: tuple[Loc, ...]) -> list[Val]:
        """A loop over each leading axis around a body."""
        if not dims:
            return body(graph, batch, versions)
        return graph.loop((0, self.size(dims[0]), 1), versions,
                          lambda g, c, vs: self.each(g, dims[1:], (*batch, c), vs, body, locs), locs, parallel=1)

    def row(self, graph: Graph, key: int, at: Place, versions: list[Val], locs: tuple[Loc, ...]) -> list[Val]:
        """One row of tiles: the reductions over it, then the values that are stored."""
        row = Row(graph, at)
        for depth in range(1, self.depth(key) + 1):
            self.stage(row, self.reductions(key, depth))
        cols = self.two(self.extents(key))[1]
        wide, then = self.widths(cols)

        if self.keeps:
            versions = self.put(graph, key, replace(at, j=0, cols=wide), versions, locs, row, row.first)
        if not then:
            return versions
        return graph.loop((wide if self.keeps else 0, self.size(cols), then), versions, lambda deep, j, vs: self.put(
            deep, key, replace(at, j=j, cols=then), vs, locs, row, {}), locs, parallel=1)

    def put(self, graph: Graph, key: int, at: Place, versions: list[Val], locs: tuple[Loc, ...], row: Row | None = None,
            memo: dict[Step, Val] | None = None) -> list[Val]:
        """Store a tile of a value; gives the target's next version."""
        if self.in_pieces and at.rows > PIECE:
            return self.put_in_pieces(graph, key, at, versions, locs)
        return self.put_tile(graph, key, at, versions, locs, row, memo)

    def put_tile(self, graph: Graph, key: int, at: Place, versions: list[Val], locs: tuple[Loc, ...],
                 row: Row | None = None, memo: dict[Step, Val] | None = None) -> list[Val]:
        """The same of a tile that is computed at once."""
        dims = self.extents(key)
        where = self.seen(graph, self.place, dims, at) if self.place else self.window(graph, dims, at)
        value = self.value(graph, key, at, row, memo)
        return [graph.apply(TILE_OPS["store"], versions[0], value, *where, locs=locs)]

    def put_in_pieces(self, graph: Graph, key: int, at: Place, versions: list[Val], locs: tuple[Loc, ...]) -> list[Val]:
        """Store a tile of a value, some rows at a time of products that are whole."""
        whole = dict[int, Val]()
        for together in self.beside(self.products(key)):
            whole |= zip(together, self.sums(graph, [self.old[k] for k in together], at), strict=True)

        def piece(body: Graph, i: Val, inner: list[Val]) -> list[Val]:
            here, memo = replace(at, i=body.index("add", at.i, i), rows=PIECE), dict[Step, Val]()
            for k, value in whole.items():
                memo[k, here] = body.op(TILE_OPS["part"], value, i, type=TileType(self.dtype(k), PIECE, at.cols),
                                        locs=self.old[k].locs)
            return self.put_tile(body, key, here, inner, locs, memo=memo)

        rows, _ = self.valid(graph, self.extents(key), at)
        return graph.loop((0, rows, PIECE), versions, piece, locs)

    def widths(self, extent: Any) -> tuple[int, int]:
        """Columns of the first tile of a row, and of those that a loop is over, if there may be any."""
        wide = least(self.wide, extent)
        if not self.keeps:
            return wide, wide
        return wide, 0 if wide == extent else max(wide // self.rest, 1)

    def stage(self, row: Row, keys: list[int]) -> None:
        """The row reductions of one depth, in one loop over column tiles for each width."""
        width = {k: self.two(self.extents(self.old[k].inputs[0]))[1] for k in keys}
        for extent in sorted(set(width.values()), key=str):
            together = [k for k in keys if width[k] == extent]
            with row.graph.because(joined(*(self.old[k].locs for k in together))):
                self.fold(row, together, extent)

    def fold(self, row: Row, keys: list[int], width: Any) -> None:
        """Reductions over rows of one width, tile by tile."""
        wide, then = self.widths(width)
        nodes = [self.old[key] for key in keys]

        def parts(graph: Graph, here: Place, memo: dict[Step, Val]) -> list[Val]:
            return [v for node in nodes
                    for v in reduced(graph, node, self.value(graph, node.inputs[0], here, row, memo), here.j)]

        def column(body: Graph, j: Val, carried: list[Val]) -> list[Val]:
            later, found, at = parts(body, replace(row.at, j=j, cols=then), {}), list[Val](), 0
            for node in nodes:
                size = states(node)
                found += merged(body, node, carried[at:at + size], later[at:at + size])
                at += size
            return found

        if self.keeps:
            found = parts(row.graph, replace(row.at, j=0, cols=wide), row.first)
        else:
            found = [v for key in keys for v in self.neutral(row, key)]
        if then:
            start = wide if self.keeps else 0
            found = row.graph.loop((start, self.size(width), then), found, column)
        for key, last in zip(keys, accumulate(map(states, nodes)), strict=True):
            row.done[key] = found[last - 1]

    def neutral(self, row: Row, key: int) -> list[Val]:
        """What a reduction of nothing gives."""
        node = self.old[key]
        assert isinstance(node.type, TensorType)
        rows = 1 if self.two(node.type.dims)[0] == 1 else row.at.rows
        return neutral(row.graph, node, self.dtype(node.inputs[0]), rows)
