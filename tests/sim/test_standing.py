"""Arrays that are the same ones at each launch: whatever is changed of one is seen."""

import numpy as np
import pytest

from pto.sim import jit, standing
from pto.sim.launch import ENTRY
from pto.sim.layout import TENSOR_WORDS
from pto.sim.names import STANDING
from pto.sim.standing import Standing

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
    return ENTRY(jit.addresses([STANDING])[STANDING])


def test_this_numpy_keeps_what_arrays_say_of_themselves_where_we_look():
    assert standing.objects_are_known()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(place, change, compare):
    arrays = made()
    known = Standing.of([0, 1], arrays, WORDS)
    assert known.others == [2]
    assert known.words(arrays, compare) == WORDS
    CHANGES[change](arrays[place])
    assert known.words(arrays, compare) is None


def test_another_array_is_no_change_where_others_are_expected(compare):
    arrays = made()
    known = Standing.of([1, 2], arrays, WORDS)
    words = known.words([np.ones(3), *arrays[1:]], compare)
    assert words == WORDS
    words[:TENSOR_WORDS] = [9] * TENSOR_WORDS  # what the caller puts there is its own
    assert known.words(arrays, compare) == WORDS
    assert known.words([arrays[0], arrays[1].copy(), arrays[2]], compare) is None


def test_arrays_of_other_classes_and_numpys_are_looked_at_one_by_one(monkeypatch):
    class Own(np.ndarray):
        pass
    arrays = [array.view(Own) for array in made()]
    assert Standing.of([0, 1, 2], arrays, WORDS) is None
    monkeypatch.setattr(standing, "objects_are_known", lambda: False)
    assert Standing.of([0, 1, 2], made(), WORDS) is None
