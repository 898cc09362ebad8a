"""Meanings of the moves: bits are kept, whatever they are."""

from __future__ import annotations

import numpy as np

from pto.isa.meaning.operands import Array, Meaning, Operands
from pto.isa.table import move


def valid(o: Operands) -> Array:
    """The source without what completes its last panel."""
    return np.asarray(o.src[:, :o.cols])


def turned(o: Operands) -> Array:
    """The transpose of the source."""
    return np.asarray(o.src.T)


def padded(source: Meaning) -> Meaning:
    """The source, and zeros up to the end of the destination's last panel."""
    def meaning(o: Operands) -> Array:
        result = np.zeros(o.shape, o.dtype)
        result[:, :o.cols] = source(o)
        return result
    return meaning


MEANING: dict[str, Meaning] = {
    move.TLOAD.mnemonic: valid,
    move.TSTORE.mnemonic: valid,
    move.TMOV.mnemonic: valid,
    move.TINSERT.mnemonic: valid,
    move.TEXTRACT.mnemonic: padded(valid),
    move.TEXTRACT_T.mnemonic: padded(turned),
    move.TEXTRACT_ROWS.mnemonic: valid,
    move.TTRANS.mnemonic: turned,
}
