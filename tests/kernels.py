"""Kernels that several tests share, with what they compute and how to look at each of their levels."""
# ruff: noqa: F821 (names of options, extents in quotes, kernels in loops)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import pto as pt
from pto.core.arrays import numpy_dtype
from pto.ir.graph import Graph
from pto.isa.program import Program
from pto.runtime.interpret import interpret
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests import reference as ref
from tests.reference import Bounded

Arrays = list[np.ndarray]


@pt.tile_kernel
def gemm(A, B):
    return pt.matmul(A, B)


@pt.tile_kernel(tile_m=32, tile_n=48, tile_k=16)
def gemm_loop(A, B):
    C = pt.empty((A.shape[0], B.shape[1]))
    for i in pt.range(0, A.shape[0], tile_m):
        for j in pt.range(0, B.shape[1], tile_n):
            acc = pt.zeros((tile_m, tile_n))
            for k in pt.range(0, A.shape[1], tile_k):
                acc += pt.tile_matmul(A[i:i + tile_m, k:k + tile_k], B[k:k + tile_k, j:j + tile_n])
            C[i:i + tile_m, j:j + tile_n] = acc
    return C


@pt.tile_kernel
def vadd(X, Y):
    return X + Y


@pt.tile_kernel(tile_n=256)
def vadd_loop(X, Y):
    out = pt.empty((X.shape[0],))
    for i in pt.range(0, X.shape[0], tile_n):
        out[i:i + tile_n] = X[i:i + tile_n] + Y[i:i + tile_n]
    return out


@pt.tile_kernel
def softmax(X):
    return pt.softmax(X)


@pt.tile_kernel(tile_m=32, tile_n=48, tile_k=16)
def gemm_bias_relu(A, B, D):
    return pt.relu(pt.matmul(A, B) * 2.0 + D)


@pt.tile_kernel
def gated(X, A, B):
    """Two products that share slices of a left operand, of more rows than the vector unit takes at a time."""
    return pt.relu(pt.matmul(X, A)) * pt.matmul(X, B)


for name, type in (("X", pt.f32["M", 70]), ("A", pt.f32[70, "N"]), ("B", pt.f32[70, "N"])):
    gated.declare(name, type)


@pt.tile_kernel(tile_m=8, tile_n=64)
def normalise(X, G):
    """Two depths of reductions over rows, a column as second operand, two results."""
    centred = X - pt.sum(X, keepdims=True) * 0.01
    spread = pt.sum(centred * centred, keepdims=True) + 1.0
    return centred / spread + G, pt.max(X, keepdims=True)


@dataclass(frozen=True)
class Case:
    """A kernel, shapes of its arguments, and its meaning on `Bounded` values."""

    kernel: Any
    shapes: tuple[tuple[int, ...], ...]
    meaning: Callable[..., Any]

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)

    def arguments(self, seed: int = 0) -> Arrays:
        rng = np.random.default_rng(seed)
        return [rng.standard_normal(shape, dtype=np.float32) for shape in self.shapes]

    def wanted(self, arguments: Sequence[np.ndarray]) -> list[Bounded]:
        found = self.meaning(*map(Bounded.exact, arguments))
        return list(found) if isinstance(found, tuple) else [found]


def _normalise(x: Bounded, g: Bounded) -> tuple[Bounded, Bounded]:
    centred = x - ref.total(x) * 0.01
    return centred / (ref.total(centred * centred) + 1.0) + g, ref.largest(x)


CASES = (
    Case(gemm, ((37, 70), (70, 29)), ref.matmul),
    Case(gemm_loop, ((70, 37), (37, 100)), ref.matmul),
    Case(vadd, ((20, 30), (20, 30)), lambda x, y: x + y),
    Case(vadd_loop, ((700,), (700,)), lambda x, y: x + y),
    Case(softmax, ((9, 1500),), ref.softmax),
    Case(gemm_bias_relu, ((40, 30), (30, 70), (40, 70)), lambda a, b, d: ref.relu(ref.matmul(a, b) * 2.0 + d)),
    Case(gated, ((150, 70), (70, 40), (70, 40)), lambda x, a, b: ref.relu(ref.matmul(x, a)) * ref.matmul(x, b)),
    Case(normalise, ((20, 150), (20, 1)), _normalise),
)
NAMES = [case.name for case in CASES]


@dataclass(frozen=True)
class Bound:
    """A kernel's program with the tensors and parameters of one call; results are not-a-number at first."""

    program: Program
    tensors: Arrays
    parameters: list[int]
    extents: dict[str, int]
    results: list[int]

    def fresh(self) -> Arrays:
        return [t.copy() for t in self.tensors]


def empty(shape: Sequence[int], decl: Any) -> np.ndarray:
    """Room for a result that shows what is not written: not-a-number, or ones."""
    return np.full(shape, np.nan if decl.dtype.kind == "f" else 1, numpy_dtype(decl.dtype))


def bind(kernel: Any, arguments: Sequence[np.ndarray]) -> Bound:
    """Compile a kernel for its arguments, by calling it, and lay its program out for any machine."""
    kernel(*[a.copy() for a in arguments])
    extents_in_order = [n for a in arguments for n in a.shape]
    variant = kernel._variant(arguments, extents_in_order)
    extents = {name: extents_in_order[at] for name, at in variant.first.items()}
    program = variant.program
    results = program.tensors[len(arguments):]
    shapes = [[extents[d] if isinstance(d, str) else d for d in t.dims] for t in results]
    tensors = [*(a.copy() for a in arguments), *(empty(s, t) for s, t in zip(shapes, results, strict=True))]
    return Bound(program, tensors, [extents[p.name] for p in program.parameters], extents, list(variant.outputs))


def on_fast(bound: Bound, *, cores: int = 1, exact: bool = True) -> Arrays:
    tensors = bound.fresh()
    Machine(bound.program, cores=cores, exact=exact).run(tensors, bound.parameters)
    return [tensors[slot] for slot in bound.results]


def on_slow(bound: Bound, *, cores: int = 1, order: str = "program") -> Arrays:
    tensors = bound.fresh()
    SlowMachine(bound.program, cores=cores, order=order).run(tensors, bound.parameters)
    return [tensors[slot] for slot in bound.results]


def on_graph(graph: Graph, bound: Bound, *, cores: int = 1, order: str = "program") -> Arrays:
    tensors = bound.fresh()
    found = interpret(graph, tensors, bound.extents, cores=cores, order=order)
    return found[:len(bound.results)] if graph.level == "tensor" else [tensors[slot] for slot in bound.results]


def agree(kernel: Any, arguments: Sequence[np.ndarray], wanted: np.ndarray, passes: Sequence[str], *,
          rtol: float = 2e-5, atol: float = 2e-5) -> tuple[Bound, dict[str, Graph]]:
    """The program, and the graph after each pass, where those after some passes and both machines give what is wanted;
    the last of the passes, and the fast machine, on several cores.
    """
    bound = bind(kernel, arguments)
    stages = {s.name: s.graph for s in kernel.compiled().compiled.stages}
    graphs = [on_graph(stages[name], bound, cores=3 if name == passes[-1] else 1) for name in passes]
    for results in (*graphs, on_fast(bound, cores=3), on_slow(bound)):
        np.testing.assert_allclose(results[0], wanted, rtol=rtol, atol=atol)
    return bound, stages
