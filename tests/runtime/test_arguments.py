"""Arrays of the caller: which come in without a copy, which are refused, and what is stored to."""
# ruff: noqa: F821 (names of options, extents in quotes, kernels in loops)

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pto as pt
from pto.core.errors import DTypeError, PtoError, UsageError
from pto.runtime.arguments import as_array, overlaps_itself
from tests.arrays import some


@pt.tile_kernel
def add(x, y):
    return x + y


@pt.tile_kernel(tile_m=16, tile_n=16)
def double_into(x, out):
    for i in pt.range(0, x.shape[0], tile_m):
        for j in pt.range(0, x.shape[1], tile_n):
            out[i:i + tile_m, j:j + tile_n] = x[i:i + tile_m, j:j + tile_n] * 2.0


class Shares:
    def __init__(self, array):
        self.__array_interface__, self.keep = array.__array_interface__, array


class Capsule:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


VIEWS = {
    "rows apart": lambda x: np.hstack([x, x])[:, :x.shape[1]],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "fortran": np.asfortranarray,
    "big endian": lambda x: x.astype(">f4"),
    "nested lists": lambda x: x.tolist(),
    "array interface": Shares,
    "dlpack": Capsule,
    "memoryview": memoryview,
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


@pytest.mark.parametrize("view", VIEWS)
def test_any_view_is_an_argument(view):
    x, y = some(20, 30), some(20, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            got = add(VIEWS[view](x), y)
        except DTypeError:
            assert view == "big endian"
            return
        np.testing.assert_array_equal(got, x + y)
        np.testing.assert_array_equal(add(y=VIEWS[view](x), x=y), x + y)


@pytest.mark.parametrize("view", ["rows apart", "transposed", "reversed", "every second", "fortran"])
def test_what_is_stored_reaches_any_view(view):
    x, out = some(20, 30), VIEWS[view](some(20, 30))
    assert double_into(x, out) is None
    np.testing.assert_array_equal(out, x * 2)


@pytest.mark.parametrize("wrap", [Shares, Capsule, memoryview])
def test_what_is_stored_reaches_what_shares_its_memory(wrap):
    x, out = some(20, 30), some(20, 30)
    double_into(x, wrap(out))
    np.testing.assert_array_equal(out, x * 2)


def test_a_float64_result_gets_what_is_stored_with_a_note():
    x, out = some(20, 30), np.zeros((20, 30))
    with pytest.warns(UserWarning, match="out is float64: the kernel gets a copy in float32"):
        double_into(x, out)
    np.testing.assert_array_equal(out, x * 2)


def test_the_note_of_a_copy_names_the_callers_line():
    with pytest.warns(UserWarning, match="float64") as caught:
        add(np.zeros((3, 3)), np.zeros((3, 3), np.float32))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("make", "error"), [
    (lambda x: np.broadcast_to(x, x.shape), UsageError), (lambda x: x.tolist(), UsageError)])
def test_what_cannot_be_stored_to_is_refused(make, error):
    x = some(20, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(error):
            double_into(x, make(x))


@pytest.mark.parametrize("value", ["text", b"bytes", None, object(), {"a": 1}, [[1.0], [1.0, 2.0]]])
def test_no_array_is_refused_at_the_callers_line(value):
    with pytest.raises(PtoError) as caught:
        add(value, some(3, 3))
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "datetime64[s]", "S3"])
def test_elements_that_the_machine_lacks_are_refused(dtype):
    with pytest.raises(PtoError) as caught:
        add(np.zeros((3, 3), dtype), some(3, 3))
    assert dtype.split("[")[0].rstrip("0123456789S") in str(caught.value) or dtype == "S3"


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_an_empty_array_is_refused(shape):
    with pytest.raises(PtoError, match="is 0"):
        add(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def test_inputs_are_not_changed():
    x, y = some(20, 30), some(20, 30)
    before = x.copy(), y.copy()
    add(x, y)
    np.testing.assert_array_equal((x, y), before)


def overlapping(x):
    return np.lib.stride_tricks.as_strided(x, (4, 30), (40, 4))


@pytest.mark.parametrize(("make", "said"), [
    (lambda x: np.broadcast_to(x, x.shape), "read-only"), (lambda x: x.tolist(), "list"),
    (overlapping, "share memory with each other"),
    (lambda x: np.broadcast_to(x[:1], x.shape), "read-only"), (lambda x: x.data.toreadonly(), "read-only")])
def test_what_cannot_be_stored_to_is_known_before_the_run(make, said):
    x = some(20, 30)
    before, out = x.copy(), make(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(UsageError, match=said) as caught:
            double_into(some(*np.shape(out)), out)
    assert caught.value.loc.file == __file__
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("view", "overlaps"), [
    (lambda x: x, False), (lambda x: x[::2, ::3], False), (lambda x: x.T[::-1], False), (lambda x: x[:, :1], False),
    (overlapping, True), (lambda x: np.broadcast_to(x[0], x.shape), True),
])
def test_views_that_overlap_themselves(view, overlaps):
    array = view(some(20, 30))
    assert overlaps_itself(array) == overlaps
    addresses = array.__array_interface__["data"][0] + sum(
        np.indices(array.shape)[axis] * step for axis, step in enumerate(array.strides))
    assert (len(np.unique(addresses)) < array.size) == overlaps


def test_masks_are_not_dropped():
    with pytest.raises(UsageError, match="mask would be lost") as caught:
        add(np.ma.masked_array(some(3, 3), mask=np.eye(3, dtype=bool)), some(3, 3))
    assert caught.value.loc.file == __file__


def test_another_byte_order_is_refused_at_the_callers_line():
    with pytest.raises(DTypeError, match="byte order") as caught:
        add(some(3, 3).astype(">f4"), some(3, 3))
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("value", [np.full((3, 3), 1e300), np.full((3, 3), 2**40)])
def test_values_beyond_the_machines_types_are_refused(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(DTypeError, match="cannot hold"):
            add(value, some(3, 3))


def test_infinities_are_converted():
    with pytest.warns(UserWarning, match="float64"):
        assert np.isinf(add(np.full((3, 3), np.inf), some(3, 3))).all()


def test_int64_becomes_int32_with_a_note():
    with pytest.warns(UserWarning, match="x is int64: the kernel gets a copy in int32"):
        assert as_array(np.arange(-3, 3), "x").dtype == np.int32


def test_arguments_that_overlap_are_refused_at_the_callers_line():
    x = some(20, 30)
    with pytest.raises(UsageError, match="shares memory") as caught:
        double_into(x, x)
    assert caught.value.loc.file == __file__


@pt.tile_kernel
def corner(x):
    out = pt.empty((x.shape[0], x.shape[1]))
    out[0:4, 0:4] = x[0:4, 0:4]
    return out


def test_what_is_not_stored_of_a_result_is_zero():
    x = some(20, 30)
    for _ in range(5):
        np.empty((20, 30), np.float32).fill(7)  # what an uninitialised result may get
        got = corner(x)
        np.testing.assert_array_equal(got[:4, :4], x[:4, :4])
        got[:4, :4] = 0
        assert not got.any()


def test_results_are_new_each_time():
    x, y = some(20, 30), some(20, 30)
    assert not np.shares_memory(add(x, y), add(x, y))
