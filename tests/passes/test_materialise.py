"""What is assigned to the tensor that it is a part of: as if it were copied first, and no copy where none is needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pto as pt
from pto.sim.machine import Machine
from tests.arrays import some


def moved(a):
    a[1:40, :] = a[0:39, :]


def moved_as_a_product(a):
    a[2:40, :] = a[0:38, :] * 1.0  # which is left out


def turned(a):
    a[:] = a.T


def turned_in_part(a):
    a[0:20, :] = a[:, 0:20].T


def to_the_next_row(a):
    for i in range(39):
        a[i + 1] = a[i]


def to_the_first_row(a):
    for i in range(40):
        a[0] = a[i]


@pytest.mark.parametrize(("function", "scratch"), [
    (moved, 1), (moved_as_a_product, 1), (turned, 1), (turned_in_part, 1), (to_the_next_row, 0), (to_the_first_row, 0),
])
def test_a_part_of_a_tensor_is_read_before_it_is_stored_to(function, scratch):
    kernel, found = pt.tile_kernel(function), some(40, 40)
    again, want = found.copy(), found.copy()
    kernel(found)
    function(want)
    np.testing.assert_array_equal(found, want)
    program = kernel.program()
    rooms = [np.zeros([d if isinstance(d, int) else 40 for d in t.dims], np.float32) for t in program.tensors
             if t.scratch]
    assert len(rooms) == scratch
    Machine(program, cores=3, check="all").run([again, *rooms], [40] * len(program.parameters))
    np.testing.assert_array_equal(again, want)


@settings(max_examples=20)
@given(st.integers(1, 30), st.integers(0, 10), st.integers(0, 10))
def test_any_part_goes_anywhere(count, first, to):
    @pt.tile_kernel
    def shifted(a):
        a[to:to + count, :] = a[first:first + count, :]

    found = some(40, 24)
    want = found.copy()
    want[to:to + count] = found[first:first + count]
    shifted(found)
    np.testing.assert_array_equal(found, want)
