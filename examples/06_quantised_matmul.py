"""A product with weights in 8, 4 and 2 bits: how near each comes, and how many bytes it reads."""

import numpy as np

import pto as pt
from pto.quant.calibrate import compared
from pto.quant.forms import pack
from pto.quant.schemes import find
from pto.quant.tensor import quantise


@pt.tile_kernel
def layer(x, w):
    return pt.matmul(x, w.T)


def main() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((256, 512)).astype(np.float32)
    x = rng.standard_normal((4, 512)).astype(np.float32)
    exact = x @ weights.T
    for scheme in ("int8_channel", "int4_asymmetric_g32", "ternary_optimal_channel"):
        for activation in ("a14", "a8"):
            packed = pack(quantise(weights, find(scheme)), activation)
            near = compared(scheme, exact, layer(x, packed))
            print(f"{scheme:24} {activation:4} {packed.nbytes:7} bytes  cosine {near.cosine:.5f}  "
                  f"signal to noise {near.sqnr:5.1f} dB")
    codes = rng.integers(-128, 128, (32, 64)).astype(np.int8)
    print("int8 products are exact:", np.array_equal(pt.int8_gemm(codes, codes.T.copy()),
                                                    codes.astype(np.int32) @ codes.T.astype(np.int32)))


if __name__ == "__main__":
    main()
