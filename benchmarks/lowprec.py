"""Products in low precision against NumPy's float32 of the same shape, one thread: ratios are NumPy's time / ours.

`python benchmarks/lowprec.py --json`. Activations are float32 and are rounded inside, where the name says so. Vectors
are multiplied with matrices in turn that together exceed the last cache. Arguments are names of lines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import baselines
import numpy as np
from racing import race
from threadpoolctl import threadpool_limits

import pto as pt
from pto.quant.forms import Packed, pack
from pto.quant.schemes import find
from pto.quant.tensor import quantise

SIDE, LONG, BEYOND = 1024, 4096, 96 * 2**20  # bytes of all matrices of a line, three times the last cache
Line = Callable[[], tuple[Callable[[], object], Callable[[], object]]]  # NumPy's call and ours


@pt.tile_kernel
def product(a, b, c):
    c[:] = pt.matmul(a, b)


@pt.tile_kernel
def weighted(x, w):
    return pt.matmul(x, w.T)


def integers(dtype: str) -> Line:
    """A matrix product of integers."""
    def line() -> tuple[Callable[[], object], Callable[[], object]]:
        _, numpy = baselines.gemm(SIDE, SIDE, SIDE)
        rng = np.random.default_rng(0)
        a = rng.integers(-127, 128, (SIDE, SIDE)).astype(dtype)
        b = rng.integers(-127, 128, (SIDE, SIDE)).astype(np.int8)
        c = np.empty((SIDE, SIDE), np.int32)
        return numpy, lambda: product(a, b, c)
    return line


def packed(scheme: str, activation: str, n: int, k: int, form: str = "") -> Packed:
    """Random weights."""
    values = np.random.default_rng(0).standard_normal((n, k), np.float32)
    return pack(quantise(values, find(scheme)), activation, form)


def matrix(scheme: str, activation: str) -> Line:
    """A matrix product with quantised weights."""
    def line() -> tuple[Callable[[], object], Callable[[], object]]:
        (a, _), numpy = baselines.gemm(SIDE, SIDE, SIDE)
        weights = packed(scheme, activation, SIDE, SIDE)
        return numpy, lambda: weighted(a, weights)
    return line


def vector(scheme: str, activation: str, form: str = "") -> Line:
    """A matrix-vector product with quantised weights; each side takes its matrices in turn, one a call."""
    def line() -> tuple[Callable[[], object], Callable[[], object]]:
        copies = -(-BEYOND // (LONG * LONG * 4)) + 1
        ws, y = [baselines.f32(LONG, LONG) for _ in range(copies)], np.empty(LONG, np.float32)
        one = packed(scheme, activation, LONG, LONG, form)
        ours = [Packed(one.form, activation, one.shape, tuple(p.copy() for p in one.parts))
                for _ in range(-(-BEYOND // one.nbytes) + 1)]
        x, at = baselines.f32(1, LONG), [0, 0]

        def numpy() -> object:
            at[0] = (at[0] + 1) % len(ws)
            return np.matmul(ws[at[0]], x[0], out=y)

        def pto() -> object:
            at[1] = (at[1] + 1) % len(ours)
            return weighted(x, ours[at[1]])
        return numpy, pto
    return line


LINES: dict[str, Line] = {
    "gemm_s8_1024": integers("int8"),
    "gemm_s16s8_1024": integers("int16"),
    "gemm_t2_1024": matrix("ternary_mean_channel", "a14"),
    "gemm_w8a16_1024": matrix("int8_channel", "a16"),
    "gemm_w8a14_1024": matrix("int8_channel", "a14"),
    "gemm_w4a14_1024": matrix("int4_asymmetric_g32", "a14"),
    "gemv_w8a16": vector("int8_channel", "a16"),
    "gemv_w8a8": vector("int8_channel", "a8"),
    "gemv_w8a14": vector("int8_channel", "a14"),
    "gemv_w4a14": vector("int4_asymmetric_g32", "a14"),
    "gemv_t2": vector("ternary_mean_channel", "a14"),
    "gemv_t3planes": vector("planes3_g32", "a14"),
}


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    figures: dict[str, float] = {}
    with threadpool_limits(1):
        for name, line in LINES.items():
            if not wanted or name in wanted:
                numpy, ours = line()
                found = race({"numpy": numpy, "pto": ours}, rounds=7, least=0.05)
                figures[name] = round(found["numpy"].best / found["pto"].best, 3)
                median = found["numpy"].median / found["pto"].median
                print(f"{name:18} {figures[name]:8.3f}   (median {median:.3f}, {found['pto'].best * 1e3:.3f} ms)",
                      file=sys.stderr)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
