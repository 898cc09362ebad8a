"""Kernels of many kinds against NumPy, one thread: NumPy's time / ours, and the geometric mean. `--json` for figures.

Arguments are names of cases. The NumPy side is what one writes: results preallocated where `out=` takes them.
"""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from racing import race
from threadpoolctl import threadpool_limits

import pto as pt

Array = NDArray[Any]
Case = tuple[Any, list[Array], Callable[..., Any]]
RNG = np.random.default_rng(0)
CASES: dict[str, Callable[[], Case]] = {}


def f32(*shape: int) -> Array:
    return RNG.standard_normal(shape, dtype=np.float32)


def case(wanted: Callable[..., Any], *shapes: tuple[int, ...], **options: Any) -> Callable[[Any], Any]:
    """A function that becomes a kernel, on arrays of these shapes, with what computes the same in NumPy."""
    def register(function: Any) -> Any:
        kernel = pt.tile_kernel(function, **options) if not options else pt.tile_kernel(**options)(function)
        CASES[function.__name__] = lambda: (kernel, [f32(*shape) for shape in shapes], wanted)
        return kernel
    return register


def np_softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def np_silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


@case(lambda x: np.tanh(np.exp(-x * x) + 0.5), (1024, 1024))
def unary_chain(x):
    return pt.tanh(pt.exp(-x * x) + 0.5)


@case(lambda x: np.log(np.abs(x) + 1) * np.sqrt(np.abs(x)), (700, 1300))
def log_and_root(x):
    size = pt.abs(x)
    return pt.log(size + 1.0) * pt.sqrt(size)


@case(lambda x: np.sin(x) * np.cos(x), (1 << 20,))
def sine_and_cosine(x):
    return pt.sin(x) * pt.cos(x)


@case(lambda x: 1 / (1 + np.exp(-x)), (1000, 1000))
def sigmoid(x):
    return pt.sigmoid(x)


@case(lambda a, b: np_silu(a) * b, (512, 1536), (512, 1536))
def gated(a, b):
    return pt.silu(a) * b


@case(lambda a, b, c: a * 2 + b * c - 1, (1024, 1024), (1024, 1024), (1024, 1024))
def three_operands(a, b, c):
    return a * 2.0 + b * c - 1.0


@case(lambda x, row: (x + row) * row, (2048, 512), (512,))
def by_row(x, row):
    return (x + row) * row


@case(lambda x, column: x / column, (1024, 777), (1024, 1))
def by_column(x, column):
    return x / column


@case(lambda x: x.sum(axis=1), (1024, 1024))
def sums_of_rows(x):
    return pt.sum(x, axis=1)


@case(lambda x: x.sum(axis=0), (1024, 1024))
def sums_of_columns(x):
    return pt.sum(x, axis=0)


@case(lambda x: (x.max(axis=1, keepdims=True) - x.mean(axis=1, keepdims=True)), (2000, 500))
def peak_above_mean(x):
    return pt.max(x, keepdims=True) - pt.mean(x, keepdims=True)


@case(np_softmax, (1000, 777))
def softmax_odd(x):
    return pt.softmax(x)


@case(np_softmax, (64, 8000))
def softmax_wide(x):
    return pt.softmax(x)


@case(lambda x: x - x.max(axis=-1, keepdims=True)
      - np.log(np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)), (512, 1000))
def log_softmax(x):
    y = x - pt.max(x, keepdims=True)
    return y - pt.log(pt.sum(pt.exp(y), keepdims=True))


@case(lambda x, w: x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5) * w, (300, 576), (576,))
def rms_norm(x, w):
    return pt.rms_norm(x, w)


@case(lambda x, y: ((x - y) ** 2).sum(axis=1), (1000, 1000), (1000, 1000))
def distances(x, y):
    d = x - y
    return pt.sum(d * d, axis=1)


@case(lambda a, b, c: np.maximum(a @ b + c, 0), (512, 512), (512, 512), (512,))
def linear_relu(a, b, c):
    return pt.relu(pt.matmul(a, b) + c)


@case(lambda a, b: a @ b, (100, 300), (300, 200))
def gemm_small(a, b):
    return pt.matmul(a, b)


@case(lambda a, b: a @ b, (8, 128, 128), (8, 128, 128))
def gemm_batched(a, b):
    return pt.matmul(a, b)


@case(lambda a, b: a @ b.T, (384, 576), (1536, 576))
def gemm_transposed(a, b):
    return pt.matmul(a, b.T)


@case(lambda x, w, v: np_silu(x @ w) @ v, (256, 256), (256, 512), (512, 256))
def two_layers(x, w, v):
    return pt.matmul(pt.silu(pt.matmul(x, w)), v)


@case(lambda x: np.ascontiguousarray(x.T) + 1, (1000, 700))
def transposed_plus_one(x):
    return x.T + 1.0


@case(lambda x: x.astype(np.float16).astype(np.float32), (1024, 1024))
def through_halves(x):
    return x.to(pt.f16).to(pt.f32)


@case(lambda x, y: np.where(x > y, x, y * 0.5), (1024, 1024), (1024, 1024))
def chosen(x, y):
    return pt.where(x > y, x, y * 0.5)


@case(lambda x: np.clip(x, -1, 1) * 3, (1 << 20,))
def clipped(x):
    return pt.minimum(pt.maximum(x, -1.0), 1.0) * 3.0


@case(lambda q, k, v: np_softmax(q @ k.transpose(0, 2, 1) / 8) @ v, (4, 256, 64), (4, 256, 64), (4, 256, 64))
def attention_heads(q: pt.f32[4, "m", 64], k: pt.f32[4, "n", 64], v: pt.f32[4, "n", 64]):
    return pt.attention(q, k, v)


MASK = np.where(np.tri(512, dtype=bool), np.float32(0), np.float32(-1e30))


@case(lambda q, k, v: np_softmax(q @ k.transpose(0, 2, 1) / 8 + MASK) @ v, (2, 512, 64), (2, 512, 64), (2, 512, 64))
def attention_causal(q: pt.f32[2, "m", 64], k: pt.f32[2, "n", 64], v: pt.f32[2, "n", 64]):
    return pt.attention(q, k, v, causal=True)


@case(lambda x: np.maximum.accumulate(x, axis=0)[-1], (512, 1024))
def loop_over_rows(x: pt.f32["m", 1024]):
    best = x[0:1, 0:1024]
    for i in pt.range(1, x.shape[0]):
        best = pt.maximum(best, x[i:i + 1, 0:1024])
    out = pt.empty((1, 1024))
    out[0:1, 0:1024] = best
    return out.view(1024)


@case(lambda x: np_softmax(x * 0.5) * 2, (33, 257))
def softmax_small(x):
    return pt.softmax(x * 0.5) * 2.0


@case(lambda x: np.clip(x, -1, 1), (1024, 1024))
def clamp(x):
    return pt.clamp(x, -1.0, 1.0)


@case(lambda x: np.clip(x, -1, 1), (1 << 20,))
def clamp_line(x):
    return pt.clamp(x, -1.0, 1.0)


@case(lambda x: x.argmax(axis=1), (1024, 1024))
def argmax(x):
    return pt.argmax(x, axis=1)


@case(lambda x: x.argmin(axis=0), (1024, 1024))
def argmin_of_columns(x):
    return pt.argmin(x, axis=0)


@case(lambda x: np.ascontiguousarray(x[:, ::-1]), (1024, 1024))
def flip(x):
    return pt.flip(x, 1)


@case(lambda x: np.ascontiguousarray(x[::-1]), (1024, 1024))
def flip_rows(x):
    return pt.flip(x, 0)


@case(lambda x: np.ascontiguousarray(x[::-1]), (1 << 20,))
def flip_line(x):
    return pt.flip(x, 0)


@case(lambda x: np.pad(x, ((3, 5), (7, 9))), (1024, 1024))
def pad(x):
    return pt.pad(x, (7, 9, 3, 5))


@case(lambda x: x > 0.5, (1024, 1024))
def above(x):
    return x > 0.5


@case(np.isnan, (1024, 1024))
def not_numbers(x):
    return pt.isnan(x)


@case(lambda x: x.any(axis=1), (1024, 1024))
def any_of_rows(x):
    return pt.any(x, axis=1)


@case(lambda x: (x > 5).all(axis=0), (1024, 1024))
def all_of_columns(x):
    return pt.all(x > 5.0, axis=0)


@case(lambda x: x.astype(np.int32), (1024, 1024))
def to_integers(x):
    return x.to(pt.s32)


@case(lambda x: x.astype(np.int32).max(axis=1), (1024, 1024))
def largest_integers(x):
    return pt.max(x.to(pt.s32), axis=1)


@case(lambda w, x: w @ x, (1024, 1024), (1024,))
def matrix_times_vector(w, x):
    return pt.matmul(w, x)


@case(lambda x, w: x @ w, (1024,), (1024, 1024))
def vector_times_matrix(x, w):
    return pt.matmul(x, w)


@case(lambda w, x: w @ x, (16, 512, 512), (16, 512, 1))
def batched_vectors(w, x):
    return pt.matmul(w, x)


@case(lambda x, w, b: 1 / (1 + np.exp(-(x @ w + b))), (4096, 128), (128,), (1,))
def logistic_regression(x, w, b):
    return pt.sigmoid(pt.matmul(x, w) + b)


@case(lambda x: x.max(axis=0), (32, 128, 256))
def largest_of_leading_axis(x):
    return pt.max(x, axis=0)


@case(lambda a, b: (a > 0) & ~(b > 0), (1024, 1024), (1024, 1024))
def predicates(a, b):
    return (a > 0.0) & ~(b > 0.0)


@case(lambda x: np.ascontiguousarray(x[:, ::-1]), (32, 128, 256))
def flip_middle(x):
    return pt.flip(x, 1)


@case(lambda x, scale: x * scale + 1, (8, 64, 32, 32), (64, 1, 1))
def by_channel(x, scale):
    return x * scale + 1.0


@case(lambda x: np.tile(x, (2, 2)), (512, 512))
def tile(x):
    return pt.tile(x, 2, 2)


@case(lambda x: np.repeat(x, 2, 1), (512, 512))
def repeat(x):
    return pt.repeat_interleave(x, 2, 1)


@case(lambda a, b: np.stack((a, b), 2), (1024, 1024), (1024, 1024))
def interleaved(a, b):
    return pt.stack((a, b), 2)


@case(lambda x: np.count_nonzero(x > 0), (1024, 1024))
def count(x):
    return pt.count_nonzero(x > 0.0, axis=None)


@case(lambda x: np.trunc(x), (1024, 1024))
def truncated(x):
    return pt.trunc(x)


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    figures: dict[str, float] = {}
    with threadpool_limits(1):
        for name, make in CASES.items():
            if wanted and name not in wanted:
                continue
            kernel, arrays, call = make()
            np.testing.assert_allclose(kernel(*arrays), call(*arrays), rtol=2e-3, atol=2e-3)
            found = race({"numpy": lambda: call(*arrays), "pto": lambda: kernel(*arrays)}, rounds=5)  # noqa: B023
            figures[name] = round(found["numpy"].best / found["pto"].best, 3)
            print(f"{name:24} {figures[name]:9.3f}   ({found['pto'].best * 1e3:.3f} ms)", file=sys.stderr)
    figures["geometric_mean"] = round(math.exp(sum(map(math.log, figures.values())) / len(figures)), 3)
    print(f"{'geometric mean':24} {figures['geometric_mean']:9.3f}", file=sys.stderr)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
