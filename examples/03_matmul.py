"""Matrix product, as one expression and as a loop over tiles. Run it with `pto run examples/03_matmul.py`.

Both compile to the same program, and one program serves every shape.
"""

import time
from statistics import median

import numpy as np

import pto as pt


@pt.tile_kernel
def matmul(A: pt.f32["M", "K"], B: pt.f32["K", "N"]):
    return pt.matmul(A, B)


@pt.tile_kernel(tile_m=256, tile_n=256, tile_k=64)
def matmul_by_hand(A: pt.f32["M", "K"], B: pt.f32["K", "N"]):
    C = pt.empty((A.shape[0], B.shape[1]))
    for i in pt.range(0, A.shape[0], tile_m):
        for j in pt.range(0, B.shape[1], tile_n):
            acc = pt.zeros((tile_m, tile_n))
            for k in pt.range(0, A.shape[1], tile_k):
                acc += pt.tile_matmul(A[i:i + tile_m, k:k + tile_k], B[k:k + tile_k, j:j + tile_n])
            C[i:i + tile_m, j:j + tile_n] = acc
    return C


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    print("      M      N      K   largest error    pto ms   NumPy ms")
    for m, n, k in ((512, 512, 512), (1000, 777, 515), (1, 1, 1), (64, 4096, 33)):
        A, B = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
        C, want = matmul(A, B), A @ B  # both warm
        ours, numpys = [], []
        for _ in range(9):  # in turns: what else the machine does meets both
            start = time.perf_counter()
            matmul(A, B)
            middle = time.perf_counter()
            A @ B
            ours.append((middle - start) * 1e3)
            numpys.append((time.perf_counter() - middle) * 1e3)
        assert np.array_equal(C, matmul_by_hand(A, B))
        error = float(abs(C - want).max())
        print(f"{m:>7}{n:>7}{k:>7}{error:>16.1e}{median(ours):>10.2f}{median(numpys):>11.2f}")
    print(f"one program of {len(matmul.program().code)} instructions served all of them")
