"""The fast machine against the slow one: every instruction on random regions, every trap, fuel, cores, threads."""

import itertools
import struct
import threading

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.errors import CompilerBug, FuelError, ProgramError, PtoError, ShapeError, TrapError, UsageError
from pto.core.types import Layout, Space, TileType
from pto.isa.exact_math import exp_f32
from pto.isa.meaning.scalar import MEANING
from pto.isa.program import Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Instr, Kind, Pipe
from pto.isa.table import BY_MNEMONIC, vector
from pto.sim.link import link
from pto.sim.machine import Changed, Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind

ODD = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3e38, -3e38, 88.7, 89.5, -87.5, -103.97, -104.5, 1.0, -1.0],
    np.float32,
)
ODD_NAN = np.uint32(0xFFA12345).view(np.float32)  # a signalling NaN with a payload and a sign
TILE_BYTES = 16384
VECTOR = [row for row in vars(vector).values() if isinstance(row, Instr) and ("f32",) in row.dtypes
          and row is not vector.TTOPK]


def values(rng, *shape):
    """Random f32, one in four of them unusual."""
    x = (rng.standard_normal(shape) * rng.choice([1, 30, 1e-20, 1e20])).astype(np.float32)
    odd = rng.choice(np.append(ODD, ODD_NAN), shape)
    return np.where(rng.random(shape) < 0.25, odd, x).astype(np.float32)


def assemble(lines):
    """Instructions from (mnemonic, operands...) rows; a bare string is a label."""
    labels, rows = {}, []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(rows)
        else:
            rows.append(line)
    return tuple(
        Inst(BY_MNEMONIC[name], tuple(labels[a] if isinstance(a, str) else a for a in args)) for name, *args in rows
    )


def program(lines, tiles=(), tensors=(), parameters=()):
    return Program("test", "V2", tuple(map(Parameter, parameters)), tuple(tensors), tuple(tiles), assemble(lines))


def ub(number, rows, cols, layout=Layout.ROW, slots=1):
    return TileDecl(f"t{number}", TileType(F32, rows, cols, Space.UB, layout), number * TILE_BYTES, slots)


def bits(arrays):
    return [a.view(np.uint32).tolist() for a in arrays]


def both(p, tensors, parameters=(), exact=True, cores=1):
    """Run a program on both machines; they must leave the same bits, which are returned."""
    slow, fast = [a.copy() for a in tensors], [a.copy() for a in tensors]
    SlowMachine(p, cores=cores).run(slow, parameters)
    Machine(p, cores=cores, exact=exact).run(fast, parameters)
    assert bits(slow) == bits(fast)
    return fast


def one_instruction(row, route, rng, capacity, region, offset=0):
    """Load every tile, run one instruction on a region, store every tile whole."""
    tiles, tensors, before, after, args = [], [], [], [], []
    names = {"rows": region[0], "cols": region[1]}
    places = iter(route.places)
    for operand in row.operands:
        if operand.kind is not Kind.TILE:
            args.append(names.get(operand.name, 1.7))
            continue
        _, layout = next(places)
        number = len(tiles)
        cols = 1 if operand.cols == 1 else capacity[1]
        rows = capacity[0] + (number if layout is Layout.ROW else 0)
        tiles.append(ub(number, rows, cols, layout, 2))
        tensors.append(TensorDecl(f"x{number}", F32, (rows, cols), written=True))
        whole = (0, 0, rows, cols)
        args.append(TileRef(number, offset))
        before.append(("tload", TileRef(number, offset), number, *whole))
        after.append(("tstore", number, TileRef(number, offset), *whole))
    p = program([*before, (row.mnemonic, *args), *after, ("halt",)], tiles, tensors)
    return p, [values(rng, *t.dims) for t in tensors]


@pytest.mark.parametrize("row", VECTOR, ids=lambda row: row.mnemonic)
def test_a_vector_instruction_means_what_it_says(row):
    rng = np.random.default_rng(row.opcode)
    for route, (cap, region) in itertools.product(row.routes, [
        ((1, 1), (1, 1)), ((5, 70), (5, 70)), ((7, 33), (4, 31)), ((16, 64), (16, 64)), ((3, 9), (0, 9)),
        ((3, 9), (3, 0)), ((4, 130), (3, 107)), ((9, 8), (8, 3)),
    ]):
        p, arrays = one_instruction(row, route, rng, cap, region)
        both(p, arrays)


@pytest.mark.parametrize("offset", [64, 128])
def test_destination_over_part_of_a_source(offset):
    """An instruction reads all its sources before it writes."""
    rng = np.random.default_rng(offset)
    for name in ("tadd", "texp", "tmov", "tadds", "trowmax", "trowsum", "trowexpandmul"):
        row = BY_MNEMONIC[name]
        count = sum(o.kind is Kind.TILE for o in row.operands)
        last = name == "trowexpandmul"
        column = name.startswith("trow")
        # Tile 1 is the source; tile 0, the destination, begins within it, and so does the last one.
        tiles = [ub(1, 6, 40, Layout.ROW, 2)] * count
        if column:
            odd_one = 2 if last else 0
            tiles[odd_one] = ub(1, 6, 1, Layout.COL, 40)
        args = [TileRef(i, offset if i == 0 or (last and i == 2) else 0) for i in range(count)]
        args += [2.5] * (name == "tadds") + [6, 40]
        whole = TileDecl("all", TileType(F32, 1, 480, Space.UB), TILE_BYTES)
        p = program(
            [("tload", TileRef(count), 0, 0, 0, 1, 480), (name, *args), ("tstore", 1, TileRef(count), 0, 0, 1, 480),
             ("halt",)],
            [*tiles, whole], [TensorDecl("x", F32, (1, 480)), TensorDecl("y", F32, (1, 480), written=True)],
        )
        both(p, [values(rng, 1, 480), np.zeros((1, 480), np.float32)])


def chain(m, n, k, capacity, at, acc):
    """GM to L1, parts of it to L0A and L0B, a product or two, and the result out by both ways."""
    mc, nc, kc = capacity
    kinds = [
        ("a1", Space.L1, mc + 3, kc + 5, Layout.ROW, 0), ("b1", Space.L1, kc + 2, nc + 7, Layout.ROW, 1 << 17),
        ("a0", Space.L0A, mc, kc, Layout.ROW, 0), ("b0", Space.L0B, kc, nc, Layout.PANEL, 0),
        ("c0", Space.L0C, mc, nc, Layout.PANEL, 64), ("u", Space.UB, mc, nc, Layout.ROW, 0),
        ("again", Space.L1, mc, nc, Layout.ROW, 1 << 18), ("full", Space.UB, mc, nc, Layout.ROW, 1 << 17),
    ]
    tiles = [TileDecl(name, TileType(F32, r, c, s, layout), address) for name, s, r, c, layout, address in kinds]
    a1, b1, a0, b0, c0, u, again, full = map(TileRef, range(8))
    i, j = at
    return program([
        ("tload", a1, 0, 0, 0, mc + 3, kc + 5), ("tload", b1, 1, 0, 0, kc + 2, nc + 7),
        ("tload", full, 2, 0, 0, mc, nc),
        ("textract", a0, a1, i, j, m, k), ("textract", b0, b1, j, i, k, n),
        ("tmatmul", c0, a0, b0, m, n, k, 0), *([("tmatmul", c0, a0, b0, m, n, k, 1)] * acc),
        ("tstore", 3, c0, 0, 0, m, n), ("tmov", full, c0, m, n), ("tstore", 2, full, 0, 0, mc, nc),
        ("tload", u, 2, 0, 0, mc, nc), ("tmov", again, u, m, n),
        ("textract", a0, again, 0, 0, m, min(n, kc)), ("halt",),
    ], tiles, [
        TensorDecl("a", F32, (mc + 3, kc + 5)), TensorDecl("b", F32, (kc + 2, nc + 7)),
        TensorDecl("u", F32, (mc, nc), written=True), TensorDecl("c", F32, (mc, nc), written=True),
    ])


@pytest.mark.parametrize(("size", "capacity", "at"), [
    ((5, 1, 3), (16, 16, 16), (0, 0)), ((6, 16, 16), (16, 16, 16), (3, 2)), ((13, 37, 20), (13, 48, 21), (1, 2)),
    ((1, 48, 1), (4, 48, 8), (2, 1)), ((11, 17, 0), (12, 32, 5), (0, 1)), ((0, 17, 4), (12, 32, 5), (0, 1)),
    ((8, 0, 4), (12, 32, 5), (0, 1)), ((33, 31, 64), (36, 32, 64), (1, 0)), ((10, 20, 7), (10, 32, 7), (2, 2)),
])
def test_the_cube_and_the_moves_around_it(size, capacity, at):
    rng = np.random.default_rng(sum(size))
    for acc in (0, 1):
        p = chain(*size, capacity, at, acc)
        ordinary = [rng.standard_normal(t.dims).astype(np.float32) for t in p.tensors]
        result = both(p, ordinary)
        m, n, k = size
        a = ordinary[0][at[0]:at[0] + m, at[1]:at[1] + k].astype(np.float64)
        b = ordinary[1][at[1]:at[1] + k, at[0]:at[0] + n].astype(np.float64)
        np.testing.assert_allclose(result[3][:m, :n], (1 + acc) * (a @ b), rtol=1e-4, atol=1e-4)
        both(p, [values(rng, *t.dims) for t in p.tensors])
        both(p, [values(rng, *t.dims) for t in p.tensors], exact=False)


def test_windows_of_tensors_of_every_rank():
    rng = np.random.default_rng(1)
    tiles = [ub(0, 6, 20), ub(1, 24, 1, Layout.COL), ub(2, 1, 30)]
    p = program([
        ("tload", TileRef(0), 0, 3, 2, 5, 13), ("tstore", 1, TileRef(0), 1, 1, 5, 13),
        ("tload", TileRef(1), 0, 1, 4, 7, 1), ("tstore", 1, TileRef(1), 0, 0, 7, 1),
        ("tload", TileRef(2), 2, 0, 11, 1, 17), ("tstore", 1, TileRef(2), 7, 3, 1, 17),
        ("tload", TileRef(2), 3, 0, 0, 1, 1), ("tstore", 1, TileRef(2), 7, 0, 1, 1), ("halt",),
    ], tiles, [TensorDecl("x", F32, (2, 4, 20)), TensorDecl("y", F32, (8, 25), written=True),
               TensorDecl("v", F32, (28,)), TensorDecl("s", F32, ())])
    x, y, v, s = values(rng, 2, 4, 20), values(rng, 8, 25), values(rng, 28), values(rng)
    _, result, _, _ = both(p, [x, y, v, s])
    wide = np.zeros((8, 40), np.float32)
    wide[:, :25] = y
    Machine(p, exact=True).run([x, wide[:, :25], v, s], [])  # a row stride
    assert bits([wide[:, :25].copy(), wide[:, 25:]]) == bits([result, np.zeros((8, 15), np.float32)])


@pytest.mark.parametrize("name", sorted(MEANING))
def test_the_scalar_unit_wraps_and_floors(name):
    edges = [0, 1, -1, 7, -7, 2**31, 2**63 - 1, -(2**63), -(2**63) + 1, 3037000500]
    sources = len(BY_MNEMONIC[name].operands) - 1
    tuples = list(itertools.product(edges, repeat=sources))[:: 1 if sources < 3 else 7]
    lines = []
    for args in tuples:
        if not (name in ("div", "mod") and args[1] == 0):
            half = [Reg(5 + i) if i % 2 else a for i, a in enumerate(args)]
            lines += [("mov", Reg(5 + i), a) for i, a in enumerate(args)] + [(name, Reg(4), *half)]
            lines += [("mul", Reg(9), Reg(9), 31), ("xor", Reg(9), Reg(9), Reg(4))]
    tiles = [ub(0, 1, 16)]
    p = program([*lines, ("mov", Reg(6), 4), ("texpands", TileRef(0), Reg(9), 1, Reg(6)),
                 ("div", Reg(7), Reg(9), 0), ("halt",)], tiles)
    errors = []
    for machine in (SlowMachine(p), Machine(p)):
        with pytest.raises(MachineTrap) as caught:
            machine.run([], [])
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    digest = program([*lines, *[line for bit in range(64) for line in (
        ("mul", Reg(10), Reg(9), 1 << bit if bit < 63 else -(2**63)), ("lt", Reg(11), Reg(10), 0),
        ("mul", Reg(11), Reg(11), struct.unpack("<q", struct.pack("<d", 1.0))[0]),
        ("texpands", TileRef(0, 64 * bit), Reg(11), 1, 1), ("tstore", 0, TileRef(0, 64 * bit), 0, bit, 1, 1))],
        ("halt",)], [ub(0, 1, 16, slots=64)], [TensorDecl("y", F32, (1, 64), written=True)])
    both(digest, [np.zeros((1, 64), np.float32)])


BIG = 2**63 - 1
X, Y = TensorDecl("x", F32, (8, 20)), TensorDecl("y", F32, (8, 20), written=True)
SMALL = [ub(0, 4, 16, slots=2), ub(1, 4, 16), ub(2, 4, 1, Layout.COL), ub(3, 8, 1, Layout.COL)]
T0, T1, C2, C3 = map(TileRef, range(4))
CUBE = [
    TileDecl("l1", TileType(F32, 20, 40, Space.L1), 0), TileDecl("a", TileType(F32, 8, 8, Space.L0A), 0),
    TileDecl("b", TileType(F32, 8, 32, Space.L0B, Layout.PANEL), 0),
    TileDecl("c", TileType(F32, 8, 32, Space.L0C, Layout.PANEL), 0),
]
TRAPS = [
    (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, 5, 4)), (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, 4, 17)),
    (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, -1, 4)), (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, 2, -4)),
    (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, BIG, BIG)), (TrapKind.BAD_REGION, ("tload", T0, 0, 0, 0, -BIG, 2)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, 5, 0, 4, 4)), (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, 0, 17, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, -1, 0, 4, 4)), (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, 0, -1, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, BIG, 0, 4, 4)), (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, 0, BIG, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", T0, 0, 9, 0, 0, 4)),
    (TrapKind.MISALIGNED, ("tload", TileRef(0, 32), 0, 0, 0, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, -64), 0, 0, 0, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, 320), 0, 0, 0, 4, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, BIG - 63), 0, 0, 0, 1, 1)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, -(2**63)), 0, 0, 0, 1, 1)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, 576), 0, 0, 0, 0, 0)),
    (TrapKind.OUT_OF_BOUNDS, ("tload", TileRef(0, 512), 0, 0, 0, 0, 0)),
    (TrapKind.OUT_OF_BOUNDS, ("tadds", T1, TileRef(0, 512), 1.0, 0, 16)),
    (TrapKind.BAD_REGION, ("tload", C2, 0, 0, 0, 5, 9)), (TrapKind.BAD_REGION, ("tload", C2, 0, 0, 0, 3, 2)),
    (TrapKind.OUT_OF_BOUNDS, ("tstore", 1, T0, 6, 0, 4, 4)), (TrapKind.BAD_REGION, ("tstore", 1, T0, 0, 0, 8, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tstore", 1, C2, 6, 0, 4, 1)), (TrapKind.BAD_REGION, ("tstore", 1, T0, 0, 0, -8, 4)),
    (TrapKind.OUT_OF_BOUNDS, ("tadd", T1, TileRef(0, 320), T1, 4, 16)),
    (TrapKind.BAD_REGION, ("tadd", T1, T0, T1, 5, 16)),
    (TrapKind.MISALIGNED, ("tadd", T1, T0, TileRef(0, 4), 1, 1)), (TrapKind.BAD_REGION, ("tadd", C2, C3, C3, 5, 9)),
    (TrapKind.BAD_REGION, ("tadd", C3, C2, C3, 5, 1)), (TrapKind.BAD_REGION, ("tadds", T1, T0, 1.0, 5, 99)),
    (TrapKind.BAD_REGION, ("texp", T1, T0, 0, 17)), (TrapKind.BAD_REGION, ("texpands", T1, 1.0, 5, 1)),
    (TrapKind.BAD_REGION, ("trowsum", C2, T0, 5, 2)), (TrapKind.BAD_REGION, ("trowmax", C3, T0, 5, 2)),
    (TrapKind.OUT_OF_BOUNDS, ("trowexpandadd", T0, T1, TileRef(3, 64), 4, 2)),
    (TrapKind.BAD_REGION, ("tmov", T0, T1, 5, 2)),
    (TrapKind.BAD_FLAG, ("set_flag", Pipe.V, Pipe.M, 8)), (TrapKind.BAD_FLAG, ("wait_flag", Pipe.V, Pipe.M, -1)),
    (TrapKind.FLAG_NOT_SET, ("wait_flag", Pipe.V, Pipe.M, 3)), (TrapKind.DIVIDE_BY_ZERO, ("mod", Reg(3), 5, 0)),
]
CUBE_TRAPS = [
    (TrapKind.OUT_OF_BOUNDS, ("textract", TileRef(1), TileRef(0), 13, 0, 8, 8)),
    (TrapKind.OUT_OF_BOUNDS, ("textract", TileRef(2), TileRef(0), 0, 9, 8, 32)),
    (TrapKind.OUT_OF_BOUNDS, ("textract", TileRef(1), TileRef(0), -1, 0, 8, 8)),
    (TrapKind.OUT_OF_BOUNDS, ("textract", TileRef(1), TileRef(0), 0, BIG, 8, 8)),
    (TrapKind.BAD_REGION, ("textract", TileRef(1), TileRef(0), 0, 0, 9, 8)),
    (TrapKind.BAD_REGION, ("textract", TileRef(2), TileRef(0), 0, 0, 8, 33)),
    (TrapKind.OUT_OF_BOUNDS, ("textract", TileRef(2, 64), TileRef(0), 0, 0, 8, 17)),
    (TrapKind.BAD_REGION, ("tmatmul", TileRef(3), TileRef(1), TileRef(2), 9, 8, 8, 0)),
    (TrapKind.BAD_REGION, ("tmatmul", TileRef(3), TileRef(1), TileRef(2), 8, 33, 8, 0)),
    (TrapKind.BAD_REGION, ("tmatmul", TileRef(3), TileRef(1), TileRef(2), 8, 8, 9, 0)),
    (TrapKind.OUT_OF_BOUNDS, ("tmatmul", TileRef(3), TileRef(1), TileRef(2, 64), 8, 32, 8, 0)),
    (TrapKind.OUT_OF_BOUNDS, ("tmatmul", TileRef(3, 512), TileRef(1), TileRef(2), 8, 32, 8, 0)),
    (TrapKind.OUT_OF_BOUNDS, ("tstore", 1, TileRef(3, 64), 0, 0, 8, 17)),
    (TrapKind.OUT_OF_BOUNDS, ("tmatmul", TileRef(3), TileRef(1), TileRef(2, 1024), 8, 0, 8, 0)),
]


def in_registers(line, start):
    """The same instruction with its integers in registers, and what puts them there."""
    before, args = [], []
    for operand, arg in zip(BY_MNEMONIC[line[0]].operands, line[1:], strict=True):
        register = Reg(start + len(args))
        if operand.kind is Kind.INDEX and isinstance(arg, int):
            before.append(("mov", register, arg))
            arg = register
        elif operand.kind is Kind.TILE:
            before.append(("mov", register, arg.offset))
            arg = TileRef(arg.tile, register)
        args.append(arg)
    return [*before, (line[0], *args)]


@pytest.mark.parametrize(("kind", "line", "tiles"), [
    *((kind, line, SMALL) for kind, line in TRAPS), *((kind, line, CUBE) for kind, line in CUBE_TRAPS),
])
def test_a_trap_says_what_is_wrong_and_touches_nothing(kind, line, tiles):
    for lines in ([line], in_registers(line, 20)):
        p = program([*lines, ("halt",)], tiles, [X, Y])
        errors, y = [], np.full((8, 20), 7, np.float32)
        for machine in (SlowMachine(p), Machine(p)):
            with pytest.raises(MachineTrap) as caught:
                machine.run([np.ones((8, 20), np.float32), y], [])
            assert caught.value.kind is kind
            assert caught.value.pc == len(lines) - 1
            errors.append(str(caught.value))
        assert errors[0] == errors[1]
        assert (y == 7).all()


@pytest.mark.parametrize(("kind", "lines"), [
    (TrapKind.FLAG_SET_TWICE, [("set_flag", Pipe.V, Pipe.M, 1), ("set_flag", Pipe.V, Pipe.M, 1), ("halt",)]),
    (TrapKind.FLAG_LEFT_SET, [("set_flag", Pipe.V, Pipe.M, 1), ("set_flag", Pipe.M, Pipe.V, 7), ("halt",)]),
    (TrapKind.FLAG_NOT_SET, [
        ("set_flag", Pipe.V, Pipe.M, 1), ("wait_flag", Pipe.V, Pipe.M, 1), ("wait_flag", Pipe.V, Pipe.M, 1), ("halt",),
    ]),
    (TrapKind.BAD_PC, [("mov", Reg(5), 1)]), (TrapKind.BAD_PC, []),
])
def test_flags_and_the_end(kind, lines):
    errors = []
    for machine in (SlowMachine(program(lines)), Machine(program(lines))):
        with pytest.raises(MachineTrap) as caught:
            machine.run([], [])
        assert caught.value.kind is kind
        errors.append(str(caught.value))
    assert errors[0] == errors[1] or kind is TrapKind.BAD_PC


def test_flags_and_registers_are_clear_at_every_launch():
    p = program([("add", Reg(9), Reg(9), 1), ("blt", Reg(9), 2, "end"), ("jmp", "end"), ("set_flag", Pipe.V, Pipe.M, 0),
                 "end", ("texpands", TileRef(0), Reg(9), 1, 1), ("set_flag", Pipe.V, Pipe.M, 0), ("halt",)], SMALL)
    machine = Machine(p)
    messages = set()
    for _ in range(3):
        with pytest.raises(TrapError, match="still set") as caught:
            machine.run([], [])
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.parametrize(("lines", "tiles", "tensors", "words"), [
    ([("tload", TileRef(9), 0, 0, 0, 1, 1)], SMALL, [X], "no declared tile"),
    ([("tload", T0, 3, 0, 0, 1, 1)], SMALL, [X], "cannot be 3"),
    ([("tstore", 0, T0, 0, 0, 1, 1)], SMALL, [X], "not declared as written"),
    ([("mov", Reg(256), 0)], (), (), "no register"), ([("mov", 3, 0)], (), (), "cannot be 3"),
    ([("jmp", 7)], (), (), "cannot be 7"), ([("mov", Reg(2), 2**63)], (), (), "cannot be"),
    ([("wait_flag", 2, 2, 0)], (), (), "source and destination pipe are the same"),
    ([("set_flag", 7, 1, 0)], (), (), "cannot be 7"), ([("mov", Reg(2))], (), (), "takes 2 operands"),
    ([("tadd", T0, T1, C2, 1, 1)], SMALL, (), "cannot have"),
    ([("halt",)], [ub(16, 4, 4)], (), "ends at byte"), ([("halt",)], [ub(0, 0, 4)], (), "no elements"),
    ([("halt",)], [TileDecl("p", TileType(F32, 4, 8, Space.L0C, Layout.PANEL), 0)], (), "whole panels"),
    ([("halt",)], [TileDecl("p", TileType(F32, 4, 8, Space.UB), 32)], (), "no multiple"),
    ([("halt",)], [TileDecl("p", TileType(F32, 4, 8, Space.UB), -64)], (), "no multiple"),
    ([("halt",)], [TileDecl("p", TileType(F32, 4, 8), 0)], (), "no memory space"),
])
def test_a_program_that_breaks_a_static_rule_is_refused(lines, tiles, tensors, words):
    with pytest.raises(ProgramError, match=words):
        link(program(lines, tiles, tensors))


def test_arguments_that_do_not_fit_are_refused():
    p = program([("halt",)], (), [TensorDecl("x", F32, ("n", 4), written=True)], ["n"])
    machine, x = Machine(p), np.zeros((3, 4), np.float32)
    machine.run([x], [3])
    for error, tensors, parameters in [
        (ShapeError, [x], [4]), (PtoError, [x.astype(np.float64)], [3]), (UsageError, [x], []), (UsageError, [], [3]),
        (UsageError, [x], [-1]), (UsageError, [np.zeros((4, 3), np.float32).T], [3]), (UsageError, [[1.0]], [3]),
        (UsageError, [np.zeros((3, 8), np.float32)[:, ::2]], [3]),
    ]:
        with pytest.raises(error):
            machine.run(tensors, parameters)
    x.flags.writeable = False
    with pytest.raises(UsageError, match="read-only"):
        machine.run([x], [3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("times", [1, 3])  # what is the same at two launches is looked at otherwise
def test_an_array_that_was_changed_in_place_is_looked_at_again(times):
    p = program([("tload", TileRef(0), 0, 0, 0, 2, 2), ("tstore", 1, TileRef(0), 0, 0, 2, 2), ("halt",)],
                [ub(0, 2, 2)], [TensorDecl("x", F32, (2, 2)), TensorDecl("y", F32, (2, 2), written=True)])
    machine, memory, y = Machine(p), np.arange(8, dtype=np.float32), np.zeros((2, 2), np.float32)
    x = memory[:4].reshape(2, 2)
    for strides in ((8, 4), (16, 4), (8, 4)):
        x.strides = strides
        y[:] = 0
        for _ in range(times):
            machine.run([x, y])
        assert np.array_equal(x, y)
    x.dtype = np.int32
    with pytest.raises(PtoError, match="int32"):
        machine.run([x, y])
    x.dtype = np.float32
    for _ in range(times):
        machine.run([x, y])
    y.flags.writeable = False
    with pytest.raises(UsageError, match="read-only"):
        machine.run([x, y])
    y = np.zeros((2, 2), np.float32)
    machine.run([x, y])
    with pytest.raises(ValueError, match="resize"):
        y.resize((4, 2), refcheck=False)  # what is kept of an array would not know where it is


def counting(limit):
    return program(["top", ("add", Reg(5), Reg(5), 1), ("blt", Reg(5), limit, "top"), ("halt",)])


@pytest.mark.parametrize("times", [1, 3])
def test_an_array_that_gets_other_memory_is_found_there(times):
    tile = TileDecl("t", TileType(F32, 64, 64, Space.UB, Layout.ROW), 0)
    copy = [("tload", TileRef(0), 0, 0, 0, 64, 64), ("set_flag", Pipe.MTE2, Pipe.MTE3, 0),
            ("wait_flag", Pipe.MTE2, Pipe.MTE3, 0), ("tstore", 1, TileRef(0), 0, 0, 64, 64), ("halt",)]
    tensors = [TensorDecl("x", F32, (64, 64)), TensorDecl("y", F32, (64, 64), written=True)]
    machine = Machine(program(copy, [tile], tensors))
    x, y = np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32)
    for _ in range(times):
        machine.run([x, y])
    kept = x.copy()
    x.__setstate__(np.full((64, 64), 7, np.float32).__reduce__()[2])
    machine.run([x, y])
    assert (kept == 1).all() and (y == 7).all()
    with pytest.raises(UsageError, match="tensor x is a NoneType, not an array"):
        machine.run([None, y])


def test_fuel_ends_an_endless_program_at_the_same_place():
    endless = Machine(program(["top", ("add", Reg(5), Reg(5), 1), ("jmp", "top")]), cores=2, threads=2)
    found = set()
    for _ in range(3):
        with pytest.raises(FuelError) as caught:
            endless.run([], [], fuel=10**7 + 1)
        found.add(caught.value.message)
    assert found == {"test: core 0 did not finish within 10000001 units of fuel; it stopped before pc 1"}
    machine = Machine(counting(10))
    assert machine.run([], [], fuel=21).scalar == 21
    with pytest.raises(FuelError, match="before pc 2"):
        machine.run([], [], fuel=20)


def test_a_long_program_runs_in_slices_and_counts_all():
    assert Machine(counting(3_000_000)).run([], []).scalar == 6_000_001


def blocks():
    """Rows of x, softmax, dealt to cores in turn."""
    tiles = [ub(0, 1, 40), ub(1, 1, 1, Layout.COL)]
    return program([
        ("mov", Reg(5), Reg(0)), "top", ("bge", Reg(5), Reg(2), "end"), ("tload", TileRef(0), 0, Reg(5), 0, 1, 40),
        ("trowmax", TileRef(1), TileRef(0), 1, 40), ("trowexpandsub", TileRef(0), TileRef(0), TileRef(1), 1, 40),
        ("texp", TileRef(0), TileRef(0), 1, 40), ("trowsum", TileRef(1), TileRef(0), 1, 40),
        ("trowexpanddiv", TileRef(0), TileRef(0), TileRef(1), 1, 40), ("tstore", 1, TileRef(0), Reg(5), 0, 1, 40),
        ("add", Reg(5), Reg(5), Reg(1)), ("jmp", "top"), "end", ("halt",),
    ], tiles, [TensorDecl("x", F32, ("n", 40)), TensorDecl("y", F32, ("n", 40), written=True)], ["n"])


def test_cores_and_threads_do_not_change_a_bit():
    p, x = blocks(), np.random.default_rng(3).standard_normal((50, 40)).astype(np.float32)
    results = set()
    for cores, threads in ((1, 1), (3, 1), (3, 2), (8, 3)):
        y = np.zeros_like(x)
        stats = Machine(p, cores=cores, threads=threads).run([x, y], [50])
        results.add(y.tobytes())
        assert stats.tile == 50 * 7
    assert len(results) == 1
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    both(p, [x, np.zeros_like(x)], [50], cores=3)


def test_the_lowest_failing_core_is_the_one_reported():
    p = program([("bge", 0, Reg(0), "end"), ("tload", TileRef(0), 0, Reg(0), 0, 1, 1), "end", ("halt",)],
                SMALL, [TensorDecl("x", F32, (2, 1))])
    for threads in (1, 2, 4):
        with pytest.raises(MachineTrap) as caught:
            Machine(p, cores=7, threads=threads).run([np.zeros((2, 1), np.float32)], [])
        assert caught.value.core == 2


def test_a_machine_can_run_in_several_host_threads_at_once():
    p, x = blocks(), np.random.default_rng(5).standard_normal((300, 40)).astype(np.float32)
    machine, want = Machine(p, cores=2), np.zeros_like(x)
    machine.run([x, want], [300])
    results = [np.zeros_like(x) for _ in range(4)]
    threads = [threading.Thread(target=machine.run, args=([x, y], [300])) for y in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(y.tobytes() == want.tobytes() for y in results)


@pytest.mark.parametrize("change", [
    lambda x, y: y.__setstate__(y.copy().__reduce__()[2]), lambda x, y: setattr(x, "shape", (40, 300)),
    lambda x, y: y.setflags(write=False),
])
def test_arrays_of_an_earlier_launch_are_looked_at(change):
    x = np.random.default_rng(6).standard_normal((300, 40)).astype(np.float32)
    machine, y = Machine(blocks(), cores=2), np.zeros_like(x)
    machine.run([x, y], [300])
    assert machine.standing([x, y]) is None  # so far it was one launch
    machine.run([x, y], [300])
    known, want = machine.standing([x, y]), y.copy()
    assert machine.standing([y, x]) is None and machine.standing([x, want]) is None
    machine.run([x[:200], want[:200]], [200])
    y[:] = 0
    machine.again(known, [], [300], (x, y))
    assert y.tobytes() == want.tobytes()
    with pytest.raises(Changed):
        machine.again(known, [], [200], (x, y))
    change(x, y)
    with pytest.raises(Changed):
        machine.again(known, [], [300], (x, y))


def test_a_watched_machine_looks_at_all_arrays():
    p, x = blocks(), np.ones((4, 40), np.float32)
    machine, y = Machine(p, check="uninitialised"), np.zeros_like(x)
    for _ in range(3):
        machine.run([x, y], [4])
        assert machine.standing([x, y]) is None


def test_of_arrays_that_stay_and_others_each_launch_takes_its_own():
    p = program([("tload", TileRef(0), 0, 0, 0, 4, 8), ("tload", TileRef(1), 1, 0, 0, 4, 8),
                 ("tadd", TileRef(0), TileRef(0), TileRef(1), 4, 8), ("tstore", 2, TileRef(0), 0, 0, 4, 8), ("halt",)],
                [ub(0, 4, 8), ub(1, 4, 8)], [TensorDecl(n, F32, (4, 8), written=n == "y") for n in ("x", "w", "y")])
    machine, rng = Machine(p), np.random.default_rng(8)

    def array():
        return rng.standard_normal((4, 8), np.float32)

    def runs(x, w, y):
        machine.run([x, w, y])
        np.testing.assert_array_equal(y, x + w)
    w, x, y = array(), array(), array()
    for _ in range(4):
        runs(x, w, y)
    assert machine.standing([x, w, y])
    for _ in range(4):
        runs(array(), w, y)
    runs(x, w, y)
    runs(x, w, y)
    assert machine.standing([x, w, y])
    for _ in range(3):
        runs(x, w, y)
        w.__setstate__(array().__reduce__()[2])
    for _ in range(3):
        runs(x, array(), array())
    for _ in range(3):
        runs(x, w, array())
    known = machine.standing([x, w])
    for y in (array(), array()):
        machine.again(known, [y], [], (x, w))
        np.testing.assert_array_equal(y, x + w)
        runs(array(), array(), y)
    narrow = np.zeros((4, 7), np.float32)
    with pytest.raises(CompilerBug):
        machine.again(known, [narrow], [], (x, w))
    with pytest.raises(ShapeError):
        machine.run([x, w, narrow])


def test_fast_mode_stays_near_exact_mode():
    n = 1 << 14
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-105, 90, n // 2), rng.standard_normal(n // 2 - 16), ODD]).astype(np.float32)
    x = x.reshape(-1, 1024)
    rows = x.shape[0]
    p = program([
        ("tload", TileRef(0), 0, 0, 0, rows, 1024), ("texp", TileRef(0), TileRef(0), rows, 1024),
        ("tstore", 1, TileRef(0), 0, 0, rows, 1024), ("halt",),
    ], [TileDecl("t", TileType(F32, rows, 1024, Space.UB), 0)],
        [TensorDecl("x", F32, (rows, 1024)), TensorDecl("y", F32, (rows, 1024), written=True)])
    exact, fast = np.zeros_like(x), np.zeros_like(x)
    Machine(p, exact=True).run([x, exact], [])
    Machine(p).run([x, fast], [])
    assert np.abs(exact.view(np.int32).astype(np.int64) - fast.view(np.int32)).max() <= 1
    for i in range(0, n, 97):
        assert exact.flat[i].view(np.uint32) == np.float32(exp_f32(float(x.flat[i]))).view(np.uint32)


def test_fast_sums_stay_within_their_bound():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((7, 1003)).astype(np.float32)
    p = program([
        ("tload", TileRef(0), 0, 0, 0, 7, 1003), ("trowsum", TileRef(1), TileRef(0), 7, 1003),
        ("tstore", 1, TileRef(1), 0, 0, 7, 1), ("halt",),
    ], [ub(0, 7, 1003), TileDecl("s", TileType(F32, 7, 1, Space.UB, Layout.COL), 65536)],
        [TensorDecl("x", F32, (7, 1003)), TensorDecl("y", F32, (7, 1), written=True)])
    y = np.zeros((7, 1), np.float32)
    Machine(p).run([x, y], [])
    wide = x.astype(np.float64)
    bound = 1003 * 2.0**-24 * np.abs(wide).sum(axis=1)
    assert (np.abs(y[:, 0] - wide.sum(axis=1)) <= bound).all()
