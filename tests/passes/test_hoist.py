"""What is the same in every iteration leaves its loop, unless the loop changes it or may not run."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np

import pto as pt
from pto.ir.ops import FOR
from pto.passes.hoist import hoist
from pto.passes.pipeline import Options, compile_graph
from tests.kernels import agree


def inside(graph, name):
    """How many loops are around each node of an operation."""
    return sorted(inner.depth for inner, _, node in graph.walk() if node.op.name == name)


def agrees(kernel, arguments, wanted):
    """Do block graphs before and after, and both machines, compute what is wanted?"""
    return agree(kernel, arguments, wanted, ("tile-to-block", "hoist"))[1]


def test_weights_of_a_norm_are_loaded_once():
    @pt.tile_kernel
    def norm(x: pt.f32["m", 48], w: pt.f32[48]):
        return pt.rms_norm(x, w)

    x, w = np.random.default_rng(0).standard_normal((300, 48), np.float32), np.arange(48, dtype=np.float32)
    stages = agrees(norm, [x, w], x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * w)
    assert inside(stages["tile-to-block"], "tload") == [1, 1]
    assert inside(stages["hoist"], "tload") == [0, 1]


def test_queries_of_attention_are_moved_once():
    @pt.tile_kernel
    def attend(q: pt.f32[1, "m", 16], k: pt.f32[1, "n", 16], v: pt.f32[1, "n", 16]):
        return pt.attention(q, k, v, tile_m=16, tile_n=16)

    q, k, v = (np.random.default_rng(n).standard_normal((1, 40, 16), np.float32) for n in range(3))
    p = np.exp(q @ k.transpose(0, 2, 1) / 4)
    stages = agrees(attend, [q, k, v], p / p.sum(-1, keepdims=True) @ v)
    # A query and the weights of the values; the former is outside of the loop over keys.
    assert len({*inside(stages["tile-to-block"], "textract")}) == 1
    assert len({*inside(stages["hoist"], "textract")}) == 2


def test_what_a_loop_stores_is_loaded_again():
    @pt.tile_kernel
    def powers(x: pt.f32[4, 8]):
        out = pt.empty((4, 8))
        out[0:4, 0:8] = x[0:4, 0:8]
        for _ in pt.range(0, 3):
            out[0:4, 0:8] = out[0:4, 0:8] * x[0:4, 0:8]
        return out

    x = np.random.default_rng(0).standard_normal((4, 8), np.float32)
    stages = agrees(powers, [x], x**4)
    loops = [node.body for _, _, node in stages["hoist"].walk() if node.op is FOR and node.body.depth == 1]
    loads = [sum(n.op.name == "tload" for _, n in body.items()) for body in loops]
    assert max(loads) == 1  # of the result; that of x has left


def test_a_load_stays_in_a_loop_that_may_not_run():
    @pt.tile_kernel
    def sometimes(x: pt.f32["m", 8], count: pt.index, at: pt.index):
        out = pt.empty((1, 8))
        out[0:1, 0:8] = pt.full((1, 8), 1.0)
        for _ in pt.range(0, count):
            out[0:1, 0:8] = pt.exp(x[at:at + 1, 0:8])
        return out

    x = np.ones((2, 8), np.float32)
    np.testing.assert_array_equal(sometimes(x, 0, 7), 1.0)  # row 7 is not there
    np.testing.assert_allclose(sometimes(x, 3, 1), np.exp(np.float32(1)), rtol=1e-6)
    assert all(depth > 0 for depth in inside(sometimes.graph("block"), "tload"))


def test_a_value_that_a_loop_carries_on_stays():
    @pt.tile_kernel
    def sums(x: pt.f32["m", 16]):
        out = pt.empty((x.shape[0], 16))
        for i in pt.range(0, x.shape[0], 4):
            total = pt.full((4, 16), 2.0)  # the same in each turn, and overwritten by the loop
            for _ in pt.range(0, 3):
                total = total * 2.0 + pt.exp(x[i:i + 4, 0:16])
            out[i:i + 4, 0:16] = total
        return out

    x = np.random.default_rng(0).standard_normal((12, 16), np.float32)
    stages = agrees(sums, [x], 16.0 + 7.0 * np.exp(x))
    assert inside(stages["hoist"], "texpands") == [1] and inside(stages["hoist"], "texp") == [1]


def test_it_changes_nothing_where_nothing_is_the_same():
    @pt.tile_kernel
    def double(x):
        return x + x

    double(np.ones((3, 5), np.float32))
    stages = compile_graph(double.graph("tensor"), Options()).stages
    block = next(s.graph for s in stages if s.name == "tile-to-block")
    assert pt.text(hoist(block)) == pt.text(block)
    assert pt.text(hoist(hoist(block))) == pt.text(hoist(block))


def test_operands_that_lie_transposed_are_transposed_on_the_way_to_l0():
    @pt.tile_kernel
    def gemm(a, b):
        return pt.matmul(a.T, b.T)

    a, b = (np.random.default_rng(n).standard_normal(s, np.float32) for n, s in enumerate(((70, 90), (85, 70))))
    stages = agrees(gemm, [a, b], a.T @ b.T)
    assert len(inside(stages["hoist"], "textract_t")) == 2 and not inside(stages["hoist"], "textract")
    views = [node for _, _, node in stages["hoist"].walk() if node.op.name == "tload"]
    assert all(len(node.inputs) > 5 for node in views)
