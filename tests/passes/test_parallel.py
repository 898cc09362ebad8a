"""Which loops may run in any order: those that store to matrices of their own, however these are given."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.ir.ops import FOR
from pto.ir.parse import parse
from pto.passes.parallel import is_parallel
from pto.sim.machine import Machine
from tests.arrays import some

STORING = """\
tile kernel(%rows: index in 1 .. 4096, %other: index in 0 .. 4096, %out: tensor<65536 x 16 x f32>) {{
  %0 = mul %rows, 16
  %1 = tile.full scalar=1.0 : tile<8x16xf32>
  %3 = for %2 in 0 .. 4 by {step} carry (%4 = %out) {{
    %5 = mul %2, {factor}
    %6 = add %5, {base}
    %9 = for %7 in 0 .. {rows} by 8 carry (%8 = %4) {{
      %10 = sub {rows}, %7
      %11 = min 8, %10
      %12 = tile.store %8, %1, %7, 0, %11, {cols}, %6, {rows}, {cols}, {down}, {across} : tensor<65536 x 16 x f32>
      yield %12
    }}
    yield %9
  }}
  return %3
}}
"""


def outer(**values: object) -> bool:
    form = {"step": 1, "factor": "%0", "base": 5, "rows": "%rows", "cols": 16, "down": 16, "across": 1}
    graph = parse(STORING.format(**form | values))
    return is_parallel(next(node for _, node in graph.items() if node.op is FOR))


@pytest.mark.parametrize(("values", "parallel"), [
    ({}, True), ({"step": 3}, True), ({"base": "%other"}, True), ({"cols": 12}, True),
    ({"down": 1, "across": "%rows"}, True),  # the matrix is transposed
    ({"base": "%2"}, True),  # as far apart again, and one
    ({"factor": "%rows"}, False), ({"factor": "%other"}, False), ({"factor": 4096}, False),
    ({"down": 17}, False), ({"cols": 17}, False), ({"across": 2}, False), ({"down": "%other"}, False),
    ({"step": 0}, False), ({"step": -1}, False),
])
def test_matrices_that_lie_behind_each_other(values, parallel):
    assert outer(**values) is parallel


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20),
       st.integers(0, 900))
def test_iterations_of_a_parallel_loop_share_no_element(step, rows, cols, down, across, factor):
    """Of constants: every element that two iterations see, by counting."""
    elements = [{n * step * factor + r * down + c * across for r in range(rows) for c in range(cols)} for n in (0, 1)]
    answer = outer(step=step, rows=rows, cols=cols, down=down, across=across, factor=factor)
    assert not (answer and elements[0] & elements[1])
    if across == 1 and cols <= down and factor >= rows * down:
        assert answer


TOUCHING = """\
tile kernel(%n: index in 1 .. 4096, %out: tensor<65536 x 64 x f32>) {{
  %2 = for %0 in 0 .. 4 by {step} carry (%1 = %out) {{
    %3 = mul %0, {loaded}
    %4 = add %3, {first}
    %5 = tile.load %1, {load}, {rows}, 16 : tile<{rows}x16xf32>
    %6 = mul %0, {stored}
    %7 = tile.store %1, %5, {store}, {rows}, 16 : tensor<65536 x 64 x f32>
    yield %7
  }}
  return %2
}}
"""


def touches(**values: object) -> bool:
    form = {"step": 1, "loaded": 8, "first": 0, "stored": 8, "rows": 8, "load": "%4, 0", "store": "%6, 0"}
    graph = parse(TOUCHING.format(**form | values))
    return is_parallel(next(node for _, node in graph.items() if node.op is FOR))


@pytest.mark.parametrize(("values", "parallel"), [
    ({}, True), ({"first": 1}, False), ({"loaded": 16}, False), ({"load": "0, %4"}, False), ({"step": 2}, True),
    ({"step": 2, "first": 8}, True), ({"step": 2, "first": 9}, False),
    ({"load": "0, %4", "store": "0, %6", "loaded": 16, "stored": 16}, True), ({"load": "%n, 0"}, False),
    ({"first": "%n"}, False),
])
def test_what_is_loaded_and_what_is_stored_are_of_one_iteration(values, parallel):
    assert touches(**values) is parallel


@given(st.integers(1, 3), st.integers(0, 12), st.integers(-12, 12), st.integers(0, 12), st.integers(1, 12))
def test_iterations_of_a_parallel_loop_load_nothing_that_others_store(step, loaded, first, stored, rows):
    """By counting: the rows that an iteration loads or stores, and those that another stores."""
    reads, writes = ([set(range(at, at + rows)) for n in range(0, 12, step) for at in [n * by + more]]
                     for by, more in ((loaded, first), (stored, 0)))
    shared = any((reads[a] | writes[a]) & writes[b] for a in range(len(reads)) for b in range(len(writes)) if a != b)
    answer = touches(step=step, loaded=loaded, first=first, stored=stored, rows=rows)
    assert not (answer and shared)
    if loaded == stored and abs(first) + rows <= stored * step:
        assert answer


def overlapping(x: pt.f32["M", 16], out: pt.f32["M", 16]):
    for i in pt.range(0, x.shape[0], 16):
        out[i:i + 16, 0:16] = x[i:i + 16, 0:16]
        out[i + 8:i + 8 + 16, 0:16] = x[i + 8:i + 8 + 16, 0:16] * 3.0


def of_the_row_before(x: pt.f32["M", 16], out: pt.f32["M", 16]):
    for i in pt.range(0, x.shape[0] - 1):
        out[i + 1:i + 1 + 1, 0:16] = out[i:i + 1, 0:16] + x[i:i + 1, 0:16]


def of_the_matrix_before(x: pt.f32["M", 8, 16], out: pt.f32["M", 8, 16]):
    for h in pt.range(0, x.shape[0] - 1):
        out[h + 1, 0:8, 0:16] = out[h, 0:8, 0:16] + x[h, 0:8, 0:16]


def of_half_a_matrix_before(x: pt.f32["M", 8, 16], out: pt.f32["M", 8, 16]):
    for h in pt.range(x.shape[0]):
        for i in pt.range(0, 4):
            out[h, i:i + 1, 0:16] = out[h, i + 4:i + 4 + 1, 0:16] + x[h, i:i + 1, 0:16]
            out[h, i + 4:i + 4 + 1, 0:16] = x[h, i:i + 1, 0:16]


def in_an_inner_loop(x: pt.f32["M", 16], out: pt.f32["M", 16]):
    for i in pt.range(0, x.shape[0], 8):
        for j in pt.range(0, 2):
            out[i:i + 8, 0:16] = out[i:i + 8, 0:16] + x[i:i + 8, 0:16]
        out[i + 1:i + 1 + 8, 0:16] = x[i:i + 8, 0:16]


@pytest.mark.parametrize(("function", "shape"), [
    (overlapping, (80, 16)), (of_the_row_before, (20, 16)), (of_the_matrix_before, (9, 8, 16)),
    (of_half_a_matrix_before, (9, 8, 16)), (in_an_inner_loop, (70, 16)),
])
def test_cores_do_not_share_out_what_depends_on_the_order(function, shape):
    kernel = pt.tile_kernel(function)
    x, out = some(*shape), np.zeros(shape, np.float32)
    kernel(x, out)
    again = np.zeros_like(out)
    Machine(kernel.program(), cores=3, check="all").run([x, again], [shape[0]])
    np.testing.assert_array_equal(again, out)


@pt.tile_kernel
def by_head(x: pt.f32[5, "M", 24], out: pt.f32[5, "M", 24]):
    for h in pt.range(5):
        for i in pt.range(0, x.shape[1], 8):
            out[h, i:i + 8, 0:24] = x[h][i:i + 8, 0:24] * 2.0


@settings(max_examples=10)
@given(st.integers(1, 40), st.integers(1, 4))
def test_heads_are_shared_out_over_the_cores(rows, cores):
    x, out = some(5, rows, 24), np.zeros((5, rows, 24), np.float32)
    by_head(x, out)
    np.testing.assert_array_equal(out, 2 * x)
    [grid] = [dict(node.attrs)["grid"] for _, _, node in by_head.graph("block").walk() if node.op is FOR]
    assert grid == 2
    again = np.zeros_like(out)
    Machine(by_head.program(), cores=cores + 1, check="all").run([x, again], [rows])
    np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_one_grid_of_heads_and_queries(causal):
    @pt.tile_kernel
    def attend(q: pt.f32[4, "M", 16], k: pt.f32[2, "N", 16], v: pt.f32[2, "N", 16]):
        return pt.attention(q, k, v, causal=causal, tile_m=32, tile_n=32)

    q, k, v = some(4, 70, 16), some(2, 70, 16), some(2, 70, 16)
    out = attend(q, k, v)
    assert [dict(n.attrs).get("grid") for _, n in attend.graph("block").items() if n.op is FOR] == [2]
    again = np.zeros_like(out)
    Machine(attend.program(), cores=3, check="all").run([q, k, v, again], [70, 70])
    np.testing.assert_array_equal(again, out)


def test_a_column_beside_a_product_leaves_its_tiles_to_all_cores():
    @pt.tile_kernel
    def scaled(x: pt.f32["M", 64], w: pt.f32[64, 768], scale: pt.f32["M", 1]):
        return pt.matmul(x, w) * scale

    x, w, scale = some(9, 64), some(64, 768), some(9, 1)
    np.testing.assert_allclose(scaled(x, w, scale), x @ w * scale, rtol=1e-4, atol=1e-4)
    assert [dict(n.attrs).get("grid") for _, n in scaled.graph("block").items() if n.op is FOR] == [2]
