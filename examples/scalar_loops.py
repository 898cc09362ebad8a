"""A tile kernel in plain loops over elements. Run it with `pto run examples/scalar_loops.py`.

The compiler sees what each element is, and that nothing depends on the order: the three loops are a matrix product on
the cube unit, not a loop of scalars. `pto disasm examples/scalar_loops.py:matmul` shows it.
"""

import numpy as np

import pto as pt


@pt.tile_kernel(tile_m=128, tile_n=128, tile_k=32)
def matmul(A_tile: pt.f32[128, 32], B_tile: pt.f32[32, 128], C_tile: pt.f32[128, 128]):
    for i in range(tile_m):
        for j in range(tile_n):
            acc = 0.0
            for k in range(tile_k):
                acc += A_tile[i, k] * B_tile[k, j]
            C_tile[i, j] = acc


@pt.tile_kernel
def normalised(A: pt.f32["M", "N"], out: pt.f32["M", "N"]):
    """Loops over any extents: each row divided by its length."""
    for i in range(A.shape[0]):
        squares = 0.0
        for j in range(A.shape[1]):
            squares += A[i, j] * A[i, j]
        for j in range(A.shape[1]):
            out[i, j] = A[i, j] / pt.sqrt(squares)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((128, 32), dtype=np.float32), rng.standard_normal((32, 128), dtype=np.float32)
    C = np.zeros((128, 128), np.float32)
    matmul(A, B, C)
    code = matmul.program().code
    products = sum(inst.spec.mnemonic == "tmatmul" for inst in code)
    print(f"{128 * 128 * 32:,} multiplications in {len(code)} instructions, {products} of them on the cube unit; "
          f"largest error {abs(C - A @ B).max():.1e}")
    out = np.empty_like(A)
    normalised(A, out)
    print(f"rows of length 1: {bool(np.allclose((out * out).sum(1), 1.0, atol=1e-5))}")
