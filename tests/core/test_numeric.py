"""Numeric configurations: what may be said, what is refused, and which types meet in which."""

from __future__ import annotations

import itertools

import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 by it)
import numpy as np
import pytest

import pto as pt
from pto.core.arrays import numpy_dtype
from pto.core.dtypes import DTYPES, F16, PRED, S8, S16, U8
from pto.core.errors import DTypeError, UsageError
from pto.core.numeric import DEFAULT, active, configured, holding

NUMBERS = [row for row in DTYPES.values() if row != PRED]


def test_what_may_be_said():
    said = configured({"rounding": {"float16": "stochastic", pt.s8: "nearest-even"}, "overflow": {"u8": "saturate"},
                       "detect": True, "promotion": "conservative"}, {"seed": 7})
    assert said.rounding_to(F16) == "stochastic" and said.rounding_to(S8) == "rne" and said.rounding_to(S16) is None
    assert said.saturates == {U8} and said.detect == ("overflow", "nan") and said.seed == 7
    assert configured(said, {}) is said
    assert configured({"seed": np.uint8(7)}, {}).seed == 7
    every = configured(None, {"rounding": "truncate", "overflow": "saturate"})
    assert {row.name for row, _ in every.rounding} == {"f16", "bf16", "s32", "s16", "s8", "u8"}
    assert {row.name for row in every.saturates} == {"f16", "bf16", "s16", "s8", "u8"}
    assert configured({}, {"overflow": "wrap", "detect": False}) is DEFAULT


@pytest.mark.parametrize(("wrong", "said"), [
    ({"round": "floor"}, "no numeric option 'round'"), ({"rounding": "down"}, "there is no rounding 'down'"),
    ({"rounding": {"f32": "floor"}}, "rounds results in float32 to nearest"),
    ({"rounding": {"bool": "floor"}}, "no element type"), ({"rounding": {"float64": "floor"}}, "no element type"),
    ({"overflow": {"f16": "wrap"}}, "float16 does not wrap"), ({"overflow": {"s8": "infinity"}}, "int8 does not"),
    ({"overflow": {"s32": "saturate"}}, "the machine has no wider type"), ({"overflow": "stop"}, "no overflow 'stop'"),
    ({"detect": "zero"}, "'zero' cannot be detected"), ({"promotion": "numpy"}, "promotion cannot be 'numpy'"),
    ({"on_detect": "stop"}, "on_detect cannot be"), ({"seed": -1}, "64 bits"), ({"seed": 0.5}, "64 bits"),
    ({"seed": True}, "64 bits"), ({"detect": 3}, "3 cannot be detected"), (3, "mapping"),
])
def test_what_is_refused_is_refused_at_its_line(wrong, said):
    before = active()
    with pytest.raises(pt.PtoError, match=said) as caught:
        pt.set_numeric_config(wrong)
    assert caught.value.loc.file == __file__ and "pt.set_numeric_config(wrong)" in caught.value.loc.source()
    assert active() is before


def test_a_configuration_takes_no_options_besides():
    with pytest.raises(UsageError, match="has all its options"):
        pt.set_numeric_config(configured(None, {"seed": 3}), detect=True)


def test_a_block_ends_and_the_process_goes_on():
    try:
        pt.set_numeric_config(seed=3)
        with pt.numeric_config(seed=4):
            with pt.numeric_config(promotion="strict"):
                assert active().config.seed == 0
            assert active().config.seed == 4
        assert active().config.seed == 3
    finally:
        pt.set_numeric_config()
    assert active().config is DEFAULT


def values_of(dtype):
    """All values of a type, or the extreme ones, in float64."""
    if dtype.bits > 16:
        edge = np.array([-(2**31), 2**31 - 1, 2**24 + 1], np.float64)
        return edge if dtype.kind == "i" else np.array([1 + 2**-23, 2.0**127, 2.0**-149])
    with np.errstate(all="ignore"):
        every = np.arange(1 << dtype.bits, dtype=f"u{dtype.size}").view(numpy_dtype(dtype)).astype(np.float64)
    return every[np.isfinite(every)]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(NUMBERS, repeat=2)), ids=str)
def test_conservative_promotion_is_to_the_smallest_type_with_all_values(a, b):
    every = np.concatenate([values_of(a), values_of(b)])
    with np.errstate(all="ignore"):
        holds = [row for row in NUMBERS if np.array_equal(every.astype(numpy_dtype(row)).astype(np.float64), every)
                 and (row.kind == "f" or {a.kind, b.kind}.isdisjoint("f"))]
    if not holds:
        with pytest.raises(DTypeError, match="no element type has all values"):
            holding(a, b)
        return
    found = holding(a, b)
    assert found == holding(b, a) and found in holds and found.bits == min(row.bits for row in holds)
