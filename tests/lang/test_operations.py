"""Every operation of the language against NumPy over random extents, broadcasts and element types: one row each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.lang import functions, language, reductions, selection, shapes

BF16 = np.dtype(ml_dtypes.bfloat16)
F32, F16, S32, S16, S8, U8, BOOL = map(np.dtype, ("f4", "f2", "i4", "i2", "i1", "u1", "?"))
FLOATS, INTEGERS = (F32, F16, BF16), (S32, S16, S8, U8)
EPS = {F32: 2.0**-23, F16: 2.0**-10, BF16: 2.0**-7}
erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclass(frozen=True)
class Row:
    """An operation: its text, what it means, and what it is tried on.

    Attributes:
        ours: of tensors.
        numpys: of arrays; floats are in float64.
        arity: number of operands, which broadcast.
        dtypes: of the elements.
        low, high: bounds of floating elements.
        units: of the last place that floats may differ by, relative to the result and to 1.
    """

    ours: Callable[..., Any]
    numpys: Callable[..., Any]
    arity: int = 1
    dtypes: tuple[Any, ...] = FLOATS
    low: float = -4.0
    high: float = 4.0
    units: float = 8.0


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


EVERY = (*FLOATS, *INTEGERS)
ELEMENTS: dict[str, Row] = {
    # of one operand
    "exp": Row(pt.exp, np.exp, units=16), "exp2": Row(pt.exp2, np.exp2, units=16),
    "expm1": Row(pt.expm1, np.expm1, units=24),
    "log": Row(pt.log, np.log, low=0.01), "log2": Row(pt.log2, np.log2, low=0.01),
    "log10": Row(pt.log10, np.log10, low=0.01), "log1p": Row(pt.log1p, np.log1p, low=-0.9),
    "sqrt": Row(pt.sqrt, np.sqrt, low=0.0), "rsqrt": Row(pt.rsqrt, lambda x: 1 / np.sqrt(x), low=0.01),
    "reciprocal": Row(pt.reciprocal, lambda x: 1 / x, low=0.1), "tanh": Row(pt.tanh, np.tanh),
    "erf": Row(pt.erf, erf), "sin": Row(pt.sin, np.sin), "cos": Row(pt.cos, np.cos),
    "tan": Row(pt.tan, np.tan, low=-1.2, high=1.2), "sinh": Row(pt.sinh, np.sinh, units=32),
    "cosh": Row(pt.cosh, np.cosh, units=32), "floor": Row(pt.floor, np.floor), "ceil": Row(pt.ceil, np.ceil),
    "round": Row(pt.round, np.rint), "trunc": Row(pt.trunc, np.trunc), "abs": Row(pt.abs, np.abs, dtypes=EVERY),
    "sign": Row(pt.sign, np.sign, dtypes=EVERY), "square": Row(pt.square, np.square, dtypes=EVERY),
    "relu": Row(pt.relu, lambda x: np.maximum(x, x.dtype.type(0)), dtypes=EVERY),
    "relu6": Row(pt.relu6, lambda x: np.clip(x, 0, 6), dtypes=EVERY),
    "leaky_relu": Row(pt.leaky_relu, lambda x: np.where(x < 0, x * 0.01, x)),
    "elu": Row(pt.elu, lambda x: np.where(x > 0, x, np.expm1(x)), units=24),
    "softplus": Row(pt.softplus, softplus, units=16),
    "log_sigmoid": Row(pt.log_sigmoid, lambda x: -softplus(-x), units=16),
    "sigmoid": Row(pt.sigmoid, sigmoid), "silu": Row(pt.silu, lambda x: x * sigmoid(x)),
    "gelu": Row(pt.gelu, lambda x: 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))), units=16),
    "gelu, exact": Row(lambda x: pt.gelu(x, "none"), lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    "hardswish": Row(pt.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "mish": Row(pt.mish, lambda x: x * np.tanh(softplus(x)), units=16),
    "isnan": Row(pt.isnan, np.isnan), "isinf": Row(pt.isinf, np.isinf), "isfinite": Row(pt.isfinite, np.isfinite),
    "logical_not": Row(pt.logical_not, np.logical_not, dtypes=(*EVERY, BOOL)),
    "-x": Row(lambda x: -x, np.negative, dtypes=EVERY), "+x": Row(lambda x: +x, lambda x: x, dtypes=EVERY),
    "abs()": Row(abs, np.abs, dtypes=EVERY), "~x": Row(lambda x: ~x, np.invert, dtypes=(*INTEGERS, BOOL)),
    "clamp": Row(lambda x: pt.clamp(x, 1, 3), lambda x: np.clip(x, 1, 3), dtypes=EVERY),
    "masked_fill": Row(lambda x: pt.masked_fill(x, x > 1, 2), lambda x: np.where(x > 1, x.dtype.type(2), x),
                       dtypes=EVERY),
    "x ** 3": Row(lambda x: x**3, lambda x: x**3, dtypes=EVERY, units=16),
    "x ** -2": Row(lambda x: x**-2, lambda x: x**-2.0, low=0.5, units=16),
    "x ** 0.5": Row(lambda x: x**0.5, np.sqrt, low=0.0),
    "x ** 1.5": Row(lambda x: x**1.5, lambda x: x**1.5, low=0.01, units=40),
    "2 ** x": Row(lambda x: 2**x, lambda x: 2.0**x, units=16),
    "x // 3": Row(lambda x: x // 3, lambda x: x // x.dtype.type(3), dtypes=EVERY),
    "x // 4": Row(lambda x: x // 4, lambda x: x // x.dtype.type(4), dtypes=INTEGERS),
    "x % 7": Row(lambda x: x % 7, lambda x: x % x.dtype.type(7), dtypes=INTEGERS),
    "100 // x": Row(lambda x: 100 // x, lambda x: x.dtype.type(100) // x, dtypes=INTEGERS),
    "maximum of a number": Row(lambda x: pt.maximum(2, x), lambda x: np.maximum(x, x.dtype.type(2)), dtypes=EVERY),
    "minimum of a number": Row(lambda x: pt.minimum(x, 2), lambda x: np.minimum(x, x.dtype.type(2)), dtypes=EVERY),
    "methods": Row(lambda x: x.exp().sqrt().tanh(), lambda x: np.tanh(np.sqrt(np.exp(x))), units=16),
    "zeros_like": Row(pt.zeros_like, np.zeros_like, dtypes=EVERY),
    "ones_like": Row(pt.ones_like, np.ones_like, dtypes=EVERY),
    "full_like": Row(lambda x: pt.full_like(x, 3), lambda x: np.full_like(x, 3), dtypes=EVERY),
    # of two
    "x + y": Row(lambda x, y: x + y, np.add, 2, EVERY), "x - y": Row(lambda x, y: x - y, np.subtract, 2, EVERY),
    "x * y": Row(lambda x, y: x * y, np.multiply, 2, EVERY),
    "x / y": Row(lambda x, y: x / y, np.divide, 2, low=0.25),
    "maximum": Row(pt.maximum, np.maximum, 2, EVERY), "minimum": Row(pt.minimum, np.minimum, 2, EVERY),
    "power": Row(pt.power, np.power, 2, low=0.1, units=64),
    "floor_divide": Row(pt.floor_divide, np.floor_divide, 2, INTEGERS),
    "remainder": Row(pt.remainder, np.remainder, 2, INTEGERS),
    "logical_and": Row(pt.logical_and, np.logical_and, 2, (*EVERY, BOOL)),
    "logical_or": Row(pt.logical_or, np.logical_or, 2, (*EVERY, BOOL)),
    "logical_xor": Row(pt.logical_xor, np.logical_xor, 2, (*EVERY, BOOL)),
    "x & y": Row(lambda x, y: x & y, np.bitwise_and, 2, (*INTEGERS, BOOL)),
    "x | y": Row(lambda x, y: x | y, np.bitwise_or, 2, (*INTEGERS, BOOL)),
    "x ^ y": Row(lambda x, y: x ^ y, np.bitwise_xor, 2, (*INTEGERS, BOOL)),
    "x < y": Row(lambda x, y: x < y, np.less, 2, EVERY), "x == y": Row(lambda x, y: x == y, np.equal, 2, EVERY),
    # of three
    "where": Row(lambda x, y, z: pt.where(x > y, y, z), lambda x, y, z: np.where(x > y, y, z), 3, EVERY),
    "x * y + z": Row(lambda x, y, z: x * y + z, lambda x, y, z: x * y + z, 3, EVERY, units=32),
}

EXTENT = st.sampled_from([1, 1, 2, 3, 7, 16, 33, 100])


@cache
def kernel(name: str, table: str) -> Any:
    """One kernel for each row: it is compiled once for each element type and number of axes."""
    rows: dict[str, Any] = {"elements": ELEMENTS, "reductions": REDUCED, "rearranged": REARRANGED}[table]
    ours, arity = rows[name].ours, rows[name].arity
    return pt.tile_kernel({1: lambda x: ours(x), 2: lambda x, y: ours(x, y), 3: lambda x, y, z: ours(x, y, z)}[arity])


def some(rng: np.random.Generator, row: Any, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Elements of a type; floats between the row's bounds, a few of them alike."""
    if dtype == BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        small = rng.integers(0 if limits.min == 0 else -9, 10, shape)
        large = rng.integers(limits.min, limits.max, shape, np.int64)
        return np.where(rng.random(shape) < 0.5, small, large).astype(dtype)
    return np.clip(np.round(rng.uniform(row.low, row.high, shape), 2), row.low, row.high).astype(dtype)


def close(got: np.ndarray, want: Any, dtype: Any, units: float) -> None:
    """Equal, but floats to so many units in the last place."""
    want = np.asarray(want)
    assert got.shape == want.shape
    if dtype not in FLOATS or got.dtype not in FLOATS:
        np.testing.assert_array_equal(got, want)
    else:
        tolerance = units * EPS[dtype]
        assert got.dtype == dtype
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)


@st.composite
def operands(draw: st.DrawFn) -> tuple[str, Any, list[tuple[int, ...]]]:
    """A row, an element type, and extents that broadcast."""
    name = draw(st.sampled_from(sorted(ELEMENTS)))
    common = tuple(draw(st.lists(EXTENT, min_size=1, max_size=3)))
    given = [common]
    for _ in range(ELEMENTS[name].arity - 1):
        kept = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in common)
        given.append(kept[draw(st.integers(0, len(kept) - 1)):])
    return name, draw(st.sampled_from(ELEMENTS[name].dtypes)), given


@settings(max_examples=160, deadline=None)
@given(operands(), st.integers(0, 2**16))
def test_an_operation_of_elements_is_numpys(case, seed):
    name, dtype, extents = case
    row, rng = ELEMENTS[name], np.random.default_rng(seed)
    given = [some(rng, row, dtype, shape) for shape in extents]
    wide = [x.astype(np.float64) if dtype in FLOATS else x for x in given]
    with np.errstate(all="ignore"):
        want = row.numpys(*wide)
    close(kernel(name, "elements")(*given), want, dtype, row.units)


# reductions


@dataclass(frozen=True)
class Reduced:
    """A reduction: whose values are what NumPy says of wide elements, as elements of the type or of int32."""

    ours: Callable[..., Any]
    numpys: Callable[..., Any]
    dtypes: tuple[Any, ...] = (F32, F16, S32, S8, U8)
    low: float = -2.0
    high: float = 2.0
    arity: int = 1


REDUCED = {
    "sum": Reduced(pt.sum, np.sum), "max": Reduced(pt.max, np.max), "min": Reduced(pt.min, np.min),
    "prod": Reduced(pt.prod, np.prod, (F32, F16), -1.1, 1.1), "mean": Reduced(pt.mean, np.mean, (F32, F16)),
    "var": Reduced(pt.var, np.var, (F32, F16)), "std": Reduced(pt.std, np.std, (F32, F16), 0.5, 9.0),
    "argmax": Reduced(pt.argmax, np.argmax), "argmin": Reduced(pt.argmin, np.argmin),
    "any": Reduced(pt.any, np.any, (F32, S8, U8, BOOL)), "all": Reduced(pt.all, np.all, (F32, S8, U8, BOOL)),
    "count_nonzero": Reduced(pt.count_nonzero, np.count_nonzero, (F32, S8, BOOL)),
}
ONE_AXIS = {"argmax", "argmin"}


@st.composite
def reductions_of(draw: st.DrawFn) -> tuple[str, Any, tuple[int, ...], Any]:
    name = draw(st.sampled_from(sorted(REDUCED)))
    shape = tuple(draw(st.lists(EXTENT, min_size=1, max_size=3)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    several = axes[0] if name in ONE_AXIS else tuple(axes)
    return name, draw(st.sampled_from(REDUCED[name].dtypes)), shape, draw(st.sampled_from([None, -1, several]))


@settings(max_examples=80, deadline=None)
@given(reductions_of(), st.booleans(), st.integers(0, 2**16))
def test_a_reduction_is_numpys(case, keepdims, seed):
    name, dtype, shape, axis = case
    row, keepdims = REDUCED[name], keepdims and not (name in ONE_AXIS and axis is None)
    x = some(np.random.default_rng(seed), row, dtype, shape)
    found = pt.tile_kernel(lambda x: row.ours(x, axis, keepdims=keepdims))(x)
    wide = x.astype(np.float64) if dtype in FLOATS else x if dtype == BOOL else x.astype(np.int32)
    with np.errstate(all="ignore"):
        want = np.asarray(row.numpys(wide, axis=axis, keepdims=keepdims))
    if dtype == S32 and name == "sum":
        want = want.astype(np.int32)
    size = x.size // max(want.size, 1)
    close(found, want, dtype if found.dtype == dtype else S32, 16 + 2 * size)


@pytest.mark.parametrize("width", [1, 40, 3000])
@pytest.mark.parametrize("tiles", [{}, {"tile_n": 16}])
def test_a_position_ignores_nan_wherever_the_tiles_end(width, tiles):
    x = np.full((4, width), np.nan, np.float32)
    x[1, -1], x[2, width // 2:] = 3, -np.inf
    x[3] = np.arange(width) % 7
    found = pt.tile_kernel(lambda x: (pt.argmax(x, -1), pt.argmin(x, -1)), **tiles)(x)
    assert [found[0][i] for i in range(4)] == [0, width - 1, width // 2, min(6, width - 1)]
    assert [found[1][i] for i in range(4)] == [0, width - 1, width // 2, 0]


def test_a_reduction_may_be_called_as_in_pytorch():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = pt.tile_kernel(lambda x: (x.sum(dim=1), x.max(dim=0, keepdim=True), x.argmax(-1), x.any(axis=None)))(x)
    for got, want in zip(found, (x.sum(1), x.max(0, keepdims=True), x.argmax(-1), x.any()), strict=True):
        np.testing.assert_array_equal(got, want)


# other extents


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def picks(x):
    return np.arange(x.size, dtype=np.int32).reshape(x.shape) % x.shape[-1]


REARRANGED: dict[str, Row] = {
    "softmax": Row(pt.softmax, softmax, units=32),
    "log_softmax": Row(pt.log_softmax, lambda x: np.log(softmax(x)), units=32),
    "softmax over the first axis": Row(lambda x: pt.softmax(x, dim=0),
                                       lambda x: np.moveaxis(softmax(np.moveaxis(x, 0, -1)), -1, 0), units=32),
    "logsumexp": Row(pt.logsumexp, lambda x: np.log(np.exp(x).sum(-1)), units=32),
    "layer_norm": Row(pt.layer_norm,
                      lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
                      dtypes=(F32,), units=2000),
    "rms_norm": Row(pt.rms_norm, lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5), units=64),
    "pad": Row(lambda x: pt.pad(x, (2, 1), value=3),
               lambda x: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 1)], constant_values=3), dtypes=EVERY),
    "pad of every axis": Row(lambda x: pt.pad(x, 2), lambda x: np.pad(x, 2), dtypes=EVERY),
    "flatten": Row(pt.flatten, np.ravel, dtypes=EVERY),
    "roll": Row(lambda x: pt.roll(x, 3), lambda x: np.roll(x, 3, -1), dtypes=EVERY),
    "flip": Row(pt.flip, lambda x: np.flip(x, -1), dtypes=EVERY),
    "flip of the first axis": Row(lambda x: pt.flip(x, 0), lambda x: np.flip(x, 0), dtypes=EVERY),
    "repeat_interleave": Row(lambda x: pt.repeat_interleave(x, 3), lambda x: np.repeat(x, 3, 0), dtypes=EVERY),
    "tile": Row(lambda x: pt.tile(x, 2, 3), lambda x: np.tile(x, (2, 3)), dtypes=EVERY),
    "concat": Row(lambda x: pt.concat([x, x + x]), lambda x: np.concatenate([x, x + x], -1), dtypes=EVERY),
    "stack": Row(lambda x: pt.stack([x, x]), lambda x: np.stack([x, x]), dtypes=EVERY),
    "chunk": Row(lambda x: pt.chunk(x, 2)[0] + 0, lambda x: x[:-(-len(x) // 2)], dtypes=EVERY),
    "split": Row(lambda x: pt.concat(pt.split(x, 5, -1)), lambda x: x, dtypes=EVERY),
    "transpose": Row(lambda x: x.transpose(0, -1), lambda x: np.swapaxes(x, 0, -1), dtypes=(*EVERY, BOOL)),
    "tril": Row(lambda x: pt.tril(x.unsqueeze(-1) + x.unsqueeze(-2)),
                lambda x: np.tril(x[..., None] + x[..., None, :]), dtypes=EVERY, units=16),
    "triu": Row(lambda x: pt.triu(x.unsqueeze(-1) + x.unsqueeze(-2), 1),
                lambda x: np.triu(x[..., None] + x[..., None, :], 1), dtypes=EVERY),
    "gather": Row(lambda x: pt.gather(x, -1, pt.arange(x.shape[-1]).expand(*x.shape)), lambda x: x,
                  dtypes=(*EVERY, BOOL)),
    "outer": Row(lambda x: pt.outer(pt.flatten(x), pt.arange(3)),
                 lambda x: np.outer(x, np.arange(3).astype(x.dtype)), dtypes=(*FLOATS, S32)),
    "matmul of vectors": Row(lambda x: pt.matmul(pt.flatten(x), pt.flatten(x)),
                             lambda x: np.dot(x.ravel(), x.ravel()), dtypes=(F32,), low=0.0, units=4096),
    "linear": Row(lambda x: pt.linear(x.unsqueeze(0), pt.eye(x.shape[-1]), 1 + pt.arange(x.shape[-1])),
                  lambda x: x[None] + 1 + np.arange(x.shape[-1]), dtypes=(F32,)),
}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(REARRANGED)), st.data(), st.lists(EXTENT, min_size=1, max_size=3), st.integers(0, 2**16))
def test_tensors_in_other_extents_are_numpys(name, data, shape, seed):
    row = REARRANGED[name]
    dtype = data.draw(st.sampled_from(row.dtypes))
    x = some(np.random.default_rng(seed), row, dtype, tuple(shape))
    want = row.numpys(x.astype(np.float64) if dtype in FLOATS else x)
    ours = row.ours
    found = pt.tile_kernel(lambda x: ours(x) * 1 if name == "transpose" and dtype != BOOL else ours(x))(x)
    close(found, want, dtype, row.units)


@settings(max_examples=40, deadline=None)
@given(st.lists(EXTENT, min_size=1, max_size=3), st.integers(0, 2), st.sampled_from([F32, S8, BOOL]), EXTENT,
       st.integers(0, 2**16))
def test_gather_takes_along_any_axis(shape, axis, dtype, count, seed):
    rng, axis = np.random.default_rng(seed), axis % len(shape)
    x = some(rng, ELEMENTS["exp"], dtype, tuple(shape))
    index = rng.integers(0, shape[axis], [count if a == axis else n for a, n in enumerate(shape)]).astype(np.int32)
    found = pt.tile_kernel(lambda x, index: pt.gather(x, axis, index))(x, index)
    np.testing.assert_array_equal(found, np.take_along_axis(x, index, axis))
    one = index[tuple(slice(None) if a == axis else 0 for a in range(x.ndim))].copy()
    found = pt.tile_kernel(lambda x, index: pt.index_select(x, axis, index))(x, one)
    np.testing.assert_array_equal(found, np.take(x, one, axis))


@settings(max_examples=8, deadline=None)
@given(st.lists(EXTENT, min_size=1, max_size=4), st.integers(0, 3), st.integers(1, 9))
def test_an_axis_is_turned_and_repeated(shape, axis, count):
    axis %= len(shape)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(pt.tile_kernel(lambda x: pt.flip(x, axis))(x), np.flip(x, axis))
    found = pt.tile_kernel(lambda x: pt.repeat_interleave(x, count, axis))(x)
    np.testing.assert_array_equal(found, np.repeat(x, count, axis))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bad", [-1, 4])
def test_a_slice_outside_of_the_axis_is_an_error(axis, bad):
    x, index = np.ones((4, 4, 3), np.float32), np.array([0, bad], np.int32)
    with pytest.raises(pt.PtoError, match="mgather"):
        pt.tile_kernel(lambda x, index: pt.index_select(x, axis, index))(x, index)


@pytest.mark.parametrize("bad", [-1, 9])
def test_a_position_outside_of_the_axis_is_an_error(bad):
    x, index = np.ones((3, 9), np.float32), np.full((3, 2), bad, np.int32)
    with pytest.raises(pt.PtoError, match="mgather_elem"):
        pt.tile_kernel(lambda x, index: pt.gather(x, -1, index))(x, index)


def test_an_operand_of_a_gather_is_read_before_it_is_overwritten():
    x = np.arange(8, dtype=np.float32).reshape(2, 4)

    @pt.tile_kernel
    def turned(x):
        x[:] = pt.flip(x)

    turned(x)
    assert x.tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]


def test_sequences():
    found = pt.tile_kernel(lambda x: (pt.arange(5), pt.arange(2, 9), pt.arange(9, 2, -3), pt.arange(x.shape[0]),
                                      pt.linspace(0, 1, 5), pt.eye(x.shape[0]), pt.one_hot(pt.arange(3), 4),
                                      pt.zeros((3,)) + 1, pt.ones((x.shape[0], 2)) * 2))(np.ones(4, np.float32))
    wanted = (np.arange(5), np.arange(2, 9), np.arange(9, 2, -3), np.arange(4), np.linspace(0, 1, 5), np.eye(4),
              np.eye(4)[:3], np.ones(3), np.full((4, 2), 2))
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert found[0].dtype == np.int32


def public(module: Any) -> set[str]:
    """The functions of a module that authors call."""
    return {name for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
            and getattr(pt, name, None) is value and value.__name__ == name}


def test_every_operation_has_a_row():
    """A new one is tried as soon as it has a row, and missed here until it has."""
    elsewhere = {  # tests of their own; the rest is no operation on tensors
        "embedding", "rope", "arange", "full", "zeros", "ones", "empty", "cdiv", "program_id", "num_programs",
        "static_assert", "range", "static_range", "matmul", "clip", "eye", "linspace", "one_hot", "index_select",
    }
    rows = {*ELEMENTS, *REDUCED, *REARRANGED} | elsewhere
    for module in (language, functions, reductions, selection, shapes):
        assert public(module) - rows == set(), module.__name__
