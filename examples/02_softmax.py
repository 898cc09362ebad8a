"""Softmax of each row: one expression, and a loop over tiles by hand that keeps a running maximum and sum.

Run it with `pto run examples/02_softmax.py`.
"""

import numpy as np

import pto as pt


@pt.tile_kernel
def softmax(x: pt.f32["M", "N"]):
    return pt.softmax(x, dim=-1)


@pt.tile_kernel(tile_m=16, tile_n=256)
def softmax_by_hand(x: pt.f32["M", "N"], out: pt.f32["M", "N"]):
    """Rows may be of any length: what is known of a row is its largest element and the sum of powers so far."""
    for i in pt.range(0, x.shape[0], tile_m):
        top, total = pt.full((tile_m, 1), float("-inf")), pt.zeros((tile_m, 1))
        for j in pt.range(0, x.shape[1], tile_n):
            tile = x[i:i + tile_m, j:j + tile_n]
            peak = pt.maximum(top, pt.max(tile, keepdims=True))
            total = total * pt.exp(top - peak) + pt.sum(pt.exp(tile - peak), keepdims=True)
            top = peak
        for j in pt.range(0, x.shape[1], tile_n):
            out[i:i + tile_m, j:j + tile_n] = pt.exp(x[i:i + tile_m, j:j + tile_n] - top) / total


def reference(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for shape in ((1024, 1024), (7, 20000), (1, 1)):
        x = rng.standard_normal(shape, dtype=np.float32)
        out = np.empty_like(x)
        softmax_by_hand(x, out)
        errors = [float(abs(found - reference(x)).max()) for found in (softmax(x), out)]
        print(f"{shape[0]:>5} x {shape[1]:<6} largest errors {errors[0]:.1e}, by hand {errors[1]:.1e}")
