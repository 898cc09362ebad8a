"""Attention of several heads, as whole tensors: several nests in one program.

Run it with `pto run examples/05_attention.py`.
"""

import numpy as np

import pto as pt


@pt.tile_kernel
def attention(Q, K, V):
    """softmax(Q K^T / 8) V for tensors of batch x heads x length x 64."""
    scores = pt.matmul(Q, K.transpose(-2, -1)) * 0.125
    return pt.matmul(pt.softmax(scores), V)


def reference(q, k, v):
    scores = q @ k.swapaxes(-1, -2) * np.float32(0.125)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True) @ v


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for length in (64, 100, 300):
        q, k, v = rng.standard_normal((3, 2, 4, length, 64), dtype=np.float32)
        print(f"length {length:>4}: largest error {abs(attention(q, k, v) - reference(q, k, v)).max():.1e}")
    print(f"{len(attention.program().code)} instructions, {len(attention.program().views)} strided views, "
          f"for any batch, heads and length")
