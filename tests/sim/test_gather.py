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
