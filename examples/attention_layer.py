"""An attention layer as one writes it in PyTorch, with an optional mask.

Run it with `pto run examples/attention_layer.py`. The scale makes a number of the last extent, so that there is a
program for each head size; batch, heads and length are any.
"""

import math

import numpy as np

import pto as pt


@pt.tile_kernel
def attention_layer(Q, K, V, mask=None):
    scores = pt.matmul(Q, K.transpose(-2, -1)) / math.sqrt(Q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    return pt.matmul(pt.softmax(scores, dim=-1), V)


def reference(q, k, v, mask=None):
    scores = q @ k.swapaxes(-1, -2) / np.float32(math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = np.where(mask == 0, np.float32(-1e9), scores)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True) @ v


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for batch, heads, length, size in ((2, 4, 64, 64), (1, 8, 100, 32)):
        q, k, v = rng.standard_normal((3, batch, heads, length, size), dtype=np.float32)
        causal = np.tril(np.ones((length, length), np.float32))
        for mask, kind in ((None, "no mask"), (causal, "causal")):
            error = abs(attention_layer(q, k, v, mask) - reference(q, k, v, mask)).max()
            print(f"{batch} x {heads} heads x {length:>3} x {size}, {kind:>7}: largest error {error:.1e}")
