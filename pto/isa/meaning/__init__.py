"""What every tile instruction means, in NumPy: slow, obvious, and the definition."""

from __future__ import annotations

import numpy as np

from pto.core.dtypes import BY_NUMPY, F32
from pto.isa.meaning import cube, gather, log, move, packed, vector
from pto.isa.meaning.operands import Array, Meaning, Operands

CANONICAL_NAN = F32.nan
MEANING: dict[str, Meaning] = {**move.MEANING, **gather.MEANING, **cube.MEANING, **packed.MEANING,
                               **vector.MEANING, **log.MEANING}
KEEPS_NAN = {*move.MEANING, *gather.MEANING, *vector.KEEPS_NAN}

__all__ = ["CANONICAL_NAN", "MEANING", "Array", "Meaning", "Operands", "compute"]


def compute(mnemonic: str, operands: Operands) -> Array:
    """What an instruction writes to its destination's region; NaN that it produces is canonical."""
    with np.errstate(all="ignore"):
        result = np.array(MEANING[mnemonic](operands), operands.dtype)
    result = np.broadcast_to(result, operands.shape).copy()
    dtype = BY_NUMPY[result.dtype.name]
    if mnemonic not in KEEPS_NAN and dtype.nan:
        result.view(f"u{dtype.size}")[np.isnan(result)] = dtype.nan
    return result
