"""Room for weights: an array like any other, whatever its pages."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from pto.core import arrays
from pto.core.arrays import HUGE, room


@pytest.mark.parametrize(("shape", "dtype"), [
    ((3, 5), "float32"), ((0, 7), "int8"), ((HUGE,), "uint8"), ((3, HUGE // 4 + 1), "float16"), ((2, HUGE), "bfloat16"),
])
def test_room_is_an_array_of_the_shape(shape, dtype):
    found = room(shape, dtype)
    assert found.shape == shape and found.dtype == dtype and found.flags.writeable and found.flags.c_contiguous
    found[...] = 3
    copy = found.reshape(-1)[-2:]
    del found
    gc.collect()
    assert (copy == 3).all()  # the memory lives as long as a view of it


def test_large_room_begins_with_a_page_and_small_room_is_numpys():
    assert room((HUGE // 4,), np.float32).ctypes.data % HUGE == 0
    assert room((HUGE // 4 - 1,), np.float32).flags.owndata


def test_a_system_without_large_pages(monkeypatch):
    monkeypatch.delattr(arrays.mmap, "MADV_HUGEPAGE")
    assert room((HUGE,), np.float32).shape == (HUGE,)
