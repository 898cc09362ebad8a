"""Kernels of several nests: intermediates in global memory, loops over layers, any number of cores."""

import numpy as np
import pytest

import pto as pt
from pto.sim.happens_before import races
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests.kernels import bind


def arrays(*shapes):
    random = np.random.default_rng(0)
    return [(random.standard_normal(s) * 0.3).astype(np.float32) for s in shapes]


@pt.tile_kernel
def attention(Q, K, V):
    return pt.matmul(pt.softmax(pt.matmul(Q, K.transpose(-2, -1)) * 0.125), V)


@pt.tile_kernel
def layers(X, W1, W2):
    x = X
    for layer in pt.range(0, W1.shape[0]):
        x = x + pt.matmul(pt.relu(pt.matmul(x, W1[layer])), W2[layer])
    return x


@pt.tile_kernel
def fibonacci(X, N):
    a, b = X, X * 2.0
    for _ in pt.range(0, N.shape[0]):
        a, b = b, a + b
    return a


@pt.tile_kernel
def power(X, N):
    y = X
    for _ in pt.range(0, N.shape[0]):
        y = pt.matmul(y, X)
    return y, y * 2.0


def attention_of(q, k, v):
    s = q @ k.swapaxes(-1, -2) * np.float32(0.125)
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def layers_of(x, w1, w2):
    for a, b in zip(w1, w2, strict=True):
        x = x + np.maximum(x @ a, 0) @ b
    return x


def fibonacci_of(x, n):
    a, b = x, x * 2
    for _ in n:
        a, b = b, a + b
    return a


def power_of(x, n):
    y = np.linalg.matrix_power(x, len(n) + 1)
    return y, y * 2


CASES = [
    (attention, attention_of, ((2, 3, 20, 16), (2, 3, 30, 16), (2, 3, 30, 12))),
    (layers, layers_of, ((5, 16), (4, 16, 40), (4, 40, 16))),
    (fibonacci, fibonacci_of, ((5, 6), (5,))),
    (power, power_of, ((6, 6), (3,))),
]
IDS = [kernel.__name__ for kernel, _, _ in CASES]


@pytest.mark.parametrize(("kernel", "reference", "shapes"), CASES, ids=IDS)
def test_every_level_computes_what_numpy_does_and_arguments_stay(kernel, reference, shapes):
    given = arrays(*shapes)
    kept = [a.copy() for a in given]
    verdict = kernel.verify(*given, ref=reference)
    assert verdict, verdict
    found, wanted = kernel(*given), reference(*given)
    for one, two in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, wanted)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert all((a == b).all() for a, b in zip(given, kept, strict=True))


@pytest.mark.parametrize(("kernel", "reference", "shapes"), CASES, ids=IDS)
def test_cores_threads_and_orders_do_not_matter(kernel, reference, shapes):
    bound = bind(kernel, arrays(*shapes))
    runs = [Machine(bound.program, cores=c, threads=t, exact=True) for c, t in ((1, 1), (3, 1), (4, 2))]
    runs += [SlowMachine(bound.program, cores=3, order=order) for order in ("program", "random:3")]
    results = []
    for machine in runs:
        tensors = bound.fresh()
        machine.run(tensors, bound.parameters)
        results.append([tensors[i] for i in bound.results])
    for one in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(one, results[0], strict=True))
    assert not races(bound.program, bound.fresh(), bound.parameters, 3)


def test_a_program_is_as_long_for_thirty_layers_as_for_two():
    layers(*arrays((5, 16), (2, 16, 40), (2, 40, 16)))
    two = layers.program()
    layers(*arrays((5, 16), (30, 16, 40), (30, 40, 16)))
    assert layers.program() is two


def test_a_result_is_not_used_as_scratch_by_the_next_call():
    a, b = arrays((5, 6), (5,))
    first = fibonacci(a, b)
    kept = first.copy()
    fibonacci(a + 1, b)
    assert (first == kept).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_tile_is_read_by_a_product_and_by_the_vector_unit_and_stored(dtype):
    @pt.tile_kernel
    def both(a, b, sums, same, squares):
        for i in pt.range(0, a.shape[0], 16):
            x, y = a[i:i + 16, 0:16], b[0:16, 0:16]
            sums[i:i + 16, 0:16] = pt.matmul(x, y) + pt.cast(x, pt.f32)
            same[i:i + 16, 0:16] = x
            squares[0:16, 0:16] = pt.matmul(y, y) - pt.cast(y, pt.f32)

    a, b = (np.rint(v * 4).astype(dtype) for v in arrays((50, 16), (16, 16)))
    sums, same, squares = np.zeros((50, 16), np.float32), np.zeros_like(a), np.zeros((16, 16), np.float32)
    both(a, b, sums, same, squares)
    left, right = a.astype(np.float32), b.astype(np.float32)
    assert np.array_equal(sums, left @ right + left)
    assert np.array_equal(same, a)
    assert np.array_equal(squares, right @ right - right)


@pt.tile_kernel
def part_by_part(a, s):
    for _ in pt.range(1, 4):
        a[13:30, 1:4] = a[13:30, 7:10] * 2.0
        s[:] = s + 1.0
    a[:, :] = a + s


@pt.tile_kernel
def rows_by_turns(a, s, n: int):
    s[0:7] = s[7:14]
    for i in pt.range(n, 4):
        if i > 1:
            s[13:14] = s[35:36] + s[13:14]
        else:
            a[:, :] = a + s + a[i]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_comes_after_a_loop_with_barriers_has_flags_that_the_loop_has_left(threads, monkeypatch):
    monkeypatch.setattr("pto.runtime.variant.get_num_threads", lambda: threads)
    [a] = arrays((47, 47))
    s, x, y = a[0, :1].copy(), a.copy(), a[0].copy()
    want, one = a.copy(), s.copy()
    for _ in range(3):
        want[13:30, 1:4] = want[13:30, 7:10] * 2
        one += 1
    part_by_part(a, s)
    assert np.array_equal(a, want + one)
    assert np.array_equal(s, one)
    want, row = x.copy(), y.copy()
    row[0:7] = row[7:14]
    want[:] = want + row + want[0]
    want[:] = want + row + want[1]
    row[13] += row[35]
    row[13] += row[35]
    rows_by_turns(x, y, 0)
    np.testing.assert_allclose(x, want, rtol=1e-6)
    assert np.array_equal(y, row)
