"""Twenty planted overflows and origins of NaN, each named: tensor, operation, line, first element; and nothing else."""
# ruff: noqa: F821, UP037 (names of extents)


from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import pto as pt
from pto.core.errors import NumericError
from pto.isa.disasm import disassemble
from pto.quant.forms import pack
from pto.quant.schemes import find
from pto.quant.tensor import quantise

ROWS, COLS = 23, 70


@dataclass(frozen=True)
class Planted:
    """A kernel, its arguments, which of them gets what where, and what is to be named.

    Attributes:
        at: argument, place and value, of each that is planted.
        line: of the kernel, without its indentation.
        first: the element that is named.
    """

    kernel: Callable[..., Any]
    arguments: tuple[np.ndarray, ...]
    at: tuple[tuple[int, tuple[int, ...], float], ...]
    kind: str
    tensor: str
    op: str
    line: str
    first: tuple[int, ...]
    others: dict[str, Any] = field(default_factory=dict)


def some(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Numbers from 1 to 2, or integers from 1 to 3."""
    rng = np.random.default_rng(len(shape))
    if np.dtype(dtype).kind in "iu":
        return rng.integers(1, 4, shape).astype(dtype)
    return rng.uniform(1, 2, shape).astype(dtype)


X, Y = some(ROWS, COLS), some(ROWS, COLS)


def exponential(x):
    scaled = x * 2.0
    powers = pt.exp(scaled)
    return powers / 2.0


def logarithm(x):
    logs = pt.log(x)
    total = logs + 1.0
    return total


def root(x):
    return pt.sqrt(x) + 1.0


def quotient(x, y):
    ratio = x / y
    return ratio * 0.5


def difference(x, y):
    apart = x - y
    return apart


def of_zero(x, y):
    scaled = x * y
    return scaled + 1.0


def large(x, y):
    product = x * y
    return pt.sqrt(product)


def sums(x):
    totals = pt.sum(x, axis=-1)
    return totals * 0.5


def product(x, y):
    scores = pt.matmul(x, y.T)
    return scores * 0.5


def weighed(x, w):
    return pt.matmul(x, w.T)


def normal(x, shift):
    centred = x * shift
    weights = pt.softmax(centred)
    return weights


def powers(x):
    roots = x ** 0.3
    return roots


def halves(x):
    small = x.to(pt.f16)
    return small.to(pt.f32)


def half_sums(x, y):
    both = x + y
    return both


def codes(x):
    rounded = pt.cast(x, pt.s8, "nearest_even", saturate=True)
    return rounded


def narrow(x):
    small = x.to(pt.s16)
    return small


def bytes_(x, y):
    both = x + y
    return both


def words(x, y):
    both = x * y
    return both


def given(x, y):
    used = x + y
    return used


def batches(x):
    y, z = x + 1.0, pt.exp(x)
    return y + z


def tiles(x, out):
    for i in pt.range(0, x.shape[0], 8):
        for j in pt.range(0, x.shape[1], 32):
            tile = x[i:i + 8, j:j + 32]
            lifted = pt.exp(tile)
            out[i:i + 8, j:j + 32] = lifted


WEIGHTS = pack(quantise(some(48, 64), find("int8_channel")), activation="a16")
HALF, BYTES, WORDS = (some(ROWS, COLS, dtype=kind) for kind in (np.float16, np.int8, np.int32))
PLANTED = [
    Planted(exponential, (X,), ((0, (4, 9), 60), (0, (20, 3), 70)), "overflow", "powers", "exp",
            "powers = pt.exp(scaled)", (4, 9)),
    Planted(logarithm, (X,), ((0, (22, 69), -1),), "nan", "logs", "log", "logs = pt.log(x)", (22, 69)),
    Planted(logarithm, (X,), ((0, (0, 0), 0),), "overflow", "logs", "log", "logs = pt.log(x)", (0, 0)),
    Planted(root, (X,), ((0, (11, 2), -3),), "nan", "its result", "sqrt", "return pt.sqrt(x) + 1.0", (11, 2)),
    Planted(quotient, (X, Y), ((1, (7, 7), 0),), "overflow", "ratio", "div", "ratio = x / y", (7, 7)),
    Planted(quotient, (X, Y), ((0, (7, 8), 0), (1, (7, 8), 0)), "nan", "ratio", "div", "ratio = x / y", (7, 8)),
    Planted(difference, (X, Y), ((0, (1, 64), np.inf), (1, (1, 64), np.inf)), "nan", "apart", "sub",
            "apart = x - y", (1, 64)),
    Planted(of_zero, (X, Y), ((0, (3, 0), np.inf), (1, (3, 0), 0)), "nan", "scaled", "mul", "scaled = x * y", (3, 0)),
    Planted(large, (X, Y), ((0, (9, 9), 2e30), (1, (9, 9), 2e30)), "overflow", "product", "mul",
            "product = x * y", (9, 9)),
    Planted(sums, (X,), ((0, (6, 1), 3e38), (0, (6, 60), 3e38)), "overflow", "totals", "rowsum",
            "totals = pt.sum(x, axis=-1)", (6, 0)),
    Planted(product, (X, Y), ((0, (5, 1), 1e30), (1, (12, 1), 1e30)), "overflow", "scores", "matmul",
            "scores = pt.matmul(x, y.T)", (5, 12)),
    Planted(normal, (X, Y), ((1, (2, 5), -np.inf), (0, (2, 5), 0)), "nan", "centred", "mul", "centred = x * shift",
            (2, 5)),
    Planted(powers, (X,), ((0, (19, 19), -1),), "nan", "roots", "power", "roots = x ** 0.3", (19, 19)),
    Planted(halves, (X,), ((0, (8, 50), 7e4),), "overflow", "small", "cast", "small = x.to(pt.f16)", (8, 50)),
    Planted(half_sums, (HALF, HALF), ((0, (2, 2), 6e4), (1, (2, 2), 6e4)), "overflow", "both", "add",
            "both = x + y", (2, 2)),
    Planted(codes, (X,), ((0, (13, 31), 127.6),), "overflow", "rounded", "cast",
            'rounded = pt.cast(x, pt.s8, "nearest_even", saturate=True)', (13, 31)),
    Planted(narrow, (WORDS,), ((0, (1, 1), 40_000),), "overflow", "small", "cast", "small = x.to(pt.s16)", (1, 1)),
    Planted(bytes_, (BYTES, BYTES), ((0, (10, 4), -100), (1, (10, 4), -29)), "overflow", "both", "add",
            "both = x + y", (10, 4)),
    Planted(words, (WORDS, WORDS), ((0, (0, 69), 2**16), (1, (0, 69), 2**15)), "overflow", "both", "mul",
            "both = x * y", (0, 69)),
    Planted(given, (X, Y), ((1, (21, 40), np.nan),), "nan", "y", "argument", "used = x + y", (21, 40)),
    Planted(batches, (some(3, 5, 40),), ((0, (2, 3, 39), 100),), "overflow", "z", "exp", "y, z = x + 1.0, pt.exp(x)",
            (2, 3, 39)),
    Planted(weighed, (some(5, 64),), ((0, (3, 17), 3e38), (0, (3, 18), 3e38)), "overflow", "its result",
            "quantised_matmul", "return pt.matmul(x, w.T)", (3, 0), {"w": WEIGHTS}),
]


def test_there_are_twenty():
    assert len(PLANTED) >= 20 and {p.kind for p in PLANTED} == {"overflow", "nan"}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p.kernel.__name__} {p.kind}")
def test_a_planted_one_is_named_and_nothing_else(planted):
    kernel, arguments = pt.tile_kernel(planted.kernel), [a.copy() for a in planted.arguments]
    with pt.numeric_config(detect=True) as events:
        kernel(*arguments, **planted.others)
        assert events == []
        for argument, place, value in planted.at:
            arguments[argument][place] = value
        kernel(*arguments, **planted.others)
    [event] = events
    assert (event.kind, event.tensor, event.op) == (planted.kind, planted.tensor, planted.op)
    assert event.loc.file == __file__ and event.loc.source().strip() == planted.line
    assert event.element == planted.first and event.kernel == planted.kernel.__name__


def test_in_tiles_the_loops_are_named():
    x, out = X.copy(), np.zeros_like(X)
    kernel = pt.tile_kernel(tiles)
    x[18, 40], x[19, 41] = 100, 100
    with pt.numeric_config(detect=True) as events:
        kernel(x, out)
    [event] = events
    assert (event.tensor, event.op, event.at, event.element) == ("lifted", "exp", (16, 32), (2, 8))
    assert "with the loops at 16, 32 is inf" in str(event)


def test_what_follows_from_an_odd_value_is_not_named():
    @pt.tile_kernel
    def chain(x, y):
        a = pt.log(x)
        b = a * 2.0 + y
        c = pt.matmul(b, y.T)
        return pt.softmax(c), pt.exp(y * 40.0)

    x, y = X.copy(), Y.copy()
    x[3, 4], y[6, 7] = -1, 1e9
    with pt.numeric_config(detect=True) as events:
        chain(x, y)
    assert [(e.tensor, e.op, e.element) for e in events] == [("a", "log", (3, 4)), ("its result", "exp", (6, 7))]


@pt.tile_kernel
def attention(q: pt.f32[2, "M", 16]):
    return pt.attention(q, q, q, causal=True)


def test_what_is_meant_to_be_infinite_or_to_wrap_is_not_named():
    @pt.tile_kernel
    def masked(x, seed: pt.index):
        scores = pt.masked_fill(x, x > 1.5, -float("inf"))
        drawn = pt.rand(x.shape, seed) + pt.cast(x, pt.f16, "stochastic", seed=seed).to(pt.f32)
        return pt.softmax(scores), drawn, pt.log1p(x - 1.0), pt.softplus(x * 0.0)

    with pt.numeric_config(detect=True) as events:
        masked(X, 2**31 - 5)
        attention(some(2, 40, 16))
    assert events == []


def test_one_kind_alone():
    x = X.copy()
    x[1, 1], x[2, 2] = -1, 0
    for detect, kinds in (("nan", ["nan"]), ("overflow", ["overflow"]), (False, [])):
        with pt.numeric_config(detect=detect) as events:
            pt.tile_kernel(logarithm)(x)
        assert [e.kind for e in events] == kinds


def test_a_log_or_an_error(caplog):
    x = X.copy()
    x[1, 1] = -1
    with caplog.at_level(logging.WARNING, "pto.numeric"), pt.numeric_config(detect=True):
        pt.tile_kernel(logarithm)(x)
    assert "logarithm: no number in logs, by log: element (1, 1) is nan" in caplog.text
    with pt.numeric_config(detect=True, on_detect="raise"), pytest.raises(NumericError, match="no number") as caught:
        pt.tile_kernel(logarithm)(x)
    assert caught.value.code == "PTO-E0304" and "logs = pt.log(x)" in caught.value.loc.source()


def test_results_are_those_of_the_kernel_that_is_not_watched():
    kernel = pt.tile_kernel(normal)
    plain, program = kernel(X, Y), disassemble(kernel.program())
    with pt.numeric_config(detect=True):
        np.testing.assert_array_equal(kernel(X, Y), plain)
        assert disassemble(kernel.program()) != program
    kernel(X, Y)
    assert disassemble(kernel.program()) == program and "mlog" not in program


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_a_product_of_tiles_in_a_loop(dtype):
    @pt.tile_kernel(t=16)
    def tiled(a, b, out):
        for i in pt.range(0, a.shape[0], t):
            acc = pt.zeros((t, t), dtype=out.dtype)
            for k in pt.range(0, a.shape[1], t):
                acc += a[i:i + t, k:k + t] @ b[k:k + t, 0:t]
            out[i:i + t, 0:t] = acc

    a, b = some(40, 37, dtype=dtype), some(37, 9, dtype=dtype)
    out = np.zeros((40, 9), np.float32 if dtype == np.float32 else np.int32)
    with pt.numeric_config(detect=True) as events:
        tiled(a, b, out)
        np.testing.assert_allclose(out, a.astype(out.dtype) @ b.astype(out.dtype), rtol=1e-5)
        assert events == []
        if dtype == np.float32:
            a[20, 36], b[36, 3] = 1e30, 1e30
            tiled(a, b, out)
            [event] = events
            assert (event.op, event.at, event.element) == ("matmul", (16, 32), (4, 3))
