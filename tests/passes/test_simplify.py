"""Fewer operations, the same values: subexpressions, constants, scalars; and what may not be rewritten."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.dtypes import DTYPES
from pto.passes.ranges import Ranges
from pto.passes.simplify import Simplify, simplify, together
from tests.kernels import bind, on_fast, on_graph, on_slow

X = np.array([[1.5, -0.0, 0.0, -2.25, np.inf, 3e38, 1e-40, -7.0]], np.float32)


def operations(kernel, *arguments):
    """The results, and the operations of the Tensor graph before and after."""
    bound = bind(kernel, list(arguments))
    stages = {s.name: s.graph for s in kernel.compiled().compiled.stages}
    before, after = ([n.op.name.partition(".")[2] for _, _, n in stages[name].walk()
                      if n.op.name.startswith(("tensor.", "tile."))] for name in ("trace", "simplify"))
    got = on_fast(bound)
    with np.errstate(all="ignore"):
        for results in (on_graph(stages["trace"], bound), on_graph(stages["simplify"], bound), on_slow(bound)):
            for a, b in zip(got, results, strict=True):
                np.testing.assert_array_equal(a, b)
    return got, before, after


def test_equal_operations_are_one_with_the_spans_of_all():
    @pt.tile_kernel
    def twice(x):
        first = pt.exp(x)
        second = pt.exp(x)
        return first * second + pt.exp(x)

    _, before, after = operations(twice, X)
    assert (before.count("exp"), after.count("exp")) == (3, 1)
    node = next(n for _, _, n in simplify(twice.graph("tensor")).walk() if n.op.name == "tensor.exp")
    assert len({loc.line for loc in node.locs}) == 3


def test_scalars_are_one_where_nothing_is_rounded_differently():
    @pt.tile_kernel
    def scaled(x):
        return x * 2 * 3, x * 3 * 2, x * 0.1 * 0.1, pt.maximum(pt.maximum(x, 1.0), 2.0), x + 1.0 + 2.0

    got, before, after = operations(scaled, X)
    assert (before.count("muls"), after.count("muls")) == (6, 5)
    assert (before.count("maxs"), after.count("maxs")) == (2, 1)
    assert after.count("adds") == 2
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got[0], X * np.float32(6))


def test_the_larger_of_both_zeros_is_the_positive_one():
    @pt.tile_kernel
    def zeros(x):
        return (pt.maximum(pt.maximum(x, -0.0), 0.0), pt.maximum(pt.maximum(x, 0.0), -0.0),
                pt.minimum(pt.minimum(-x, -0.0), 0.0), pt.minimum(pt.minimum(-x, 0.0), -0.0))

    got, before, after = operations(zeros, -np.ones((1, 8), np.float32))
    assert (before.count("maxs"), after.count("maxs")) == (4, 1)
    assert [bool(np.signbit(a).any()) for a in got] == [False, False, True, True]


def test_integers_are_added_at_once_where_the_sum_is_one():
    @pt.tile_kernel
    def counted(x: pt.s32["m", "n"], y: pt.s8["m", "n"]):
        return x + 1 + 2, x * 3 * 5, y + 100 + 100

    x, y = np.array([[2**31 - 2, -5, 7]], np.int32), np.array([[1, -100, 127]], np.int8)
    got, _, after = operations(counted, x, y)
    assert (after.count("adds"), after.count("muls")) == (3, 1)  # 200 is no s8
    np.testing.assert_array_equal(got[0], x + np.int32(3))


def test_what_undoes_or_repeats_is_left_out():
    @pt.tile_kernel
    def undone(x: pt.s32["m", "n"], y):
        minus = -x
        return -minus, pt.abs(pt.abs(y)), pt.relu(pt.relu(y)), y * 1.0 - 0.0, y + 0.0

    _, _, after = operations(undone, np.arange(-4, 4, dtype=np.int32).reshape(1, 8), X)
    assert "neg" not in after and "muls" not in after and "subs" not in after
    assert (after.count("abs"), after.count("relu"), after.count("adds")) == (1, 1, 1)  # -0.0 + 0.0 is 0.0


def test_constant_tiles_are_scalars():
    @pt.tile_kernel
    def shifted(x: pt.f32["m", 8]):
        out = pt.empty((x.shape[0], 8))
        for i in pt.range(0, x.shape[0], 4):
            two = pt.full((4, 8), 1.0) + 1.0
            out[i:i + 4, 0:8] = (x[i:i + 4, 0:8] * two - pt.full((4, 8), 3.0)) / two
        return out

    x = np.random.default_rng(0).standard_normal((6, 8), np.float32)
    got, before, after = operations(shifted, x)
    assert before.count("full") == 2
    assert not {"full", "mul", "sub", "div"} & set(after) and {"muls", "subs", "divs"} <= set(after)
    np.testing.assert_array_equal(got[0], (x * 2 - 3) / 2)


def test_what_is_stored_between_is_computed_again():
    @pt.tile_kernel
    def stepwise(x: pt.f32["m", 8]):
        x[:] = x * 2.0
        x[:] = x * 2.0

    x = np.ones((3, 8), np.float32)
    stepwise(x)
    np.testing.assert_array_equal(x, 4.0)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["muls", "adds", "subs", "maxs", "mins"]), st.sampled_from(["f32", "s32", "s8", "u8", "f16"]),
       st.sampled_from([0.5, 1, 2, 4, 3, 0.1, -1, 64, 100, 127]), st.sampled_from([1, 2, 3, 0.1, -2, 0.5, 100, 1e30]))
def test_one_scalar_does_what_two_do(name, dtype, first, second):
    both = together(name, DTYPES[dtype], first, second)
    if both is None:
        return
    kind = {"f32": np.float32, "s32": np.int32, "s8": np.int8, "u8": np.uint8, "f16": np.float16}[dtype]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 2000, np.uint64).astype(np.uint32).view(kind) if kind != np.float16 else (
        rng.integers(0, 2**16, 2000).astype(np.uint16).view(kind))
    apply = {"muls": np.multiply, "adds": np.add, "subs": np.subtract, "maxs": np.fmax, "mins": np.fmin}[name]
    with np.errstate(all="ignore"):
        def scalar(value):
            return kind(value) if np.dtype(kind).kind == "f" else np.array(int(np.rint(value))).astype(kind)
        two = apply(apply(x, scalar(first)), scalar(second))
        np.testing.assert_array_equal(apply(x, scalar(both)), two)


@pytest.mark.parametrize("level", ["tensor"])
def test_it_simplifies_once(level):
    @pt.tile_kernel
    def some(x):
        return pt.exp(x * 2 * 3) + pt.exp(x * 6.0)

    some(X)
    once = simplify(some.graph(level))
    assert pt.text(Simplify(Ranges(once)).run(once)) == pt.text(once)
    assert once.size() < some.compiled().compiled.stages[0].graph.size()


def test_what_a_loop_does_not_change_it_carries_no_more():
    never = False

    @pt.tile_kernel
    def added(x):
        other, count = x * 2.0, 4
        for _ in pt.range(3):
            x = x + other
            if never:
                other, count = x, 5
        return x - other * count

    operations(added, X[:, :4])
    loops = {s.name: n.carried for s in added.compiled().compiled.stages for _, _, n in s.graph.walk()
             if n.body is not None and s.name in ("trace", "simplify")}
    assert loops == {"trace": 3, "simplify": 1}


def test_reads_stay_on_their_side_of_a_store():
    """Views read what is stored to their array, also under another name; what was computed before stays what it was."""
    @pt.tile_kernel
    def k(x):
        same, row = x, x[1]
        double, negated, one, sums = x * 2.0, -x, x * 1.0, row + 1.0
        x[1] = x[0] + 100.0
        same[2] = same[1] + 1.0
        return double * 4.0, -negated, one, sums, row + 1.0

    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    after = x.copy()
    results = k(after)
    for found, expected in zip(results[:3], (8 * x, x, x), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(results[3], x[1] + 1)
    np.testing.assert_array_equal(results[4], x[0] + 101)
    np.testing.assert_array_equal(after, [x[0], x[0] + 100, x[0] + 101])


def test_reads_stay_in_their_turn_of_a_loop():
    @pt.tile_kernel
    def k(x):
        row, total = x[1], x[0] * 0.0
        for i in pt.range(3):
            before = row * 2.0
            x[1] = x[2] + row
            total = total + before * 2.0 + (row * 2.0)
        return total

    x, expected = np.arange(6, dtype=np.float32).reshape(3, 2), np.zeros(2, np.float32)
    after = x.copy()
    total = k(after)
    for _ in range(3):
        before = x[1] * 2
        x[1] += x[2]
        expected += before * 2 + x[1] * 2
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(after, x)
