"""Decorated kernels against NumPy, one thread: ratios are NumPy's time / ours. `--json` for figures.

Arguments are names of cases.

`compile_ms_*` are of a fresh compilation, the checks after each pass included; `chain_*` of chains of operations.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import baselines
import numpy as np
from racing import race
from threadpoolctl import threadpool_limits

import pto as pt

Case = tuple[tuple[Any, Callable[[], object]], Any, tuple[int, ...]]


@pt.tile_kernel
def gemm(A, B, C):
    C[:] = pt.matmul(A, B)


@pt.tile_kernel
def vadd(X, Y, Z):
    Z[:] = X + Y


@pt.tile_kernel
def exp(X, Y):
    Y[:] = pt.exp(X)


@pt.tile_kernel
def softmax(X, Y):
    Y[:] = pt.softmax(X)


@pt.tile_kernel
def rms_norm(X, W, Y):
    Y[:] = pt.rms_norm(X, W)


@pt.tile_kernel
def layer_norm(X, W, B, Y):
    Y[:] = pt.layer_norm(X, W, B)


@pt.tile_kernel
def gelu_bias(X, B, Y):
    Y[:] = pt.gelu(X + B)


@pt.tile_kernel
def attention(Q, K, V, out):
    out[:] = pt.attention(Q.unsqueeze(0), K.unsqueeze(0), V.unsqueeze(0)).view(Q.shape[0], 64)


@pt.tile_kernel
def conv2d(X, W, Y):
    Y[:] = pt.conv2d(X, W, layout="NHWC")


@pt.tile_kernel
def transpose(X, Y):
    Y[:] = X.T


for name, extent in (("Q", "S"), ("K", "L"), ("V", "L"), ("out", "S")):
    attention.declare(name, pt.f32[extent, 64])


CASES: dict[str, Callable[[], Case]] = {
    "gemm_f32_1024": lambda: (baselines.gemm(1024, 1024, 1024), gemm, (1024, 1024)),
    "gemm_f32_512": lambda: (baselines.gemm(512, 512, 512), gemm, (512, 512)),
    "gemm_f32_1000x777x515": lambda: (baselines.gemm(1000, 777, 515), gemm, (1000, 777)),
    "softmax_1024": lambda: (baselines.softmax(1024, 1024), softmax, (1024, 1024)),
    "rmsnorm_1024": lambda: (baselines.rmsnorm(1024, 1024), rms_norm, (1024, 1024)),
    "layernorm_1024": lambda: (baselines.layernorm(1024, 1024), layer_norm, (1024, 1024)),
    "gelu_bias_1m": lambda: (baselines.gelu_bias(1024, 1024), gelu_bias, (1024, 1024)),
    "exp_1m": lambda: (baselines.exp(1 << 20), exp, (1 << 20,)),
    "vadd_1m": lambda: (baselines.vadd(1 << 20), vadd, (1 << 20,)),
    "flash_attention_1024x64": lambda: (baselines.attention(1024, 64), attention, (1024, 64)),
    "conv2d_56x56x64x64_3x3": lambda: (baselines.conv2d(56, 56, 64, 64, 3), conv2d, (54, 54, 64)),
    "transpose_2048": lambda: (baselines.transpose(2048), transpose, (2048, 2048)),
}


def ratio(case: Case) -> tuple[float, float]:
    """NumPy's time / ours: best rounds and median rounds."""
    (arguments, numpy_call), kernel, shape = case
    out = np.empty(shape, np.float32)
    found = race({"numpy": numpy_call, "pto": lambda: kernel(*arguments, out)})
    ours, theirs = found["pto"], found["numpy"]
    return theirs.best / ours.best, theirs.median / ours.median


def compile_ms(kernel: pt.Kernel, arrays: list[Any], times: int = 9) -> float:
    """Milliseconds to trace and compile; median."""
    spent = []
    extents = [n for a in arrays for n in a.shape]
    for _ in range(times):
        kernel.variants.clear()
        start = time.thread_time()
        kernel._variant(arrays, extents)
        spent.append((time.thread_time() - start) * 1e3)
    return sorted(spent)[times // 2]


def chain(length: int) -> pt.Kernel:
    """So many elementwise operations, one after the other."""
    @pt.tile_kernel
    def operations(x):
        for step in pt.static_range(length):
            x = x + 1.0 if step % 2 else pt.relu(x)
        return x

    return operations


def reductions(depth: int) -> pt.Kernel:
    """So many sums of rows, each of what the last one gave."""
    @pt.tile_kernel
    def sums(x):
        found = x
        for _ in pt.static_range(depth):
            found = pt.sum(found * x, keepdims=True)
        return found

    return sums


def chain_seconds(kernel: pt.Kernel) -> float:
    """Seconds to compile a kernel of one matrix; best of three."""
    return min(compile_ms(kernel, [np.ones((4, 8), np.float32)], 1) for _ in range(3)) / 1e3


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    figures: dict[str, float] = {}

    def note(name: str, value: float, more: str = "") -> None:
        figures[name] = round(value, 3)
        print(f"{name:26} {value:9.3f}{more}", file=sys.stderr)

    os.environ["PTO_DISABLE_CACHE"] = "1"
    with threadpool_limits(1):
        for name, make in CASES.items():
            if not wanted or name in wanted:
                (arguments, call), kernel, shape = make()
                best, median = ratio(((arguments, call), kernel, shape))
                note(name, best, f"   (median {median:.3f})")
                note(f"compile_ms_{name}", compile_ms(kernel, [*arguments, np.empty(shape, np.float32)]))
    if not wanted or "chain" in wanted:
        short, long = chain_seconds(chain(200)), chain_seconds(chain(2000))
        note("chain_200_s", short)
        note("chain_2000_to_200", long / short)
        note("reductions_200_s", chain_seconds(reductions(200)))
    if not wanted or "vadd_1m" in wanted:
        small = np.ones((4, 4), np.float32)
        note("launch_us", race({"tiny": lambda: vadd(small, small, small.copy())})["tiny"].best * 1e6)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
