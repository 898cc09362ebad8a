"""Random kernels at random extents: expressions and loops over tiles, of the text of a file, at every level."""

from __future__ import annotations

import itertools
import linecache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.sim.happens_before import races
from tests import reference as ref
from tests.kernels import bind, on_fast, on_graph, on_slow
from tests.reference import Bounded

PLACED = ("trace", "materialise", "tensor-to-tile", "tile-to-block", "insert-flags")
NUMBERS = itertools.count()
scalars = st.sampled_from(["0.5", "2.0", "-1.5", "0.1", "3"])


def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.builds("({0[0]} {1} {0[1]})".format, two, st.sampled_from(["+", "-", "*"])),
        st.builds("({0} * {1})".format, inner, scalars), st.builds("({0} + {1})".format, inner, scalars),
        st.builds("({1} - {0})".format, inner, scalars), st.builds("(-{0})".format, inner),
        st.builds("pt.relu({0})".format, inner), st.builds("pt.exp({0} * 0.1)".format, inner),
        st.builds("pt.maximum({0[0]}, {0[1]})".format, two))


matrices = st.recursive(st.sampled_from(["X", "Y"]), wider, max_leaves=6)
columns = st.one_of(st.just("C"), st.builds("pt.sum({0}, keepdims=True)".format, matrices),
                    st.builds("pt.max({0}, keepdims=True)".format, matrices))
with_columns = st.builds("({0} {1} {2})".format, matrices, st.sampled_from(["+", "-", "*"]), columns)
nested = st.one_of(matrices, with_columns, st.builds("pt.softmax({0})".format, matrices),
                   st.builds("pt.sum({0}, keepdims=True)".format, with_columns), columns)
products = st.builds(lambda a, rest: rest.replace("X", f"pt.matmul({a}, B)", 1),
                     st.sampled_from(["A", "(A * 0.5)", "pt.relu(A)"]), matrices.filter(lambda e: "X" in e))
extent = st.one_of(st.integers(1, 20), st.integers(1, 300))
small = st.integers(1, 40)
side = st.sampled_from([1, 3, 7, 13, 16, 30, 48, 64])


def compiled(body: str, parameters: str, **options: int) -> Any:
    """A kernel whose source is in a file, as far as Python can tell."""
    name = f"<random kernel {next(NUMBERS)}>"
    text = f"@pt.tile_kernel({', '.join(f'{k}={v}' for k, v in options.items())})\ndef k({parameters}):\n{body}"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"pt": pt}
    exec(compile(text, name, "exec"), space)
    return space["k"]


def agree(kernel: Any, arguments: list[np.ndarray], wanted: Bounded, every_level: bool) -> None:
    bound = bind(kernel, arguments)
    [exact] = on_fast(bound)
    wanted.check(exact)
    wanted.check(on_fast(bound, exact=False)[0])
    np.testing.assert_array_equal(on_fast(bound, cores=3)[0], exact)
    if not every_level:
        return
    np.testing.assert_array_equal(on_slow(bound, order="random:1")[0], exact)
    assert not races(bound.program, bound.tensors, bound.parameters)
    for stage in kernel.compiled().compiled.stages:
        if stage.name in PLACED:
            wanted.check(on_graph(stage.graph, bound)[0])


def expression(text: str, arguments: dict[str, np.ndarray]) -> Bounded:
    space = {"pt": ref.PT, **{k: Bounded.exact(v) for k, v in arguments.items()}}
    return eval(text, space)  # noqa: S307


def draw_arrays(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {k: rng.uniform(-1, 1, s).astype(np.float32) for k, s in shapes.items()}


@settings(max_examples=30)
@given(nested, extent, extent, st.booleans(), side, side)
def test_elementwise_and_reductions(text, m, n, directed, tile_m, tile_n):
    options = {"tile_m": tile_m, "tile_n": max(tile_n, 2)} if directed else {}
    arguments = draw_arrays(np.random.default_rng(m), X=(m, n), Y=(m, n), C=(m, 1))
    kernel = compiled(f"    return {text}\n", "X, Y, C", **options)
    wanted = expression(text, arguments)
    wanted.value, wanted.error = (np.broadcast_to(a, wanted.value.shape) for a in (wanted.value, wanted.error))
    agree(kernel, list(arguments.values()), wanted, m * n <= 1000)


@settings(max_examples=25)
@given(products, extent, extent, extent, st.booleans(), side, side, side)
def test_products(text, m, n, k, directed, tile_m, tile_n, tile_k):
    options = {"tile_m": tile_m, "tile_n": max(tile_n, 2), "tile_k": max(tile_k, 2)} if directed else {}
    arguments = draw_arrays(np.random.default_rng(m), A=(m, k), B=(k, n), X=(m, n), Y=(m, n))
    kernel = compiled(f"    return {text}\n", "A, B, X, Y", **options)
    agree(kernel, list(arguments.values()), expression(text, arguments), m * n * k <= 4000)


LOOPS = """    out = pt.empty((A.shape[0], B.shape[1]))
    for i in pt.range(0, A.shape[0], tile_m):
        for j in pt.range(0, B.shape[1], tile_n):
            acc = pt.zeros((tile_m, tile_n))
            for k in pt.range(0, A.shape[1], tile_k):
                acc += pt.tile_matmul({a}, B[k:k + tile_k, j:j + tile_n])
            X = Z[i:i + tile_m, j:j + tile_n]
            Y = acc
            out[i:i + tile_m, j:j + tile_n] = {rest}
    return out
"""


@settings(max_examples=25)
@given(matrices.filter(lambda e: "Y" in e), small, small, small, side, side, side, st.booleans())
def test_loops_over_tiles(rest, m, n, k, tile_m, tile_n, tile_k, scaled):
    window = "A[i:i + tile_m, k:k + tile_k]"
    body = LOOPS.format(a=f"{window} * 0.5" if scaled else window, rest=rest)
    kernel = compiled(body, "A, B, Z", tile_m=tile_m, tile_n=max(tile_n, 2), tile_k=max(tile_k, 2))
    arguments = draw_arrays(np.random.default_rng(m), A=(m, k), B=(k, n), Z=(m, n))
    a, b, z = map(Bounded.exact, arguments.values())
    wanted = eval(rest, {"pt": ref.PT, "X": z, "Y": ref.matmul(a * 0.5 if scaled else a, b)})  # noqa: S307
    agree(kernel, list(arguments.values()), wanted, m * n <= 400)


STENCIL = """    out = pt.empty((X.shape[0], X.shape[1]))
    for i in pt.range(0, X.shape[0], tile_m):
        worst = pt.full((tile_m, 1), -3.0)
        for j in pt.range(0, X.shape[1], tile_n):
            worst = pt.maximum(worst, pt.max(X[i:i + tile_m, j:j + tile_n], keepdims=True))
        for j in pt.range(0, X.shape[1], tile_n):
            out[i:i + tile_m, j:j + tile_n] = X[i:i + tile_m, j:j + tile_n] - worst
    return out
"""


@settings(max_examples=15)
@given(small, small, side, side)
def test_carried_columns(m, n, tile_m, tile_n):
    kernel = compiled(STENCIL, "X", tile_m=tile_m, tile_n=max(tile_n, 2))
    arguments = draw_arrays(np.random.default_rng(m), X=(m, n))
    x = Bounded.exact(arguments["X"])
    agree(kernel, list(arguments.values()), x - ref.largest(x), True)


@pytest.mark.parametrize(("text", "options"), [
    ("pt.relu(pt.matmul(A, B) * 2.0)", {}), ("pt.matmul(A * 0.5, B)", {"tile_k": 1}),
    ("pt.matmul(A, B) * 2.0", {"tile_n": 1})])
def test_products_of_one_column(text, options):
    arguments = draw_arrays(np.random.default_rng(0), A=(20, 30), B=(30, 1))
    kernel = compiled(f"    return {text}\n", "A, B", **options)
    kernel.declare("B", pt.f32["K", 1])
    kernel.declare("A", pt.f32["M", "K"])
    agree(kernel, list(arguments.values()), expression(text, arguments), True)
