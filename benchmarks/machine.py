"""The machine against NumPy: programs in assembly, checks on; ratios are NumPy's time / ours. `--json` for figures."""

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
import programs
from numpy.typing import NDArray
from racing import race
from threadpoolctl import threadpool_limits

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES
from pto.isa.program import Program
from pto.sim.machine import Machine

Array = NDArray[Any]
Case = tuple[Callable[[], object], Machine, list[Array]]
TILE = (256, 256, 64)
GEMMS = {
    "gemm_f16_1024": ("f16", "f16", "f32"), "gemm_bf16_1024": ("bf16", "bf16", "f32"),
    "gemm_s8_1024": ("s8", "s8", "s32"), "gemm_s16s8_1024": ("s16", "s8", "s32"),
}
GEMVS = {"gemv_f32": ("f32", "f32", "f32"), "gemv_f16": ("f16", "f16", "f32"), "gemv_s8": ("s8", "s8", "s32")}
COPIES, SIDE = 6, 4096  # 6 x 64 MiB in f32 and 6 x 16 MiB in s8: more than the last cache, for every type
FIRST_RESULT = """
import sys
sys.path.insert(0, {benchmarks!r})
import numpy as np
import programs
from pto.sim.machine import Machine
a = np.ones((256, 256), np.float32)
c = np.empty_like(a)
Machine(programs.gemm(256, 256, 256, (256, 256, 64))).run([a, a, c])
assert (c == 256).all()
"""


def cast(array: Array, dtype: str) -> Array:
    """The array as another type; integers of seven bits."""
    kind = numpy_dtype(DTYPES[dtype])
    return np.asarray((array * 30).clip(-127, 127) if kind.kind == "i" else array).astype(kind)


def out(shape: tuple[int, ...], dtype: str = "f32") -> Array:
    return np.empty(shape, numpy_dtype(DTYPES[dtype]))


def gemm(side: int, tile: tuple[int, int, int] = TILE, types: tuple[str, str, str] = ("f32",) * 3) -> Case:
    (a, b), call = baselines.gemm(side, side, side)
    machine = Machine(programs.gemm(side, side, side, tile, types))
    return call, machine, [cast(a, types[0]), cast(b, types[1]), out((side, side), types[2])]


def gemv(types: tuple[str, str, str]) -> Case:
    (ws, x), call = baselines.gemv(SIDE, SIDE, COPIES)
    machine = Machine(programs.gemv(SIDE, SIDE, COPIES, *types))
    return call, machine, [cast(x, types[0]), *(cast(w, types[1]) for w in ws), out((SIDE,), types[2])]


def matrices(baseline: tuple[Any, Callable[[], object]], program: Program) -> Case:
    """A case on 1024 x 1024, whatever the shape of the baseline's arrays of that size."""
    arrays, call = baseline
    square = [a.reshape(1024, 1024) if a.size == 1 << 20 else a for a in arrays]
    last = [a for a in square if a.ndim == 1]
    return call, Machine(program), [*(a for a in square if a.ndim == 2), out((1024, 1024)), *last]


CASES: dict[str, Callable[[], Case]] = {
    "gemm_f32_1024": lambda: gemm(1024), "gemm_f32_2048": lambda: gemm(2048),
    "gemm_f32_512_tile64": lambda: gemm(512, (64, 64, 32)),
    **{name: lambda t=types: gemm(1024, types=t) for name, types in GEMMS.items()},
    **{name: lambda t=types: gemv(t) for name, types in GEMVS.items()},
    "softmax_1024": lambda: matrices(baselines.softmax(1024, 1024), programs.softmax(1024, 1024, 16)),
    "rmsnorm_1024": lambda: matrices(baselines.rmsnorm(1024, 1024), programs.rmsnorm(1024, 1024, 16)),
    "exp_1m": lambda: matrices(baselines.exp(1 << 20), programs.exp(1024, 1024, 8)),
    "vadd_1m": lambda: matrices(baselines.vadd(1 << 20), programs.vadd(1024, 1024, 16)),
}


def ratio(case: Case, **options: Any) -> tuple[float, float]:
    """NumPy's time / ours: best rounds, median rounds."""
    call, machine, arrays = case
    found = race({"numpy": call, "pto": lambda: machine.run(arrays)}, **options)
    ours, theirs = found["pto"], found["numpy"]
    return theirs.best / ours.best, theirs.median / ours.median


def two_threads() -> tuple[float, float]:
    """The same for the large product on two host threads, by the wall clock."""
    call, _, arrays = gemm(2048)
    machine = Machine(programs.gemm(2048, 2048, 2048, TILE), cores=2, threads=2)
    with threadpool_limits(2):
        return ratio((call, machine, arrays), clock=time.perf_counter)


def dispatch_ns() -> float:
    """Nanoseconds of a vector instruction of 1 x 16 with a set and a wait."""
    count, loops = 100, 100
    machine = Machine(programs.dispatch(count))
    return race({"dispatch": lambda: machine.run([])})["dispatch"].best / (count * loops) * 1e9


def launch_us() -> float:
    """Microseconds of a launch of almost nothing, with two tensors."""
    machine = Machine(programs.exp(1, 16, 1))
    arrays = [np.zeros((1, 16), np.float32), out((1, 16))]
    return race({"launch": lambda: machine.run(arrays)})["launch"].best * 1e6


def races_cost(case: Case) -> float:
    """How many times as long a program takes with check=races."""
    _, machine, arrays = case
    checked = Machine(machine.program, check="races")
    found = race({"plain": lambda: machine.run(arrays), "checked": lambda: checked.run(arrays)})
    return found["checked"].best / found["plain"].best


def start_seconds() -> tuple[float, float]:
    """CPU seconds from the start of a process to its first product: with an empty cache, and then with a full one."""
    script = FIRST_RESULT.format(benchmarks=str(Path(__file__).parent))
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            before = os.times()
            subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PTO_CACHE_DIR": cache})
            after = os.times()
            seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return seconds[0], seconds[1]


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    figures: dict[str, float] = {}

    def note(name: str, value: float, more: str = "") -> None:
        figures[name] = round(value, 3)
        print(f"{name:24} {value:9.3f}{more}", file=sys.stderr)
    with threadpool_limits(1):
        for name, case in CASES.items():
            if not wanted or name in wanted:
                best, median = ratio(case())
                note(name, best, f"   (median {median:.3f})")
    if not wanted or "gemm_f32_2048_2t" in wanted:
        best, median = two_threads()
        note("gemm_f32_2048_2t", median, f"   (best {best:.3f})")
    if not wanted:
        note("dispatch_ns", dispatch_ns())
        note("launch_us", launch_us())
        with threadpool_limits(1):
            for name in ("gemm_f32_1024", "softmax_1024"):
                note(f"races_cost_{name}", races_cost(CASES[name]()))
        cold, warm = start_seconds()
        note("cold_start_s", cold)
        note("warm_start_s", warm)
    if "--json" in sys.argv:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
