"""Products of integers, equal to NumPy's over 1,000 random shapes each: `python -m tests.campaigns.integers`.

From 1 to 300 rows, columns and inner elements, some products with inner extents beyond 2064; operands are random, with
rows of the lowest, the highest and ones, or are nothing else. Ternary weights compile a program for each shape, which
takes its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

import pto as pt
from pto.quant.forms import pack
from pto.quant.schemes import find
from pto.quant.tensor import Quantised

SHAPES, MOST = 1000, 300
BEYOND = (2064, 2065, 4096, 5000)  # inner extents
LEFT = {"int8": (np.int8, 128), "a14": (np.int16, 8191), "int16": (np.int16, 32768)}  # types and magnitudes
Case = tuple[np.ndarray, np.ndarray]  # what the kernel gives, and the product


@pt.tile_kernel
def product(a, b):
    return pt.matmul(a, b)


@pt.tile_kernel
def by_row(a, b):
    return pt.matmul(a, b.T)


def shapes(seed: int, one_row: bool, count: int) -> Iterator[tuple[int, int, int, int, np.random.Generator]]:
    """A number, rows, columns, inner extent, and where numbers come from; one in four is of the larger ones."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        m, n, k = rng.integers(1, (MOST if number % 4 == 0 else MOST // 6) + 1, 3).tolist()
        k = BEYOND[number // 50 % len(BEYOND)] if number % 50 == 0 else k
        yield number, 1 if one_row else m, n, k, rng


def extremes(x: np.ndarray, low: int, high: int, number: int) -> np.ndarray:
    """The same with a row of the lowest, one of the highest, one of ones; each tenth has nothing else."""
    if number % 10 == 0:
        x[...] = (low, 1, high)[number // 10 % 3]
    x[0], x[-1], x[len(x) // 2] = low, high, 1
    return x


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product as int32, which wraps; float64 holds every sum."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64).astype(np.int32)


def dense(left: str, one_row: bool, count: int = SHAPES) -> Iterator[Case]:
    """Products of int8 or int16 with int8; of one row, with weights by row."""
    dtype, top = LEFT[left]
    high = top if left == "a14" else top - 1
    for number, m, n, k, rng in shapes(top + one_row, one_row, count):
        a = extremes(rng.integers(-top, high + 1, (m, k)), -top, high, number).astype(dtype)
        b = extremes(rng.integers(-128, 128, (n, k)), -128, 127, number // 3).astype(np.int8)
        yield by_row(a, b) if one_row else product(a, np.ascontiguousarray(b.T)), exact(a, b.T)


def ternary(activation: str, one_row: bool, count: int = SHAPES) -> Iterator[Case]:
    """Integer activations whose scale is 1, times digits whose scale is 1; float32 holds every sum."""
    top = {"a14": 8191, "a8": 127}[activation]
    for number, m, n, k, rng in shapes(7 + top + one_row, one_row, count):
        k = min(k, 2**24 // top)
        codes = extremes(rng.integers(-1, 2, (n, k)), -1, 1, number).astype(np.int8)
        weights = pack(Quantised(find("ternary_mean_channel"), codes, np.ones((n, 1), np.float32)), activation)
        x = rng.integers(-top, top + 1, (m, k))
        x[:, 0] = top
        yield pt.ternary_gemm(x.astype(np.float32), weights), (x @ codes.T.astype(np.int64)).astype(np.float32)


def differing(cases: Iterator[Case]) -> int:
    """How many products are not NumPy's."""
    return sum(not np.array_equal(found, wanted) for found, wanted in cases)


def main() -> int:
    """Print a line for each kind of product; gives how many differ."""
    kinds: list[tuple[str, Callable[..., Iterator[Case]]]] = [
        *((name, dense) for name in LEFT), *((name, ternary) for name in ("a14", "a8"))]
    total = 0
    print(f"{'product':<24}{'shapes':>8}{'mismatches':>12}{'seconds':>9}")
    for (name, make), one_row in ((kind, row) for kind in kinds for row in (False, True)):
        start = time.perf_counter()
        wrong = differing(make(name, one_row))
        called = f"{make.__name__} {name}{', one row' if one_row else ''}"
        print(f"{called:<24}{SHAPES:>8}{wrong:>12}{time.perf_counter() - start:>9.0f}", flush=True)
        total += wrong
    return total


if __name__ == "__main__":
    raise SystemExit(main() > 0)
