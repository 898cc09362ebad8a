"""The chain as a whole: dynamic shapes, sizes that do not grow, facts, targets, determinism."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CapacityError, CompilerBug
from pto.core.target import BY_NAME, V1, V2
from pto.ir.graph import Graph
from pto.ir.text import text
from pto.isa.check import require_legal
from pto.passes.base import Fact, Pass
from pto.passes.pipeline import Attempts, passes
from pto.passes.tensor_to_tile import Tiles
from tests import reference as ref
from tests.kernels import bind, gemm, gemm_loop
from tests.reference import Bounded

ROOT = Path(__file__).parents[2]
TILES = Tiles((64, 64, 32), (64, 64), 64, (64, 64))
ISSUE = [(512, 512, 512), (1000, 777, 515), (1, 1, 1), (64, 4096, 33)]


@pytest.mark.parametrize("kernel", [gemm, gemm_loop], ids=["expression", "loops"])
def test_one_program_serves_every_shape_within_the_bound(kernel):
    rng = np.random.default_rng(0)
    kernel = pt.tile_kernel(kernel.__wrapped__, **kernel.options)
    for m, n, k in ISSUE:
        a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
        ref.matmul(Bounded.exact(a), Bounded.exact(b)).check(kernel(a, b))
    assert sum(map(len, kernel.variants.values())) == 1
    require_legal(kernel.program())


def test_sizes_of_graphs_and_program_do_not_grow():
    rng = np.random.default_rng(0)
    sizes = []
    for n in (16, 512, 8192):
        kernel = pt.tile_kernel(gemm.__wrapped__)
        x = np.broadcast_to(rng.standard_normal((n, 1), dtype=np.float32), (n, n))
        arguments = kernel._argument("A", x), kernel._argument("B", x)
        variant = kernel._compile((), arguments, kernel._hints(arguments, [x, x]))
        sizes.append([s.graph.size() for s in variant.compiled.stages] + [len(variant.program.code)])
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("target", ["V1", "V2"])
def test_programs_fit_each_target(target):
    for kernel, shapes in ((gemm, ((30, 40), (40, 50))), (gemm_loop, ((30, 40), (40, 50)))):
        mine = pt.tile_kernel(kernel.__wrapped__, target=target, **kernel.options)
        bound = bind(mine, [np.ones(s, np.float32) for s in shapes])
        assert bound.program.target == BY_NAME[target].name
        require_legal(bound.program)


def test_the_facts_that_a_pass_needs_are_checked():
    everything = passes(V2, TILES)
    graph = bind(gemm, [np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)]) and gemm.graph("tensor")
    for leave_out in [i for i, p in enumerate(everything[:-1]) if p.makes]:
        rest = [p for i, p in enumerate(everything) if i != leave_out]
        with pytest.raises(CompilerBug, match="needs"):
            Attempts(graph).run(tuple(rest))


def test_a_pass_that_breaks_a_fact_or_the_graph_is_named():
    liar = Fact("truth", lambda g: ["it is false"])
    with pytest.raises(CompilerBug, match=r"pretends broke the graph:\nit is false"):
        Attempts(Graph(name="g", level="tile")).run((Pass("pretends", lambda g: g, makes=frozenset({liar})),))
    with pytest.raises(CompilerBug, match="ruins"):
        Attempts(Graph(name="g", level="tile")).run((Pass("ruins", lambda g: Graph(name="g", level="nowhere")),))


def test_no_pass_changes_its_input():
    graph = bind(gemm, [np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)]) and gemm.graph("tensor")
    for step in passes(V2, TILES):
        before = text(graph)
        after = step.run(graph)
        assert text(graph) == before, step.name
        graph = after


def test_tiles_that_are_not_directed_are_made_to_fit():
    @pt.tile_kernel(target=V1)
    def many(a, b, c, d, e, f):
        return pt.exp(a) * b + pt.exp(c) * d + pt.exp(e) * f

    x = np.ones((9, 2000), np.float32)
    np.testing.assert_allclose(many(*[x] * 6), 3 * np.e * x, rtol=1e-5)


def test_directed_tiles_that_do_not_fit_are_refused():
    kernel = pt.tile_kernel(gemm.__wrapped__, tile_m=1024, tile_n=1024)
    with pytest.raises(CapacityError, match="l0c"):
        kernel(np.ones((3, 4), np.float32), np.ones((4, 5), np.float32))


SCRIPT = """
import hashlib, numpy as np
from pto.ir.text import text
from pto.isa.file import dumps
from tests.kernels import CASES, bind
for case in CASES:
    bound = bind(case.kernel, case.arguments())
    for stage in case.kernel.compiled().compiled.stages:
        print(case.name, stage.name, hashlib.sha256(text(stage.graph).encode()).hexdigest())
    print(case.name, hashlib.sha256(dumps(bound.program)).hexdigest())
"""


def test_same_bytes_in_every_process():
    outputs = set()
    for seed in ("0", "1", "12345"):
        done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, text=True, capture_output=True, timeout=120,
                              env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
