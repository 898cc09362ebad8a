"""Layer norm: row reductions, and rows broadcast over a tile. Run it with `pto run examples/04_layer_norm.py`."""

import numpy as np

import pto as pt


@pt.tile_kernel
def layer_norm(x: pt.f32["M", 768], weight: pt.f32[768], bias: pt.f32[768]):
    centred = x - pt.mean(x, keepdims=True)
    variance = pt.mean(centred * centred, keepdims=True)
    return centred / pt.sqrt(variance + 1e-5) * weight + bias


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape, dtype=np.float32) for shape in ((1000, 768), (768,), (768,)))
    found = layer_norm(x, weight, bias)
    centred = x - x.mean(-1, keepdims=True)
    want = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * weight + bias
    print(f"largest error {abs(found - want).max():.1e} in {found.size:,} elements; "
          f"every level agrees: {bool(layer_norm.verify(x[:5], weight, bias))}")
