"""Every level of every test kernel computes the same; both machines agree bit for bit; flags are enough and needed."""

from __future__ import annotations

import numpy as np
import pytest

from pto.isa.check import require_legal
from pto.sim.happens_before import flag_races, races, relations, remove
from tests.kernels import (
    CASES,
    NAMES,
    bind,
    gated,
    gemm,
    gemm_bias_relu,
    gemm_loop,
    normalise,
    on_fast,
    on_graph,
    on_slow,
)

PLACED = ("trace", "simplify", "elide-copies", "materialise", "tensor-to-tile", "tile-to-block", "combine", "hoist",
          "insert-flags")  # stages whose graphs run
each = pytest.mark.parametrize("case", CASES, ids=NAMES)


@each
def test_every_level_agrees_with_numpy(case):
    arguments = case.arguments()
    bound = bind(case.kernel, arguments)
    wanted = case.wanted(arguments)
    levels = set()
    for stage in case.kernel.compiled().compiled.stages:
        for cores in (1, 3) if stage.name in PLACED else ():
            levels.add(stage.graph.level)
            for want, got in zip(wanted, on_graph(stage.graph, bound, cores=cores), strict=True):
                want.check(got)
    assert levels == {"tensor", "tile", "block", "execution"}


@each
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_legal_orders_agree(case, seed):
    bound = bind(case.kernel, case.arguments())
    wanted = on_slow(bound)
    graph = case.kernel.graph("execution")
    for got in (on_slow(bound, order=f"random:{seed}"), on_slow(bound, cores=3, order=f"random:{seed}"),
                on_graph(graph, bound, cores=3, order=f"random:{seed}")):
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_array_equal(a, b)


@each
@pytest.mark.parametrize("cores", [1, 3])
def test_both_machines_agree_bit_for_bit(case, cores):
    bound = bind(case.kernel, case.arguments(seed=cores))
    for fast, slow in zip(on_fast(bound, cores=cores), on_slow(bound, cores=cores), strict=True):
        np.testing.assert_array_equal(fast.view(np.uint32), slow.view(np.uint32))


@each
def test_fast_mode_is_within_the_bound(case):
    arguments = case.arguments(seed=5)
    bound = bind(case.kernel, arguments)
    for want, got in zip(case.wanted(arguments), on_fast(bound, exact=False), strict=True):
        want.check(got)


@each
def test_programs_are_legal_and_free_of_races(case):
    bound = bind(case.kernel, case.arguments())
    require_legal(bound.program)
    assert bound.program.target == "AI_Accelerator_V2"
    for cores in (1, 3):
        assert not races(bound.program, bound.tensors, bound.parameters, cores)
        assert not flag_races(bound.program, bound.tensors, bound.parameters, cores)


SHAPES = {gemm: ((300, 130), (130, 520)), gemm_loop: ((70, 50), (50, 100)), normalise: ((20, 150), (20, 1)),
          gemm_bias_relu: ((70, 50), (50, 100), (70, 100)), gated: ((520, 70), (70, 300), (70, 300))}
WIDE = {"vadd": ((20, 3000), (20, 3000)), "vadd_loop": ((1100,), (1100,)), "softmax": ((20, 3000),)}
SHORT = {"softmax": ((50, 40),), "normalise": ((40, 30), (40, 1))}  # rows of one tile: no loop over further ones


@each
def test_no_flag_relation_is_redundant(case):
    """Without any one of them there is a race: two or more iterations of every loop show it, or none."""
    rng = np.random.default_rng(0)
    needed, found = set(), None
    for shapes in filter(None, (SHAPES.get(case.kernel) or WIDE[case.name], SHORT.get(case.name))):
        bound = bind(case.kernel, [rng.standard_normal(s, dtype=np.float32) for s in shapes])
        found = found or relations(bound.program, bound.tensors, bound.parameters)
        needed |= {r for r in found if races(remove(bound.program, r), bound.tensors, bound.parameters)}
    assert found
    assert not [str(r) for r in found if r not in needed]
