"""The decorated object: calls, variants, guards, options, threads, what it shows of itself."""
# ruff: noqa: F821, UP037 (names of options, extents in quotes, kernels in loops)

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CaptureError, PtoError, ShapeError, UsageError
from pto.isa.asm import assemble
from pto.isa.disasm import disassemble
from pto.isa.file import dumps, loads
from pto.runtime.launch import run_program
from tests.arrays import some
from tests.kernels import CASES, NAMES, bind, gemm, on_fast, vadd


def test_decorators_of_each_form():
    def f(x):
        return x + x

    for kernel in (pt.tile_kernel(f), pt.tile_kernel()(f), pt.tile_kernel(tile_m=8)(f), pt.tile_kernel(target="V1")(f)):
        np.testing.assert_array_equal(kernel(x := some(3, 3)), x + x)
    assert pt.tile_kernel(f).__name__ == "f"
    assert "f(x)" in repr(pt.tile_kernel(f))


@pytest.mark.parametrize("options", [{"tile_m": 0}, {"tile_n": -1}, {"tile_k": "8"}, {"target": "V9"},
                                     {"tile_m": 2.5}])
def test_options_without_sense_are_refused(options):
    with pytest.raises(UsageError):
        pt.tile_kernel(**options)


def test_only_functions_are_kernels():
    with pytest.raises(CaptureError):
        pt.tile_kernel(3)
    with pytest.raises(CaptureError):
        pt.tile_kernel(lambda *x: x)(some(3, 3))


def test_a_guard_that_fails_traces_anew_and_reports():
    @pt.tile_kernel
    def k(A, B):
        return pt.matmul(A, B)

    a, b = some(5, 6), some(6, 7)
    np.testing.assert_allclose(k(a, b), a @ b, atol=1e-5)
    for _ in range(2):
        with pytest.raises(PtoError, match="inner extents differ: 5 x 6 times 7 x 6"):
            k(a, some(7, 6))
    np.testing.assert_allclose(k(a.T.copy(), a), a.T @ a, atol=1e-5)
    assert sum(map(len, k.variants.values())) == 1


def test_ranks_and_types_get_variants_of_their_own():
    for shape in ((5,), (5, 6), (2, 5, 6)):
        x = some(*shape)
        np.testing.assert_array_equal(vadd(x, x), x + x)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])  # noqa: S301
def test_a_kernel_that_ran_is_copied_and_pickled_as_functions_are(duplicate):
    x = some(5)
    vadd(x, x)
    np.testing.assert_array_equal(duplicate(vadd)(x, x), x + x)


def test_what_is_shown_is_the_variant_of_the_latest_call():
    @pt.tile_kernel
    def k(x, y):
        return x + y

    one, two = some(5), some(5, 6)
    for x in (one, two, one, two):
        k(x, x)
        assert len(k.program().tensors[0].dims) == x.ndim
        assert len(k.program().tensors[0].dims) == x.ndim


def test_what_a_kernel_shows_needs_types():
    @pt.tile_kernel
    def unknown(x):
        return x + x

    with pytest.raises(CaptureError, match="the type of x is not known"):
        unknown.program()

    @pt.tile_kernel
    def known(x: pt.f32["M", "N"]):
        return x + x

    assert known.program().parameters[0].name == "M"
    assert known.graph("tensor").level == "tensor"
    assert "tadd" in known.disasm()
    with pytest.raises(UsageError, match="no level"):
        known.graph("silicon")


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_program_survives_file_and_assembly(case):
    bound = bind(case.kernel, case.arguments())
    program = loads(dumps(bound.program))
    assert program == bound.program
    assert dumps(assemble(disassemble(bound.program))) == dumps(program)
    arrays = {t.name: a for t, a in zip(program.tensors, bound.tensors, strict=True) if t.read}
    results, _ = run_program(program, arrays, exact=True)
    wanted = on_fast(bound)
    for slot, want in zip(bound.results, wanted, strict=True):
        np.testing.assert_array_equal(results[program.tensors[slot].name], want)


def test_threads_share_a_kernel():
    kernel = pt.tile_kernel(gemm.__wrapped__)
    arguments = [(some(60, 40 + i), some(40 + i, 50)) for i in range(8)]
    wanted = [a @ b for a, b in arguments]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(5):
            if not np.allclose(kernel(*arguments[i]), wanted[i], atol=1e-4):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_kernels_do_not_touch_memory_outside_of_their_arrays():
    """Arrays in the middle of others: nothing around a result changes."""
    for m, n in ((1, 1), (7, 13), (33, 100)):
        room = np.full((m + 4, n + 4), 7.0, np.float32)

        @pt.tile_kernel(tile_m=16, tile_n=16)
        def k(x, out):
            for i in pt.range(0, x.shape[0], 16):
                for j in pt.range(0, x.shape[1], 16):
                    out[i:i + 16, j:j + 16] = x[i:i + 16, j:j + 16]

        x = some(m, n)
        k(x, room[2:-2, 2:-2])
        np.testing.assert_array_equal(room[2:-2, 2:-2], x)
        room[2:-2, 2:-2] = 7.0
        assert (room == 7).all()


def test_checks_of_the_environment_watch_every_launch(monkeypatch):
    kernel = pt.tile_kernel(lambda X: X + 1.0)
    x = np.zeros((3, 4), np.float32)
    kernel(x)
    assert not kernel.compiled().machine.check
    monkeypatch.setenv("PTO_CHECK", "all")
    assert (kernel(x) == 1.0).all()
    machine = kernel.compiled().machine
    assert machine.check
    assert machine.cores > 1


def test_room_that_is_not_stored_to_is_zeros():
    @pt.tile_kernel
    def partly(X):
        part = pt.empty((32, 16))
        part[0:16, 0:16] = X[0:16, 0:16]
        return part + X

    for value in (1.0, 2.0):
        junk = np.full((32, 16), 7.0, np.float32)
        del junk
        found = partly(np.full((32, 16), value, np.float32))
        np.testing.assert_array_equal(found, [[2 * value] * 16] * 16 + [[value] * 16] * 16)


def test_scratch_of_other_extents_is_let_go():
    @pt.tile_kernel
    def mixed(X, Y):
        return pt.matmul(pt.softmax(X), Y)

    y = np.ones((4096, 16), np.float32)
    mixed(np.ones((8, 4096), np.float32), y)
    assert any(decl.scratch for decl in mixed.program().tensors)
    tracemalloc.start()
    try:
        for rows in range(8, 40):
            np.testing.assert_allclose(mixed(np.ones((rows, 4096), np.float32), y), 1.0, rtol=1e-4)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4 * y.nbytes


def test_what_is_known_of_the_last_extents_is_of_no_others():
    @pt.tile_kernel
    def piece(x, y):
        return x[2:5] + y, y * 2.0

    x, y = np.arange(80, dtype=np.float32).reshape(20, 4), np.ones(4, np.float32)
    for rows in (8, 8, 4, 8, 20, 5, 5):
        if rows < 5:
            with pytest.raises(ShapeError, match="not inside"):
                piece(x[:rows], y)
            continue
        sums, twice = piece(x[:rows], y)
        assert np.array_equal(sums, x[2:5] + 1) and np.array_equal(twice, y * 2)
        assert np.array_equal(piece(x[:rows, :3].copy(), y[:3])[0], x[2:5, :3] + 1)
