"""Random legal instructions and programs, drawn from the table: a new row is covered as it lands."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import assume
from hypothesis import strategies as st

from pto.core.dtypes import DTYPES
from pto.core.errors import Loc
from pto.core.target import BY_NAME, TARGETS, Target
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.codec import INT_MAX, INT_MIN
from pto.isa.program import Arg, Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.spec import REGISTERS, Instr, Kind, Pipe, Route, Trait
from pto.isa.table import BY_MNEMONIC, TABLE
from pto.isa.table.scalar import TVIEW

PLACES = tuple(sorted(
    {place for row in TABLE for route in row.routes for place in route.places if place[0] is not None},
    key=lambda place: (place[0].value, place[1].value),
))
ELEMENTS = tuple(sorted({name for row in TABLE for names in row.dtypes for name in names}))
HALT = next(row for row in TABLE if Trait.HALT in row.traits)
ORDINARY = tuple(row for row in TABLE if row is not HALT)

registers = st.integers(0, REGISTERS - 1).map(Reg)
integers = st.one_of(
    st.sampled_from((0, 1, -1, 16, 64, INT_MIN, INT_MAX)), st.integers(-300, 300), st.integers(INT_MIN, INT_MAX)
)
scalars = st.one_of(
    st.sampled_from((0.0, -0.0, 1.0, 5e-324, math.inf, -math.inf, math.nan)), st.floats(allow_nan=False)
)
targets = st.sampled_from(TARGETS)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,7}", fullmatch=True)
texts = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), include_characters="\t"), max_size=30)
spans = st.builds(Loc, texts, st.integers(0, 9999), st.integers(0, 99), st.integers(0, 99), texts)


@dataclass(frozen=True)
class Declared:
    """What instructions may name: one tile and more for each legal place and element type, some tensors and views."""

    target: Target
    parameters: tuple[Parameter, ...]
    tensors: tuple[TensorDecl, ...]
    views: tuple[ViewDecl, ...]
    tiles: tuple[TileDecl, ...]

    def surfaces(self, dtype: str) -> list[int]:
        """Numbers of the tensors and views of an element type."""
        of = [*range(len(self.tensors)), *(view.tensor for view in self.views)]
        return [number for number, tensor in enumerate(of) if self.tensors[tensor].dtype.name == dtype]


@st.composite
def tiles(draw: st.DrawFn, name: str, space: Space, layout: Layout, dtype: str, target: Target) -> TileDecl:
    """A tile that fits its memory."""
    rows = draw(st.integers(1, 64))
    cols = {Layout.COL: st.just(1), Layout.ROW: st.integers(1, 64),
            Layout.PANEL: st.integers(1, 4).map(lambda n: n * PANEL_COLS)}[layout]
    kind = TileType(DTYPES[dtype], rows, draw(cols), space, layout)
    slots = draw(st.integers(1, 3)) if kind.nbytes % target.align == 0 else 1
    room = (target.bytes_of(space) - kind.nbytes * slots) // target.align
    return TileDecl(name, kind, draw(st.integers(0, room)) * target.align, slots)


@st.composite
def declarations(draw: st.DrawFn) -> Declared:
    """A target, parameters, tensors, views and tiles."""
    target = draw(targets)
    bounds = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)).map(sorted)
    symbols = draw(st.lists(names, unique=True, max_size=3))
    parameters = tuple(Parameter(name, *draw(bounds)) for name in symbols)
    dims = st.lists(st.one_of(st.integers(1, 512), *map(st.just, symbols)), max_size=3).map(tuple)
    called = draw(st.lists(names, unique=True, min_size=1, max_size=3))
    kinds = [DTYPES[name] for name in ELEMENTS]
    tensors = [TensorDecl(name, dtype, draw(dims), True, True) for dtype in kinds for name in called]
    tensors = [TensorDecl(f"{t.name}_{i}", t.dtype, t.dims, True, True) for i, t in enumerate(tensors)]
    views = tuple(ViewDecl(f"v{i}", i % len(tensors)) for i in range(draw(st.integers(1, 3))))
    more = draw(st.lists(st.sampled_from(PLACES), max_size=3))
    every = [(place, dtype) for place in (*PLACES, *more) for dtype in ELEMENTS]
    return Declared(target, parameters, tuple(tensors), views, tuple(
        draw(tiles(f"{space.value}_{i}", space, layout, dtype, target))
        for i, ((space, layout), dtype) in enumerate(every)
    ))


@st.composite
def instructions(draw: st.DrawFn, declared: Declared | None = None, rows: tuple[Instr, ...] = ORDINARY,
                 pc: int = 0, length: int = 100) -> Inst:
    """Any row of `rows` with legal operands; from `pc` in a program of `length`, only comparisons jump back."""
    declared = declared or draw(declarations())
    spec = draw(st.sampled_from(rows))
    if spec is TVIEW:
        return _tview(draw, declared)
    memory = _memory(draw, declared, spec)
    args: list[Arg] = []
    known = _regions(draw, declared, spec, memory)
    pipes = iter(draw(st.permutations([int(p) for p in Pipe if p is not Pipe.S])))
    simple = {Kind.SCALAR: st.one_of(scalars, registers), Kind.DEST: registers,
              Kind.INDEX: st.one_of(integers, registers)}
    forward = all(o.kind is Kind.LABEL for o in spec.operands)
    for position, operand in enumerate(spec.operands):
        if position in memory:
            args.append(memory[position])
        elif operand.name in known:
            args.append(known[operand.name])
        elif operand.kind is Kind.LABEL:
            args.append(draw(st.integers(min(pc + 1, length - 1) if forward else 0, length - 1)))
        elif operand.kind is Kind.PIPE:
            args.append(next(pipes))
        elif operand.name == "core":
            args.append(draw(st.one_of(st.integers(0, declared.target.cores - 1), registers)))
        elif operand.name == "id":
            args.append(draw(st.one_of(st.integers(0, declared.target.flags - 1), registers)))
        else:
            args.append(draw(simple[operand.kind]))
    return Inst(spec, tuple(args), tuple(draw(st.sampled_from(attr.values)) for attr in spec.attrs))


def _tview(draw: st.DrawFn, declared: Declared) -> Inst:
    """A view set to some elements of its tensor, or outside."""
    number = draw(st.integers(0, len(declared.views) - 1))
    sizes = st.one_of(st.integers(0, 600), st.just(INT_MAX), registers)
    numbers = [draw(sizes) for _ in TVIEW.operands[2:]]
    return Inst(TVIEW, (len(declared.tensors) + number, declared.views[number].tensor, *numbers))


def _memory(draw: st.DrawFn, declared: Declared, spec: Instr) -> dict[int, Arg]:
    """A legal tile or tensor for each memory operand, by position."""
    if not spec.routes:
        return {}
    route: Route = draw(st.sampled_from(spec.routes))
    kinds = draw(st.sampled_from(spec.dtypes))
    found: dict[int, Arg] = {}
    least = [[e if isinstance(e, int) else 0 for e in (spec.operands[p].rows, spec.operands[p].cols)]
             for p in spec.memory]
    for n, position in enumerate(spec.memory):
        dtype, place = kinds[n % len(kinds)], route.places[n]
        if place[0] is None:
            found[position] = draw(st.sampled_from(declared.surfaces(dtype)))
            continue
        legal = [i for i, t in enumerate(declared.tiles)
                 if (t.type.space, t.type.layout) == place and t.type.dtype.name == dtype
                 and t.type.rows >= least[n][0] and t.type.cols >= least[n][1]]
        assume(legal)  # a few instructions have operands of a fixed extent, and tiles may be smaller
        number = draw(st.sampled_from(legal))
        decl = declared.tiles[number]
        slot = st.integers(0, decl.slots - 1).map(lambda n, size=decl.type.nbytes: n * size)
        found[position] = TileRef(number, draw(st.one_of(slot, registers)))
    return found


def _regions(draw: st.DrawFn, declared: Declared, spec: Instr, memory: dict[int, Arg]) -> dict[str, Arg]:
    """Extents and positions that lie within every tile they speak of."""
    limits: dict[str, int] = {}
    starts: dict[str, list[tuple[str | int, int]]] = {}
    for position, arg in memory.items():
        operand = spec.operands[position]
        kind = declared.tiles[arg.tile].type if isinstance(arg, TileRef) else None
        ends = (512, 512) if kind is None else (kind.rows, kind.cols)
        for extent, end in zip((operand.rows, operand.cols), ends, strict=True):
            if isinstance(extent, str):
                limits[extent] = min(limits.get(extent, end), end)
        for start, extent, end in zip(operand.at or (), (operand.rows, operand.cols), ends, strict=False):
            if isinstance(start, int):
                continue
            starts.setdefault(start, []).append((extent, end))
    known: dict[str, Arg] = {n: draw(st.one_of(st.integers(0, end), registers)) for n, end in limits.items()}
    for start, uses in starts.items():
        sizes = [(e if isinstance(e, int) else known[e], end) for e, end in uses]
        room = min(end - (size if isinstance(size, int) else 0) for size, end in sizes)
        known[start] = draw(st.one_of(st.integers(0, room), registers))
    return known


@st.composite
def programs(draw: st.DrawFn, max_instructions: int = 12, rows: tuple[Instr, ...] = ORDINARY) -> Program:
    """A program that `check` accepts: any instructions of `rows`, each flag relation complete, a halt at the end."""
    declared = draw(declarations())
    count = draw(st.integers(0, max_instructions))
    code = [draw(instructions(declared, rows, pc, count + 1)) for pc in range(count)]
    code += [*_partners(code), Inst(HALT)]
    sources = tuple(draw(st.lists(spans, max_size=3)))
    lines: tuple[tuple[int, ...], ...] = ()
    if sources and draw(st.booleans()):
        numbers = st.lists(st.integers(0, len(sources) - 1), max_size=2).map(tuple)
        lines = tuple(draw(numbers) for _ in code)
    name, title = draw(names), draw(st.sampled_from([n for n in BY_NAME if BY_NAME[n] is declared.target]))
    return Program(name, title, declared.parameters, declared.tensors, declared.tiles, tuple(code), sources,
                   lines if any(lines) else (), declared.views)


def _partners(code: list[Inst]) -> list[Inst]:
    """The set for each wait that has none, and the wait for each set."""
    other = {"set_flag": "wait_flag", "wait_flag": "set_flag"}
    used = {(inst.spec.mnemonic, inst.args[:2]) for inst in code if inst.spec.mnemonic in other}
    missing = sorted((other[name], ends) for name, ends in used if (other[name], ends) not in used)
    present = {inst.spec.mnemonic for inst in code}
    events = [Inst(BY_MNEMONIC[name], args) for name, args, partner in (
        ("event_set", (0, 0, 0), "event_wait"), ("event_wait", (0, 0), "event_set"),
    ) if partner in present and name not in present]
    return [*(Inst(BY_MNEMONIC[name], (*ends, 0)) for name, ends in missing), *events]
