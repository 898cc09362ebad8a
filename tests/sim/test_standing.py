"""Arrays that are the same ones at each launch: whatever is changed of one is seen."""

import numpy as np
import pytest

from pto.sim import jit, standing
from pto.sim.layout import TENSOR_WORDS
from pto.sim.names import STANDING
from pto.sim.standing import COMPARE, Standing

WORDS = list(range(3 * TENSOR_WORDS))


def other_memory(array):
    array.__setstate__(np.zeros_like(array).__reduce__()[2])


def other_type(array):
    array.dtype = np.int32


CHANGES = {
    "shape": lambda array: setattr(array, "shape", (2, 12)), "axes": lambda array: setattr(array, "shape", (24,)),
    "strides": lambda array: setattr(array, "strides", (12, 4)), "type": other_type, "memory": other_memory,
    "flags": lambda array: array.setflags(write=False),
}


def made():
    return [np.zeros((4, 6), np.float32)[:, :n] for n in (6, 6, 3)]


@pytest.fixture
def compare():
    return COMPARE(jit.addresses([STANDING])[STANDING])


def test_this_numpy_keeps_what_arrays_say_of_themselves_where_we_look():
    assert standing.objects_are_known()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(place, change, compare):
    arrays = made()
    known = Standing.of([0, 1], arrays, WORDS, {}, True, compare)
    assert known.others == [2] and known.words.tolist() == WORDS
    assert known.addresses(arrays).tolist() == [array.ctypes.data for array in arrays]
    CHANGES[change](arrays[place])
    assert known.addresses(arrays) is None


def test_another_array_is_no_change_where_others_are_expected(compare):
    arrays = made()
    known = Standing.of([1, 2], arrays, WORDS, {}, True, compare)
    for other in (np.ones(3), made()[0]):
        assert known.addresses([other, *arrays[1:]])[0] == other.ctypes.data
    assert known.addresses([[1.0, 2.0], *arrays[1:]]) is None
    assert known.addresses([arrays[0], arrays[1].copy(), arrays[2]]) is None


def test_first_arrays_need_not_be_named_again(compare):
    arrays = made()
    known = Standing.of([0, 1], arrays, WORDS, {}, True, compare)
    assert known.is_about(arrays[:2]) and not known.is_about(arrays) and not known.is_about(arrays[1::-1])
    other = made()[2]
    assert known.addresses([other], (), 2).tolist() == [array.ctypes.data for array in (*arrays[:2], other)]
    arrays[1].shape = 24,
    assert known.addresses([other], (), 2) is None


def test_extents_that_are_parameters_stay_these(compare):
    arrays = made()
    known = Standing.of([0, 1, 2], arrays, WORDS, {1: 6}, True, compare)
    assert known.addresses(arrays, [7, 6]) and known.addresses(arrays, [8, 6])
    assert known.addresses(arrays, [6, 7]) is None


def test_arrays_of_other_classes_and_numpys_are_looked_at_one_by_one(monkeypatch, compare):
    class Own(np.ndarray):
        pass
    arrays = [array.view(Own) for array in made()]
    assert Standing.of([0, 1, 2], arrays, WORDS, {}, True, compare) is None
    monkeypatch.setattr(standing, "objects_are_known", lambda: False)
    assert Standing.of([0, 1, 2], made(), WORDS, {}, True, compare) is None
