"""Programs from files, with arrays by name."""

from __future__ import annotations

import numpy as np
import pytest

from pto.core.errors import FuelError, PtoError, UsageError
from pto.runtime.launch import run_program
from tests.kernels import bind, gemm

A, B = np.ones((3, 4), np.float32), np.full((4, 5), 2, np.float32)
PROGRAM = bind(gemm, [A, B]).program


def test_results_are_made_and_named():
    results, stats = run_program(PROGRAM, {"A": A, "B": B})
    [(name, result)] = results.items()
    assert name == "result2"
    np.testing.assert_array_equal(result, A @ B)
    assert stats.tile > 0


def test_cores_threads_and_mode_do_not_change_the_result():
    first, _ = run_program(PROGRAM, {"A": A, "B": B})
    for options in ({"cores": 3}, {"cores": 4, "threads": 2}, {"exact": True}):
        again, _ = run_program(PROGRAM, {"A": A, "B": B}, **options)
        np.testing.assert_array_equal(again["result2"], first["result2"])


@pytest.mark.parametrize(("arrays", "message"), [
    ({"A": A}, "reads B|not known"),
    ({"A": A, "B": B, "C": B}, "no tensor C"),
    ({"A": A, "B": B.astype(np.float64)}, "is float64"),
    ({"A": A, "B": B[0]}, "has 1 axes"),
    ({"A": A, "B": B.T}, "wants"),
    ({"A": A, "B": B, "result2": np.zeros((9, 9), np.float32)}, "wants"),
    ({"A": A[:0], "B": B}, "0"),
])
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(PtoError, match=message):
        run_program(PROGRAM, arrays)


def test_fuel_ends_a_run():
    with pytest.raises(FuelError):
        run_program(PROGRAM, {"A": A, "B": B}, fuel=1)


def test_cores_must_be_some():
    with pytest.raises(UsageError):
        run_program(PROGRAM, {"A": A, "B": B}, cores=0)
