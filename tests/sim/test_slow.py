"""The slow machine: values, traps, and every legal order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.errors import FuelError, ProgramError, PtoError, ShapeError, TrapError, UsageError
from pto.core.types import Layout, Space
from pto.isa.program import FIRST_PARAMETER, Parameter, Program, TensorDecl, TileRef
from pto.isa.table import move, scalar, sync, vector
from pto.sim.happens_before import without
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind
from tests.sim.programs import MTE1, MTE2, MTE3, SET, WAIT, Listing, M, R, S, V, gemm, tile

UB = tile("u", Space.UB, 16, 32, slots=2)
COLUMN = tile("s", Space.UB, 16, 1, layout=Layout.COL, address=8192)
SQUARE = tile("q", Space.UB, 8, 4, layout=Layout.COL, address=16384)
L1, L0B = tile("m", Space.L1, 16, 32), tile("r", Space.L0B, 16, 32, layout=Layout.PANEL)
TENSOR = TensorDecl("x", F32, ("n", 40), written=True)
DECLARED = {"tiles": (UB, COLUMN, SQUARE, L1, L0B), "tensors": (TENSOR,), "parameters": (Parameter("n"),)}
U, COL, Q, L, B = map(TileRef, range(5))


def listing(*code: tuple) -> Program:
    out = Listing()
    for row, *args in code:
        out(row, *args)
    out(scalar.HALT)
    return out.program(**DECLARED)


def trap(program: Program, order: str = "program", rows: int = 20) -> MachineTrap:
    with pytest.raises(TrapError) as caught:
        SlowMachine(program, order=order).run([np.zeros((rows, 40), np.float32)], [rows], fuel=1000)
    assert isinstance(caught.value, MachineTrap)
    return caught.value


def arguments(m: int, n: int, k: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = ((m, k), (k, n))
    return [*(rng.standard_normal(s).astype(np.float32) for s in shapes), np.full((m, n), 7, np.float32)]


@pytest.mark.parametrize("sizes", [(64, 64, 32), (70, 40, 37), (1, 1, 1), (33, 5, 50)])
def test_gemm_in_every_order(sizes: tuple[int, int, int]) -> None:
    a, b, c = arguments(*sizes)
    SlowMachine(gemm()).run([a, b, c], sizes)
    assert np.allclose(c, a.astype(np.float64) @ b, atol=1e-4)
    for seed in range(12):
        again = np.zeros_like(c)
        SlowMachine(gemm(), cores=1 + seed % 3, order=f"random:{seed}").run([a, b, again], sizes)
        assert (again == c).all()


def test_an_order_is_a_function_of_its_seed() -> None:
    def order(seed: int) -> list[int]:
        machine = SlowMachine(gemm(), order=f"random:{seed}", trace=True)
        machine.run(arguments(40, 40, 40), (40, 40, 40))
        return [event.pc for event in machine.events]
    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(6)}) > 3


def test_tensors_may_have_strides_and_any_rank() -> None:
    program = listing((move.TLOAD, U, 0, 1, 2, 3, 4), (move.TSTORE, 0, U, 5, 6, 3, 4))
    wide = np.arange(20 * 80, dtype=np.float32).reshape(20, 80)
    view = wide[:, ::2]
    SlowMachine(program).run([view], [20])
    assert (view[5:8, 6:10] == view[1:4, 2:6]).all()
    assert wide[5, 13] == 5 * 80 + 13
    flat = replace(program, tensors=(replace(TENSOR, dims=(2, 10, 40)),))
    cube = np.arange(800, dtype=np.float32).reshape(2, 10, 40)
    SlowMachine(flat).run([cube], [20])
    assert (cube[0, 5:8, 6:10] == cube[0, 1:4, 2:6]).all()


def test_fresh_memory_is_nan_and_only_the_region_is_written() -> None:
    program = listing(
        (vector.TEXPANDS, U, 1.0, 2, 3), (vector.TROWSUM, COL, U, 2, 3), (move.TSTORE, 0, U, 0, 0, 3, 4),
        (move.TSTORE, 0, COL, 10, 0, 3, 1), (vector.TEXPANDS, Q, 2.0, 2, 2), (move.TSTORE, 0, Q, 15, 0, 3, 3),
    )
    x = np.zeros((20, 40), np.float32)
    SlowMachine(program).run([x], [20])
    nan = np.nan
    np.testing.assert_array_equal(x[:3, :4], [[1, 1, 1, nan], [1, 1, 1, nan], [nan] * 4])
    np.testing.assert_array_equal(x[10:13, 0], [3, 3, nan])
    np.testing.assert_array_equal(x[15:18, :3], [[2, 2, nan], [2, 2, nan], [nan] * 3])


def test_a_register_of_a_scalar_operand_holds_a_number() -> None:
    one = int(np.float64(1.5).view(np.int64))
    program = listing((scalar.MOV, R[9], one), (vector.TEXPANDS, U, R[9], 1, 1), (move.TSTORE, 0, U, 0, 0, 1, 1))
    x = np.zeros((1, 40), np.float32)
    SlowMachine(program).run([x], [1])
    assert x[0, 0] == 1.5


OUT, BAD, MIS = TrapKind.OUT_OF_BOUNDS, TrapKind.BAD_REGION, TrapKind.MISALIGNED


@pytest.mark.parametrize(("inst", "kind", "words"), [
    ((move.TLOAD, U, 0, 0, 0, -1, 4), BAD, "dst = tile u"),
    ((move.TLOAD, U, 0, 0, 0, 17, 4), BAD, "value 17"),
    ((move.TLOAD, U, 0, 0, 0, 4, 33), BAD, "value 33"),
    ((move.TLOAD, U, 0, -1, 0, 4, 4), OUT, "src = tensor x, value -1"),
    ((move.TLOAD, U, 0, 17, 0, 4, 4), OUT, "tensor x, value 17"),
    ((move.TLOAD, U, 0, 0, 37, 4, 4), OUT, "tensor x, value 37"),
    ((move.TLOAD, U, 0, 21, 0, 0, 4), OUT, "tensor x, value 21"),
    ((move.TLOAD, U, 0, 2**62, 0, 4, 4), OUT, "tensor x"),
    ((move.TLOAD, TileRef(0, -64), 0, 0, 0, 4, 4), OUT, "value -64"),
    ((move.TLOAD, TileRef(0, 32), 0, 0, 0, 4, 4), MIS, "value 32"),
    ((move.TLOAD, TileRef(0, 2112), 0, 0, 0, 16, 32), OUT, "value 2112"),
    ((move.TLOAD, TileRef(0, 4096), 0, 0, 0, 0, 0), OUT, "value 4096"),
    ((move.TLOAD, TileRef(0, 4096 - 384), 0, 0, 0, 4, 4), OUT, "value 3712"),
    ((move.TLOAD, TileRef(0, 2**62), 0, 0, 0, 4, 4), OUT, "tile u"),
    ((move.TLOAD, TileRef(0, 4160), 0, 0, 0, 0, 0), OUT, "tile u"),
    ((move.TSTORE, 0, U, 0, 0, -1, 4), BAD, "dst = tensor x"),
    ((move.TSTORE, 0, U, 0, 0, 17, 4), BAD, "src = tile u"),
    ((move.TEXTRACT, B, L, 15, 0, 2, 4), OUT, "src = tile m"),
    ((move.TEXTRACT, B, L, 0, 30, 2, 4), OUT, "value 30"),
    ((move.TEXTRACT, B, L, 0, -1, 2, 4), OUT, "value -1"),
    ((move.TEXTRACT, TileRef(4, 1024), L, 0, 0, 1, 17), OUT, "tile r"),
    ((vector.TROWSUM, TileRef(1, 64), U, 1, 1), OUT, "tile s"),
    ((vector.TADD, U, TileRef(0, 2048), TileRef(0, 8), 1, 1), MIS, "b = tile u"),
    ((sync.SET_FLAG, int(V), int(MTE3), 8), TrapKind.BAD_FLAG, "value 8"),
    ((sync.WAIT_FLAG, int(V), int(MTE3), -1), TrapKind.BAD_FLAG, "value -1"),
    ((sync.WAIT_FLAG, int(V), int(MTE3), 1), TrapKind.FLAG_NOT_SET, "flag V -> MTE3, id 1"),
    ((scalar.DIV, R[5], 1, R[60]), TrapKind.DIVIDE_BY_ZERO, "div at pc 1, pipe S"),
    ((scalar.MOD, R[5], 1, 0), TrapKind.DIVIDE_BY_ZERO, "mod at pc 1"),
])
def test_an_operand_out_of_bounds_traps(inst: tuple, kind: TrapKind, words: str) -> None:
    program = listing((scalar.MOV, R[5], 0), inst)
    found = trap(program)
    assert (found.kind, found.pc, found.core) == (kind, 1, 0)
    assert words in found.message and "pc 1" in found.message and "core 0" in found.message
    assert found.loc == program.span(1)


def test_what_just_fits_does_not_trap() -> None:
    program = listing(
        (move.TLOAD, TileRef(0, 2048), 0, 16, 36, 4, 4), (move.TLOAD, TileRef(0, 4096 - 448), 0, 0, 0, 4, 16),
        (move.TLOAD, TileRef(0, 4096 - 64), 0, 20, 40, 0, 0), (move.TLOAD, L, 0, 0, 0, 16, 32),
        (move.TEXTRACT, TileRef(4, 1024), L, 14, 28, 2, 4), (sync.SET_FLAG, 0, 0, 7), (sync.WAIT_FLAG, 0, 0, 7),
    )
    SlowMachine(program).run([np.zeros((20, 40), np.float32)], [20])


@pytest.mark.parametrize(("code", "kind", "pc"), [
    ([(SET, int(V), int(M), 0), (SET, int(V), int(M), 0)], TrapKind.FLAG_SET_TWICE, 1),
    ([(SET, int(V), int(M), 0)], TrapKind.FLAG_LEFT_SET, 1),
    ([(scalar.JMP, 7)], TrapKind.BAD_PC, 7),
    ([(scalar.JMP, -1)], TrapKind.BAD_PC, -1),
])
def test_flags_and_branches_trap(code: list[tuple], kind: TrapKind, pc: int) -> None:
    for order in ("program", "random:1"):
        found = trap(listing(*code), order)
        assert (found.kind, found.pc) == (kind, pc)


def test_a_wait_that_nothing_ends_is_a_deadlock_which_names_its_flags() -> None:
    program = listing((WAIT, int(V), int(M), 3), (WAIT, int(M), int(V), 2), (SET, int(V), int(M), 3))
    found = trap(program, "random:5")
    assert found.kind is TrapKind.DEADLOCK
    assert "M at pc 0 waits for flag V -> M, id 3; V at pc 1 waits for flag M -> V, id 2" in found.message


def test_the_scalar_unit_can_wait() -> None:
    program = listing((vector.TEXPANDS, U, 1.0, 1, 1), (SET, int(V), int(S), 0), (WAIT, int(V), int(S), 0),
                      (move.TSTORE, 0, U, 0, 0, 1, 1))
    for seed in range(20):
        x = np.zeros((1, 40), np.float32)
        SlowMachine(program, order=f"random:{seed}").run([x], [1])
        assert x[0, 0] == 1


def test_operands_are_captured_at_issue() -> None:
    program = listing((scalar.MOV, R[5], 1), (vector.TEXPANDS, U, 4.0, R[5], R[5]), (scalar.MOV, R[5], 16),
                      (SET, int(V), int(MTE3), 0), (WAIT, int(V), int(MTE3), 0), (move.TSTORE, 0, U, 0, 0, 1, 2))
    for seed in range(20):
        x = np.zeros((1, 40), np.float32)
        SlowMachine(program, order=f"random:{seed}").run([x], [1])
        assert x[0, 0] == 4 and np.isnan(x[0, 1])


def test_a_missing_flag_shows_in_some_order() -> None:
    program = gemm()
    pcs = [pc for pc, inst in enumerate(program.code)
           if inst.spec in (SET, WAIT) and inst.args[:2] == (int(MTE2), int(MTE1))]
    broken, wrong = without(program, pcs), 0
    a, b, c = arguments(40, 40, 40)
    SlowMachine(program).run([a, b, c], (40, 40, 40))
    for seed in range(30):
        again = np.zeros_like(c)
        try:
            SlowMachine(broken, order=f"random:{seed}").run([a, b, again], (40, 40, 40))
            wrong += not np.array_equal(again, c)
        except PtoError:
            wrong += 1
    assert wrong > 5


def test_fuel_bounds_the_work_of_a_core() -> None:
    endless = listing((scalar.JMP, 0))
    for order in ("program", "random:0"):
        with pytest.raises(FuelError, match="within 1000 instructions; it stopped before pc 0"):
            SlowMachine(endless, order=order).run([np.zeros((1, 40), np.float32)], [1], fuel=1000)
    SlowMachine(listing()).run([np.zeros((1, 40), np.float32)], [1], fuel=1)


def test_registers_start_with_core_cores_and_parameters() -> None:
    code = [(scalar.BGE, R[0], R[1], 3), (scalar.BLT, R[FIRST_PARAMETER], 5, 3), (scalar.JMP, 4),
            (scalar.DIV, R[5], 1, 0)]
    SlowMachine(listing(*code), cores=3).run([np.zeros((5, 40), np.float32)], [5])


def test_arguments_that_do_not_fit_are_refused() -> None:
    machine, x = SlowMachine(listing()), np.zeros((2, 40), np.float32)
    for tensors, parameters, error in (
        ([], [2], UsageError), ([x], [], UsageError), ([x], [-1], UsageError), ([x], [3], ShapeError),
        ([x.astype(np.float64)], [2], PtoError),
    ):
        with pytest.raises(error):
            machine.run(tensors, parameters)
    with pytest.raises(UsageError):
        SlowMachine(listing(), order="backwards")
    with pytest.raises(ProgramError, match="tile u does not lie"):
        SlowMachine(replace(listing(), tiles=(replace(UB, address=2**18 - 64),)))
