"""Views of tensors: what they show, when they trap, and which accesses through them race."""

from __future__ import annotations

import numpy as np
import pytest

from pto.core.errors import PtoError, UsageError
from pto.isa.asm import assemble
from pto.isa.program import Program
from pto.sim.happens_before import races
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind

HEAD = """\
.program p
.target V2
.tensor %x f32[40, 48] read
.tensor %y f32[48, 40] write
.view %q of %x f32
.view %t of %y f32
.tile %u tile<ub, 48x48xf32> at 0x0 slots 2
"""
X = np.arange(40 * 48, dtype=np.float32).reshape(40, 48)
FLAT = X.reshape(-1)
ORDER = "set_flag MTE2, MTE3, 0", "wait_flag MTE2, MTE3, 0"


def program(*lines: str) -> Program:
    return assemble(HEAD + "\n".join((*lines, "halt")))


def run(p: Program) -> np.ndarray:
    """What both machines make of y."""
    fast, slow = (np.zeros((48, 40), np.float32) for _ in range(2))
    SlowMachine(p, order="random:3").run([X, slow])
    Machine(p).run([X, fast])
    np.testing.assert_array_equal(fast, slow)
    return fast


@pytest.mark.parametrize(("numbers", "shown"), [
    ("0, 48, 40, 1, 48", X.T),  # a transpose
    ("7, 20, 8, 96, 1", X[::2, 7:15]),  # one head of several
    ("5, 30, 4, 0, 1", np.tile(FLAT[5:9], (30, 1))),  # one row for all
    ("3, 17, 9, 5, 11", FLAT[3 + np.add.outer(np.arange(17) * 5, np.arange(9) * 11)]),
    ("1919, 1, 1, 7, 7", FLAT[1919:].reshape(1, 1)),
    ("1920, 0, 3, 1, 1", np.zeros((0, 3), np.float32)),
])
def test_a_load_sees_the_matrix(numbers, shown):
    rows, cols = shown.shape
    y = run(program(
        f"tview %q, %x, {numbers}", f"tload %u, %q, 0, 0, {rows}, {cols}", *ORDER,
        f"tstore %y, %u, 0, 0, {rows}, {min(cols, 40)}",
    ))
    np.testing.assert_array_equal(y[:rows, :min(cols, 40)], shown[:, :40])


def test_a_transposing_store_writes_the_transpose():
    p = program("tview %t, %y, 0, 40, 48, 1, 40", "tload %u, %x, 0, 0, 40, 48", *ORDER, "tstore %t, %u, 0, 0, 40, 48")
    np.testing.assert_array_equal(run(p), X.T)


def test_an_access_sees_the_view_as_it_was_when_issued():
    setting = [f"tview %q, %x, {i * 48}, 1, 40, 48, 1\ntload %u, %q, 0, 0, 1, 40\n"
               f"set_flag MTE2, MTE3, 0\nwait_flag MTE2, MTE3, 0\ntview %t, %y, {i * 40}, 1, 40, 40, 1\n"
               "tstore %t, %u, 0, 0, 1, 40\nset_flag MTE3, MTE2, 0\nwait_flag MTE3, MTE2, 0" for i in range(6)]
    p = program(*setting, "tview %q, %x, 0, 0, 0, 0, 0", "tview %t, %y, 0, 0, 0, 0, 0")
    for seed in range(8):
        y = np.zeros((48, 40), np.float32)
        SlowMachine(p, order=f"random:{seed}").run([X, y])
        np.testing.assert_array_equal(y[:6], X[:6, :40])
    run(p)


def trap(p: Program) -> MachineTrap:
    """The trap of both machines."""
    found = []
    for machine in (SlowMachine(p), Machine(p)):
        with pytest.raises(MachineTrap) as err:
            machine.run([X, np.zeros((48, 40), np.float32)])
        found.append(err.value)
    assert str(found[0]) == str(found[1]) and found[0].pc == found[1].pc
    return found[0]


HUGE = 2**63 - 1


@pytest.mark.parametrize(("numbers", "operand"), [
    ((-1, 1, 1, 1, 1), "offset = r10, value -1"), ((0, 1, -1, 1, 1), "cols = r12, value -1"),
    ((0, 1, 1, 1, -5), "col_stride = r14, value -5"), ((1920, 1, 1, 1, 1), "offset = r10, value 1920"),
    ((1921, 0, 0, 0, 0), "offset = r10, value 1921"), ((0, 41, 1, 48, 0), "rows = r11, value 41"),
    ((0, 40, 48, 48, 2), "cols = r12, value 48"), ((1, 40, 48, 48, 1), "cols = r12, value 48"),
    ((0, HUGE, 1, HUGE, 1), f"rows = r11, value {HUGE}"), ((0, 2, HUGE, 1, HUGE), f"cols = r12, value {HUGE}"),
    ((HUGE, HUGE, HUGE, HUGE, HUGE), f"offset = r10, value {HUGE}"),
])
def test_a_view_lies_in_its_tensor(numbers, operand):
    moves = [f"mov r{i}, {number}" for i, number in enumerate(numbers, 10)]
    err = trap(program(*moves, "tview %q, %x, r10, r11, r12, r13, r14"))
    assert err.kind is TrapKind.OUT_OF_BOUNDS and operand in str(err)


@pytest.mark.parametrize(("lines", "kind"), [
    (("tload %u, %q, 0, 0, 1, 1",), TrapKind.VIEW_NOT_SET),
    (("tview %q, %x, 0, 8, 4, 5, 9", "tload %u, %q, 1, 0, 8, 4"), TrapKind.OUT_OF_BOUNDS),
    (("tview %q, %x, 0, 8, 4, 5, 9", "tload %u, %q, 0, 0, 1, 5"), TrapKind.OUT_OF_BOUNDS),
    (("tview %t, %y, 0, 8, 4, 3, 1", "tstore %t, %u, 0, 0, 2, 4"), TrapKind.OVERLAP),
    (("tview %t, %y, 0, 8, 4, 0, 1", "tstore %t, %u, 0, 0, 2, 4"), TrapKind.OVERLAP),
    (("tview %t, %y, 0, 8, 4, 1, 7", "tstore %t, %u, 0, 0, 8, 4"), TrapKind.OVERLAP),
])
def test_traps_through_a_view(lines, kind):
    assert trap(program(*lines)).kind is kind


def test_stores_of_elements_apart():
    run(program(
        "tload %u, %x, 0, 0, 40, 48", *ORDER, "tview %t, %y, 0, 8, 4, 3, 1", "tstore %t, %u, 0, 0, 2, 3",
        "tview %t, %y, 0, 9, 4, 1, 8", "tstore %t, %u, 0, 0, 8, 4", "tview %t, %y, 0, 2, 2, 0, 0",
        "tstore %t, %u, 1, 1, 1, 1",
    ))


def test_an_array_with_views_is_contiguous():
    p = program("tview %q, %x, 0, 1, 1, 1, 1")
    for machine in (SlowMachine(p), Machine(p)):
        with pytest.raises(UsageError, match="must be contiguous"):
            machine.run([np.zeros((48, 40), np.float32).T, np.zeros((48, 40), np.float32)])


@pytest.mark.parametrize(("first", "second", "racing"), [
    ("0, 40, 4, 40, 1", "4, 40, 4, 40, 1", False),  # two heads
    ("0, 40, 4, 40, 1", "3, 40, 4, 40, 1", True),
    ("0, 40, 20, 40, 2", "1, 40, 20, 40, 2", False),  # even and odd columns
    ("0, 9, 9, 1, 40", "360, 9, 9, 1, 40", False),
    ("0, 9, 9, 1, 40", "320, 9, 9, 1, 40", True),
])
def test_races_are_of_elements(first, second, racing):
    """Stores by two pipes that nothing orders: UB by MTE3, L0C by FIX."""
    rows, cols = (int(n) for n in first.split(", ")[1:3])
    p = assemble(HEAD.replace("%u tile<ub", "%c tile<l0c").replace("f32> at", "f32, panel> at") + "\n".join((
        ".tile %u tile<ub, 48x48xf32> at 0x0 slots 1",
        f"tview %t, %y, {first}", f"tstore %t, %u, 0, 0, {rows}, {cols}",
        f"tview %t, %y, {second}", f"tstore %t, %c, 0, 0, {rows}, {cols}", "halt",
    )))
    assert bool(races(p, [X, np.zeros((48, 40), np.float32)])) == racing


@pytest.mark.parametrize(("lines", "message"), [
    (("tview %q, %y, 0, 1, 1, 1, 1",), "q is not declared as a view of y"),
    (("tview %x, %x, 0, 1, 1, 1, 1",), "x is not declared as a view of x"),
    (("tview %q, %x, 0, 1, 1, -1, 1",), "operand row_stride: -1 is negative"),
    (("tstore %q, %u, 0, 0, 1, 1",), "tensor x is not declared as written"),
    (("tload %u, %t, 0, 0, 1, 1",), "tensor y is not declared as read"),
    ((".tensor %z f32[1] read",), "tensors are declared before views"),
    ((".view %z of %q f32",), "%q is a view"),
    ((".view %x of %x f32",), "x is declared twice"),
])
def test_static_rules(lines, message):
    with pytest.raises(PtoError, match=message):
        program(*lines)
