"""Execution graph -> program: the only door from graphs to instructions.

Every integer gets a register, shared by a linear scan over the program: a value that is made before a loop
and used in it lives to the loop's end. Constants are immediates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pto.core.errors import CapacityError, Loc
from pto.core.target import Target
from pto.core.types import TensorType, TileType
from pto.ir.graph import Graph, Node, captures
from pto.ir.ops import ARG, CONST, DIM, FOR, GET, INDEX_OPS, PARAM
from pto.ir.views import declarations
from pto.isa.program import FIRST_PARAMETER, Arg, Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import REGISTERS, Instr, Kind, Role
from pto.isa.table import scalar
from pto.passes.accesses import Accesses
from pto.passes.analysis import SCRATCH

Value = int | Reg
Line = tuple[Loc, ...]


class Emitter:
    """Emits with as many registers as there are values, then maps them to the machine's."""

    def __init__(self, root: Graph) -> None:
        self.root = root
        self.code: list[Inst] = []
        self.lines: list[Line] = []
        self.loops: list[tuple[int, int]] = []
        self.fixed = {"core": 0, "cores": 1}
        self.fixed |= {s.name: FIRST_PARAMETER + i for i, s in enumerate(root.symbols)}
        self.count = FIRST_PARAMETER + len(root.symbols)
        self.tiles = {b.name: i for i, b in enumerate(root.buffers)}

    def fresh(self) -> Reg:
        self.count += 1
        return Reg(self.count - 1)

    def put(self, row: Instr, *args: Arg, line: Line = (), choices: tuple[str, ...] = ()) -> int:
        self.code.append(Inst(row, args, choices))
        self.lines.append(line)
        return len(self.code) - 1

    def block(self, graph: Graph, env: dict[int, Any]) -> None:
        for key, node in graph.items():
            if node.op is PARAM or node.op is ARG:
                continue
            if node.op is CONST:
                env[key] = int(node["value"])
            elif node.op is DIM:
                env[key] = Reg(self.fixed[node["name"]])
            elif node.op is GET:
                env[key] = env[node.inputs[0]][node["index"]]
            elif node.op is FOR:
                env[key] = self.loop(node, env)
            elif node.op.name in INDEX_OPS:
                env[key] = self.fresh()
                assert node.op.instr is not None
                self.put(node.op.instr, env[key], *(env[i] for i in node.inputs), line=node.locs)
            else:
                self.instruction(node, env)

    def loop(self, node: Node, env: dict[int, Any]) -> list[Value]:
        body = node.body
        assert body is not None
        low, high, step, *rest = (env[i] for i in node.inputs)
        counter, carried = self.fresh(), [self.fresh() for _ in range(node.carried)]
        inner: dict[int, Any] = dict(zip(body.params, [counter, *carried], strict=False))
        inner.update({k: env[outer] for outer, k in captures(node)})
        for register, value in zip((counter, *carried), (low, *rest[:node.carried]), strict=True):
            self.put(scalar.MOV, register, value, line=node.locs)
        skip = self.put(scalar.BGE, counter, high, 0, line=node.locs)
        top = len(self.code)
        self.block(body, inner)
        self.parallel_moves(carried, [inner[k] for k in body.outputs], node.locs)
        self.put(scalar.ADD, counter, counter, step, line=node.locs)
        self.put(scalar.BLT, counter, high, top, line=node.locs)
        self.code[skip] = Inst(scalar.BGE, (counter, high, len(self.code)))
        self.loops.append((skip, len(self.code) - 1))
        return list(carried)

    def parallel_moves(self, targets: Sequence[Reg], values: Sequence[Value], line: Line) -> None:
        """All targets get their values at once: a value that another move overwrites is saved first."""
        saved = {v: self.fresh() for i, v in enumerate(values) if v in targets[:i] and isinstance(v, Reg)}
        for old, register in saved.items():
            self.put(scalar.MOV, register, old, line=line)
        for target, value in zip(targets, values, strict=True):
            if target != value:
                self.put(scalar.MOV, target, saved.get(value, value) if isinstance(value, Reg) else value, line=line)

    def instruction(self, node: Node, env: dict[int, Any]) -> None:
        row = node.op.instr
        assert row is not None
        attrs = dict(node.attrs)
        names, values = iter(attrs.get("tiles", ())), (env[i] for i in node.inputs)
        args: list[Arg] = []
        for operand in row.operands:
            if operand.kind is Kind.TILE:
                args.append(TileRef(self.tiles[next(names)], next(values)))
            elif operand.kind is Kind.INDEX:
                args.append(next(values))
            else:
                args.append(attrs[operand.name])
        self.put(row, *args, line=node.locs, choices=tuple(attrs[attr.name] for attr in row.attrs))

    # registers

    def registers(self) -> None:
        """Map values to the machine's registers; raises CapacityError where they do not suffice."""
        ends: dict[int, tuple[int, int]] = {}
        for pc, inst in enumerate(self.code):
            for number in _registers(inst):
                first, _ = ends.get(number, (pc, pc))
                ends[number] = first, pc
        self._stretch(ends)
        reserved = FIRST_PARAMETER + len(self.root.symbols)
        mapping, free = {n: n for n in range(reserved)}, list(range(REGISTERS - 1, reserved - 1, -1))
        active: list[tuple[int, int]] = []
        for number, (first, last) in sorted(ends.items(), key=lambda item: item[1]):
            if number < reserved:
                continue
            for end, register in [a for a in active if a[0] < first]:
                active.remove((end, register))
                free.append(register)
            if not free:
                raise CapacityError(f"the kernel needs more than {REGISTERS} scalar registers at once",
                                    hint="split the kernel in two")
            free.sort(reverse=True)
            mapping[number] = free.pop()
            active.append((last, mapping[number]))
        self.code = [_renamed(inst, mapping) for inst in self.code]

    def _stretch(self, ends: dict[int, tuple[int, int]]) -> None:
        """Values made before a loop and used in it live to its end; inner loops were noted first."""
        for start, stop in self.loops:
            for number, (first, last) in ends.items():
                if first < start <= last < stop:
                    ends[number] = first, stop


def _registers(inst: Inst) -> list[int]:
    found = [a.offset if isinstance(a, TileRef) else a for a in inst.args]
    return [a.number for a in found if isinstance(a, Reg)]


def _renamed(inst: Inst, mapping: dict[int, int]) -> Inst:
    def new(arg: Any) -> Any:
        if isinstance(arg, TileRef):
            return replace(arg, offset=new(arg.offset))
        return Reg(mapping[arg.number]) if isinstance(arg, Reg) else arg

    return replace(inst, args=tuple(map(new, inst.args)))


def tensors(root: Graph) -> tuple[TensorDecl, ...]:
    """The argument slots, with what the program does to each."""
    read: set[int] = set()
    written: set[int] = set()
    slot = Accesses(root).slot
    for _, _, node in root.walk():
        if node.op.instr is not None:
            for operand in node.op.instr.operands:
                if operand.kind is Kind.TENSOR:
                    for role, slots in ((Role.OUT, written), (Role.IN, read)):
                        slots.update([slot(node[operand.name])] * (role in operand.role))
    found = sorted((n["slot"], n["name"], n.type, n["result"]) for _, n in root.items() if n.op is ARG)
    own = {slot for slot, _, _, result in found if result == SCRATCH}  # room of the program's own is for both
    return tuple(TensorDecl(name, t.dtype, t.dims, slot in written | own, slot in read | own, slot in own)
                 for slot, name, t, result in found if isinstance(t, TensorType))


def emit(root: Graph, target: Target) -> Program:
    """The program of a synchronised Execution graph."""
    emitter = Emitter(root)
    emitter.block(root, {})
    emitter.put(scalar.HALT, line=emitter.lines[-1] if emitter.lines else ())
    emitter.registers()
    spans = list(dict.fromkeys(loc for line in emitter.lines for loc in line))
    where = {loc: i for i, loc in enumerate(spans)}
    tiles = []
    for b in root.buffers:
        assert isinstance(b.type, TileType)
        tiles.append(TileDecl(b.name, b.type, b.address, b.slots))
    return Program(
        name=root.name, target=target.name,
        parameters=tuple(Parameter(s.name, s.low, s.high) for s in root.symbols),
        tensors=tensors(root), views=declarations(root), tiles=tuple(tiles), code=tuple(emitter.code),
        spans=tuple(replace(loc, text=loc.source()) for loc in spans),
        lines=tuple(tuple(where[loc] for loc in line) for line in emitter.lines),
    )
