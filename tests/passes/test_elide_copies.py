"""What is copied whole to an argument is made there, unless either is used otherwise."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.ir.ops import TENSOR_OPS
from pto.passes.elide_copies import elide_copies
from tests.kernels import agree

X = np.arange(80, dtype=np.float32).reshape(10, 8)


@pt.tile_kernel
def made(x: pt.f32["m", 8]):
    """Twice a matrix of 8 columns, in room of its own."""
    room = pt.empty((x.shape[0], 8))
    for i in pt.range(0, x.shape[0], 4):
        room[i:i + 4, 0:8] = x[i:i + 4, 0:8] * 2.0
    return room


@pt.tile_kernel
def doubled(x: pt.f32["m", 8], out: pt.f32["m", 8]):
    out[:] = made(x)


@pt.tile_kernel
def viewed(x: pt.f32["m", 8], out: pt.f32[1, "m", 8]):
    out[:] = made(x).view(1, x.shape[0], 8)


@pt.tile_kernel
def returned(x: pt.f32["m", 8], out: pt.f32["m", 8]):
    room = made(x)
    out[:] = room
    return room


@pt.tile_kernel
def turned(x: pt.f32["m", 8], out: pt.f32[8, "m"]):
    out[:] = made(x).T


@pt.tile_kernel
def itself(x: pt.f32["m", 8]):
    x[:] = made(x)


def copies(graph):
    """How many assignments a graph has."""
    return sum(node.op is TENSOR_OPS["assign"] for _, _, node in graph.walk())


@pytest.mark.parametrize(("kernel", "shape", "left"), [
    (doubled, (10, 8), 0), (viewed, (1, 10, 8), 0), (returned, (10, 8), 1), (turned, (8, 10), 1),
])
def test_copies_that_nothing_needs_are_left_out(kernel, shape, left):
    wanted = X.T * 2 if kernel is turned else (X * 2).reshape(shape)
    arguments, passes = [X, np.zeros(shape, np.float32)], ("elide-copies", "insert-flags")
    _, stages = agree(kernel, arguments, wanted, passes, rtol=0, atol=0)
    assert (copies(stages["simplify"]), copies(stages["elide-copies"])) == (1, left)
    assert pt.text(elide_copies(stages["elide-copies"])) == pt.text(stages["elide-copies"])


def test_an_argument_that_is_read_keeps_its_values_until_the_copy():
    x = X.copy()
    itself(x)
    np.testing.assert_array_equal(x, X * 2)
    assert copies(itself.compiled().compiled.stages[2].graph) == 1


def test_attention_stores_to_its_argument():
    @pt.tile_kernel
    def attend(q: pt.f32["m", 16], k: pt.f32["n", 16], v: pt.f32["n", 16], out: pt.f32["m", 16]):
        out[:] = pt.attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)).view(q.shape[0], 16)

    q, k, v = (np.random.default_rng(n).standard_normal((40, 16), np.float32) for n in range(3))
    out = np.empty_like(q)
    attend(q, k, v, out)
    p = np.exp(q @ k.T / 4)
    np.testing.assert_allclose(out, p / p.sum(-1, keepdims=True) @ v, rtol=1e-5, atol=1e-6)
    assert [inst.spec.mnemonic for inst in attend.program().code].count("tstore") == 1


RETURNED = {  # kernels of a matrix, what they give, and how many nests they are: one more where there is a copy
    "vector": (lambda x: pt.matmul(x, x[0]), lambda x: x @ x[0], 1),
    "row": (lambda x: pt.matmul(x[:, 0], x), lambda x: x[:, 0] @ x, 1),
    "times": (lambda x: pt.tile(x, 3, 1), lambda x: np.tile(x, (3, 1)), 3),
    "again": (lambda x: pt.repeat_interleave(x, 2, 1), lambda x: np.repeat(x, 2, 1), 2),
    "one more axis": (lambda x: (x + 1.0).view(1, *x.shape), lambda x: (x + 1)[None], 1),
    "loop": (lambda x: made(x).view(1, x.shape[0], 8), lambda x: 2 * x[None], 1),
    "rows of another length": (lambda x: made(x).view(x.shape[0], 2, 4), lambda x: 2 * x.reshape(-1, 2, 4), 2),
    "turned": (lambda x: (x + 1.0).T, lambda x: (x + 1).T, 2),
    "column": (lambda x: (x + 1.0).narrow(1, 2, 1), lambda x: (x + 1)[:, 2:3], 2),
    "many axes": (lambda x: (x.unsqueeze(0) + 1.0).view(*x.shape), lambda x: x + 1, 2),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_is_returned_as_a_view_of_all_of_it_is_made_in_its_place(name):
    ours, numpys, nests = RETURNED[name]
    kernel = pt.tile_kernel(ours)
    np.testing.assert_array_equal(kernel(X), numpys(X))
    agree(kernel, (X,), numpys(X), ("elide-copies", "materialise", "tensor-to-tile", "tile-to-block"))
    assert str(pt.text(kernel.graph("block"))).count("grid=") == nests


def test_what_is_returned_twice_is_copied():
    kernel = pt.tile_kernel(lambda x: (lambda y: (y.view(1, *y.shape), y))(x + 1.0))
    for one, other in zip(kernel(X), ((X + 1)[None], X + 1), strict=True):
        np.testing.assert_array_equal(one, other)
