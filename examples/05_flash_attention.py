"""Flash attention: softmax(Q K^T / 8) V without the matrix of scores.

Run it with `pto run examples/05_flash_attention.py`.

A block of queries meets the keys tile by tile; what is kept of each row is its largest score, the sum of its powers and
the weighted values, brought up to date with every tile (Milakov and Gimelshein 2018, Dao et al. 2022).
"""

import numpy as np

import pto as pt


@pt.tile_kernel(tile_m=128, tile_n=128)
def flash_attention(Q: pt.f32["M", 64], K: pt.f32["N", 64], V: pt.f32["N", 64]):
    out = pt.empty((Q.shape[0], 64))
    keys = K.T
    for i in pt.range(0, Q.shape[0], tile_m):
        queries = Q[i:i + tile_m, 0:64]
        largest = pt.full((tile_m, 1), -3e38)
        total = pt.zeros((tile_m, 1))
        values = pt.zeros((tile_m, 64))
        for j in pt.range(0, K.shape[0], tile_n):
            scores = pt.tile_matmul(queries, keys[0:64, j:j + tile_n]) * 0.125
            before = largest
            largest = pt.maximum(before, pt.max(scores, axis=-1, keepdims=True))
            powers = pt.exp(scores - largest)
            shrink = pt.exp(before - largest)
            total = total * shrink + pt.sum(powers, axis=-1, keepdims=True)
            values = values * shrink + pt.tile_matmul(powers, V[j:j + tile_n, 0:64])
        out[i:i + tile_m, 0:64] = values / total
    return out


def reference(q, k, v):
    scores = q @ k.T * np.float32(0.125)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True) @ v


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    for queries, keys in ((1, 1), (100, 300), (1024, 1024)):
        q, k, v = (rng.standard_normal((n, 64), dtype=np.float32) for n in (queries, keys, keys))
        error = abs(flash_attention(q, k, v) - reference(q, k, v)).max()
        print(f"{queries:>5} queries, {keys:>5} keys: largest error {error:.1e}")
    program = flash_attention.program()
    scratch = sum(tensor.scratch for tensor in program.tensors)
    print(f"{len(program.code)} instructions for any lengths, {scratch} tensors between them")
