"""The walking skeleton against NumPy, one thread: ratios are NumPy's time / ours. `make bench` prints the table."""

from __future__ import annotations

import json
import sys
import time

import baselines
import numpy as np
from racing import race
from threadpoolctl import threadpool_limits

import pto as pt
from pto.passes.pipeline import compile_graph


@pt.tile_kernel
def gemm(A, B, C):
    C[:] = pt.matmul(A, B)


@pt.tile_kernel
def vadd(X, Y, Z):
    Z[:] = X + Y


@pt.tile_kernel
def softmax(X, Y):
    Y[:] = pt.softmax(X)


CASES = {
    "gemm_f32_1024": (baselines.gemm(1024, 1024, 1024), gemm, (1024, 1024)),
    "gemm_f32_512": (baselines.gemm(512, 512, 512), gemm, (512, 512)),
    "gemm_f32_1000x777x515": (baselines.gemm(1000, 777, 515), gemm, (1000, 777)),
    "vadd_1m": (baselines.vadd(1 << 20), vadd, (1 << 20,)),
    "softmax_1024": (baselines.softmax(1024, 1024), softmax, (1024, 1024)),
}


def compile_ms(kernel: pt.Kernel) -> float:
    """Milliseconds of processor time to trace and compile, the checks after each pass included; median of nine."""
    times = []
    variant = kernel.compiled()
    for _ in range(9):
        start = time.thread_time()
        traced = kernel.source.trace(variant.arguments, {}, kernel.options, {})
        compile_graph(traced.graph, variant.options)
        times.append((time.thread_time() - start) * 1e3)
    return sorted(times)[4]


def main() -> None:
    figures: dict[str, float] = {}
    with threadpool_limits(1):
        for name, ((arguments, numpy_call), kernel, shape) in CASES.items():
            out = np.empty(shape, np.float32)
            found = race({"numpy": numpy_call, "pto": lambda k=kernel, a=arguments, o=out: k(*a, o)})
            figures[name] = found["numpy"].best / found["pto"].best
            print(f"{name:26} NumPy {found['numpy'].best * 1e3:9.3f} ms   pto {found['pto'].best * 1e3:9.3f} ms"
                  f"   ratio {figures[name]:5.2f} (median {found['numpy'].median / found['pto'].median:5.2f})",
                  file=sys.stderr)
        small = np.ones((4, 4), np.float32)
        figures["launch_us"] = race({"tiny": lambda: vadd(small, small, small.copy())})["tiny"].best * 1e6
    for kernel in (gemm, vadd, softmax):
        figures[f"compile_ms_{kernel.__name__}"] = compile_ms(kernel)
    for name, value in figures.items():
        if "_ms_" in name or name.endswith("_us"):
            print(f"{name:26} {value:9.2f}", file=sys.stderr)
    if "--json" in sys.argv:
        print(json.dumps({k: round(v, 3) for k, v in figures.items()}))


if __name__ == "__main__":
    main()
