"""What a trace gives: extents, results, names, spans; and programs that do not depend on extents."""
# ruff: noqa: F821, UP037 (names of options, extents in quotes, kernels in loops)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CaptureError, PtoError
from pto.ir.ops import DIM
from pto.ir.text import text
from tests import reference
from tests.arrays import some
from tests.kernels import CASES, NAMES, bind
from tests.reference import Bounded


def symbols(kernel) -> set[str]:
    return {n["name"] for _, n in kernel.graph("tensor").items() if n.op is DIM}


def test_extents_that_must_agree_are_one_symbol():
    @pt.tile_kernel
    def k(A, B):
        return pt.matmul(A, B)

    k(some(3, 4), some(4, 5))
    assert len(symbols(k)) == 3


def test_annotated_extents_keep_their_names_and_numbers():
    @pt.tile_kernel
    def k(A: pt.f32["M", 4], B: pt.f32[4, "N"]):
        return pt.matmul(A, B)

    assert symbols(k) == {"M", "N"}
    np.testing.assert_allclose(k(a := some(3, 4), b := some(4, 5)), a @ b, rtol=1e-5)
    with pytest.raises(PtoError, match="must be 4"):
        k(some(3, 5), some(5, 5))


def test_extents_of_one_name_must_agree():
    @pt.tile_kernel
    def k(A: pt.f32["M", "K"], B: pt.f32["M", "K"]):
        return A + B

    with pytest.raises(PtoError, match=r"B.shape\[1\] is 5, but A.shape\[1\] is 4"):
        k(some(3, 4), some(3, 5))


@pytest.mark.parametrize("names", [("core", "N"), ("A", "N"), ("N", "cores")])
def test_an_extent_of_a_taken_name_is_refused(names):
    m, n = names

    @pt.tile_kernel
    def k(A):
        return A + A

    k.declare("A", pt.f32[m, n])
    with pytest.raises(CaptureError, match="means something else"):
        k(some(3, 4))


def test_results_have_names_of_their_own():
    @pt.tile_kernel
    def k(result1, result2):
        made = pt.empty((result1.shape[0], 16))
        made[0:16, 0:16] = result2[0:16, 0:16]
        return result1 + result2, made

    a = some(16, 16)
    total, made = k(a, a)
    np.testing.assert_array_equal(total, a + a)
    np.testing.assert_array_equal(made, a)
    names = [t.name for t in k.program().tensors]
    assert len(set(names)) == len(names) == 4


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 4), (3, 1, 2, 5), (5, 1), (1, 5)])
def test_tensors_of_any_rank(shape):
    @pt.tile_kernel
    def k(x, y):
        return pt.exp(x) + y * 2.0

    x, y = (np.asarray(some(*shape), np.float32) for _ in "xy")
    meant = reference.exp(Bounded.exact(x)) + Bounded.exact(y) * 2.0
    found = k(x, y)
    assert found.shape == shape
    assert (np.abs(found - meant.value) <= meant.error).all()


def test_reductions_of_any_rank():
    @pt.tile_kernel
    def k(x):
        return x - pt.max(x, keepdims=True)

    x = some(2, 3, 40)
    np.testing.assert_array_equal(k(x), x - x.max(-1, keepdims=True))


def test_returns_of_several_kinds():
    x = some(4, 4)
    one, pair, lists, nothing, again, same = (pt.tile_kernel(f) for f in (
        lambda x: x + 1.0, lambda x: (x + 1.0, x * 2.0), lambda x: [x + 1.0], lambda x: None,
        lambda x: (x + 1.0,) * 2, lambda x: x))
    np.testing.assert_array_equal(one(x), x + 1)
    assert [r.shape for r in pair(x)] == [(4, 4)] * 2
    assert isinstance(lists(x), tuple)
    with pytest.raises(CaptureError, match="no result"):
        nothing(x)
    first, second = again(x)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(same(x), x)


def test_a_broadcast_axis_gets_a_program_of_its_own():
    @pt.tile_kernel
    def k(x, y):
        return x + y

    x = some(5, 6)
    for y in (some(5, 6), some(5, 1), some(5, 6), some(5, 1)):
        np.testing.assert_array_equal(k(x, y), x + y)
    x = some(5, 1)
    np.testing.assert_array_equal(k(x, x), x + x)
    assert sum(map(len, k.variants.values())) == 2


def test_long_and_wide_expressions_are_traced_in_no_time():
    @pt.tile_kernel
    def wide(x):
        for _ in pt.static_range(40):
            x = (x + x) * 0.5
        return x

    @pt.tile_kernel
    def tiles(x, out):
        t = x[0:16, 0:16]
        for _ in pt.static_range(40):
            t = (t + t) * 0.5
        out[0:16, 0:16] = t

    x = some(16, 16)
    np.testing.assert_array_equal(wide(x), x)
    out = np.empty_like(x)
    tiles(x, out)
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2), np.int32(2)])
def test_numbers_of_any_kind_are_constants(number):
    @pt.tile_kernel
    def k(x):
        return x * number

    np.testing.assert_array_equal(k(x := some(3, 3)), x * 2)


@pytest.mark.parametrize("power", [2.0, -4.0, 2.0**-100, 2.0**120, 0.5])
def test_division_by_a_power_of_two_is_exact(power):
    @pt.tile_kernel
    def k(x):
        return x / power

    x = some(3, 3)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(k(x), x / np.float32(power))


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_every_instruction_leads_to_a_line_of_the_kernel(case):
    bound = bind(case.kernel, case.arguments())
    program = bound.program
    lines = Path(__file__).parents[1].joinpath("kernels.py").read_text().splitlines()
    for span in program.spans:
        assert span.file.endswith("kernels.py")
        assert span.text == lines[span.line - 1]
        assert span.text[span.col:span.end].strip()
    for pc, inst in enumerate(program.code):
        if not inst.spec.is_scalar and inst.spec.memory:
            assert program.span(pc) is not None


@pytest.mark.parametrize("case", [case for case in CASES if not case.kernel.source.annotations],
                         ids=lambda case: case.name)
def test_graphs_and_programs_do_not_depend_on_extents(case):
    """A variant serves every extent: one traced at other extents has the same text and code."""
    arguments = case.arguments()
    small = bind(case.kernel, arguments)
    texts = [text(s.graph, spans=False) for s in case.kernel.compiled().compiled.stages]
    fresh = pt.tile_kernel(case.kernel.__wrapped__, **case.kernel.options)
    large = bind(fresh, [np.zeros([n * 3 if n > 1 else n for n in a.shape], np.float32) for a in arguments])
    assert [text(s.graph, spans=False) for s in fresh.compiled().compiled.stages] == texts
    assert large.program.code == small.program.code
