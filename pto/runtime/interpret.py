"""Any graph run by the meanings of its operations, slowly: the oracle of every lowering.

Tensor and Tile graphs: a tile is the array of its valid region. Block graphs: a tile is an array of its
capacity, not-a-number where nothing was written. Execution graphs: the instructions are written out with the
operands they have, one after the other, and run on the slow machine, in that or another legal order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import CompilerBug
from pto.core.packed import BY_NAME as PACKINGS
from pto.core.target import DEFAULT, Target
from pto.core.types import EFFECT, PANEL_COLS, Layout, TensorType, TileType
from pto.ir.graph import LOOP_BOUNDS, Buffer, Graph, Node, captures
from pto.ir.ops import ALLOC, ARG, BLOCK_OPS, CONST, DIM, FOR, GET, INDEX_OPS, TENSOR_OPS, TILE_OPS, Op
from pto.ir.views import declarations
from pto.isa.meaning import MEANING
from pto.isa.meaning.operands import Operands
from pto.isa.meaning.scalar import MEANING as INTEGER_MEANING
from pto.isa.program import Arg, Inst, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import WHOLE, Instr, Kind, Operand, Role
from pto.isa.table import BY_MNEMONIC, cube, move, scalar, vector
from pto.isa.table.packed import STREAMS, UNPACKS
from pto.quant.forms import BY_NAME, product
from pto.sim.slow import SlowMachine

Array = NDArray[Any]

Observer = Callable[[Node, Array], None]  # of a node and its value
MEMORY = (ALLOC, ARG, GET, TENSOR_OPS["assign"], TILE_OPS["store"], BLOCK_OPS[move.TSTORE.mnemonic])  # no values


def as_matrix(array: Array) -> Array:
    """A tensor as rows x cols, sharing memory."""
    cols = array.shape[-1] if array.ndim else 1
    return array.reshape(prod(array.shape[:-1]), cols)


def strided(array: Array, offset: int, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """Elements of a tensor in other extents and strides, sharing memory."""
    flat = array.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, shape, [s * array.itemsize for s in strides])


def seen(tensor: Array, view: Sequence[int]) -> Array:
    """A tensor as the matrix that a load or store sees."""
    if not view:
        return as_matrix(tensor)
    offset, rows, cols, down, across = view
    return strided(tensor, offset, (rows, cols), (down, across))


def inside(matrix: Array, i: int, j: int, rows: int, cols: int) -> Array:
    """A window of a tensor, which ends no later than the tensor."""
    found = matrix[max(i, 0):max(i + rows, 0), max(j, 0):max(j + cols, 0)]
    if found.shape != (rows, cols):
        height, width = matrix.shape
        raise CompilerBug(f"{rows} x {cols} elements from row {i} and column {j} on are not inside {height} x {width}")
    return found


class Stuck(CompilerBug):
    """A node that cannot be evaluated."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.node, self.loc = node, node.locs[0] if node.locs else None

    def __str__(self) -> str:
        place = f"{self.loc}: " if self.loc else ""
        return f"{place}{self.node.op.name}: {super().__str__()}"


class Interpreter:
    """Runs Tensor, Tile and Block graphs; `tensors` are the arguments by slot, changed in place.

    `observe` is told the value of each node that computes one.
    """

    def __init__(self, tensors: Sequence[Array], extents: Mapping[str, int], observe: Observer | None = None) -> None:
        self.tensors, self.extents, self.observe = tensors, extents, observe

    def run(self, graph: Graph, env: dict[int, Any]) -> list[Any]:
        """The outputs of a graph or body."""
        for key, node in graph.items():
            if key not in env:
                env[key] = self.evaluated(graph, node, [env[i] for i in node.inputs])
                if self.observe is not None and isinstance(env[key], np.ndarray) and node.op not in MEMORY:
                    self.observe(node, env[key])
        return [env[k] for k in graph.outputs]

    def evaluated(self, graph: Graph, node: Node, inputs: list[Any]) -> Any:
        """The value of a node.

        Raises:
            Stuck: it has none.
        """
        try:
            return self.node(graph, node, inputs)
        except (CompilerBug, ArithmeticError, LookupError, TypeError, ValueError) as err:
            raise err if isinstance(err, Stuck) else Stuck(node, str(err)) from err

    def node(self, graph: Graph, node: Node, inputs: list[Any]) -> Any:
        op = node.op
        if op is CONST:
            return node["value"]
        if op is DIM:
            return self.extents[node["name"]]
        if op is ARG:
            return self.tensors[node["slot"]]
        if op is GET:
            return inputs[0][node["index"]]
        if op is FOR:
            return self.loop(node, inputs)
        if op.name in INDEX_OPS:
            return INTEGER_MEANING[op.name](*inputs)
        if op is ALLOC:
            assert isinstance(node.type, TileType)
            return blank(node.type)
        if op.instr is not None and "." not in op.name:
            return self.instruction(op.instr, node, inputs)
        return self.expression(graph, node, inputs)

    def loop(self, node: Node, inputs: list[Any]) -> list[Any]:
        body = node.body
        assert body is not None
        outer = dict(zip(node.inputs, inputs, strict=True))
        carried = inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]
        low, high, step = inputs[:LOOP_BOUNDS]
        starts = range(low, low + step) if "grid" in dict(node.attrs) else (low,)  # a grid: core after core
        for counter in (c for start in starts for c in range(start, high, step)):
            env: dict[int, Any] = dict(zip(body.params, [counter, *carried], strict=False))
            env.update({inner: outer[key] for key, inner in captures(node)})
            carried = self.run(body, env)
        return carried

    # Tensor and Tile

    def expression(self, graph: Graph, node: Node, inputs: list[Any]) -> Any:
        meaning = self.meanings.get(node.op)
        if meaning is not None:
            return meaning(node, *inputs)
        return self.elementwise(node.op, node, inputs, [graph[i].type for i in node.inputs])

    @cached_property
    def meanings(self) -> dict[Op, Callable[..., Any]]:
        """What is no instruction of the vector unit, element by element or row by row."""
        tensor: dict[str, Callable[..., Any]] = {
            "assign": self.assigned, "view": self.viewed, "gather": self.gathered, "take": self.taken,
            "iota": self.sequence, "matmul": self.product, "full": self.filled,
            "quantised_matmul": self.quantised, "packed_matmul": self.packed, "unpack": self.unpacked,
        }
        tile: dict[str, Callable[..., Any]] = {
            "report": self.reported, "report_unless": self.reported,
            "load": self.loaded, "store": self.stored, "full": self.filled, "topk": self.largest,
            "topk_index": self.largest, "pick": self.picked, "gather": self.gathered, "take": self.taken,
            "iota": self.sequence, "over": self.overlaid, "part": self.parted,
            "gemv": self.streamed, "gevm": self.streamed_rows, "matmul": self.product,
            "packed_matmul": self.packed, "unpack": self.unpacked,
        }
        return {TENSOR_OPS[n]: f for n, f in tensor.items()} | {TILE_OPS[n]: f for n, f in tile.items()}

    def assigned(self, node: Node, target: Array, value: Array, *view: int) -> Array:
        (strided(target, view[0], value.shape, view[1:]) if view else target)[...] = value.copy()  # they may overlap
        return target

    def viewed(self, node: Node, tensor: Array, offset: int, *strides: int) -> Array:
        return strided(tensor, offset, self.shape(node.type), strides)

    def loaded(self, node: Node, tensor: Array, i: int, j: int, rows: int, cols: int, *view: int) -> Array:
        return inside(seen(tensor, view), i, j, rows, cols).copy()

    def stored(self, node: Node, tensor: Array, tile: Array, i: int, j: int, rows: int, cols: int,
               *view: int) -> Array:
        part = tile[:rows, :cols]
        inside(seen(tensor, view), i, j, *part.shape)[...] = part
        return tensor

    def filled(self, node: Node) -> Array:
        """One value everywhere, as an instruction makes it of a number."""
        assert isinstance(node.type, TensorType | TileType)
        shape = (node.type.rows, node.type.cols) if isinstance(node.type, TileType) else self.shape(node.type)
        dtype = numpy_dtype(node.type.dtype)
        one = MEANING[vector.TEXPANDS.mnemonic](Operands(scalar=node["scalar"], shape=(), dtype=dtype))
        return np.full(shape, one.astype(dtype))

    def largest(self, node: Node, a: Array, count: int) -> Array:
        assert isinstance(node.type, TileType)
        row = vector.TTOPK if node.op is TILE_OPS["topk"] else vector.TTOPK_INDEX
        return MEANING[row.mnemonic](Operands(a=a, rows=len(a), cols=a.shape[1], count=count, exact=True,
                                              shape=(len(a), count), dtype=numpy_dtype(node.type.dtype)))

    def picked(self, node: Node, source: Array, index: Array) -> Array:
        return np.take_along_axis(source[:len(index)], index.astype(np.int64), axis=1)

    def shape(self, type: Any) -> tuple[int, ...]:
        """The extents of a tensor type."""
        return tuple(self.extents[d] if isinstance(d, str) else d for d in type.dims)

    def gathered(self, node: Node, table: Array, ids: Array, *where: int) -> Array:
        """Rows of a tensor, or (with a first column, extents and a view) of a window of it."""
        if not where:
            return table[ids]
        j, rows, cols, *view = where
        return seen(table, view)[ids[:rows, 0], j:j + cols]

    def taken(self, node: Node, tensor: Array, ids: Array, *where: int) -> Array:
        """Elements of each row of a tensor, or (with a first row, extents and a view) of a window of it."""
        if where:
            i, rows, cols, _, *view = where
            tensor, ids = seen(tensor, view)[i:i + rows], ids[:rows, :cols]
        found: Array = np.take_along_axis(tensor, ids.astype(np.int64), axis=-1)
        return found

    def overlaid(self, node: Node, old: Array, new: Array) -> Array:
        found = old.copy()
        found[:len(new), :new.shape[1]] = new[:len(old), :old.shape[1]]
        return found

    def parted(self, node: Node, tile: Array, i: int) -> Array:
        assert isinstance(node.type, TileType)
        return tile[i:i + node.type.rows]

    def reported(self, node: Node, log: Array, *given: Any) -> Array:
        """A record in the first core's row of a log."""
        *tiles, site = given
        rows, cols = min(len(t) for t in tiles), min(t.shape[1] for t in tiles)
        o = Operands(log=log[:1], site=site, rows=rows, cols=cols, shape=log[:1].shape, dtype=log.dtype)
        for name, tile in zip(("src", "mask"), tiles, strict=False):
            setattr(o, name, tile[:rows, :cols])
        assert node.op.instr is not None
        log[:1] = MEANING[node.op.instr.mnemonic](o)
        return log

    def sequence(self, node: Node, start: int, *steps: int) -> Array:
        assert isinstance(node.type, TensorType | TileType)
        shape = (node.type.rows, node.type.cols) if isinstance(node.type, TileType) else self.shape(node.type)
        at = np.indices(shape)
        total = start + sum(step * axis for step, axis in zip(reversed(steps), reversed(at), strict=False))
        return np.broadcast_to(total, shape).astype(numpy_dtype(node.type.dtype))

    def streamed(self, node: Node, x: Array, tensor: Array, i: int, j: int, n: int, k: int, *view: int) -> Array:
        w = seen(tensor, view)[i:i + n, j:j + k]
        assert isinstance(node.type, TileType)
        o = Operands(x=x[:, :k], w=w, n=n, k=k, shape=(len(x), n), dtype=numpy_dtype(node.type.dtype))
        return MEANING[cube.TGEMV_STREAM.mnemonic](o).astype(o.dtype, copy=False)

    def streamed_rows(self, node: Node, y: Array, x: Array, tensor: Array, i: int, j: int, k: int, n: int,
                      *view: int) -> Array:
        w, found = seen(tensor, view)[i:i + k, j:j + n], y.copy()
        o = Operands(y=y[:, :n], x=x[:, :k], w=w, n=n, k=k, shape=(len(x), n), dtype=y.dtype)
        found[:, :n] = MEANING[cube.TGEVM_STREAM.mnemonic](o)
        return found

    def product(self, node: Node, a: Array, b: Array) -> Array:
        if over := dict(node.attrs).get("over", 0):
            plain = replace(node, attrs=())
            parts: list[Array] = [self.product(plain, a[at], b[at]) for at in np.ndindex(a.shape[:over])]
            total: Array = np.add.reduce(parts, dtype=parts[0].dtype)
            return total
        if max(a.ndim, b.ndim) > 2:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            left, right = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
            found = [self.product(node, left[at], right[at]) for at in np.ndindex(lead)]
            return np.reshape(found, (*lead, a.shape[-2], b.shape[-1]))
        assert isinstance(node.type, TensorType | TileType)
        k, dtype = min(a.shape[1], b.shape[0]), numpy_dtype(node.type.dtype)
        shape = (a.shape[0], b.shape[1])
        o = Operands(a=a[:, :k], b=b[:k], c=np.zeros(shape, dtype), acc=0, m=shape[0], n=shape[1], k=k, shape=shape,
                     dtype=dtype, exact=True)
        return MEANING[cube.TMATMUL.mnemonic](o).astype(dtype, copy=False)

    def packed(self, node: Node, x: Array, tensor: Array, *where: int) -> Array:
        """A product with packed weights, or (with first panel, panels, elements, bytes and a view) of a window."""
        i, p, k, b, *view = where or (0, len(tensor), x.shape[1], tensor.shape[1])
        assert isinstance(node.type, TensorType | TileType)
        dtype = numpy_dtype(node.type.dtype)
        o = Operands(x=x[:, :k], w=seen(tensor, view)[i:i + p, :b], p=p, k=k, b=b, shape=(p, 16), dtype=dtype)
        return MEANING[STREAMS[PACKINGS[node["packing"]]].mnemonic](o).astype(dtype, copy=False)

    def unpacked(self, node: Node, tensor: Array, *where: int) -> Array:
        """All packed weights as numbers, or (with panel, first byte, columns, bytes and a view) those of one panel."""
        assert isinstance(node.type, TensorType | TileType)
        dtype, packing = numpy_dtype(node.type.dtype), PACKINGS[node["packing"]]
        if not where:
            k, b = self.shape(node.type)[0], tensor.shape[1]
            return np.concatenate([self.unpacked(node, tensor, i, 0, k, b) for i in range(len(tensor))], 1)
        i, j, k, b, *view = where
        o = Operands(w=seen(tensor, view)[i:i + 1, j:j + b], k=k, b=b, shape=(k, 16), dtype=dtype)
        return MEANING[UNPACKS[packing].mnemonic](o).astype(dtype, copy=False)

    def quantised(self, node: Node, x: Array, *parts: Array) -> Array:
        return product(x, BY_NAME[node["form"]], node["activation"], self.shape(node.type)[-1], *parts)

    def elementwise(self, op: Op, node: Node, inputs: list[Any], types: list[Any]) -> Array:
        """Operands cropped to their common region; a tile of one column, or row, is used for all."""
        assert op.instr is not None
        shaped = isinstance(node.type, TensorType)
        if shaped:
            common = np.broadcast_shapes(*(x.shape for x in inputs))
            arrays = [as_matrix(np.broadcast_to(x, common)) for x in inputs]
            rows, cols = arrays[0].shape
        else:
            arrays = inputs
            rows, cols = (min((x.shape[axis] for x, size in zip(arrays, sizes, strict=True) if size > 1), default=1)
                          for axis, sizes in enumerate(zip(*((t.rows, t.cols) for t in types), strict=True)))
        arrays = [np.broadcast_to(x[:rows, :cols], (rows, cols)) for x in arrays]
        names = [o.name for o in op.instr.operands if o.kind is Kind.TILE and Role.OUT not in o.role]
        reduces = op.instr.operands[0].cols == 1
        assert isinstance(node.type, TensorType | TileType)
        o = Operands(**dict(zip(names, arrays, strict=True)), **dict(node.attrs), rows=rows, cols=cols, exact=True,
                     shape=(rows, 1 if reduces else cols), dtype=numpy_dtype(node.type.dtype))
        result = MEANING[op.instr.mnemonic](o).astype(o.dtype, copy=False)
        if not shaped:
            return result
        return result.reshape((*common[:-1], result.shape[1]) if common else ())

    # Block

    def instruction(self, row: Instr, node: Node, inputs: list[Any]) -> Any:
        """One instruction on tiles of full capacity."""
        values = iter(inputs)
        given: dict[str, Any] = dict(node.attrs)
        for operand in row.operands:
            made = operand.role is Role.OUT and operand.kind is Kind.TILE
            if operand.kind is not Kind.SCALAR:
                given[operand.name] = None if made else next(values)
        view = list(values)
        out = row.operands[row.memory[0]]
        stored = given[out.name]
        for operand in row.operands:
            if operand.kind is Kind.TENSOR and view:
                given[operand.name] = seen(given[operand.name], view)
        if given[out.name] is None:
            assert isinstance(node.type, TileType)
            given[out.name] = blank(node.type)
        else:
            given[out.name] = given[out.name] if out.kind is Kind.TENSOR else given[out.name].copy()
        made = apply(row, given, node.type)
        return stored if out.kind is Kind.TENSOR else made


def blank(tile: TileType) -> Array:
    """A tile that nothing was written to."""
    return unwritten((tile.rows, tile.cols), numpy_dtype(tile.dtype))


def unwritten(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """What nothing was written to: not-a-number, or the lowest integer."""
    return np.full(shape, np.iinfo(dtype).min if dtype.kind in "iu" else np.nan if dtype.kind != "b" else False, dtype)


def region(operand: Operand, array: Array, given: Mapping[str, Any], panel: bool) -> Array:
    """What an instruction touches of a tile or tensor."""
    rows, cols = (given[n] if isinstance(n, str) else n for n in (operand.rows, operand.cols))
    i, j = (given[n] if isinstance(n, str) else n for n in operand.at or (0, 0))
    if panel:
        cols = -(-cols // PANEL_COLS) * PANEL_COLS
    matrix = as_matrix(array)
    rows = len(matrix) if operand.rows == WHOLE else rows
    found = matrix[i:i + rows, j:j + cols]
    if found.shape != (rows, cols) or i < 0 or j < 0:
        raise CompilerBug(f"{operand.name}: {rows} x {cols} at {i}, {j} is outside of {matrix.shape}")
    return found


def apply(row: Instr, given: dict[str, Any], type: Any) -> Any:
    """Evaluate an instruction on whole tiles; gives the destination."""
    out = row.operands[row.memory[0]]
    destination = given[out.name]
    panels = isinstance(type, TileType) and type.layout is Layout.PANEL
    o = Operands(exact=True, **{k: v for k, v in given.items() if k != out.name})
    for position in row.memory:
        operand = row.operands[position]
        if Role.IN in operand.role:
            wide = panels and row is cube.TMATMUL and operand.name != "a"
            setattr(o, operand.name, region(operand, given[operand.name], given, wide))
    target = region(out, destination, given, panels)
    o.shape, o.dtype = target.shape, target.dtype
    target[...] = MEANING[row.mnemonic](o)[:, :target.shape[1]]
    return destination


class Flatten:
    """An Execution graph as a program without loops: every instruction with the operands it has.

    Attributes:
        nodes: the node of each instruction after the first ones, which are jumps to each core's own.
    """

    def __init__(self, root: Graph, target: Target, extents: Mapping[str, int]) -> None:
        self.root, self.target, self.extents = root, target, extents
        self.tiles = {b.name: i for i, b in enumerate(root.buffers)}
        self.code: list[Inst] = []
        self.nodes: list[Node | None] = []

    def run(self, cores: int) -> Program:
        """The instructions of each core after a jump to them."""
        start: list[int] = []
        for core in range(cores):
            start.append(cores + len(self.code))
            self.extents = {**self.extents, "core": core}
            self.block(self.root, {})
            self.code.append(Inst(scalar.HALT))
            self.nodes.append(None)
        jumps = [Inst(scalar.BLT, (Reg(0), core + 1, pc)) for core, pc in enumerate(start)]
        tiles = tuple(TileDecl(b.name, b.type, b.address, b.slots) for b in placed(self.root.buffers)
                      if isinstance(b.type, TileType))
        args = sorted((n["slot"], n["name"], n.type) for _, n in self.root.items() if n.op is ARG)
        tensors = tuple(TensorDecl(name, t.dtype, tuple(self.extents[d] if isinstance(d, str) else d for d in t.dims),
                                   True, True) for _, name, t in args if isinstance(t, TensorType))
        spans = list(dict.fromkeys(loc for node in self.nodes if node for loc in node.locs))
        where = {loc: i for i, loc in enumerate(spans)}
        lines = [() for _ in jumps] + [tuple(where[loc] for loc in node.locs) if node else () for node in self.nodes]
        return Program(self.root.name, self.target.name, (), tensors, tiles, (*jumps, *self.code), tuple(spans),
                       tuple(lines), declarations(self.root))

    def block(self, graph: Graph, env: dict[int, Any]) -> list[Any]:
        for key, node in graph.items():
            if key in env or node.op is ARG:
                continue
            inputs = [env[i] for i in node.inputs]
            if node.op is FOR:
                env[key] = self.loop(node, inputs)
            elif node.op is GET:
                env[key] = inputs[0][node["index"]]
            elif node.type == EFFECT:
                self.put(node, inputs)
            else:
                env[key] = self.integer(node, inputs)
        return [env[k] for k in graph.outputs]

    def integer(self, node: Node, inputs: list[int]) -> int:
        if node.op is CONST:
            return int(node["value"])
        return self.extents[node["name"]] if node.op is DIM else INTEGER_MEANING[node.op.name](*inputs)

    def loop(self, node: Node, inputs: list[Any]) -> list[Any]:
        body = node.body
        assert body is not None
        outer = dict(zip(node.inputs, inputs, strict=True))
        carried = inputs[LOOP_BOUNDS:LOOP_BOUNDS + node.carried]
        for counter in range(*inputs[:LOOP_BOUNDS]):
            env: dict[int, Any] = dict(zip(body.params, [counter, *carried], strict=False))
            env.update({inner: outer[key] for key, inner in captures(node)})
            carried = self.block(body, env)
        return carried

    def put(self, node: Node, inputs: list[int]) -> None:
        row = BY_MNEMONIC[node.op.name]
        attrs, values = dict(node.attrs), iter(inputs)
        names = iter(attrs.get("tiles", ()))
        args: list[Arg] = []
        for operand in row.operands:
            if operand.kind is Kind.TILE:
                args.append(TileRef(self.tiles[next(names)], next(values)))
            else:
                args.append(next(values) if operand.kind is Kind.INDEX else attrs[operand.name])
        self.code.append(Inst(row, tuple(args), tuple(attrs[attr.name] for attr in row.attrs)))
        self.nodes.append(node)


def placed(buffers: Sequence[Buffer]) -> list[Buffer]:
    """Buffers with addresses: those that have none yet one after the other, however large the memory must be."""
    found, end = [], max([b.address + b.type.nbytes * b.slots for b in buffers if isinstance(b.type, TileType)],
                         default=0)
    for b in buffers:
        assert isinstance(b.type, TileType)
        end = -(-end // DEFAULT.align) * DEFAULT.align
        found.append(b if b.address >= 0 else replace(b, address=end))
        end += b.type.nbytes * b.slots if b.address < 0 else 0
    return found


def roomy(target: Target, program: Program) -> Target:
    """A target whose memories hold the tiles of a program that was not fitted to them."""
    needs = {space: max([t.address + t.nbytes for t in program.tiles if t.type.space is space], default=0)
             for space, _ in target.capacity}
    return replace(target, capacity=tuple((space, max(n, needs[space])) for space, n in target.capacity))


def interpret(graph: Graph, tensors: Sequence[Array], extents: Mapping[str, int], *, cores: int = 1,
              order: str = "program", target: Target = DEFAULT, observe: Observer | None = None) -> list[Array]:
    """Run a graph of any level on arrays, one for each slot (results included), changed in place.

    Gives the outputs of a Tensor graph; for the other levels results are in `tensors`. `observe` is told what each
    node computes, in order.
    """
    if graph.level == "tensor":
        found: list[Array] = Interpreter(tensors, extents, observe).run(graph, {})
        return found
    if graph.level == "execution":
        flat = Flatten(graph, target, {**extents, "cores": cores})
        program = flat.run(cores)
        unplaced = any(b.address < 0 for b in graph.buffers)
        machine = SlowMachine(program, cores=cores, exact=True, order=order,
                              target=roomy(target, program) if unplaced else target)
        if observe is not None:
            machine.observe = lambda pc, value: observe(cast("Node", flat.nodes[pc - cores]), value)
        machine.run(tensors, ())
    else:
        Interpreter(tensors, {**extents, "core": 0, "cores": cores}, observe).run(graph, {})
    return list(tensors)
