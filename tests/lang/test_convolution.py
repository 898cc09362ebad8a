"""Convolutions against their definition, over random extents, strides, paddings and dilations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import pto as pt

few = st.integers(1, 3)


def convolved(x: np.ndarray, w: np.ndarray, stride: tuple[int, int], padding: tuple[int, int],
              dilation: tuple[int, int]) -> np.ndarray:
    """Images [n, c, h, w] and weights [o, c, kh, kw], in float64."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))).astype(np.float64)
    oh, ow = ((n - d * (k - 1) - 1) // s + 1
              for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True))
    out = np.zeros((len(x), len(w), oh, ow))
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            top, left = i * dilation[0], j * dilation[1]
            part = x[:, :, top:top + (oh - 1) * stride[0] + 1:stride[0], left:left + (ow - 1) * stride[1] + 1:stride[1]]
            out += np.einsum("oc,nchw->nohw", w[:, :, i, j], part)
    return out


@settings(max_examples=30, deadline=None)
@given(images=few, channels=st.integers(1, 9), out=st.integers(1, 9),
       size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
       taps=st.tuples(few, few), stride=st.tuples(few, few), padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
       dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)), last=st.booleans(), biased=st.booleans())
def test_a_convolution_is_its_definition(images, channels, out, size, taps, stride, padding, dilation, last, biased):
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, taps, strict=True)))
    rng = np.random.default_rng(channels)
    shapes = (images, channels, *size), (out, channels, *taps), (out,)
    x, w, b = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    want = convolved(x, w, stride, padding, dilation) + biased * b[:, None, None]
    if last:
        x, w, want = (np.ascontiguousarray(v.transpose(axes)) for v, axes in
                      ((x, (0, 2, 3, 1)), (w, (2, 3, 1, 0)), (want, (0, 2, 3, 1))))
    layout = "NHWC" if last else "NCHW"

    @pt.tile_kernel
    def convolution(x, w, b):
        return pt.conv2d(x, w, b if biased else None, stride, padding, dilation, layout=layout)

    found = convolution(x, w, b)
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_every_level_of_a_convolution_agrees():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((7, 6, 5), dtype=np.float32), rng.standard_normal((3, 3, 5, 4), dtype=np.float32)
    assert pt.tile_kernel(lambda x, w: pt.relu(pt.conv2d(x, w, layout="NHWC"))).verify(x, w)
    assert pt.tile_kernel(lambda x, w: pt.conv2d(x, w, stride=2)).verify(
        x.transpose(2, 0, 1).copy(), w.transpose(3, 2, 0, 1).copy())


@pytest.mark.parametrize(("shapes", "said"), [
    (((1, 3, 5, 5), (2, 4, 3, 3)), "3 channels, the weights 4"), (((1, 3, 2, 5), (2, 3, 3, 3)), "more than an image"),
    (((5, 5), (2, 3, 3, 3)), "three or four axes"),
])
def test_what_does_not_fit_is_said(shapes, said):
    with pytest.raises(pt.PtoError, match=said) as caught:
        pt.tile_kernel(lambda x, w: pt.conv2d(x, w))(*(np.ones(s, np.float32) for s in shapes))
    assert caught.value.loc.file == __file__
