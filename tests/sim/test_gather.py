"""Gathers and scatters: wrong indices, an embedding lookup by a token that the scalar unit reads, causal masks."""

from __future__ import annotations

import numpy as np
import pytest

from pto.isa.asm import assemble
from pto.sim.happens_before import races
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind

LOOKUP = """\
.program lookup
.target V2
.tensor %table f32[50, 32] read
.tensor %tokens s32[6] read
.tensor %out f32[6, 32] write
.tensor %last f32[1, 32] write
.tile %rows tile<ub, 6x32xf32> at 0x0 slots 1
.tile %row tile<ub, 1x32xf32> at 0x400 slots 1
.tile %ids tile<ub, 6x1xs32, col> at 0x800 slots 1
.view %column of %tokens s32
tview %column, %tokens, 0, 6, 1, 1, 1
tload %ids, %column, 0, 0, 6, 1
mgather %rows, %table, %ids, 0, 6, 32
ldg r5, %tokens, 0, 5
tload %row, %table, r5, 0, 1, 32
set_flag MTE2, MTE3, 0
wait_flag MTE2, MTE3, 0
tstore %out, %rows, 0, 0, 6, 32
tstore %last, %row, 0, 0, 1, 32
halt
"""
TABLE = np.random.default_rng(0).standard_normal((50, 32)).astype(np.float32)


def machines(text: str) -> list[Machine | SlowMachine]:
    program = assemble(text)
    return [SlowMachine(program), SlowMachine(program, order="random:1"), Machine(program)]


def test_an_embedding_lookup() -> None:
    tokens = np.array([3, 49, 0, 3, 7, 11], np.int32)
    for machine in machines(LOOKUP):
        out, last = np.zeros((6, 32), np.float32), np.zeros((1, 32), np.float32)
        machine.run([TABLE, tokens, out, last])
        np.testing.assert_array_equal(out, TABLE[tokens])
        np.testing.assert_array_equal(last[0], TABLE[11])


PICK = """\
.program pick
.target V2
.tensor %x TYPE[4, 96] read
.tensor %order s32[4, 70] read
.tensor %a TYPE[4, 70] write
.tensor %b TYPE[4, 70] write
.tile %row tile<ub, 4x96xTYPE> at 0x0 slots 1
.tile %ids tile<ub, 4x72xs32> at 0x1000 slots 1
.tile %to tile<ub, 4x96xTYPE> at 0x2000 slots 1
tload %row, %x, 0, 0, 4, 96
tload %ids, %order, 0, 0, 4, 70
tgather %to, %row, %ids, 4, 70, 96
tstore %a, %to, 0, 0, 4, 70
mgather_elem %to, %x, %ids, 0, 4, 70, 96
tstore %b, %to, 0, 0, 4, 70
halt
"""
ORDERS = np.stack([
    np.arange(20, 90), np.arange(95, 25, -1), np.random.default_rng(1).integers(0, 96, 70),
    np.concatenate([np.arange(9), np.full(8, 7), np.arange(40, 20, -1), np.arange(0, 66, 2)]),
]).astype(np.int32)


@pytest.mark.parametrize(("name", "dtype"), [("f32", np.float32), ("s16", np.int16), ("u8", np.uint8)])
def test_orders_that_run_are_those_of_their_indices(name: str, dtype: type) -> None:
    x = np.random.default_rng(2).integers(0, 200, (4, 96)).astype(dtype)
    for machine in machines(PICK.replace("TYPE", name)):
        found = [np.zeros((4, 70), dtype) for _ in range(2)]
        machine.run([x, ORDERS, *found])
        for a in found:
            np.testing.assert_array_equal(a, np.take_along_axis(x, ORDERS, 1))


@pytest.mark.parametrize(("at", "wrong"), [(0, 96), (33, -1), (69, 96), (69, -(2**31))])
def test_each_index_is_looked_at(at: int, wrong: int) -> None:
    order = ORDERS.copy()
    order[0, at] = wrong
    for machine in machines(PICK.replace("TYPE", "f32")):
        with pytest.raises(MachineTrap, match=f"value {wrong}: tgather"):
            machine.run([np.zeros((4, 96), np.float32), order, *(np.zeros((4, 70), np.float32) for _ in range(2))])


@pytest.mark.parametrize("token", [-1, 50, 2**31 - 1, -(2**31)])
def test_an_index_outside_traps_before_anything_happens(token: int) -> None:
    for machine in machines(LOOKUP):
        with pytest.raises(MachineTrap, match=rf"index = tile ids.*value {token}: mgather at pc 2") as err:
            machine.run([TABLE, np.array([0, token, 99, 0, 0, 0], np.int32), np.zeros((6, 32), np.float32),
                         np.zeros((1, 32), np.float32)])
        assert err.value.kind is TrapKind.OUT_OF_BOUNDS


LARGEST = """\
.program largest
.target V2
.tensor %x f32[8] read
.tensor %y f32[8] write
.tile %u tile<ub, 1x8xf32> at 0x0 slots 1
.tile %m tile<ub, 1x1xf32, col> at 0x40 slots 1
tload %u, %x, 0, 0, 1, 8
set_flag MTE2, V, 0
wait_flag MTE2, V, 0
trowmax %m, %u, 1, 8
set_flag V, S, 0
wait_flag V, S, 0
tgetval r5, %m, 0, 0
tmuls %u, %u, r5, 1, 8
set_flag V, MTE3, 0
wait_flag V, MTE3, 0
tstore %y, %u, 0, 0, 1, 8
halt
"""


def test_the_scalar_unit_waits_for_what_it_reads() -> None:
    x = np.arange(8, dtype=np.float32)
    program = assemble(LARGEST)
    assert races(program, [x, x]) == []
    for machine in (Machine(program), *(SlowMachine(program, order=f"random:{seed}") for seed in range(8))):
        y = np.zeros(8, np.float32)
        machine.run([x, y])
        np.testing.assert_array_equal(y, 7 * x)
    without = assemble(LARGEST.replace("set_flag V, S, 0\nwait_flag V, S, 0\n", ""))
    assert "V -> S" in str(races(without, [x, x])[0])


def test_a_causal_mask() -> None:
    """A sequence with two steps holds the distance of each column from the diagonal."""
    program = assemble("""\
.program mask
.target V2
.tensor %y f32[5, 7] write
.tile %u tile<ub, 5x7xf32> at 0x0 slots 1
tci %u, 10, -1, 1, 5, 7
set_flag V, MTE3, 0
wait_flag V, MTE3, 0
tstore %y, %u, 0, 0, 5, 7
halt
""")
    y = np.zeros((5, 7), np.float32)
    Machine(program).run([y])
    np.testing.assert_array_equal(y, 10 + np.arange(7)[None] - np.arange(5)[:, None])


def test_later_rows_are_added_to_earlier_ones() -> None:
    text = """\
.program add
.target V2
.tensor %x f32[4, 8] read
.tensor %at s32[4, 1] read
.tensor %y f32[3, 8] readwrite
.tile %u tile<ub, 4x8xf32> at 0x0 slots 1
.tile %i tile<ub, 4x1xs32, col> at 0x100 slots 1
tload %u, %x, 0, 0, 4, 8
tload %i, %at, 0, 0, 4, 1
set_flag MTE2, MTE3, 0
wait_flag MTE2, MTE3, 0
mscatter_add %y, %u, %i, 0, 4, 8
halt
"""
    x, at = np.arange(32, dtype=np.float32).reshape(4, 8), np.array([[2], [0], [2], [2]], np.int32)
    for machine in machines(text):
        y = np.ones((3, 8), np.float32)
        machine.run([x, at, y])
        np.testing.assert_array_equal(y, [1 + x[1], np.ones(8), 1 + x[0] + x[2] + x[3]])
