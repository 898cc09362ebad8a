"""The transcendental functions of exact mode, against long doubles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pto.isa import exact_functions
from pto.isa.meaning import Operands, compute
from pto.isa.meaning.vector import KIT, turned

LONG = np.longdouble
BITS = np.random.default_rng(3).integers(0, 2**32, 200_000, np.uint64).astype(np.uint32).view(np.float32)
USUAL = (np.random.default_rng(4).standard_normal(50_000) * 3).astype(np.float32)
X = np.concatenate([BITS[np.isfinite(BITS)], USUAL, np.linspace(0.5, 2, 20_001, dtype=np.float32)]).astype(np.float64)
ERF_X = X[np.abs(X) < exact_functions.ERF_END]
BOUND = 2.0**-33

FUNCTIONS: dict[str, tuple[Callable[..., Any], np.ndarray, Callable[[Any], Any]]] = {
    "log": (exact_functions.log, X[X > 0], np.log),
    "sigmoid": (exact_functions.sigmoid, X, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (exact_functions.tanh, X, np.tanh),
    "erf": (exact_functions.erf, ERF_X, lambda x: LONG([math.erf(value) for value in x])),
    "sin": (turned(0), X, np.sin),
    "cos": (turned(1), X, np.cos),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_near_the_true_ones(name: str) -> None:
    function, x, true = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        got, want = LONG(function(KIT, x)), true(LONG(x))
        normal = np.abs(want) > 2.0**-126
        assert (np.abs(got - want)[normal] <= BOUND * np.abs(want)[normal]).all()
        assert (np.abs(got - want)[~normal] <= 2.0**-150).all()


@pytest.mark.parametrize(("name", "x", "want"), [
    ("tlog", [0.0, -0.0, -1.0, math.inf, 1.0], [-math.inf, -math.inf, math.nan, math.inf, 0.0]),
    ("ttanh", [-0.0, math.inf, -math.inf, 1e-40], [-0.0, 1.0, -1.0, float(np.float32(1e-40))]),
    ("tsigmoid", [0.0, math.inf, -math.inf, 100.0], [0.5, 1.0, 0.0, 1.0]),
    ("tsilu", [0.0, -0.0, 100.0, -100.0, math.inf], [0.0, -0.0, 100.0, -0.0, math.inf]),
    ("tgelu", [0.0, -0.0, 12.0, -20.0, math.inf], [0.0, -0.0, 12.0, -0.0, math.inf]),
    ("terf", [-0.0, math.inf, -math.inf, 4.0], [-0.0, 1.0, -1.0, 1.0]),
    ("tsin", [-0.0, math.inf, -math.inf], [-0.0, math.nan, math.nan]),
    ("tcos", [-0.0, math.inf, 3e38], [1.0, math.nan, float(np.float32(np.cos(LONG(np.float32(3e38)))))]),
    ("trsqrt", [0.0, -0.0, 4.0, math.inf, -1.0], [math.inf, -math.inf, 0.5, 0.0, math.nan]),
    ("trecip", [0.0, -0.0, math.inf], [math.inf, -math.inf, 0.0]),
    ("tround", [0.5, 1.5, -0.5, 2.5], [0.0, 2.0, -0.0, 2.0]),
    ("tceil", [-0.5, 0.2], [-0.0, 1.0]),
])
def test_edges(name: str, x: list[float], want: list[float]) -> None:
    a = np.array([[*x, math.nan]], np.float32)
    got = compute(name, Operands(a=a, shape=a.shape, dtype=a.dtype, exact=True, rows=1, cols=a.shape[1]))
    expected = np.array([[*want, math.nan]], np.float32)
    expected.view(np.uint32)[np.isnan(expected)] = 0x7FC00000
    assert got.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
