"""Conversions of the fast machine: all sources of 8 and 16 bits and one f32 of every 256, against NumPy and ml_dtypes.

Those know rounding to nearest without saturation. The other modes are compared with the meaning: all sources of 8 and
16 bits, and as many of 32.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES, DType
from pto.core.types import Space, TileType
from pto.isa.meaning import Operands, compute
from pto.isa.program import Inst, Program, TensorDecl, TileDecl, TileRef
from pto.isa.table import move, scalar, vector
from pto.sim.machine import Machine

ROWS, COLS, UB_HALF = 32, 1024, 128 << 10
CHUNK = ROWS * COLS
STRATUM_BITS = 8
PAIRS = tuple((DTYPES[to], DTYPES[source]) for to, source in vector.TCVT.dtypes)
MODES = tuple(itertools.product(vector.ROUNDING.values, vector.SATURATION.values))


def converter(to: DType, source: DType, mode: tuple[str, str] = ("rne", "off")) -> Machine:
    """A machine that converts a chunk."""
    tiles = tuple(TileDecl(name, TileType(dtype, ROWS, COLS, Space.UB), address)
                  for name, dtype, address in (("d", to, 0), ("a", source, UB_HALF)))
    region = (0, 0, ROWS, COLS)
    code = (Inst(move.TLOAD, (TileRef(1), 1, *region)), Inst(vector.TCVT, (TileRef(0), TileRef(1), ROWS, COLS), mode),
            Inst(move.TSTORE, (0, TileRef(0), *region)), Inst(scalar.HALT))
    tensors = TensorDecl("y", to, (ROWS, COLS), written=True), TensorDecl("x", source, (ROWS, COLS))
    return Machine(Program("convert", "V2", tensors=tensors, tiles=tiles, code=code))


def converted(machine: Machine, to: DType, x: np.ndarray) -> np.ndarray:
    """What the machine makes of some sources."""
    y = np.zeros((ROWS, COLS), numpy_dtype(to))
    padded = np.zeros(CHUNK, x.dtype)
    padded[:x.size] = x
    machine.run([y, padded.reshape(ROWS, COLS)])
    return y.reshape(-1)[:x.size]


def sources(dtype: DType, count: int = 1 << 24) -> Iterator[np.ndarray]:
    """Every element of a small type; of 32 bits, one of each of `count` strata. In chunks."""
    if dtype.bits < 32:
        every = np.arange(1 << dtype.bits, dtype=f"u{dtype.size}").view(numpy_dtype(dtype))
        yield from (every[at:at + CHUNK] for at in range(0, every.size, CHUNK))
        return
    rng, width = np.random.default_rng(5), (1 << 32) // count
    for at in range(0, count, CHUNK):
        number = np.arange(at, min(at + CHUNK, count), dtype=np.uint64)
        yield (number * width + rng.integers(0, width, number.size, np.uint64)).astype(np.uint32).view(dtype.numpy)


def nearest(to: DType, x: np.ndarray) -> np.ndarray:
    """The conversion by NumPy and ml_dtypes."""
    kind = numpy_dtype(to)
    with np.errstate(all="ignore"):
        if to.kind == "f":
            return x.astype(np.float32).astype(kind)
        if x.dtype.kind in "iu":
            return x.astype(kind)
        whole, limits = np.rint(x.astype(np.float64)), np.iinfo(kind)
        good = (whole >= limits.min) & (whole <= limits.max)
        return np.where(good, np.where(good, whole, 0), limits.max if limits.min == 0 else limits.min).astype(kind)


def differing(to: DType, one: np.ndarray, two: np.ndarray) -> int:
    """How many elements differ; any NaN of the first stands for the canonical one."""
    bits = one.view(f"u{to.size}").copy()
    if to.nan:
        bits[np.isnan(one)] = to.nan
    return int((bits != two.view(f"u{to.size}")).sum())


def against_numpy(to: DType, source: DType, count: int = 1 << 24) -> tuple[int, int]:
    """Sources and mismatches of rounding to nearest."""
    machine, seen, wrong = converter(to, source), 0, 0
    for x in sources(source, count):
        seen += x.size
        wrong += differing(to, nearest(to, x), converted(machine, to, x))
    return seen, wrong


def against_meaning(to: DType, source: DType, mode: tuple[str, str]) -> tuple[int, int]:
    """Sources and mismatches of any mode."""
    machine, seen, wrong = converter(to, source, mode), 0, 0
    for x in sources(source, 1 << 16):
        meant = compute(vector.TCVT.mnemonic, Operands(
            a=x.reshape(1, -1), shape=(1, x.size), dtype=numpy_dtype(to), exact=True, round=mode[0], sat=mode[1]))
        seen += x.size
        wrong += differing(to, meant[0], converted(machine, to, x))
    return seen, wrong


def campaign() -> int:
    """Print a line for each pair of types; gives how many elements differ."""
    total = 0
    print(f"\n{'tcvt':<14}{'sources':>10}{'mismatches':>12}{'all modes':>12}{'mismatches':>12}")
    for to, source in PAIRS:
        seen = wrong = 0
        if source.name != "s32" or to.kind != "f" or to.bits == 32:  # else NumPy would round twice
            seen, wrong = against_numpy(to, source)
        counts = [against_meaning(to, source, mode) for mode in MODES]
        more, failed = (sum(column) for column in zip(*counts, strict=True))
        print(f"{to.name:>5} of {source.name:<5}{seen:>11}{wrong:>12}{more:>12}{failed:>12}", flush=True)
        total += wrong + failed
    return total
