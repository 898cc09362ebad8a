"""The fast machine equals the slow one: random operands of every instruction on every route, random scalar programs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.types import Space, TileType
from pto.isa.program import Arg, Inst, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Instr, Kind, Role, Route, Trait
from pto.isa.table import TABLE, cube, scalar, sync, vector
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind
from tests.sim.bounds import APPROXIMATE, FOLDS, ROUNDING, is_near, is_near_fold, terms_of
from tests.sim.cases import Case, stored

CASES = 10
VECTOR_ROWS = tuple(row for row in vars(vector).values() if isinstance(row, Instr))
ONE_OF_A_SIZE = ("f32", "bf16", "u8")  # stand for all in rows that keep bits


def names(row: Instr, route: Route, types: tuple[str, ...]) -> str:
    places = "-".join(f"{s.value}_{layout.value}" if s else "gm" for s, layout in route.places)
    return f"{row.mnemonic}-{places}-{'_'.join(types)}"


def is_tried(row: Instr, route: Route, types: tuple[str, ...]) -> bool:
    """Of types of one size that a row does not tell apart, one; what only products make in L0C has four bytes.

    Of the vector unit's rows every second tries a type beside its first one: `make conformance` tries them all.
    """
    if row in VECTOR_ROWS and types != row.dtypes[0]:
        return row.opcode % 2 == 0 and route is row.routes[0] and types == row.dtypes[row.opcode // 2 % len(row.dtypes)]
    accumulators = any(space is Space.L0C for space, _ in route.places)
    return Trait.BITS not in row.traits or types[0] in (("f32", "s32") if accumulators else ONE_OF_A_SIZE)


ROUTES = [(row, route, types) for row in TABLE for route in row.routes for types in row.dtypes
          if is_tried(row, route, types)]


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
        np.testing.assert_array_equal(two.view(np.uint8), one.view(np.uint8))
    return why


def generator(row: Instr, route: Route, types: tuple[str, ...], salt: int) -> np.random.Generator:
    return np.random.default_rng([row.opcode, row.routes.index(route), row.dtypes.index(types), salt])


@pytest.mark.parametrize(("row", "route", "types"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_exact_mode_is_the_meaning(row: Instr, route: Route, types: tuple[str, ...]) -> None:
    rng = generator(row, route, types, 0)
    for _ in range(CASES):
        case = Case(rng, row, route, types)
        assert assert_equal(case.program(), case.arrays) == ""


@pytest.mark.parametrize("types", cube.STREAMED, ids="-".join)
@pytest.mark.parametrize("row", [cube.TGEMV_STREAM, cube.TGEMV_STREAM_ACC], ids=lambda row: row.mnemonic)
def test_streams_of_rows_of_any_length_are_the_meaning(row: Instr, types: tuple[str, ...]) -> None:
    """Rows of several rounds, with a rest and without; next to each other and apart; short ones and long ones."""
    rng = generator(row, row.routes[0], types, 3)
    for k in (64, 129, 256, 257, 608):
        for _ in range(CASES // 2):
            case = Case(rng, row, row.routes[0], types, {"n": 11, "k": k, "j": 0})
            assert assert_equal(case.program(), case.arrays) == ""


WRONG = [-1, -64, 2**31, 2**62, 2**63 - 1, -(2**63)]
PERHAPS_WRONG = [1, 17, 32, 41, 64, 640]  # indices that nobody wrote may differ, so not where there are some


def corrupted(case: Case) -> Program:
    """The program with one or two operands of its instruction replaced; from registers, half of the time."""
    rng, program = case.rng, case.program()
    args = list(program.code[case.at].args)
    before: list[Inst] = []
    legal = [i for i, o in enumerate(case.row.operands) if o.kind in (Kind.INDEX, Kind.TILE)]
    for register, i in enumerate(rng.choice(legal, int(rng.integers(1, 3)), replace=False).tolist()):
        value: int | Reg = int(rng.choice(WRONG if any(o.picks for o in case.row.operands) else WRONG + PERHAPS_WRONG))
        if rng.random() < 0.5:
            before.append(Inst(scalar.MOV, (Reg(10 + register), value)))
            value = Reg(10 + register)
        arg = args[i]
        args[i] = TileRef(arg.tile, value) if isinstance(arg, TileRef) else value
    wrong = replace(program.code[case.at], args=tuple(args))
    code = (*program.code[:case.at], *before, wrong, *program.code[case.at + 1:])
    return replace(program, code=code)


@pytest.mark.parametrize(("row", "route", "types"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_wrong_operands_trap_alike(row: Instr, route: Route, types: tuple[str, ...]) -> None:
    rng = generator(row, route, types, 1)
    trapped = 0
    for _ in range(2 * CASES):
        case = Case(rng, row, route, types)
        # Where nothing is wrong after all, an operand may name bytes that nobody wrote.
        trapped += assert_equal(corrupted(case), case.arrays, finished=False) != ""
    assert trapped > CASES // 2


@pytest.mark.parametrize(("row", "route", "types"), ROUTES, ids=itertools.starmap(names, ROUTES))
def test_fast_mode_is_near_the_meaning(row: Instr, route: Route, types: tuple[str, ...]) -> None:
    """Folds of rows within gamma_n of the magnitudes; all else within units in the last place."""
    rng = generator(row, route, types, 2)
    for _ in range(CASES // 2):
        case = Case(rng, row, route, types)
        program = case.program()
        slow, _ = run(SlowMachine(program), case.arrays)
        fast, why = run(Machine(program), case.arrays)
        assert why == ""
        for i, (one, two) in enumerate(zip(slow, fast, strict=True)):
            close = is_near(one, two, APPROXIMATE.get(row, 1))
            if row in FOLDS and types[0] in ROUNDING and i == case.drained[case.used["dst"][0]]:
                rows, cols = case.numbers["rows"], case.numbers["cols"]
                a, b = (case.arrays[case.filled[case.used[n][0]]][:rows, :cols] if n in case.used else None
                        for n in "ab")
                terms = terms_of(row, a, b)
                close[:rows, 0] = is_near_fold(row, terms, one[:rows, 0], two[:rows, 0])
            assert close.all()


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
    for place, register in enumerate(REGISTERS):
        code += stored(register, 0, 0, 4 * place)
    return Program("scalars", "V2", tensors=(TensorDecl("y", F32, (8 * 4,), written=True),),
                   tiles=(TileDecl("t", TileType(F32, 1, 1, Space.UB), 0),), code=(*code, Inst(scalar.HALT)))


def test_random_scalar_programs_agree() -> None:
    rng = np.random.default_rng(11)
    seen = set()
    for _ in range(150):
        why = assert_equal(scalar_program(rng), [np.zeros(32, np.float32)], cores=2)
        seen.add(why.split(" ")[0])
    assert {"", TrapKind.DIVIDE_BY_ZERO.name, TrapKind.FLAG_NOT_SET.name} <= seen


def test_every_role_is_covered() -> None:
    assert {o.role for row, *_ in ROUTES for o in row.operands if o.is_memory} == {Role.IN, Role.OUT, Role.INOUT}
