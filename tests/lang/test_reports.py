"""What kernels print and assert: the text, the values, the place, on every machine and with several cores."""
# ruff: noqa: F821, PT009 (names of options, pt.assert_)

from __future__ import annotations

import linecache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES
from pto.isa.table.log import HEADER, LOG
from pto.runtime.launch import run_program
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests.kernels import bind


def some(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pt.tile_kernel(t=4)
def printing(x, out):
    pt.print("extents", x.shape[0], x.shape[1], 0.5)
    for i in pt.range(0, x.shape[0], t):
        row = x[i:i + t, 0:2]
        if i == 4:
            pt.device_print("tile", i, row > 9, sep=": ")
        out[i:i + t, 0:2] = row
    pt.print("end")


def test_lines_are_printed_when_the_kernel_has_run(capsys):
    x = some(6, 2)
    printing(x, np.zeros_like(x))
    assert capsys.readouterr().out.splitlines() == [
        "extents 6 2 0.5", "tile: 4: [[False, False],", " [ True,  True]]", "end"]
    printing(x[:3], np.zeros((3, 2), np.float32))
    assert capsys.readouterr().out.splitlines() == ["extents 3 2 0.5", "end"]


def test_whole_tensors_and_expressions(capsys):
    pt.tile_kernel(lambda x: (pt.print(x * 2.0), x)[1])(some(3))
    assert capsys.readouterr().out == "[[0., 2., 4.]]\n"
    with pytest.raises(pt.PtoError, match="3 axes"):
        pt.tile_kernel(lambda x: (pt.print(x), x)[1])(some(2, 2, 2))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_elements_of_every_type(dtype, capsys):
    x = np.array([[0, 1, 3]]).astype(numpy_dtype(dtype))

    @pt.tile_kernel
    def shown(x, out):
        pt.print(x[0:1, 0:3])
        pt.print(x[0:1, 2:3])
        out[:] = x

    shown(x, np.zeros_like(x))
    assert capsys.readouterr().out.splitlines() == [np.array2string(x, separator=", "), str(x[0, 2].item())]


@pt.tile_kernel(t=4)
def checked(x, out, most: pt.index):
    pt.assert_(x.shape[0] <= most, "too many rows")
    for i in pt.range(0, x.shape[0], t):
        tile = x[i:i + t, 0:3]
        pt.assert_(tile < 23, "too large")
        out[i:i + t, 0:3] = tile * 2.0


def test_what_holds_says_nothing():
    x, out = some(7, 3), np.zeros((7, 3), np.float32)
    checked(x, out, 7)
    np.testing.assert_array_equal(out, x * 2)


@pytest.mark.parametrize(("rows", "most", "said", "line"), [
    (9, 9, r"checked: too large: element \(3, 2\) is 23.0", "pt.assert_(tile < 23"),
    (9, 4, "checked: too many rows: the condition is false, of 4 and 9", "pt.assert_(x.shape[0] <= most"),
])
def test_what_does_not_hold_is_an_error_with_values(rows, most, said, line):
    x = some(rows, 3)
    with pytest.raises(pt.PtoError, match=said) as caught:
        checked(x, np.zeros_like(x), most)
    assert caught.value.code == "PTO-E0303" and caught.value.exit_code == 6
    loc = caught.value.loc
    assert loc.file == __file__ and line in linecache.getline(__file__, loc.line)


def test_an_assertion_of_a_whole_tensor_says_where():
    @pt.tile_kernel
    def positive(x):
        pt.assert_(pt.abs(x) >= 1, "near zero")
        return x

    x = np.full((20, 200), -2, np.float32)
    positive(x)
    x[17, 130] = 0.25
    with pytest.raises(pt.PtoError, match=r"near zero: element \(17, 130\) is 0.25 \(core"):
        positive(x)


def test_an_assertion_says_more_than_what_it_led_to():
    @pt.tile_kernel
    def looked_up(ids, table):
        pt.assert_(ids < 5, "no such row")
        return pt.embedding(ids, table)

    with pytest.raises(pt.PtoError, match="no such row: element"):
        looked_up(np.array([0, 7], np.int32), some(5, 4))


@pytest.mark.parametrize(("condition", "said"), [
    (lambda x: x.ndim == 3, "assertion failed"), (lambda x: x, "predicates"),
])
def test_what_is_known_or_no_condition_is_refused_when_traced(condition, said):
    @pt.tile_kernel
    def k(x):
        pt.assert_(condition(x))
        return x

    with pytest.raises(pt.PtoError, match=said):
        k(some(2, 2))


def test_several_cores_report_one_after_the_other(capsys):
    @pt.tile_kernel(t=8)
    def k(x, out):
        for i in pt.range(0, x.shape[0], t):
            pt.print(i)
            out[i:i + t, 0:4] = x[i:i + t, 0:4] + 1.0

    x, threads = some(64, 4), pt.get_num_threads()
    try:
        pt.set_num_threads(2)
        k(x, np.zeros_like(x))
    finally:
        pt.set_num_threads(threads)
    assert [int(line) for line in capsys.readouterr().out.split()] == [0, 16, 32, 48, 8, 24, 40, 56]


def test_programs_of_a_grid_and_kernels_in_kernels_print(capsys):
    @pt.tile_kernel(t=4)
    def inner(x, out):
        start = pt.program_id(0) * t
        pt.print("program", pt.program_id(0), pt.load(x, start, t))
        pt.store(out, start, pt.load(x, start, t))

    @pt.tile_kernel
    def outer(x, out):
        inner[(2,)](x, out)
        pt.print("end")

    x = some(8)
    outer(x, np.zeros_like(x))
    assert capsys.readouterr().out.splitlines() == [
        "program 0 [[0., 1., 2., 3.]]", "program 1 [[4., 5., 6., 7.]]", "end"]


def test_a_program_that_reports_runs_alone():
    x = some(6, 2)
    out = np.zeros_like(x)
    printing(x, out)
    results, _ = run_program(printing.program(), {"x": x, "out": out})
    assert list(results) == ["out"]
    np.testing.assert_array_equal(results["out"], x)


def test_a_full_log_is_said(capsys):
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0]):
            pt.print(i)
            out[i:i + 1] = x[i:i + 1]

    x = some(LOG)
    k(x, np.zeros_like(x))
    lines = capsys.readouterr().out.splitlines()
    room = (LOG - HEADER) // 5
    assert lines[:-1] == [str(i) for i in range(room)]
    assert lines[-1] == f"k: core 0 reported {LOG - room} more values than there is room for"


def test_verify_and_every_level_agree(capsys):
    x = some(6, 2)
    assert printing.verify(x, np.zeros_like(x))
    assert checked.verify(some(7, 3), np.zeros((7, 3), np.float32), 9)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 6), cols=st.integers(1, 9), dtype=st.sampled_from(list(DTYPES.values())),
       seed=st.integers(0, 99))
def test_both_machines_write_the_same_log(rows, cols, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (rows, cols)).astype(numpy_dtype(dtype))

    @pt.tile_kernel(t=4)
    def k(x, out):
        for i in pt.range(0, x.shape[0], t):
            for j in pt.static_range(0, 9, 8):
                tile = x[i:i + t, j:j + (8 if j == 0 else 1)] if j == 0 else x[i:i + t, 0:1]
                pt.print(tile)
        out[:] = x

    bound = bind(k, [x, np.zeros_like(x)])
    at = next(i for i, t in enumerate(bound.program.tensors) if t.name == "log")
    bound.tensors[at][:] = 0
    logs = []
    program = bound.program
    for machine in (Machine(program, exact=True), Machine(program, check="all"), SlowMachine(program)):
        tensors = bound.fresh()
        machine.run(tensors, bound.parameters)
        logs.append(tensors[at])
    assert logs[0][0, 0] > 0
    np.testing.assert_array_equal(logs[0], logs[1])
    np.testing.assert_array_equal(logs[0], logs[2])
