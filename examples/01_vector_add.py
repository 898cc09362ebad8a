"""Vector add: the smallest kernel. Run it with `pto run examples/01_vector_add.py`."""

import numpy as np

import pto as pt


@pt.tile_kernel
def add(x: pt.f32["N"], y: pt.f32["N"]):
    return x + y


@pt.tile_kernel(tile_n=4096)
def add_by_hand(x: pt.f32["N"], y: pt.f32["N"], out: pt.f32["N"]):
    """The same with the loop over tiles written out: a tile is loaded, added and stored."""
    for i in pt.range(0, x.shape[0], tile_n):
        out[i:i + tile_n] = x[i:i + tile_n] + y[i:i + tile_n]


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for size in (1, 1000, 1 << 20):
        x, y = rng.standard_normal((2, size), dtype=np.float32)
        out = np.empty_like(x)
        add_by_hand(x, y, out)
        print(f"{size:>9,} elements: exact = {bool((add(x, y) == x + y).all() and (out == x + y).all())}")
