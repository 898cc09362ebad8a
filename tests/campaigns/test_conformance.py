"""A sample of the conformance campaign finds nothing, and the campaign finds what is planted for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pto.core.dtypes import BF16, F16, F32, S8, S32
from pto.isa import meaning
from pto.isa.table import TABLE, move, vector
from tests.campaigns import conformance, conversions

ROWS = [row for row in TABLE if row.memory]
EVERY = list(conformance.all_legal())
# One tuple of each row, whose types and tail differ from row to row; every third is tried.
SAMPLE = [own[row.opcode % 4 :: 4][row.opcode * 5 % (len(own) // 4)]
          for row in ROWS for own in [[legal for legal in EVERY if legal.row is row]]]


def test_the_whole_campaign_is_large_enough() -> None:
    assert len(EVERY) * conformance.VECTORS >= 20_000
    assert {legal.row for legal in SAMPLE} == set(ROWS)


@pytest.mark.parametrize("part", range(3))
def test_a_sample_conforms(part: int) -> None:
    assert [fault for legal in SAMPLE[3 * part :: 9] for fault in conformance.judge(legal, 3, part)] == []


@pytest.mark.parametrize(("to", "source"), [(F16, F32), (BF16, F32), (F32, F16), (S8, F16), (BF16, F16)])
def test_a_sample_of_conversions_agrees_with_numpy(to: Any, source: Any) -> None:
    seen, wrong = conversions.against_numpy(to, source, 1 << 18)
    assert seen >= 1 << 16 and wrong == 0


@pytest.mark.parametrize("mode", conversions.MODES[3::4])
def test_a_sample_of_rounding_modes_is_the_meaning(mode: tuple[str, str]) -> None:
    assert conversions.against_meaning(F16, F32, mode) == (1 << 16, 0)
    assert conversions.against_meaning(S8, F16, mode) == (1 << 16, 0)
    assert conversions.against_meaning(BF16, S32, mode) == (1 << 16, 0)


def changed(monkeypatch: pytest.MonkeyPatch, mnemonic: str, change: Any) -> None:
    before = meaning.MEANING[mnemonic]
    monkeypatch.setitem(meaning.MEANING, mnemonic, lambda o: change(np.array(before(o))))


def one_bit(x: np.ndarray) -> np.ndarray:
    """A bit of the first element, turned over."""
    if x.size:
        x.reshape(-1)[:1].view(np.uint8)[0] ^= 1
    return x


def of(row: Any, types: tuple[str, ...]) -> conformance.Legal:
    return next(legal for legal in EVERY if (legal.row, legal.types, legal.tail) == (row, types, "one more"))


@pytest.mark.parametrize(("row", "types"), [
    (vector.TADD, ("f32",)), (vector.TADD, ("s16",)), (vector.TROWMAX, ("s32",)), (move.TSTORE, ("u8",)),
])
def test_one_wrong_bit_is_found(monkeypatch: pytest.MonkeyPatch, row: Any, types: tuple[str, ...]) -> None:
    changed(monkeypatch, row.mnemonic, one_bit)
    assert any("exact mode" in fault for fault in conformance.judge(of(row, types), 6, 0))


@pytest.mark.parametrize(("row", "factor"), [(vector.TEXP, 1 + 2.0**-21), (vector.TROWSUM, 1 + 2.0**-15)])
def test_fast_mode_out_of_bounds_is_found(monkeypatch: pytest.MonkeyPatch, row: Any, factor: float) -> None:
    legal, near = of(row, ("f32",)), conformance.agrees
    assert conformance.judge(legal, 6, 0) == []

    def agrees(case: Any, meant: Any, fast: Any) -> bool:
        with np.errstate(all="ignore"):
            fast[case.drained[case.used["dst"][0]]] *= np.float32(factor)
        return near(case, meant, fast)
    monkeypatch.setattr(conformance, "agrees", agrees)
    assert any("fast mode" in fault for fault in conformance.judge(legal, 6, 0))


def test_a_wrong_conversion_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    nearest = conversions.nearest
    monkeypatch.setattr(conversions, "nearest", lambda to, x: one_bit(nearest(to, x)))
    assert conversions.against_numpy(F16, F32, 1 << 16) == (1 << 16, 2)
