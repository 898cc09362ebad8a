"""What Python would do silently, or answer from inside the package, is an error at the author's line."""

from __future__ import annotations

import numpy as np
import pytest

import pto as pt

X = np.arange(35, dtype=np.float32).reshape(5, 7)


def branches(x):
    if x == 0:
        return x + 1
    return x + 2


def recursive(x):
    return recursive(x)


def updates(x):
    x += 1


def rebinds(x):
    x = x + 1


@pytest.mark.parametrize(("function", "message"), [
    (branches, "elements of a tensor are not known"),
    (lambda x: x + 1 if x > 0 else x, "elements of a tensor are not known"),
    (recursive, "calls itself"),
    (updates, "would change an argument"),
    (rebinds, "has no result"),
    (lambda x: pt.empty((5, 7)), "nothing is stored to"),
    (lambda x: pt.softmax(x[0, 0]), "without axes"),
    (lambda x: divmod(x, 2), "unsupported operand"),
    (lambda x: pt.matmul(x, X.T), "takes tensors or tiles"),
    (lambda x: np.exp(x), "does not support ufuncs"),
    (lambda x: x.cholesky(), "no attribute 'cholesky'"),
    (lambda x: x[[0, 1]], "list"),
    (lambda x: pt.sum(x), "without an axis"),
    (lambda x: pt.sum(x, axis=2), "no axis 2 of 2"),
    (lambda x: pt.sum(x, axis=(0, 0)), "one twice"),
    (lambda x: pt.argmax(x[0:4, 0:4], axis=0, keepdims=True), "columns of a tile"),
    (lambda x: x.sum(), "without an axis"),
    (lambda x: x.squeeze(0), "no axis 0 of extent 1 in 5 x 7"),
    (lambda x: x.expand(5, 9), "7 cannot be expanded to 9"),
    (lambda x: pt.split(x, [3, 9]), "do not add up"),
], ids=lambda p: p.replace(" ", "-") if isinstance(p, str) else "kernel")
def test_a_mistake_is_located_in_this_file(function, message):
    with pytest.raises(pt.PtoError, match=message) as caught:
        pt.tile_kernel(function)(X)
    assert caught.value.loc.file == __file__


@pytest.mark.parametrize("view", [
    lambda x: x.T, lambda x: x[0], lambda x: x[-1], lambda x: x[:, 2], lambda x: x.T[1],
    lambda x: x[2, -1], lambda x: x[:],
], ids=["T", "row", "last", "column", "row-of-T", "element", "whole"])
def test_a_view_that_is_returned_is_copied(view):
    np.testing.assert_array_equal(pt.tile_kernel(view)(X), view(X))
