"""Meanings of the moves: bits are kept, whatever they are."""

from __future__ import annotations

import numpy as np

from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table import move


def valid(o: Operands) -> Array:
    """The source without what completes its last panel."""
    return np.asarray(o.src[:, :o.cols])


def padded(o: Operands) -> Array:
    """The source, and zeros up to the end of the destination's last panel."""
    result = np.zeros(o.shape, o.dtype)
    result[:, :o.cols] = valid(o)
    return result


MEANING: dict[str, Meaning] = {
    move.TLOAD.mnemonic: valid,
    move.TSTORE.mnemonic: valid,
    move.TMOV.mnemonic: valid,
    move.TEXTRACT.mnemonic: padded,
}
