"""A convolution with its epilogue, and a check in the kernel. Run it with `pto run examples/08_convolution.py`.

The windows of the image are views: one product serves all lines, and no columns are copied.
"""

import numpy as np

import pto as pt


@pt.tile_kernel
def block(image, weight, bias):
    """relu(conv2d(image) + bias), channels last."""
    return pt.relu(pt.conv2d(image, weight, bias, padding=1, layout="NHWC"))


def reference(image, weight, bias):
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[:2], axis=(0, 1))
    return np.maximum(np.einsum("hwcij,ijco->hwo", windows, weight, optimize=True) + bias, 0)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    image, weight, bias = (rng.standard_normal(s, dtype=np.float32) for s in ((56, 56, 64), (3, 3, 64, 32), (32,)))
    error = abs(block(image, weight, bias) - reference(image, weight, bias)).max()
    print(f"56 x 56 x 64 to 32 channels, 3 x 3: largest error {error:.1e}, "
          f"{len(block.program().code)} instructions")
