"""Mistakes in kernels, each with the arguments that show it. The golden files quote these lines."""
# ruff: noqa: F821 (names of options, extents in quotes, kernels in loops)

import numpy as np

import pto as pt


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pt.tile_kernel
def product(A, B):
    return pt.matmul(A, B)


@pt.tile_kernel
def annotated(A: pt.f32["M", "K"], B: pt.f32["K", "N"]):
    return pt.matmul(A, B)


@pt.tile_kernel
def total(X, Y):
    return pt.relu(X + Y)


@pt.tile_kernel(tile_m=512, tile_n=512)
def large_tiles(A, B):
    return pt.matmul(A, B)


@pt.tile_kernel(tile_m=400, tile_n=400)
def large_loads(X, Y):
    out = pt.empty((X.shape[0], X.shape[1]))
    for i in pt.range(0, X.shape[0], tile_m):
        for j in pt.range(0, X.shape[1], tile_n):
            out[i:i + tile_m, j:j + tile_n] = X[i:i + tile_m, j:j + tile_n] + Y[i:i + tile_m, j:j + tile_n]
    return out


@pt.tile_kernel
def mixed(X, Y):
    return X + Y[0:16, 0:16]


@pt.tile_kernel
def symbolic_tile(X, out):
    out[0:X.shape[0], 0:16] = X[0:X.shape[0], 0:16]


@pt.tile_kernel
def stored_shape(X, out):
    out[0:16, 0:16] = X[0:16, 0:8]


@pt.tile_kernel
def leaves(X, out):
    for i in pt.range(0, X.shape[0], 16):
        out[i:i + 16, 0:16] = X[i:i + 16, 0:16]
        return


@pt.tile_kernel
def lost(X, out):
    for i in pt.range(0, X.shape[0], 16):
        t = X[i:i + 16, 0:16]
    out[0:16, 0:16] = t


@pt.tile_kernel
def axis(X):
    return pt.sum(X)


@pt.tile_kernel
def outside(X, out):
    out[16:32, 0:16] = X[16:32, 0:16]


@pt.tile_kernel
def counts(X, out):
    scale = 0.5
    for i in pt.range(0, X.shape[0], 16):
        scale = scale + 0.5
        out[i:i + 16, 0:16] = X[i:i + 16, 0:16] * scale


@pt.tile_kernel
def chained(X):
    Y = X * 1.0
    if 1 < X.shape[0] < 9:
        Y = X * 2.0
    return Y


@pt.tile_kernel
def again(X):
    return again(X)


KEPT = []


@pt.tile_kernel
def leaked(X, out):
    for i in pt.range(0, X.shape[0], 16):
        KEPT.append(X[i:i + 16, 0:16])
    out[0:16, 0:16] = KEPT[-1]


@pt.tile_kernel
def copied(X, out):
    out[0:16, 0:16] = X[0:16, 0:16]


@pt.tile_kernel
def quotient(X):
    return X / X


@pt.tile_kernel
def fraction(X):
    return X * 0.5


@pt.tile_kernel
def sign(X):
    if X > 0:
        return X
    return -X


@pt.tile_kernel
def put_half(X, out):
    out[:] = X * 2


MISTAKES = {
    "number_that_changes": lambda: counts(zeros(16, 16), zeros(16, 16)),
    "quotient_of_integers": lambda: quotient(zeros(3, 4).astype(np.int32)),
    "number_of_another_type": lambda: fraction(zeros(3, 4).astype(np.int8)),
    "condition_on_elements": lambda: sign(zeros(3, 4)),
    "stored_type": lambda: put_half(zeros(3, 4), zeros(3, 4).astype(np.float16)),
    "product_of_types": lambda: product(zeros(3, 4).astype(np.int32), zeros(4, 4).astype(np.int32)),
    "chained_condition": lambda: chained(zeros(16, 16)),
    "kernel_that_calls_itself": lambda: again(zeros(16, 16)),
    "tile_after_its_loop": lambda: leaked(zeros(16, 16), zeros(16, 16)),
    "read_only_output": lambda: copied(zeros(16, 16), np.broadcast_to(zeros(16), (16, 16))),
    "masked_array": lambda: copied(np.ma.masked_array(zeros(16, 16), mask=True), zeros(16, 16)),
    "unknown_option": lambda: pt.tile_kernel(tlie_m=64)(lambda X: X + X),
    "extent_below_zero": lambda: pt.f32[-3],
    "wrong_shape": lambda: product(zeros(3, 4), zeros(5, 6)),
    "wrong_shape_annotated": lambda: annotated(zeros(3, 4), zeros(5, 6)),
    "wrong_shape_elementwise": lambda: total(zeros(3, 4), zeros(3, 5)),
    "wrong_axes": lambda: annotated(zeros(3), zeros(5, 6)),
    "wrong_dtype": lambda: product(zeros(3, 4).astype(np.complex64), zeros(4, 6)),
    "wrong_dtype_annotated": lambda: annotated(zeros(3, 4), np.zeros((4, 5), bool)),
    "no_array": lambda: product("A", zeros(4, 6)),
    "too_few_arguments": lambda: product(zeros(3, 4)),
    "unknown_argument": lambda: product(A=zeros(3, 4), C=zeros(4, 4)),
    "empty_array": lambda: total(zeros(0, 4), zeros(0, 4)),
    "capacity_of_products": lambda: large_tiles(zeros(3, 4), zeros(4, 6)),
    "capacity_of_loads": lambda: large_loads(zeros(3, 4), zeros(3, 4)),
    "tile_and_tensor": lambda: mixed(zeros(16, 16), zeros(16, 16)),
    "tile_of_symbolic_extent": lambda: symbolic_tile(zeros(16, 16), zeros(16, 16)),
    "stored_shape": lambda: stored_shape(zeros(16, 16), zeros(16, 16)),
    "return_in_a_loop": lambda: leaves(zeros(16, 16), zeros(16, 16)),
    "lost_after_a_loop": lambda: lost(zeros(16, 16), zeros(16, 16)),
    "axis_of_a_reduction": lambda: axis(zeros(16, 16)),
    "outside_of_a_kernel": lambda: pt.zeros((16, 16)),
    "unknown_level": lambda: product.graph("tiles"),
    "unknown_target": lambda: pt.tile_kernel(target="V3"),
    "tile_of_no_extent": lambda: pt.tile_kernel(tile_m=0),
    "window_outside": lambda: outside(zeros(10, 16), zeros(10, 16)),
}
