"""Loads and stores that copy nothing: no program can tell, whatever it does to tiles; aliasing arrays are copied."""

from __future__ import annotations

import numpy as np
import pytest

from pto.core.dtypes import S32
from pto.core.types import Layout, Space, TileType
from pto.isa.asm import assemble
from pto.isa.program import Inst, Program, Reg, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.table import gather, move, scalar, sync, vector
from pto.sim.link import link
from pto.sim.loans import Loans, apart
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap
from tests.sim.programs import F32, tile

ROWS, COLS = 12, 48
SLOT = ROWS * COLS * 4
TILES = (
    tile("a", Space.UB, ROWS, COLS, slots=2), tile("b", Space.UB, ROWS, COLS, address=2 * SLOT),
    tile("c", Space.UB, ROWS, COLS, address=3 * SLOT),
    tile("over", Space.UB, 1, COLS, address=3 * SLOT + 64),  # so that c shares its bytes
    tile("s", Space.UB, ROWS, 1, layout=Layout.COL, address=4 * SLOT),
)
INDEX = TileDecl("i", TileType(S32, ROWS, 1, Space.UB, Layout.COL), 4 * SLOT)
TENSORS = (
    TensorDecl("x", F32, (20, COLS)), TensorDecl("y", F32, (40, 64), written=True), TensorDecl("z", F32, (2000,)),
)
PLACES = (TileRef(0), TileRef(0, SLOT), TileRef(0, 64 * 8), TileRef(0, Reg(9)), TileRef(1), TileRef(2))
WHOLE = (ROWS - 3, COLS)


def region(rng: np.random.Generator) -> tuple[int, int]:
    """An extent that fits every place; often the largest."""
    return WHOLE if rng.random() < 0.5 else (int(rng.integers(0, ROWS - 2)), int(rng.integers(0, COLS + 1)))


def random_program(rng: np.random.Generator) -> Program:
    """Loads, vector operations in place or not, stores; then every tile is stored."""
    def place() -> TileRef:
        return PLACES[int(rng.integers(len(PLACES)))]
    code = [Inst(scalar.MOV, (Reg(9), int(rng.choice([0, SLOT])))), Inst(scalar.TVIEW, (3, 2, 3, 20, COLS, 51, 1))]
    for ref in (TileRef(0), TileRef(0, SLOT), TileRef(1), TileRef(2)):
        code.append(Inst(move.TLOAD, (ref, int(rng.choice([0, 3])), int(rng.integers(0, 8)), 0, ROWS, COLS)))
    for _ in range(25):
        rows, cols = region(rng)
        draw = rng.random()
        if draw < 0.35:
            source, across = int(rng.choice([0, 0, 1, 3])), int(rng.integers(0, COLS - cols + 1))
            code.append(Inst(move.TLOAD, (place(), source, int(rng.integers(0, 20 - rows)), across, rows, cols)))
        elif draw < 0.6:
            code.append(Inst(vector.TADD, (place(), place(), place(), rows, cols)))
        elif draw < 0.7:
            code.append(Inst(vector.TROWMAX, (TileRef(4), place(), rows, cols)))
        elif draw < 0.8:
            code.append(Inst(move.TMOV, (place(), place(), rows, cols)))
        else:
            at = int(rng.integers(0, 30 - rows)), int(rng.integers(0, 65 - cols))
            code.append(Inst(move.TSTORE, (1, place(), *at, rows, cols)))
    for i, ref in enumerate((TileRef(0), TileRef(0, SLOT), TileRef(1))):
        code.append(Inst(move.TSTORE, (1, ref, 12 * i, 0, ROWS, COLS)))
    return Program("loans", "V2", tensors=TENSORS, tiles=TILES, code=(*code, Inst(scalar.HALT)),
                   views=(ViewDecl("v", 2),))


def test_no_program_can_tell() -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(t.dims).astype(np.float32) for t in TENSORS]
    for _ in range(150):
        program = random_program(rng)
        slow, fast = ([a.copy() for a in arrays] for _ in range(2))
        SlowMachine(program).run(slow)
        Machine(program, exact=True).run(fast)
        np.testing.assert_array_equal(fast[1], slow[1])


def storing_program(rng: np.random.Generator) -> Program:
    """Results stored at once, over each other, by rows and by columns; then every tile is stored."""
    def place() -> TileRef:
        return PLACES[int(rng.integers(5))]
    code = [Inst(scalar.MOV, (Reg(9), int(rng.choice([0, SLOT])))), Inst(scalar.TVIEW, (3, 2, 3, 20, COLS, 51, 1))]
    for ref in (TileRef(0), TileRef(0, SLOT), TileRef(1)):
        code.append(Inst(move.TLOAD, (ref, int(rng.choice([0, 3])), int(rng.integers(0, 8)), 0, ROWS, COLS)))
    widest = int(rng.choice([16, COLS]))
    for _ in range(20):
        rows, cols = region(rng)
        cols = min(cols, widest)
        to, at = place(), (int(rng.choice([0, 1, 12, 13])), int(rng.choice([0, 8, 64 - cols])))
        if rng.random() < 0.2:
            code.append(Inst(move.TLOAD, (place(), int(rng.choice([0, 1, 3])), 0, 0, rows, cols)))
        if rng.random() < 0.3:
            code += [Inst(vector.TEXPANDS, (TileRef(3), float(rng.integers(0, 20)), ROWS, 1)), Inst(
                gather.MGATHER, (to, int(rng.choice([0, 1, 3])), TileRef(3), 0, rows, cols))]
        else:
            one = Inst(vector.TRELU, (to, place(), rows, cols))
            code.append(one if rng.random() < 0.3 else Inst(vector.TADD, (to, place(), place(), rows, cols)))
        if rng.random() < 0.5:
            code += [Inst(sync.SET_FLAG, (4, 6, 0)), Inst(sync.WAIT_FLAG, (4, 6, 0))]
        if rng.random() < 0.9:
            number = int(rng.choice([1, 4]))
            at = at if number == 1 else (at[0], int(rng.integers(0, 65 - cols)))
            code.append(Inst(move.TSTORE, (number, to if rng.random() < 0.9 else place(), *at, rows, cols)))
    for i, ref in enumerate((TileRef(0), TileRef(0, SLOT), TileRef(1))):
        code.append(Inst(move.TSTORE, (1, ref, 12 * i, 0, ROWS, COLS)))
    code.insert(2, Inst(scalar.TVIEW, (4, 1, int(rng.integers(0, 9)), 30, 64, int(rng.choice([64, 65, 80])), 1)))
    return Program("stores", "V2", tensors=TENSORS, tiles=(*TILES[:3], INDEX), code=(*code, Inst(scalar.HALT)),
                   views=(ViewDecl("v", 2), ViewDecl("w", 1)))


def test_results_are_written_where_they_are_stored_and_no_program_can_tell() -> None:
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal(t.dims).astype(np.float32) for t in TENSORS]
    ahead = 0
    for _ in range(300):
        program = storing_program(rng)
        ahead += len(Loans(program).ahead)
        slow, fast = ([a.copy() for a in arrays] for _ in range(2))
        SlowMachine(program).run(slow)
        Machine(program, exact=True).run(fast)
        np.testing.assert_array_equal(fast[1], slow[1])
    assert ahead > 2000


TEXT = """\
.program p
.target V2
.tensor %x f32[4, 64] read
.tensor %y f32[4, 64] write
.tile %u tile<ub, 4x64xf32> at 0x0 slots 1
tload %u, %x, 0, 0, 4, 64
tadd %u, %u, %u, 1, 64
tstore %y, %u, 0, 0, 4, 64
halt
"""


def test_overlapping_arrays_are_copied() -> None:
    program = assemble(TEXT.replace("tadd %u, %u, %u, 1, 64", "tstore %y, %u, 1, 0, 1, 64"))
    assert link(program).loans == 1
    for shift in (0, 1, 4):
        slow, fast = (np.arange(8 * 64, dtype=np.float32).reshape(8, 64) for _ in range(2))
        SlowMachine(program).run([slow[:4], slow[shift:shift + 4]])
        Machine(program).run([fast[:4], fast[shift:shift + 4]])
        np.testing.assert_array_equal(fast, slow)


def test_the_argument_is_not_changed_by_work_in_place() -> None:
    x, y = np.ones((4, 64), np.float32), np.zeros((4, 64), np.float32)
    Machine(assemble(TEXT)).run([x, y])
    assert (x == 1).all() and (y[0] == 2).all() and (y[1:] == 1).all()


@pytest.mark.parametrize(("old", "new", "loans"), [
    ("", "", 1), ("f32[4, 64] read\n", "f32[4, 64] readwrite\n", 0), ("slots 1", "slots 3", 3),
    ("slots 1", "slots 1\n.tile %v tile<ub, 1x16xf32> at 0x80 slots 1", 0),
])
def test_which_tiles_can_be_on_loan(old: str, new: str, loans: int) -> None:
    assert link(assemble(TEXT.replace(old, new, 1))).loans == loans


STORED = TEXT.replace("tadd %u, %u, %u, 1, 64", "tadd %u, %u, %u, 4, 64\nset_flag V, MTE3, 0\nwait_flag V, MTE3, 0")


@pytest.mark.parametrize(("old", "new", "ahead"), [
    ("", "", {1: 4}), ("tadd %u, %u, %u, 4, 64\n", "tadd %u, %u, %u, 4, 64\nmov r5, 1\n", {}),
    ("%u, 0, 0, 4, 64\nhalt", "%u, 0, 0, 3, 64\nhalt", {}), ("halt", "sync_all\nhalt", {}),
    ("slots 1", "slots 1\n.tile %v tile<ub, 1x16xf32> at 0x80 slots 1", {}),
    ("tadd %u, %u, %u, 4, 64", "tmov %u, %u, 4, 64", {1: 4}),
    ("halt", "mscatter %y, %u, %i, 0, 4, 64\nhalt", {}),
    ("tadd %u, %u, %u, 4, 64", "mgather %u, %x, %i, 0, 4, 64", {1: 4}),
    ("tadd %u, %u, %u, 4, 64", "mgather %u, %y, %i, 0, 4, 64", {}),
    ("tload", "sync_all\ntload", {2: 5}), ("tload", "mscatter %y, %u, %i, 0, 4, 64\nsync_all\ntload", {3: 6}),
])
def test_what_runs_ahead_of_its_store(old: str, new: str, ahead: dict[int, int]) -> None:
    index = ".tile %i tile<ub, 4x1xs32, col> at 0x8000 slots 1\n"
    text = STORED.replace(".tile", f"{index}.tile", 1).replace(old, new, 1)
    assert Loans(assemble(text, legal=False)).ahead == ahead


def test_cores_that_may_wait_again_run_nothing_ahead() -> None:
    text = STORED.replace("tload", "top:\nsync_all\nagain:\ntload").replace("halt", "blt r5, 1, again\nhalt")
    assert Loans(assemble(text)).ahead == {2: 5}
    assert Loans(assemble(text.replace("1, again", "1, top"))).ahead == {}


def test_a_store_that_is_refused_traps_as_ever() -> None:
    x, y = np.ones((4, 64), np.float32), np.zeros((4, 64), np.float32)
    with pytest.raises(MachineTrap, match="tstore at pc 4"):
        Machine(assemble(STORED.replace("%u, 0, 0, 4, 64\nhalt", "%u, 1, 0, 4, 64\nhalt"))).run([x, y])
    assert (x == 1).all() and (y == 0).all()


def test_spans_of_addresses() -> None:
    assert apart([(0, 8), (8, 16), (4, 4)], [False, True, False])
    assert not apart([(0, 9), (8, 16)], [False, True])
    assert apart([(0, 9), (8, 16)], [False, False])
