"""How kernels are called: constants, names, methods, from other kernels."""
# ruff: noqa: F821, UP037 (names of options, extents in quotes)

from __future__ import annotations

import copy

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CaptureError, PtoError, ShapeError, UsageError

X = np.arange(48 * 16, dtype=np.float32).reshape(48, 16)


@pt.tile_kernel
def scaled(x, factor=2.0, *, bias=None):
    y = x * factor
    return y if bias is None else y + bias


def test_defaults_and_keywords_are_constants_or_tensors_as_they_are_given():
    for _ in range(2):
        np.testing.assert_array_equal(scaled(X), X * 2)
        np.testing.assert_array_equal(scaled(X, 3.0), X * 3)
        np.testing.assert_array_equal(scaled(X, factor=4.0, bias=1.0), X * 4 + 1)
        np.testing.assert_array_equal(scaled(X, bias=X), X * 3)
        np.testing.assert_array_equal(scaled(X, X), X * X)
    assert sum(map(len, scaled.variants.values())) == 5


@pytest.mark.parametrize(("call", "said"), [
    (lambda: scaled(), "needs the argument x"), (lambda: scaled(X, 1.0, X), "takes 2 arguments"),
    (lambda: scaled(X, x=X), "two values for x"), (lambda: scaled(X, by=2.0), "no argument by")])
def test_arguments_that_do_not_fit_are_refused_at_the_callers_line(call, said):
    with pytest.raises(UsageError, match=said) as caught:
        call()
    assert caught.value.loc.file == __file__


def test_annotated_constants_direct_the_trace():
    @pt.tile_kernel
    def k(x: pt.f32["M", "N"], rows: pt.constexpr, twice: bool):
        out = pt.empty((x.shape[0], 16))
        for i in pt.range(0, x.shape[0], rows):
            tile = x[i:i + rows, 0:16]
            out[i:i + rows, 0:16] = tile * 2.0 if twice else tile
        return out

    for rows in (8, 16):
        np.testing.assert_array_equal(k(X, rows, True), X * 2)
        np.testing.assert_array_equal(k(X, rows, twice=False), X)
    assert len(k.variants) == 4


def test_constants_that_are_equal_and_differ_are_told_apart():
    @pt.tile_kernel
    def k(x, how=None):
        return x + 1.0 if how is True else x + 2.0

    np.testing.assert_array_equal(k(X, 1), X + 2)
    np.testing.assert_array_equal(k(X, True), X + 1)


def test_the_program_of_the_defaults_needs_no_call():
    @pt.tile_kernel
    def k(x: pt.f32["M", "N"], by=3.0):
        return x * by

    assert "tmuls" in k.disasm()


class Scaler:
    def __init__(self, factor):
        self.factor = factor

    @pt.tile_kernel(tile_m=16, tile_n=16)
    def scale(self, x):
        return x * self.factor


def test_a_kernel_is_a_method():
    two, three = Scaler(2.0), Scaler(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(two.scale(X), X * 2)
        np.testing.assert_array_equal(three.scale(x=X), X * 3)
    assert two.scale is two.scale
    other = copy.deepcopy(two)
    other.factor = 5.0
    np.testing.assert_array_equal(other.scale(X), X * 5)


@pt.tile_kernel
def double(a: pt.f32["M", "N"]):
    return a + a


@pt.tile_kernel
def into(a, out):
    out[0:16, 0:16] = a[0:16, 0:16] * 2.0


def test_a_kernel_in_a_kernel_is_inlined():
    @pt.tile_kernel
    def k(x):
        return double(double(x) * 3.0)

    np.testing.assert_array_equal(k(X), X * 12)
    assert len(k.program().tensors) == 2


def test_what_an_inlined_kernel_stores_is_stored():
    @pt.tile_kernel
    def argument(x, out):
        into(x, out)

    @pt.tile_kernel
    def result(x):
        out = pt.empty((48, 16))
        into(x, out)
        out[16:32, 0:16] = x[0:16, 0:16]
        return out

    out = X.copy()
    argument(X, out)
    np.testing.assert_array_equal(out, np.vstack([X[:16] * 2, X[16:]]))
    np.testing.assert_array_equal(result(X), np.vstack([X[:16] * 2, X[:16], X[:16] * 0]))


def test_stores_of_an_inlined_kernel_are_not_lost_in_a_loop():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            into(x, out)

    with pytest.raises(CaptureError, match="kernel around this loop") as caught:
        k(X, X.copy())
    assert caught.value.loc.file == __file__


def test_an_inlined_kernels_annotations_hold():
    @pt.tile_kernel
    def rows(a: pt.f32["M", "M"]):
        return a + a

    @pt.tile_kernel
    def k(x):
        return rows(x)

    with pytest.raises(ShapeError, match="extent of 16, not 48"):
        k(X)
    np.testing.assert_array_equal(k(X[:16]), X[:16] * 2)


@pt.tile_kernel
def endless(x):
    return endless(x)


def test_recursion_is_refused():
    with pytest.raises(CaptureError, match="calls itself, and") as caught:
        endless(X)
    assert caught.value.loc.file == __file__


def test_annotations_in_quotes_see_the_names_around_the_kernel():
    rows = 48

    @pt.tile_kernel
    def k(x: pt.f32[rows, "N"], y: nonsense):
        return x + y

    np.testing.assert_array_equal(k(X, X), X * 2)
    with pytest.raises(ShapeError, match="must be 48"):
        k(X[:5], X[:5])


@pytest.mark.parametrize("extent", [-3, 0, 2.5, True, "a b", ""])
def test_extents_without_sense_are_refused_where_they_are_written(extent):
    with pytest.raises(ShapeError, match="is no extent") as caught:
        pt.f32["M", extent]
    assert caught.value.loc.file == __file__


def test_options_that_nothing_uses_are_refused():
    with pytest.raises(UsageError, match="did you mean tile_m") as caught:
        pt.tile_kernel(tlie_m=64)(lambda x: x)
    assert caught.value.loc.file == __file__
    with pytest.raises(UsageError, match="is an option of"):
        pt.tile_kernel(x=64)(lambda x: x)
    np.testing.assert_array_equal(pt.tile_kernel(by=3.0)(lambda x: x * by)(X), X * 3)


def leaks(x):
    for i in pt.range(0, x.shape[0], 16):
        LEAKED.append(x[i:i + 16, 0:16] + 1.0)
        LEAKED.append(i)
    out = pt.empty((16, 16))
    out[0:16, 0:16] = LEAKED[-2]
    return out


def leaks_a_counter(x):
    for i in pt.range(0, x.shape[0], 16):
        LEAKED.append(i)
    out = pt.empty((16, 16))
    out[0:16, 0:16] = x[LEAKED[-1]:LEAKED[-1] + 16, 0:16]
    return out


def leaks_a_tensor(x):
    LEAKED.append(x)
    return x + 1.0


LEAKED: list = []


@pytest.mark.parametrize("kernel", [leaks, leaks_a_counter])
def test_a_value_of_a_loop_does_not_exist_after_it(kernel):
    with pytest.raises(CaptureError, match="made in a loop") as caught:
        pt.tile_kernel(kernel)(X)
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("use", [lambda x: x + LEAKED[-1], lambda x: LEAKED[-1]])
def test_a_tensor_of_another_kernel_is_refused(use):
    pt.tile_kernel(leaks_a_tensor)(X)
    with pytest.raises(CaptureError, match="of another kernel"):
        pt.tile_kernel(use)(X)


@pytest.mark.parametrize("test", [
    lambda n: n > 1 and n < 9, lambda n: n > 1 or n < 9, lambda n: not n > 1, lambda n: 1 < n < 9])
def test_conditions_that_python_joins_say_how_to_join_them(test):
    @pt.tile_kernel
    def k(x):
        y = x * 1.0
        if test(x.shape[0]):
            y = x * 2.0
        return y

    with pytest.raises(PtoError) as caught:
        k(X)
    assert all(word in caught.value.hint for word in ("&", "|", "!="))
    assert caught.value.loc.file == __file__


def test_a_loop_stores_to_an_array_under_one_name():
    @pt.tile_kernel
    def k(a, b):
        b = a
        for i in pt.range(3):
            a[i] = a[i] + 1.0
            b[i] = a[i] * 2.0

    with pytest.raises(pt.PtoError, match="a and b are one array, and this loop stores to it under both names"):
        k(X.copy(), X.copy())
