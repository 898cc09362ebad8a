"""Decorated kernels against NumPy, one thread: ratios are NumPy's time / ours. `--json` for figures.

Arguments are names of cases.

`compile_ms_*` are of a fresh compilation, the checks after each pass included; `chain_*` of chains of operations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
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


def halves(case: tuple[Any, Callable[[], object]]) -> tuple[Any, Callable[[], object]]:
    """The same on arguments of float16; NumPy's are of float32 still, for its products of halves are no products."""
    arguments, call = case
    return tuple(a.astype(np.float16) for a in arguments), call


CASES: dict[str, Callable[[], Case]] = {
    "gemm_f32_1024": lambda: (baselines.gemm(1024, 1024, 1024), gemm, (1024, 1024)),
    "gemm_f32_512": lambda: (baselines.gemm(512, 512, 512), gemm, (512, 512)),
    "gemm_f32_1000x777x515": lambda: (baselines.gemm(1000, 777, 515), gemm, (1000, 777)),
    "gemm_f16_1024": lambda: (halves(baselines.gemm(1024, 1024, 1024)), gemm, (1024, 1024)),
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


MEMORY = """
import sys
sys.path.insert(0, {benchmarks!r})
import numpy as np
from kernels import attention
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
def call(length):
    attention(*[np.ones((length, 64), np.float32) for _ in range(4)])
call(64)
before = peak()
call({length})
print(peak() - before)
"""


def attention_megabytes(length: int) -> float:
    """By how much a call on so many positions, arguments and result included, raises a process's peak of memory.

    The process is new, and has compiled and run the kernel on a few.
    """
    script = MEMORY.format(benchmarks=str(Path(__file__).parent), length=length)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return int(done.stdout) / 2**10


def compile_ratio(make: Callable[[int], tuple[pt.Kernel, list[Any]]]) -> float:
    """Time to compile for extents of 8192 / of 512."""
    large, small = (min(compile_ms(*make(n), 3) for _ in range(3)) for n in (8192, 512))
    return large / small


SECOND_PROCESS = """
import sys
sys.path.insert(0, {benchmarks!r})
import numpy as np
from kernels import softmax
from pto.runtime import variant
made, right = [], variant.compile_graph
variant.compile_graph = lambda *a: made.append(1) or right(*a)
x = np.ones((40, 50), np.float32)
softmax(x, x.copy())
print(len(made) + ("numba" in sys.modules))
"""


def second_process() -> int:
    """Compilations, of kernels and of the machine, in a second process that runs the same."""
    with tempfile.TemporaryDirectory() as cache:
        env = {name: value for name, value in os.environ.items() if name != "PTO_DISABLE_CACHE"}
        script = SECOND_PROCESS.format(benchmarks=str(Path(__file__).parent))
        for _ in range(2):
            done = subprocess.run([sys.executable, "-c", script], check=True, env={**env, "PTO_CACHE_DIR": cache},
                                  capture_output=True, text=True)
    return int(done.stdout)


class Figures(dict[str, float]):
    """What was measured, by name."""

    def note(self, name: str, value: float, more: str = "") -> None:
        self[name] = round(value, 3)
        print(f"{name:32} {value:9.3f}{more}", file=sys.stderr)


def speeds(figures: Figures, name: str) -> None:
    """A case: how fast it is, and how long its compilation takes."""
    (arguments, call), kernel, shape = CASES[name]()
    best, median = ratio(((arguments, call), kernel, shape))
    figures.note(name, best, f"   (median {median:.3f})")
    figures.note(f"compile_ms_{name}", compile_ms(kernel, [*arguments, np.empty(shape, np.float32)]))


def chains(figures: Figures) -> None:
    """How compilation grows with the length of a kernel."""
    short, long = chain_seconds(chain(200)), chain_seconds(chain(2000))
    figures.note("chain_200_s", short)
    figures.note("chain_2000_to_200", long / short)
    figures.note("reductions_200_s", chain_seconds(reductions(200)))


def launches(figures: Figures) -> None:
    """A call that computes almost nothing."""
    small = np.ones((4, 4), np.float32)
    figures.note("launch_us", race({"tiny": lambda: vadd(small, small, small.copy())})["tiny"].best * 1e6)


def memory(figures: Figures) -> None:
    """Attention without the matrix of scores: twice the length takes twice the memory, not four times."""
    large, small = attention_megabytes(8192), attention_megabytes(4096)
    figures.note("flash_attention_8192_mb", large)
    figures.note("flash_attention_8192_4096_memory", large / small)


def compilations(figures: Figures) -> None:
    """What does not grow with extents, and what is not done twice."""
    figures.note("compile_ratio_8192_512", compile_ratio(
        lambda n: (gemm, [np.empty((n, n), np.float32) for _ in range(3)])))
    figures.note("compile_ratio_flash_8192_512", compile_ratio(
        lambda n: (attention, [np.empty((n, 64), np.float32) for _ in range(4)])))
    figures.note("second_process_compilations", second_process())


OTHERS = {"chain": chains, "launch": launches, "memory": memory, "compile": compilations}


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    figures = Figures()
    os.environ["PTO_DISABLE_CACHE"] = "1"
    with threadpool_limits(1):
        for name in wanted or (*CASES, *OTHERS):
            OTHERS[name](figures) if name in OTHERS else speeds(figures, name)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
