"""Tile -> Block: the grid, where each tile lives, explicit moves, valid regions as operands.

- The outermost parallel nest, of one or two loops, becomes one loop over block numbers, dealt to the cores
  in turn. Nothing in a block depends on the core, so results do not depend on the number of cores.
- A tile that only matrix products read is loaded to L1, any other to UB; moves are inserted where an
  instruction wants an operand elsewhere, once for each value and body.
- A carried sum of matrix products becomes an accumulation in L0C that starts by overwriting: no tile of
  zeros is made, and no iteration is peeled.
- Valid regions begin at loads and flow: elementwise operations have the rows of any operand and the columns
  of one of full width; a product has its left operand's rows and its right one's columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from typing import Any

from pto.core.dtypes import F32
from pto.core.errors import CapacityError, Loc, ShapeError, UnsupportedError
from pto.core.target import Target
from pto.core.types import INDEX, PANEL_COLS, Layout, Space, TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Graph, Node, Val, joined
from pto.ir.ops import (
    ALLOC,
    ARG,
    BLOCK_OPS,
    COLUMN_REDUCTIONS,
    CONST,
    DIM,
    FOR,
    GET,
    PARAM,
    PRODUCTS,
    REDUCTIONS,
    TILE_OPS,
    Op,
    extents,
)
from pto.ir.rewrite import Made, alive
from pto.isa.spec import Instr, Trait
from pto.isa.table import TABLE, cube, move, vector
from pto.passes.analysis import carries_sum, deep_users
from pto.passes.packed import in_block
from pto.passes.parallel import is_parallel, parallel_nest
from pto.passes.placing import Fill, Placing, Size, in_ub, shape
from pto.passes.trips import Trips

Maker = Callable[[Node, Graph, list[Any]], Made]
(LOAD, STORE, FULL, MATMUL, GEMV, GEVM, IOTA, GATHER, TAKE, TOPK, TOPK_INDEX, PICK, OVER, REPORT, REPORT_UNLESS,
 PART, *PACKED) = (
    TILE_OPS[n] for n in ("load", "store", "full", "matmul", "gemv", "gevm", "iota", "gather", "take", "topk",
                          "topk_index", "pick", "over", "report", "report_unless", "part", "packed_matmul", "unpack")
)
BY_COLUMN, BY_ROW = (
    {row.tensor_op: BLOCK_OPS[row.mnemonic] for row in TABLE if row.mnemonic.startswith(name) and row.tensor_op}
    for name in ("trowexpand", "tcolexpand")
)
WINDOW = 5  # operands of a load: the tensor, and where; those of a view follow
FEW_BYTES = 256  # of the inner extent that a product needs at once to be worth reading its accumulator
EXP, SUB = TILE_OPS["exp"], TILE_OPS["sub"]


@dataclass(frozen=True, slots=True)
class Sum:
    """A carried accumulator in a body: its product, and how much of k came before this iteration."""

    carried: int
    product: Node
    before: Size


def streams(node: Node) -> bool:
    """Is there a product in a loop whose weights are streamed?"""
    return node.body is not None and any(n.op in (GEMV, GEVM) for _, _, n in node.body.walk())


class ToBlock(Placing):
    """Builds the Block graph."""

    level = "block"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.turned: set[Val] = set()  # operands of products whose transposes lie in L1
        self.latest: dict[Space | None, tuple[Any, Val]] = {}  # of each L0, what was put there, and its tile
        self.sums: dict[Graph, dict[int, Sum]] = {}
        self.absorbed: dict[Graph, set[int]] = {}

    def run(self, old: Graph) -> Graph:
        new = Graph(name=old.name, level=self.level, symbols=old.symbols)
        self.known_trips = Trips(old)
        self.core = new.op(DIM, type=INDEX, name="core")
        self.cores = new.op(DIM, type=INDEX, name="cores")
        env: dict[int, Any] = {}
        self.block(old, new, env)
        new.outputs = tuple(new.use(env[k]) for k in old.outputs)
        return new

    # nodes

    def visit(self, old: Graph, key: int, node: Node, new: Graph, env: dict[int, Any]) -> Made | None:
        if node.op in (CONST, DIM, ARG, GET) or node.type == INDEX:
            return super().visit(old, key, node, new, env)
        if key in self.sums.get(old, {}):
            return self.accumulate(old, key, new, env)
        if key in self.absorbed.get(old, set()) or self.in_power(old, key, node):
            return None  # part of an accumulation, or of a power
        inputs = [env[i] for i in node.inputs]
        if node.op is FOR:
            parallel = not self.in_grid and is_parallel(node)
            return self.grid(node, new, inputs) if parallel else self.serial(old, node, new, inputs)
        if node.op is LOAD:
            return self.load(old, key, node, new, inputs)
        if node.op is EXP and inputs[0] is None:
            return self.power(old[node.inputs[0]], node, new, env)
        if node.op in (OVER, GEVM):
            inputs[0] = self.changed(old, key, new, inputs[0], node.locs)
        make: Maker = self.makers.get(node.op, self.vector)
        return make(node, new, inputs)

    @property
    def makers(self) -> dict[Op, Maker]:
        """What makes the values of an operation; else it is one of the vector unit."""
        return {FULL: self.full, STORE: self.store, MATMUL: self.product, GEMV: self.stream,
                GEVM: self.stream_rows, IOTA: self.iota, OVER: self.over,
                **dict.fromkeys((GATHER, TAKE), self.gather), **dict.fromkeys((TOPK, TOPK_INDEX), self.largest),
                **dict.fromkeys((REPORT, REPORT_UNLESS), self.report), PICK: self.pick, PART: self.part,
                **dict.fromkeys(PACKED, partial(in_block, self))}

    def full(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        assert isinstance(node.type, TileType)
        return Fill(node.type, node["scalar"], node.locs)

    def product(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        return self.matmul(new, inputs[0], inputs[1], node.locs)

    def load(self, old: Graph, key: int, node: Node, new: Graph, inputs: list[Any]) -> Val:
        assert isinstance(node.type, TileType)
        users = {user.op for _, _, user in deep_users(old, key)}
        type = replace(node.type, space=Space.L1) if users == {MATMUL} else in_ub(node.type)
        if users == {MATMUL} and inputs[-2:-1] == [1] and inputs[-1] != 1 and len(inputs) > WINDOW:
            return self.load_turned(node, new, inputs, type)
        return self.make(new, BLOCK_OPS["tload"], *inputs, type=type, valid=tuple(inputs[3:5]), locs=node.locs)

    def load_turned(self, node: Node, new: Graph, inputs: list[Any], type: TileType) -> Val:
        """A window of a transpose that only products read, as it lies in memory: the way to L0 transposes it."""
        tensor, i, j, rows, cols, offset, height, width, down, across = inputs
        made = self.make(new, BLOCK_OPS["tload"], tensor, j, i, cols, rows, offset, width, height, across, down,
                         type=replace(type, rows=type.cols, cols=type.rows), valid=(rows, cols), locs=node.locs)
        self.turned.add(made)
        return made

    def store(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        tensor, tile, *where = inputs
        from_cube = isinstance(tile, Val) and isinstance(tile.type, TileType) and tile.type.space is Space.L0C
        value = tile if from_cube else self.into(new, tile, Space.UB, node.locs)
        known = self.valid.get(value, (None, None))
        where[2:4] = [self.inside(new, w, v, node.locs) for w, v in zip(where[2:4], known, strict=True)]

        def put(graph: Graph, version: Val) -> Val:
            return graph.op(BLOCK_OPS["tstore"], version, value, *where, type=node.type, locs=node.locs)

        if self.in_grid:
            return put(new, tensor)
        return self.once(new, [tensor], lambda g, versions: [put(g, versions[0])], node.locs)[0]

    def inside(self, graph: Graph, window: Size, valid: Size | None, locs: tuple[Loc, ...]) -> Size:
        """How much of a window is stored: no more than is valid of the tile."""
        if valid is None or valid == window:
            return window
        if isinstance(valid, int) and isinstance(window, int) and valid < window:
            raise ShapeError(f"the tile has {valid} valid elements along an axis; {window} are stored",
                             loc=locs[0] if locs else None, hint="store to a window of the tile's extents")
        return graph.index("min", window, valid)

    def vector(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """An elementwise operation or a reduction, in the vector unit."""
        row = node.op.instr
        assert row is not None and isinstance(node.type, TileType)
        tiles = [self.into(new, v, Space.UB, node.locs) for v in inputs]
        if row.tensor_op in REDUCTIONS or row.tensor_op in COLUMN_REDUCTIONS:
            return self.reduction(node, new, row, tiles[0])
        return self.elementwise(node, new, row, tiles)

    def reduction(self, node: Node, new: Graph, row: Instr, tile: Val) -> Made:
        """One value for each row, or for each column, of a tile."""
        assert isinstance(node.type, TileType)
        axis = 0 if row.tensor_op in COLUMN_REDUCTIONS else 1
        rows, cols = self.valid.get(tile, (None, None))
        region = (1, cols) if axis == 0 else (rows, 1)
        alone = shape(tile)[axis] == 1
        if alone and row.tensor_op in REDUCTIONS and REDUCTIONS[row.tensor_op].of:
            return Fill(node.type, 0.0, node.locs)  # where the only element is
        assert isinstance(tile.type, TileType)
        if alone and tile.type.dtype != node.type.dtype:  # one predicate, counted
            ones = self.into(new, Fill(node.type, 1.0, node.locs), Space.UB, node.locs)
            return self.make(new, BLOCK_OPS[vector.TSELS.mnemonic], tile, ones, *self.size(tile), valid=region,
                             type=in_ub(node.type), locs=node.locs, scalar=0.0)
        if alone:  # one element is its own sum
            return self.make(new, BLOCK_OPS[move.TMOV.mnemonic], tile, *self.size(tile), type=in_ub(node.type),
                             valid=region, locs=node.locs)
        if axis == 0 and shape(tile)[1] == 1:  # a column lies as the row does that is its transpose
            count, type = self.size(tile)[0], TileType(node.type.dtype, 1, shape(tile)[0])
            tile = self.make(new, BLOCK_OPS[move.TTRANS.mnemonic], tile, 1, count, type=in_ub(type),
                             valid=(1, rows), locs=node.locs)
            row = TILE_OPS[COLUMN_REDUCTIONS[row.tensor_op]].instr or row
        return self.make(new, BLOCK_OPS[row.mnemonic], tile, *self.size(tile), type=in_ub(node.type), valid=region,
                         locs=node.locs, **dict(node.attrs))

    def elementwise(self, node: Node, new: Graph, row: Instr, tiles: list[Val], fused: Op | None = None) -> Val:
        """One instruction where both operands are whole, or one that expands the second (`fused`, or the row's own);
        else expand first.
        """
        assert isinstance(node.type, TileType)
        type = in_ub(node.type)
        rows = self.agreed(new, [self.valid.get(v, (None, None))[0] for v in tiles if shape(v)[0] == type.rows])
        cols = self.agreed(new, [self.valid.get(v, (None, None))[1] for v in tiles if shape(v)[1] == type.cols])
        region = type.rows if rows is None else rows, type.cols if cols is None else cols
        whole = [shape(v) == (type.rows, type.cols) for v in tiles]
        if Trait.COMMUTATIVE in row.traits and whole == [False, True]:
            tiles, whole = tiles[::-1], whole[::-1]
        op = BLOCK_OPS[row.mnemonic]
        tables = {(type.rows, 1): BY_COLUMN, (1, type.cols): BY_ROW} if type.cols > 1 else {}
        fused = fused or tables.get(shape(tiles[-1]), {}).get(row.tensor_op)
        if whole == [True, False] and fused is not None:
            op = fused
        else:
            tiles = [v if w else self.expand(new, v, type, region, node) for v, w in zip(tiles, whole, strict=True)]
        return self.make(new, op, *tiles, *region, type=type, valid=(rows, cols), locs=node.locs, **dict(node.attrs))

    def in_power(self, old: Graph, key: int, node: Node) -> bool:
        """Is a value a tile less a column, which only `exp` uses? One instruction makes both."""
        if node.op is not SUB or key in old.outputs or [user.op for _, user in old.users(key)] != [EXP]:
            return False
        (rows, cols), *operands = (extents(t) for t in (node.type, *(old[i].type for i in node.inputs)))
        assert isinstance(node.type, TileType)  # a difference of halves is rounded before the power
        return operands == [(rows, cols), (rows, 1)] and cols != 1 and node.type.dtype == F32

    def power(self, difference: Node, node: Node, new: Graph, env: dict[int, Any]) -> Val:
        """e to the power of a tile less a column; the same bits as one after the other."""
        locs = joined(node.locs, difference.locs)
        tiles = [self.into(new, env[i], Space.UB, locs) for i in difference.inputs]
        assert difference.op.instr is not None
        return self.elementwise(replace(node, locs=locs), new, difference.op.instr, tiles,
                                BLOCK_OPS[vector.TROWEXPANDEXPDIF.mnemonic])

    def expand(self, graph: Graph, tile: Val, type: TileType, region: tuple[Size, Size], node: Node) -> Val:
        """A column, a row or one element as a whole tile, of its own element type."""
        assert isinstance(tile.type, TileType)
        type = replace(type, dtype=tile.type.dtype)
        if shape(tile)[0] == 1 and type.rows != 1:
            wide = self.expand(graph, tile, replace(type, rows=1), (1, region[1]), node) if (
                shape(tile)[1] != type.cols) else tile
            return self.make(graph, self.expansion("tcolexpand", node), wide, *region, type=type, valid=region,
                             locs=node.locs)
        return self.make(graph, self.expansion("trowexpand", node), tile, *region, type=type, valid=region,
                         locs=node.locs)

    def expansion(self, mnemonic: str, node: Node) -> Op:
        """The instruction that expands a tile, where the target has it."""
        if mnemonic not in BLOCK_OPS:
            kind = "row" if mnemonic == "tcolexpand" else "column"
            raise UnsupportedError(f"{node.op.name} cannot use a {kind} for a whole tile on this machine yet",
                                   loc=node.locs[0] if node.locs else None)
        return BLOCK_OPS[mnemonic]

    # matrix products

    def matmul(self, graph: Graph, a: Val | Fill, b: Val | Fill, locs: tuple[Loc, ...], into: Val | None = None,
               before: Size = 0) -> Val:
        """c (+)= a times b, in slices of k that fit L0A and L0B; `before`: how much of k c already has."""
        x, y = self.into(graph, a, Space.L1, locs), self.into(graph, b, Space.L1, locs)
        tx, ty = self.upright(x), self.upright(y)
        (m, _), (_, n) = self.size(x), self.size(y)
        inner = self.agreed(graph, [self.valid.get(x, (None, None))[1], self.valid.get(y, (None, None))[0]])
        k = tx.cols if inner is None else inner
        cols = -(-ty.cols // PANEL_COLS) * PANEL_COLS
        piece = self.slice(tx, ty, cols, locs)
        type = TileType(PRODUCTS[tx.dtype, ty.dtype], tx.rows, cols, Space.L0C, Layout.PANEL)
        c = into if into is not None else graph.op(ALLOC, type=type, locs=locs)

        def step(body: Graph, k0: Size, carried: Val) -> Val:
            kk = k if piece == tx.cols else body.index("min", piece, body.index("sub", k, k0))
            left = self.extract(body, x, (0, k0), (m, kk), TileType(tx.dtype, tx.rows, piece, Space.L0A), locs)
            right = self.extract(body, y, (k0, 0), (kk, n),
                                 TileType(ty.dtype, piece, cols, Space.L0B, Layout.PANEL), locs)
            more = body.index("lt", 0, body.index("add", before, k0))
            return body.op(BLOCK_OPS[cube.TMATMUL.mnemonic], carried, left, right, m, n, kk, more,
                           type=type, locs=locs)

        if piece == tx.cols:
            c = step(graph, 0, c)
        else:
            c = graph.loop((0, k, piece), [c], lambda g, k0, vs: [step(g, k0, vs[0])], locs)[0]
        self.valid[c], self.width[c] = (m, n), ty.cols
        return c

    def upright(self, operand: Val) -> TileType:
        """The type of an operand in L1, as the product sees it."""
        type = operand.type
        assert isinstance(type, TileType)
        return replace(type, rows=type.cols, cols=type.rows) if operand in self.turned else type

    def extract(self, graph: Graph, operand: Val, at: tuple[Size, Size], region: tuple[Size, Size], type: TileType,
                locs: tuple[Loc, ...]) -> Val:
        """A region of an operand, in L0: the tile that was put there last if that is it."""
        row, at = (move.TEXTRACT_T, at[::-1]) if operand in self.turned else (move.TEXTRACT, at)
        wanted = graph, operand, at, region, type
        found = self.latest.get(type.space)
        if found is None or found[0] != wanted:
            value = graph.op(BLOCK_OPS[row.mnemonic], operand, *at, *region, type=type, locs=locs)
            found = self.latest[type.space] = wanted, value
        return found[1]

    def slice(self, left: TileType, right: TileType, cols: int, locs: tuple[Loc, ...]) -> int:
        """How much of k goes to L0A and L0B at once.

        Two slots of each where that leaves so many bytes of a row: below it, reading and writing the accumulator
        costs more than the overlap gains.
        """
        size = max(left.dtype.size, right.dtype.size)

        def fits(k: int, slots: int) -> bool:
            return (left.dtype.size * k * slots * left.rows <= self.target.bytes_of(Space.L0A)
                    and right.dtype.size * k * slots * cols <= self.target.bytes_of(Space.L0B))

        k = left.cols
        while k > 1 and not fits(k, 2 if size * k > FEW_BYTES else 1):
            k = -(-k // 2)
        if not fits(k, 1):
            raise CapacityError(f"a product of {left.rows} x k by k x {cols} does not fit L0A and L0B",
                                loc=locs[0] if locs else None, hint="choose smaller tiles")
        return k

    def part(self, node: Node, new: Graph, inputs: list[Any]) -> Val:
        """Some rows of an accumulator, for the vector unit."""
        tile, i = inputs
        assert isinstance(node.type, TileType)
        rows, cols = self.size(tile)
        count = new.index("min", node.type.rows, new.index("sub", rows, i))
        return self.make(new, BLOCK_OPS[move.TEXTRACT_ROWS.mnemonic], tile, i, count, cols,
                         type=in_ub(replace(node.type, cols=self.width.get(tile, node.type.cols))),
                         valid=(count, self.valid.get(tile, (None, None))[1]), locs=node.locs)

    def accumulate(self, old: Graph, key: int, new: Graph, env: dict[int, Any]) -> Val:
        found = self.sums[old][key]
        a, b = (env[i] for i in found.product.inputs)
        return self.matmul(new, a, b, found.product.locs, env[found.carried], found.before)

    # loops

    def grid(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A parallel nest becomes a loop over numbers t, t + cores, ... on core t, each of which is a block."""
        loops = parallel_nest(node)
        bounds, env = [inputs[:LOOP_BOUNDS]], self.enter(node, [], inputs)
        for outer, inner in pairwise(loops):
            assert outer.body is not None
            values = [env[i] if i in env else outer.body.constant(i) for i in inner.inputs]
            bounds.append(values[:LOOP_BOUNDS])
            env = {k: v for k, v in self.enter(inner, [], values).items() if v is not None}
        spans = joined(*(loop.locs for loop in loops))
        counts = [self.trips(new, *bound) for bound in bounds]
        total = reduce(lambda a, b: new.index("mul", a, b), counts)

        streamed = streams(node)

        def body(graph: Graph, t: Val, carried: list[Val]) -> list[Val]:
            at: list[Size] = []
            rest: Size = self.neighbour(graph, t, total) if streamed else t
            for count in reversed(counts[1:]):
                at.insert(0, graph.index("mod", rest, count))
                rest = graph.index("div", rest, count)
            counters = [graph.index("madd", x, step, low)
                        for x, (low, _, step) in zip([rest, *at], bounds, strict=True)]
            self.in_grid = True
            found = self.iteration(loops, counters, graph, self.enter(node, [counters[0], *carried], inputs))
            self.in_grid = False
            return found

        return new.loop((self.core, total, self.cores), self.carried(node, inputs), body, spans, grid=len(loops))

    def neighbour(self, graph: Graph, t: Val, total: Size) -> Size:
        """The t-th block, where those of a core (t, t + cores, ...) are neighbours: memory likes long runs."""
        core, share, more = (graph.index("mod", t, self.cores), graph.index("div", total, self.cores),
                             graph.index("mod", total, self.cores))
        before = graph.index("madd", core, share, graph.index("min", core, more))
        return graph.index("add", before, graph.index("div", t, self.cores))

    def trips(self, new: Graph, low: Size, high: Size, step: Size) -> Size:
        """How often a loop runs."""
        span = new.index("add", new.index("sub", high, low), new.index("sub", step, 1))
        count = new.index("div", span, step)
        surely = low == 0 and (isinstance(high, int) or high.node.op is DIM)
        return count if surely else new.index("max", count, 0)

    def iteration(self, loops: list[Node], counters: list[Size], graph: Graph, env: dict[int, Any]) -> list[Val]:
        """The body of one block, with the counters of the nest; `env` is that of the outermost loop's body."""
        body = loops[0].body
        assert body is not None
        if len(loops) == 1:
            self.block(body, graph, env)
            return [env[k] for k in body.outputs]
        needed, inner = alive(body), loops[1]
        for key, node in body.items():
            if key in needed and key not in env and node.op not in (PARAM, FOR, GET):
                self.step(body, key, node, graph, env)
        values = [env[i] for i in inner.inputs]
        carried = values[LOOP_BOUNDS:LOOP_BOUNDS + inner.carried]
        found = self.iteration(loops[1:], counters[1:], graph, self.enter(inner, [counters[1], *carried], values))
        env.update({key: found[node["index"]] for key, node in body.items() if node.op is GET})
        return [env[k] for k in body.outputs]

    def serial(self, old: Graph, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A loop that runs in order within a block."""
        body = node.body
        assert body is not None
        inits, sums = self.initial(old, node, new, self.carried(node, inputs))
        last: list[tuple[Size | None, Size | None]] = []

        def copy(graph: Graph, counter: Val, carried: list[Val]) -> list[Val]:
            before = graph.index("sub", counter, inputs[0])
            self.sums[body] = {k: replace(found, before=before) for k, found in sums.items()}
            for value, init in zip(carried, inits, strict=True):
                self.valid[value] = self.valid.get(init, (None, None))
            env = self.enter(node, [counter, *carried], inputs)
            self.block(body, graph, env)
            env.update(self.saved(body, graph, env))
            results = [self.next(body, p, k, graph, env[k]) for p, k in enumerate(body.outputs)]
            last.extend(self.valid.get(v, (None, None)) for v in results)
            return results

        made = new.loop(inputs[:LOOP_BOUNDS], inits, copy, node.locs)
        for value, old_init in zip(made, self.carried(node, inputs), strict=True):
            if isinstance(old_init, Fill):
                self.width[value] = old_init.type.cols
        for value, region in zip(made, last, strict=True):
            self.valid[value] = self.visible(new, region, node)
        return made

    def initial(self, old: Graph, node: Node, new: Graph, given: list[Any]) -> tuple[list[Val], dict[int, Sum]]:
        """What a loop carries at its start, and the sums that it accumulates in L0C, by the keys of the additions."""
        body, inits = node.body, list[Val]()
        assert body is not None
        sums: dict[int, Sum] = {}
        for position, init in enumerate(given):
            parameter = body.params[1 + position]
            found = carries_sum(node, position)
            if found and isinstance(init, Fill) and init.value == 0.0 and self.known_trips.at_least_once(old, node):
                product = body[found[1]]
                locs = joined(body[found[0]].locs, product.locs, init.locs)
                sums[found[0]] = Sum(parameter, replace(product, locs=locs), 0)
                self.absorbed.setdefault(body, set()).add(found[1])
                inits.append(self.accumulator(new, init))
            elif body[parameter].type == INDEX:
                inits.append(init if isinstance(init, Val) else Val(new, new.use(init)))
            elif isinstance(body[parameter].type, TensorType):
                inits.append(init)
            else:
                inits.append(self.own(old, node.inputs[LOOP_BOUNDS + position], new, init, node.locs))
        return inits, sums

    def accumulator(self, new: Graph, init: Fill) -> Val:
        cols = -(-init.type.cols // PANEL_COLS) * PANEL_COLS
        type = TileType(init.type.dtype, init.type.rows, cols, Space.L0C, Layout.PANEL)
        return new.op(ALLOC, type=type, locs=init.locs)

    def own(self, old: Graph, key: int, new: Graph, init: Any, locs: tuple[Loc, ...]) -> Val:
        """A loop's initial value in UB, in a place of its own where anything else needs it: the loop overwrites it."""
        tile = self.into(new, init, Space.UB, locs)
        captured = old[key].op is PARAM and old.params.index(key) > len(old.outputs)
        if isinstance(init, Fill) or not (captured or len(old.users(key)) > 1 or key in old.outputs):
            return tile
        return self.copy(new, tile, locs)

    def saved(self, body: Graph, graph: Graph, env: dict[int, Any]) -> dict[int, Val]:
        """Copies of the carried values that a body yields in another position, before any is overwritten."""
        moved = {k for p, k in enumerate(body.outputs) if body[k].op is PARAM and k != body.params[1 + p]}
        return {k: self.copy(graph, env[k], ()) for k in sorted(moved) if isinstance(body[k].type, TileType)}

    def next(self, body: Graph, position: int, key: int, graph: Graph, value: Any) -> Val:
        """What a body yields: in UB, in a place of its own where the old value is still needed."""
        parameter = body.params[1 + position]
        if body[parameter].type == INDEX:
            return value if isinstance(value, Val) else Val(graph, graph.use(value))
        if isinstance(body[parameter].type, TensorType) or key in self.sums[body] or key == parameter:
            assert isinstance(value, Val)
            return value
        locs = body[key].locs
        tile = self.into(graph, value, Space.UB, locs)
        overwrites = any(user > key for user, _ in body.users(parameter)) or parameter in body.outputs
        if overwrites or body.outputs.count(key) > 1 or body[key].op is PARAM:
            tile = self.copy(graph, tile, locs)
        return tile

    def visible(self, graph: Graph, region: tuple[Size | None, Size | None],
                node: Node) -> tuple[Size | None, Size | None]:
        """The region of a carried tile after its loop, which must not depend on the iteration."""
        if any(isinstance(s, Val) and s.graph.depth > graph.depth for s in region):
            raise ShapeError("a tile that the loop carries meets a window that is shorter at the tensor's edge",
                             loc=node.locs[0] if node.locs else None,
                             hint="reduce the window to what does not depend on its length, as "
                                  "total += pt.sum(x[i:i + t, j:j + n], axis=0, keepdims=True)")
        return region


def tile_to_block(graph: Graph, target: Target) -> Graph:
    """Place a Tile graph on a target."""
    return ToBlock(target).run(graph)
