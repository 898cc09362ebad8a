"""Meanings of the instructions on packed weights."""

from __future__ import annotations

from functools import partial

import numpy as np

from pto.core.packed import COLS, ROWS, Packing
from pto.core.packing import unpacked
from pto.isa.meaning.cube import fma
from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table.packed import STREAMS, UNPACKS


def streamed(packing: Packing, o: Operands) -> Array:
    """Record after record: exact sums of integers, scaled and added."""
    groups = min(o.k // COLS, o.b // packing.record)
    weights, numbers = unpacked(np.asarray(o.w[:, :groups * packing.record]), packing)
    x = o.x[0, :groups * COLS].astype(np.int64).reshape(groups, COLS)
    dots = np.einsum("ngk,gk->gn", weights.astype(np.int64).reshape(len(weights), groups, COLS), x)
    if not packing.scaled:
        return np.asarray(dots.sum(0)).reshape(o.p, ROWS)
    sums, total = x.sum(1).astype(np.float32), np.zeros(len(weights), np.float32)
    for group in range(groups):
        total = fma(dots[group].astype(np.float32), numbers[0][:, group], total)
        if packing.shifted:
            total = fma(np.full_like(total, sums[group]), numbers[1][:, group], total)
    return total.reshape(o.p, ROWS)


def expanded(packing: Packing, o: Operands) -> Array:
    """Integers, scaled and shifted."""
    groups = min(o.k // COLS, o.b // packing.record)
    weights, numbers = unpacked(np.asarray(o.w[:, :groups * packing.record]), packing)
    found: Array = weights
    if packing.scaled:
        found = weights.astype(np.float32) * np.repeat(numbers[0], COLS, 1)
    if packing.shifted:
        found = found + np.repeat(numbers[1], COLS, 1)
    result = np.zeros((o.k, ROWS), found.dtype)
    result[:groups * COLS] = found.T
    return result


MEANING: dict[str, Meaning] = {
    **{row.mnemonic: partial(streamed, packing) for packing, row in STREAMS.items()},
    **{row.mnemonic: partial(expanded, packing) for packing, row in UNPACKS.items()},
}
