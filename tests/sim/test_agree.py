"""The fast machine equals the slow one: random operands of every instruction on every route, random scalar programs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.types import PANEL_COLS, Layout, Space, TileType
from pto.isa.program import Arg, Inst, Program, Reg, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.spec import Instr, Kind, Operand, Role, Route
from pto.isa.table import TABLE, cube, move, scalar, sync, vector
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind

CASES = 10
ROUTES = [(row, route) for row in TABLE for route in row.routes]
EDGES = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F812345, 0xFFC54321, 1, 0x80000003, 0x007FFFFF,
                  0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0x42B17218, 0xC2CFF1B5], np.uint32).view(np.float32)
EYE, LARGEST = 64, 40
APART = {Space.L1: 1 << 18, Space.L0A: 1 << 15, Space.L0B: 1 << 15, Space.L0C: 1 << 17}  # where staging tiles begin
CAPACITIES = [(Space.L1, Layout.ROW), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL), (Space.L0C, Layout.PANEL)]
Reader = Callable[[str], int]


def names(row: Instr, route: Route) -> str:
    places = "-".join(f"{s.value}_{layout.value}" if s else "gm" for s, layout in route.places)
    return f"{row.mnemonic}-{places}"


class Case:
    """One instruction on tiles full of numbers, all of which are stored afterwards."""

    def __init__(self, rng: np.random.Generator, row: Instr, route: Route) -> None:
        self.rng, self.row, self.route = rng, row, route
        self.tiles: list[TileDecl] = []
        self.tensors: list[TensorDecl] = []
        self.arrays: list[np.ndarray] = []
        self.views: list[tuple[ViewDecl, tuple[int, ...]]] = []
        self.code: list[Inst] = []
        self.free = dict.fromkeys(Space, 0)
        plain = any(space is not Space.UB for space, _ in route.places if space)
        self.wild = not plain
        self.eye = self.tensor(np.eye(EYE, dtype=np.float32))
        self.numbers = {o.name: int(rng.integers(0, LARGEST)) for o in row.operands if o.kind is Kind.INDEX}
        self.numbers |= {name: int(rng.integers(0, 5)) for name in ("i", "j", "acc") if name in self.numbers}
        self.places = dict(zip((row.operands[i].name for i in row.memory), route.places, strict=True))
        self.used: dict[str, tuple[int, int]] = {}  # tile and offset, or -1 and tensor
        self.filled: dict[int, int] = {}  # tensors by the tiles that they are loaded to
        self.drained: dict[int, int] = {}  # tensors by the tiles that are stored to them
        for position in row.memory:
            self.operand(row.operands[position])
        for tile, offset in set(self.used.values()):
            if tile >= 0:
                self.fill(tile, offset)
        for number, (view, numbers) in enumerate(self.views):
            self.add(scalar.TVIEW, -1 - number, view.tensor, *numbers)
        self.at = len(self.code)
        self.code.append(Inst(row, tuple(self.argument(o) for o in row.operands)))
        for tile, offset in sorted(set(self.used.values())):
            if tile >= 0:
                self.drain(tile, offset)
        self.code.append(Inst(scalar.HALT))

    def values(self, *shape: int) -> np.ndarray:
        scale = self.rng.choice([1, 30, 1e-20, 1e19])
        x = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return np.where(self.rng.random(shape) < 0.2 * self.wild, self.rng.choice(EDGES, shape), x).astype(np.float32)

    def tensor(self, array: np.ndarray) -> int:
        self.tensors.append(TensorDecl(f"x{len(self.tensors)}", F32, array.shape, written=True))
        self.arrays.append(array)
        return len(self.tensors) - 1

    def view(self, rows: int, cols: int) -> int:
        """A view of rows x cols of a tensor, its rows or its columns next to each other or not; its own number."""
        apart = int(self.rng.choice([1, 1, 3]))
        strides = ((cols - 1) * apart + 1 + int(self.rng.integers(0, 3)), apart)
        if self.rng.random() < 0.5:
            strides = (apart, (rows - 1) * apart + 1 + int(self.rng.integers(0, 3)))
        offset = int(self.rng.integers(0, 9))
        last = offset + (rows - 1) * strides[0] + (cols - 1) * strides[1]
        tensor = self.tensor(self.values(1, last + 1 + int(self.rng.integers(0, 3))))
        self.views.append((ViewDecl(f"v{len(self.views)}", tensor), (offset, rows, cols, *strides)))
        return -len(self.views)

    def tile(self, kind: TileType, address: int, slots: int = 1) -> int:
        self.tiles.append(TileDecl(f"t{len(self.tiles)}", kind, address, slots))
        return len(self.tiles) - 1

    def extent(self, side: str | int) -> int:
        return side if isinstance(side, int) else self.numbers[side]

    def operand(self, operand: Operand) -> None:
        """Declare what an operand names, large enough; sometimes a tile that an earlier operand names."""
        rows, cols = self.extent(operand.rows), self.extent(operand.cols)
        slack = self.rng.integers(0, 4, 2).tolist()
        first = [self.numbers[name] for name in operand.at] if operand.at else [0, 0]
        rows, cols = max(1, rows + first[0] + slack[0]), max(1, cols + first[1] + slack[1])
        if operand.kind is Kind.TENSOR:
            made = self.view if self.rng.random() < 0.4 else lambda *shape: self.tensor(self.values(*shape))
            self.used[operand.name] = (-1, made(rows, cols))
            return
        space, layout = self.places[operand.name]
        assert space is not None
        for name, (tile, offset) in self.used.items():
            if self.places[name] == (space, layout) and slack[0]:
                kind = self.tiles[tile].type
                if kind.rows >= rows and kind.cols >= cols:
                    self.used[operand.name] = (tile, offset)
                    return
        cols = -(-cols // PANEL_COLS) * PANEL_COLS if layout is Layout.PANEL else 1 if operand.cols == 1 else cols
        kind = TileType(F32, rows, cols, space, layout)
        offset = int(self.rng.integers(0, kind.nbytes // 64 + 1)) * 64
        self.used[operand.name] = (self.tile(kind, self.free[space], 2), offset)
        self.free[space] += -(-2 * kind.nbytes // 64) * 64

    def argument(self, operand: Operand) -> Arg:
        if operand.kind is Kind.TILE:
            return TileRef(*self.used[operand.name])
        if operand.kind is Kind.TENSOR:
            return self.used[operand.name][1]
        return self.numbers[operand.name] if operand.kind is Kind.INDEX else float(self.rng.choice([0.1, -3.7, 1e300]))

    def add(self, row: Instr, *args: Arg) -> None:
        self.code.append(Inst(row, args))

    def staged(self, space: Space, rows: int, cols: int, tensor: int) -> TileRef:
        """A tile in L0A or L0B with the first elements of a tensor."""
        layout = dict(CAPACITIES)[space]
        wide = -(-cols // PANEL_COLS) * PANEL_COLS
        source = TileRef(self.tile(TileType(F32, rows, cols, Space.L1), APART[Space.L1]))
        kind = TileType(F32, rows, wide if layout is Layout.PANEL else cols, space, layout)
        result = TileRef(self.tile(kind, APART[space]))
        self.add(move.TLOAD, source, tensor, 0, 0, rows, cols)
        self.add(move.TEXTRACT, result, source, 0, 0, rows, cols)
        return result

    def fill(self, tile: int, offset: int) -> None:
        """Give every element of a tile a number."""
        kind, target = self.tiles[tile].type, TileRef(tile, offset)
        r, c = kind.rows, kind.cols
        tensor = self.filled[tile] = self.tensor(self.values(r, c))
        if kind.space in (Space.UB, Space.L1):
            self.add(move.TLOAD, target, tensor, 0, 0, r, c)
        elif kind.space is Space.L0C:
            left, right = self.staged(Space.L0A, r, c, tensor), self.staged(Space.L0B, c, c, self.eye)
            self.add(cube.TMATMUL, target, left, right, r, c, c, 0)
        else:
            source = TileRef(self.tile(TileType(F32, r, c, Space.L1), APART[Space.L1]))
            self.add(move.TLOAD, source, tensor, 0, 0, r, c)
            self.add(move.TEXTRACT, target, source, 0, 0, r, c)

    def drain(self, tile: int, offset: int) -> None:
        """Store every element of a tile: what is in L1, L0A or L0B by way of a product with ones."""
        kind, source = self.tiles[tile].type, TileRef(tile, offset)
        r, c = kind.rows, kind.cols
        tensor = self.drained[tile] = self.tensor(np.zeros((r, c), np.float32))
        if kind.space in (Space.UB, Space.L0C):
            self.add(move.TSTORE, tensor, source, 0, 0, r, c)
            return
        wide = -(-c // PANEL_COLS) * PANEL_COLS
        product = TileRef(self.tile(TileType(F32, r, wide, Space.L0C, Layout.PANEL), APART[Space.L0C]))
        if kind.space is Space.L0B:
            self.add(cube.TMATMUL, product, self.staged(Space.L0A, r, r, self.eye), source, r, c, r, 0)
        else:
            if kind.space is Space.L1:
                left = TileRef(self.tile(TileType(F32, r, c, Space.L0A), APART[Space.L0A]))
                self.add(move.TEXTRACT, left, source, 0, 0, r, c)
                source = left
            self.add(cube.TMATMUL, product, source, self.staged(Space.L0B, c, c, self.eye), r, c, c, 0)
        self.add(move.TSTORE, tensor, product, 0, 0, r, c)

    def program(self) -> Program:
        written = {number for inst in self.code for number in self.written(inst)}
        tensors = tuple(replace(t, written=i in written) for i, t in enumerate(self.tensors))
        decls = {"tensors": tensors, "tiles": tuple(self.tiles), "views": tuple(v for v, _ in self.views)}
        return Program("case", "V2", code=tuple(map(self.numbered, self.code)), **decls)

    def written(self, inst: Inst) -> Iterator[int]:
        """Tensors that an instruction stores to, by themselves or by a view: only loads from others can be loans."""
        for operand, arg in zip(inst.spec.operands, inst.args, strict=True):
            if operand.kind is Kind.TENSOR and Role.OUT in operand.role:
                yield arg if arg >= 0 else self.views[-1 - arg][0].tensor

    def numbered(self, inst: Inst) -> Inst:
        """The instruction with views numbered behind all tensors."""
        surfaces = [i for i, o in enumerate(inst.spec.operands) if o.kind in (Kind.TENSOR, Kind.SLOT)]
        args = [len(self.tensors) - 1 - a if i in surfaces and a < 0 else a for i, a in enumerate(inst.args)]
        return Inst(inst.spec, tuple(args))


def run(machine: Machine | SlowMachine, arrays: list[np.ndarray]) -> tuple[list[np.ndarray], str]:
    """The tensors afterwards, and what was trapped, if anything."""
    tensors = [a.copy() for a in arrays]
    try:
        machine.run(tensors, [])
    except MachineTrap as err:
        return tensors, f"{err.kind.name} {err.pc} {err.core} {err}"
    return tensors, ""


def assert_equal(program: Program, arrays: list[np.ndarray], cores: int = 1, *, finished: bool = True) -> str:
    """Run a program on both machines and compare; what a `finished` run has stored may be left out."""
    slow, why = run(SlowMachine(program, cores=cores), arrays)
    fast, also = run(Machine(program, cores=cores, exact=True), arrays)
    assert also == why
    for one, two in zip(slow, fast, strict=True) if why or finished else ():
        np.testing.assert_array_equal(two.view(np.uint32), one.view(np.uint32))
    return why


def generator(row: Instr, route: Route, salt: int) -> np.random.Generator:
    return np.random.default_rng([row.opcode, row.routes.index(route), salt])


@pytest.mark.parametrize(("row", "route"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_exact_mode_is_the_meaning(row: Instr, route: Route) -> None:
    rng = generator(row, route, 0)
    for _ in range(CASES):
        case = Case(rng, row, route)
        assert assert_equal(case.program(), case.arrays) == ""


def corrupted(case: Case) -> Program:
    """The program with one or two operands of its instruction replaced; from registers, half of the time."""
    rng, program = case.rng, case.program()
    args = list(program.code[case.at].args)
    before: list[Inst] = []
    legal = [i for i, o in enumerate(case.row.operands) if o.kind in (Kind.INDEX, Kind.TILE)]
    for register, i in enumerate(rng.choice(legal, int(rng.integers(1, 3)), replace=False).tolist()):
        value: int | Reg = int(rng.choice([-1, -64, 1, 17, 32, 41, 64, 640, 2**31, 2**62, 2**63 - 1, -(2**63)]))
        if rng.random() < 0.5:
            before.append(Inst(scalar.MOV, (Reg(10 + register), value)))
            value = Reg(10 + register)
        arg = args[i]
        args[i] = TileRef(arg.tile, value) if isinstance(arg, TileRef) else value
    code = (*program.code[:case.at], *before, Inst(case.row, tuple(args)), *program.code[case.at + 1:])
    return replace(program, code=code)


@pytest.mark.parametrize(("row", "route"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_wrong_operands_trap_alike(row: Instr, route: Route) -> None:
    rng = generator(row, route, 1)
    trapped = 0
    for _ in range(2 * CASES):
        case = Case(rng, row, route)
        # Where nothing is wrong after all, an operand may name bytes that nobody wrote.
        trapped += assert_equal(corrupted(case), case.arrays, finished=False) != ""
    assert trapped > CASES // 2


@pytest.mark.parametrize(("row", "route"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_fast_mode_is_near_the_meaning(row: Instr, route: Route) -> None:
    """Row sums within gamma_n times the sum of magnitudes; all else within one unit in the last place."""
    rng = generator(row, route, 2)
    for _ in range(CASES // 2):
        case = Case(rng, row, route)
        program = case.program()
        slow, _ = run(SlowMachine(program), case.arrays)
        fast, why = run(Machine(program), case.arrays)
        assert why == ""
        for i, (one, two) in enumerate(zip(slow, fast, strict=True)):
            close = np.abs(ordered(one) - ordered(two)) <= 1
            if row is vector.TROWSUM and i == case.drained[case.used["dst"][0]]:
                close[: case.numbers["rows"], 0] = sums_are_close(case, one, two)
            assert (close | (np.isnan(one) & np.isnan(two))).all()


def ordered(x: np.ndarray) -> np.ndarray:
    """Integers in the order of the numbers, next to each other for numbers that are."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def sums_are_close(case: Case, exact: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Whether each row's sum is within gamma_n times the sum of magnitudes of the true sum, if that is finite."""
    rows, cols = case.numbers["rows"], case.numbers["cols"]
    with np.errstate(all="ignore"):
        terms = case.arrays[case.filled[case.used["a"][0]]][:rows, :cols].astype(np.float64)
        bound = np.abs(terms).sum(axis=1) * (cols * 2.0**-24 / (1 - cols * 2.0**-24))
        near = np.abs(fast[:rows, 0] - terms.sum(axis=1)) <= bound
        return near | ~(np.abs(terms).sum(axis=1) < 3e38) & ~np.isfinite(exact[:rows, 0])


REGISTERS = range(4, 12)
INTERESTING = [0, 1, -1, 2, 7, -7, 64, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63), 3037000500]
ARITHMETIC = [row for row in vars(scalar).values() if isinstance(row, Instr) and row.operands[:1] == (scalar.DEST,)]


def scalar_program(rng: np.random.Generator) -> Program:
    """Random arithmetic, forward branches, some flags, one counted loop; then all bits of eight registers."""
    def source() -> Arg:
        return Reg(int(rng.choice(REGISTERS))) if rng.random() < 0.7 else int(rng.choice(INTERESTING))
    length, top = 60, 8
    code = [Inst(scalar.MOV, (Reg(r), int(rng.choice(INTERESTING)))) for r in REGISTERS]
    for pc in range(top, top + length):
        draw = rng.random()
        ahead = pc + 1 + int(rng.integers(0, 6))
        if draw < 0.15:
            code.append(Inst(scalar.BLT if draw < 0.07 else scalar.BGE, (source(), source(), ahead)))
        elif draw < 0.17:
            code.append(Inst(scalar.JMP, (ahead,)))
        elif draw < 0.19:
            code.append(Inst(sync.SET_FLAG if draw < 0.18 else sync.WAIT_FLAG, (2, 3, int(rng.integers(0, 9)))))
        else:
            row = ARITHMETIC[int(rng.integers(len(ARITHMETIC)))]
            code.append(Inst(row, (Reg(int(rng.choice(REGISTERS))), *(source() for _ in row.operands[1:]))))
    code += [Inst(scalar.MOV, (Reg(30), 0))] * 5  # where the last branches may land
    code += [Inst(scalar.ADD, (Reg(31), Reg(31), 1)), Inst(scalar.BLT, (Reg(31), 3, top))]
    for place, (register, part) in enumerate(itertools.product(REGISTERS, range(4))):
        code += stored(register, part, place)
    return Program("scalars", "V2", tensors=(TensorDecl("y", F32, (8 * 4,), written=True),),
                   tiles=(TileDecl("t", TileType(F32, 1, 1, Space.UB), 0),), code=(*code, Inst(scalar.HALT)))


def stored(register: int, part: int, place: int) -> list[Inst]:
    """Store sixteen bits of a register, as the first bits of the mantissa of a number from 1 to 2."""
    bits, tile = Reg(40), TileRef(0)
    return [
        Inst(scalar.DIV, (bits, Reg(register), 1 << 16 * part)), Inst(scalar.MOD, (bits, bits, 1 << 16)),
        Inst(scalar.MADD, (bits, bits, 1 << 36, 0x3FF << 52)), Inst(vector.TEXPANDS, (tile, bits, 1, 1)),
        Inst(move.TSTORE, (0, tile, 0, place, 1, 1)),
    ]


def test_random_scalar_programs_agree() -> None:
    rng = np.random.default_rng(11)
    seen = set()
    for _ in range(150):
        why = assert_equal(scalar_program(rng), [np.zeros(32, np.float32)], cores=2)
        seen.add(why.split(" ")[0])
    assert {"", TrapKind.DIVIDE_BY_ZERO.name, TrapKind.FLAG_NOT_SET.name} <= seen


def test_every_role_is_covered() -> None:
    assert {o.role for row, _ in ROUTES for o in row.operands if o.is_memory} == {Role.IN, Role.OUT, Role.INOUT}
