"""The programs that campaigns start from: emitted from the tests' kernels, and written by hand, with arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks import programs as written
from pto.core.arrays import numpy_dtype
from pto.core.errors import Loc
from pto.core.target import DEFAULT
from pto.isa.check import check
from pto.isa.program import Program, TileRef
from pto.isa.spec import Instr, Route
from tests import kernels
from tests.kernels import CASES, bind
from tests.lang import test_library as library
from tests.passes import test_whole_programs as whole
from tests.sim import test_between_cores as between
from tests.sim import test_gather as gather
from tests.sim.cases import Case
from tests.sim.programs import gemm
from tests.sim.soup import arrays, soup
from tests.sim.test_agree import ROUTES

SHAPES = {  # of kernels, small, with tails
    "gemm": ((20, 40), (40, 18)), "gemm_loop": ((40, 60), (60, 50)), "vadd": ((9, 30), (9, 30)),
    "vadd_loop": ((300,), (300,)), "softmax": ((5, 200),), "gemm_bias_relu": ((40, 40), (40, 50), (40, 50)),
    "gated": ((70, 70), (70, 20), (70, 20)),
    "normalise": ((10, 70), (10, 1)),
}
LIBRARY = (
    (library.layer_norm, ((6, 40), (40,), (40,))), (library.rms_norm, ((6, 40), (40,))),
    (library.activations, ((5, 30),)), (library.biased, ((20, 12), (12, 30), (30,))),
)
LONG = (
    (kernels.gemm, ((270, 40), (40, 270))), (kernels.vadd, ((200, 600), (200, 600))),
    (kernels.vadd_loop, ((2000,), (2000,))), (kernels.softmax, ((40, 1100),)),
    (kernels.normalise, ((35, 150), (35, 1))), (whole.fibonacci, ((60, 600), (3,))),
    (library.layer_norm, ((70, 700), (700,), (700,))), (library.rms_norm, ((70, 700), (700,))),
    (library.activations, ((60, 700),)), (library.biased, ((270, 40), (40, 270), (270,))),
)


@dataclass(frozen=True)
class Sample:
    """A program that ends, with the arguments of one call; `fixed`: it is made for this number of cores."""

    name: str
    program: Program
    tensors: tuple[np.ndarray, ...]
    parameters: tuple[int, ...] = ()
    cores: int = 1
    fixed: bool = False

    def fresh(self) -> list[np.ndarray]:
        return [array.copy() for array in self.tensors]


def numbered(program: Program) -> Program:
    """The program with a source line of its own for each instruction."""
    spans = tuple(Loc("k.py", pc + 1, 0, 1) for pc in range(len(program.code)))
    return replace(program, spans=spans, lines=tuple((pc,) for pc in range(len(program.code))))


def filled(program: Program, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Random arguments for a program without parameters; integers are small, and legal indices."""
    rng = np.random.default_rng(seed)
    found = []
    for tensor in program.tensors:
        shape, dtype = tuple(int(dim) for dim in tensor.dims), numpy_dtype(tensor.dtype)
        integer = dtype.kind in "iu"
        found.append((rng.integers(0, 5, shape) if integer else rng.standard_normal(shape)).astype(dtype))
    return tuple(found)


def compiled(kernel: Any, shapes: Sequence[tuple[int, ...]], name: str = "") -> Sample:
    """A kernel's program, with random arguments of some shapes."""
    bound = bind(kernel, whole.arrays(*shapes))
    fixed = tuple(np.nan_to_num(tensor) for tensor in bound.tensors)
    return Sample(name or kernel.__name__, bound.program, fixed, tuple(bound.parameters), 2)


@cache
def emitted() -> tuple[Sample, ...]:
    """Programs of the compiler."""
    chosen = [(case.kernel, SHAPES[case.name]) for case in CASES]
    chosen += [(kernel, shapes) for kernel, _, shapes in whole.CASES] + list(LIBRARY)
    return tuple(compiled(kernel, shapes) for kernel, shapes in chosen)


@cache
def long_runs() -> tuple[Sample, ...]:
    """The same programs on arguments so large that each loop goes round several times: every flag has its use."""
    return tuple(compiled(kernel, shapes, f"{kernel.__name__}, long") for kernel, shapes in LONG)


@cache
def by_hand() -> tuple[Sample, ...]:
    """Programs of the machine's tests and benchmarks, small."""
    found = [
        Sample("double-buffered gemm", gemm(), tuple(np.ones((40, 40), np.float32) for _ in range(3)), (40, 40, 40), 2),
    ]
    for build, cores in ((between.phases, 3), (between.relay, 4), (between.counted, 2)):
        found.append(Sample(build.__name__, between.program(build), (between.rows(),), (), cores, True))
    types = (("f32",) * 3, ("f16", "f16", "f32"), ("bf16", "bf16", "f32"), ("s8", "s8", "s32"), ("s16", "s8", "s32"))
    for kinds in types:
        program = written.gemm(64, 32, 32, (32, 16, 16), kinds)
        found.append(Sample(f"gemm {' '.join(kinds)}", program, filled(program), (), 2))
    alone = {
        "gemv f32": written.gemv(24, 32, 2), "gemv s8": written.gemv(24, 64, 2, "s8", "s8", "s32"),
        "rows softmax": written.softmax(16, 32, 4), "rows rmsnorm": written.rmsnorm(16, 32, 4),
        "rows exp": written.exp(16, 32, 4), "rows vadd": written.vadd(16, 32, 4),
        "embedding lookup": gather.machines(gather.LOOKUP)[0].program,
        "largest of a row": gather.machines(gather.LARGEST)[0].program,
    }
    found += [Sample(name, program, filled(program), fixed=True) for name, program in alone.items()]
    return tuple(found)


def every() -> tuple[Sample, ...]:
    return emitted() + by_hand()


def case_of(number: int, seed: int, salt: int) -> tuple[Case, Sample]:
    """One instruction, drawn from all routes and types, as a whole program; with its case."""
    row, route, types = ROUTES[number % len(ROUTES)]
    case = Case(np.random.default_rng([seed, number, salt]), row, route, types)
    return case, Sample(row.mnemonic, case.program(), tuple(case.arrays))


def legal_case(number: int, seed: int, draws: int = 2000) -> tuple[Sample, int]:
    """The same without what only the machine allows; with the place of the instruction.

    Some routes (four tiles in columns) are hardly ever drawn within the static rules: then another one of the same
    instruction is taken.
    """
    mine = number % len(ROUTES)
    others = [n for n, (row, _, _) in enumerate(ROUTES) if row is ROUTES[mine][0] and n != mine]
    for choice in (number, *others):
        for salt in range(draws):
            case, sample = case_of(choice, seed, salt)
            sample = replace(sample, program=_aligned(sample.program))
            if not check(sample.program):
                return sample, case.at
    raise ValueError(f"no legal case of {ROUTES[mine][0].mnemonic} in {draws} draws of each route")


def _aligned(program: Program) -> Program:
    """The program with one slot for each tile whose slots would not be aligned."""
    odd = {i for i, tile in enumerate(program.tiles) if tile.slots > 1 and tile.type.nbytes % DEFAULT.align}
    code = tuple(
        replace(inst, args=tuple(TileRef(a.tile) if isinstance(a, TileRef) and a.tile in odd else a for a in inst.args))
        for inst in program.code
    )
    return replace(program, code=code, tiles=tuple(
        replace(tile, slots=1) if i in odd else tile for i, tile in enumerate(program.tiles)))


def soup_of(seed: int, cores: int) -> Sample:
    return Sample(f"soup {seed}", soup(seed, cores), tuple(arrays()), (), cores)


Chosen = tuple[Instr, Route, tuple[str, ...]]
Samples = Sequence[Sample]
assert ml_dtypes  # registers bfloat16 with NumPy
