"""Softmax of each row: as one expression, and by hand, with a loop over tiles of a row that may be of any width.

Run it with `pto run examples/02_softmax.py`.
"""

import numpy as np

import pto as pt


@pt.tile_kernel
def softmax(x: pt.f32["M", "N"]):
    powers = pt.exp(x - pt.max(x, axis=-1, keepdims=True))
    return powers / pt.sum(powers, axis=-1, keepdims=True)


@pt.tile_kernel(tile_m=16, tile_n=512)
def softmax_by_hand(x: pt.f32["M", "N"], out: pt.f32["M", "N"]):
    """A row is read twice: for its largest element and its sum, which are kept up to date together, then to divide."""
    for i in pt.range(0, x.shape[0], tile_m):
        largest = pt.full((tile_m, 1), -3e38)
        total = pt.zeros((tile_m, 1))
        for j in pt.range(0, x.shape[1], tile_n):
            tile = x[i:i + tile_m, j:j + tile_n]
            before = largest
            largest = pt.maximum(before, pt.max(tile, axis=-1, keepdims=True))
            total = total * pt.exp(before - largest) + pt.sum(pt.exp(tile - largest), axis=-1, keepdims=True)
        for j in pt.range(0, x.shape[1], tile_n):
            out[i:i + tile_m, j:j + tile_n] = pt.exp(x[i:i + tile_m, j:j + tile_n] - largest) / total


def reference(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    print("   rows   columns   largest error   by hand")
    for rows, cols in ((1, 1), (100, 257), (1000, 1000), (3, 20_000)):
        x = rng.standard_normal((rows, cols), dtype=np.float32) * 10
        out = np.empty_like(x)
        softmax_by_hand(x, out)
        errors = [float(abs(found - reference(x)).max()) for found in (softmax(x), out)]
        print(f"{rows:>7}{cols:>10}{errors[0]:>16.1e}{errors[1]:>10.1e}")
    print(f"rows add up to one: {bool(np.allclose(out.sum(-1), 1.0, atol=1e-5))}")
