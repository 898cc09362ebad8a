"""Python's control flow in kernels: what is carried, what is a loop of the program, what is refused and where."""
# ruff: noqa: F821, B023 (names of options, extents in quotes, kernels in loops)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CaptureError, PtoError, ShapeError
from pto.ir.ops import FOR
from tests.arrays import fixed, some


def loops(kernel) -> int:
    return sum(node.op is FOR for _, _, node in kernel.graph("tensor").walk())


X = fixed(1, 48, 16)
TILE = X[:16]




def test_a_name_that_changes_is_carried():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        acc = x[0:16, 0:16]
        for i in pt.range(0, x.shape[0], 16):
            acc = acc * 2.0
        out[0:16, 0:16] = acc
        return out

    np.testing.assert_array_equal(k(X), TILE * 8)
    assert loops(k) == 1


def test_augmented_assignment_is_carried():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        t = x[0:16, 0:16]
        acc = pt.zeros((16, 16))
        for i in pt.range(0, 48, 16):
            acc += t * 2.0
        out[0:16, 0:16] = acc
        return out

    np.testing.assert_allclose(k(X), TILE * 6, rtol=1e-6)


def test_two_names_swap():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((32, 16))
        a, b = x[0:16, 0:16], x[0:16, 0:16] * 3.0
        for i in pt.range(0, x.shape[0], 16):
            a, b = b, a
        out[0:16, 0:16] = a
        out[16:32, 0:16] = b
        return out

    np.testing.assert_array_equal(k(X), np.vstack([TILE * 3, TILE]))


def test_fibonacci_of_tiles():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        a, b = x[0:16, 0:16], x[0:16, 0:16] * 3.0
        for i in pt.range(0, x.shape[0], 16):
            a, b = a + b, a
        out[0:16, 0:16] = a
        return out

    a, b = TILE, TILE * 3
    for _ in range(3):
        a, b = a + b, a
    np.testing.assert_array_equal(k(X), a)


def test_a_value_before_the_loop_is_not_overwritten_by_it():
    """The initial value of a carried name is read in the loop, after it, and is another name's initial value too."""
    @pt.tile_kernel
    def k(x):
        out = pt.empty((48, 16))
        t = x[0:16, 0:16]
        a = b = t
        for i in pt.range(0, x.shape[0], 16):
            a = a + t
            b = b * 2.0
        out[0:16, 0:16] = a
        out[16:32, 0:16] = b
        out[32:48, 0:16] = t
        return out

    np.testing.assert_allclose(k(X), np.vstack([TILE * 4, TILE * 8, TILE]), rtol=1e-6)


def test_nested_loops_carry_through():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        t = x[0:16, 0:16]
        total = pt.zeros((16, 16))
        for i in pt.range(0, x.shape[0], 16):
            inner = t
            for j in pt.range(0, x.shape[0], 16):
                inner = inner * 2.0
                total = total + inner
        out[0:16, 0:16] = total
        return out

    np.testing.assert_allclose(k(X), TILE * (2 + 4 + 8) * 3, rtol=1e-5)


def test_a_name_that_is_only_used_within_an_iteration_is_not_carried():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((x.shape[0], 16))
        for i in pt.range(0, x.shape[0], 16):
            t = x[i:i + 16, 0:16]
            t = t * 2.0
            out[i:i + 16, 0:16] = t
        return out

    np.testing.assert_array_equal(k(X), X * 2)
    loop = next(node for _, node in k.graph("tensor").items() if node.op is FOR)
    assert loop.carried == 1


def test_augmented_stores_read_and_write_the_window():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 16, 0:16] += x[i:i + 16, 0:16]

    out = some(48, 16)
    wanted = out + X
    assert k(X, out) is None
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("rows", [1, 15, 16, 40])
def test_a_triangular_nest(rows):
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            for j in pt.range(0, i + 16, 16):
                out[i:i + 16, j:j + 16] = x[i:i + 16, j:j + 16]

    x, out = some(rows, 48), np.zeros((rows, 48), np.float32)
    k(x, out)
    wanted = np.zeros_like(out)
    for i in range(0, rows, 16):
        wanted[i:i + 16, :i + 16] = x[i:i + 16, :i + 16]
    np.testing.assert_array_equal(out, wanted)


def test_loops_of_no_iterations_leave_what_was_before():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(64, x.shape[0], 16):
            for j in pt.range(64, x.shape[1], 16):
                out[i:i + 16, j:j + 16] = x[i:i + 16, j:j + 16]

    out = some(48, 16)
    wanted = out.copy()
    k(X, out)
    np.testing.assert_array_equal(out, wanted)


def test_a_sum_of_products_over_no_iterations_is_zero():
    @pt.tile_kernel
    def k(a, b):
        out = pt.empty((16, 16))
        acc = pt.zeros((16, 16))
        for i in pt.range(16, a.shape[1], 16):
            acc += pt.tile_matmul(a[0:16, i:i + 16], b[i:i + 16, 0:16])
        out[0:16, 0:16] = acc
        return out

    a, b = some(16, 40), some(40, 16)
    np.testing.assert_allclose(k(a, b), a[:, 16:] @ b[16:], atol=1e-5)
    assert not k(some(16, 9), some(9, 16)).any()


def test_range_of_constants_that_subscripts_is_a_loop_and_otherwise_pythons():
    @pt.tile_kernel
    def rolled(x):
        out = pt.empty((48, 16))
        for i in range(0, 48, 16):
            out[i:i + 16, 0:16] = x[i:i + 16, 0:16] * 2.0
        return out

    @pt.tile_kernel
    def unrolled(x):
        for i in range(3):
            x = x * float(i + 1)
        return x

    np.testing.assert_array_equal(rolled(X), X * 2)
    assert loops(rolled) == 1
    np.testing.assert_array_equal(unrolled(X), X * 1 * 2 * 3)
    assert loops(unrolled) == 0


def test_static_range_unrolls():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((48, 16))
        for i in pt.static_range(0, 48, 16):
            out[i:i + 16, 0:16] = x[i:i + 16, 0:16] * 2.0
        return out

    np.testing.assert_array_equal(k(X), X * 2)
    assert loops(k) == 0


def test_pythons_own_loops_keep_their_meaning():
    @pt.tile_kernel
    def k(x):
        for n, s in enumerate([1.0, 2.0, 4.0]):
            if n == 0:
                t = x
            else:
                t = t + x * s
        for last in (3.0, 5.0):
            if last > 4.0:
                break
            y = t * last
        return y * last

    np.testing.assert_allclose(k(X), X * 7 * 3 * 5, rtol=1e-6)


def test_while_and_if_on_python_values():
    @pt.tile_kernel(deep=3)
    def k(x):
        n = 0
        while n < deep:
            if n % 2:
                x = x + 1.0
            elif n:
                x = x * 2.0
            n += 1
        return x

    np.testing.assert_array_equal(k(X), (X + 1) * 2)


def test_an_early_return_on_a_python_value():
    def make(plain: bool):
        @pt.tile_kernel
        def k(x, out):
            out[:] = x * 2.0
            if plain:
                return
            for i in pt.range(0, x.shape[0], 16):
                out[i:i + 16, 0:16] = x[i:i + 16, 0:16]
        return k

    out = np.zeros_like(X)
    make(True)(X, out)
    np.testing.assert_array_equal(out, X * 2)


def test_if_on_a_condition_of_the_program():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((x.shape[0], 16))
        for i in pt.range(0, x.shape[0], 16):
            t = x[i:i + 16, 0:16]
            if i == 0:
                t = t * 2.0
            elif i < 32:
                t = t * 3.0
            out[i:i + 16, 0:16] = t
        return out

    np.testing.assert_array_equal(k(X), np.vstack([X[:16] * 2, X[16:32] * 3, X[32:]]))


def test_closures_and_nested_functions():
    factor = 3.0

    def twice(t):
        return t * 2.0

    @pt.tile_kernel
    def k(x):
        def shifted(t):
            return t + factor

        return shifted(twice(x))

    np.testing.assert_array_equal(k(X), X * 2 + 3)


def test_kernels_made_in_a_loop_are_separate():
    made = []
    for scale in (1.0, 2.0, 3.0):
        @pt.tile_kernel
        def k(x, out):
            for i in pt.range(0, x.shape[0], 16):
                out[i:i + 16, 0:16] = x[i:i + 16, 0:16] * scale
        out = np.zeros_like(X)
        k(X, out)
        made.append(out)
    for scale, out in zip((1, 2, 3), made, strict=True):
        np.testing.assert_array_equal(out, X * scale)


CALLS = [0]


def test_a_store_to_something_of_pythons_outside_is_pythons():
    @pt.tile_kernel
    def k(x):
        CALLS[0] += 1
        return x + x

    k(X)
    k(X)
    assert CALLS == [1]


def test_a_lambda_is_a_kernel():
    np.testing.assert_array_equal(pt.tile_kernel(lambda x: x + x)(X), X * 2)


def test_two_kernels_of_one_name_in_one_file():
    def first():
        @pt.tile_kernel
        def k(x):
            return x + 1.0
        return k

    def second():
        @pt.tile_kernel
        def k(x):
            return x + 2.0
        return k

    np.testing.assert_array_equal(second()(X) - first()(X) > 0.5, np.ones_like(X, bool))


def refused(kernel, *arguments, error=CaptureError) -> PtoError:
    with pytest.raises(error) as caught:
        kernel(*arguments)
    assert caught.value.loc is not None
    return caught.value


def line_of(err: PtoError) -> str:
    return Path(err.loc.file).read_text().splitlines()[err.loc.line - 1]


def test_a_name_lost_after_the_loop_is_refused():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        for i in pt.range(0, x.shape[0], 16):
            t = x[i:i + 16, 0:16]
        out[0:16, 0:16] = t
        return out

    assert "pt.range(0, x.shape[0], 16)" in line_of(refused(k, X))


def test_the_counter_after_the_loop_is_refused():
    @pt.tile_kernel
    def k(x, out):
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 16, 0:16] = x[i:i + 16, 0:16]
        out[i:i + 16, 0:16] = x[i:i + 16, 0:16]

    assert "for i in" in line_of(refused(k, X, X.copy()))


def test_returning_from_a_loop_of_the_program_is_an_error_at_its_line(tmp_path):
    file = tmp_path / "leaves.py"
    file.write_text("import pto as pt\n@pt.tile_kernel\ndef k(x, out):\n    for i in pt.range(0, x.shape[0], 16):\n"
                    "        out[i:i + 16, 0:16] = x[i:i + 16, 0:16]\n        return\n")
    space: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    assert refused(space["k"], X, X.copy()).loc.line == 4


def test_a_carried_tile_that_changes_its_extents_is_refused():
    @pt.tile_kernel
    def k(x, out):
        t = x[0:16, 0:16]
        for i in pt.range(0, x.shape[0], 16):
            out[i:i + 16, 0:16] = x[i:i + 16, 0:16]
            t = x[0:8, 0:16]
        out[0:8, 0:16] = t

    refused(k, X, X.copy(), error=ShapeError)


def test_a_function_that_reads_a_carried_name_is_refused():
    @pt.tile_kernel
    def k(x):
        out = pt.empty((16, 16))
        acc = x[0:16, 0:16]

        def step():
            return acc * 2.0

        for i in pt.range(0, x.shape[0], 16):
            acc = step()
        out[0:16, 0:16] = acc
        return out

    assert "for i in" in line_of(refused(k, X))


def test_a_condition_of_the_program_where_python_needs_one_is_refused():
    @pt.tile_kernel
    def k(x):
        return x * (2.0 if x.shape[0] > 3 else 1.0)

    assert "if x.shape[0] > 3" in line_of(refused(k, X))


def test_a_generator_is_refused():
    @pt.tile_kernel
    def k(x):
        yield x

    refused(k, X)


def test_a_loop_without_source_is_refused_with_the_remedy():
    space: dict = {"pt": pt}
    exec("@pt.tile_kernel\ndef k(x):\n  acc = x\n  for i in pt.range(0, x.shape[0], 16):\n    acc = acc + 1.0\n"
         "  return acc\n", space)
    with pytest.raises(CaptureError, match="source"):
        space["k"](X)
