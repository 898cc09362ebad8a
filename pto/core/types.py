"""Types of the values that flow through graphs and programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pto.core.dtypes import DType, TensorType


class Space(Enum):
    """Where a tile lives. The value is its spelling in text."""

    L1 = "l1"
    L0A = "l0a"
    L0B = "l0b"
    L0C = "l0c"
    UB = "ub"


class Layout(Enum):
    """How a tile's elements lie in memory.

    ROW: row-major, pitch = capacity in columns. COL: column-major, pitch = capacity in rows.
    PANEL: columns in panels of `PANEL_COLS`, ``[cols / 16][rows][16]``; regions of a panel tile
    extend to whole panels.
    """

    ROW = "row"
    COL = "col"
    PANEL = "panel"


PANEL_COLS = 16


@dataclass(frozen=True, slots=True)
class IndexType:
    """A 64-bit integer of the scalar unit: an extent, a bound, an offset."""

    def __str__(self) -> str:
        return "index"


@dataclass(frozen=True, slots=True)
class EffectType:
    """The type of a node that is no value: a loop, an instruction."""

    def __str__(self) -> str:
        return "()"


@dataclass(frozen=True, slots=True)
class TileType:
    """A tile's capacity, element type, layout and, once placed, memory space.

    Rows and columns are capacities; the valid region is a run-time value.
    """

    dtype: DType
    rows: int
    cols: int
    space: Space | None = None
    layout: Layout = Layout.ROW

    @property
    def nbytes(self) -> int:
        return self.rows * self.cols * self.dtype.size

    @property
    def pitch(self) -> int:
        """Elements from one row to the next (ROW), one column to the next (COL), or panel rows."""
        if self.layout is Layout.PANEL:
            return PANEL_COLS
        return self.cols if self.layout is Layout.ROW else self.rows

    def __str__(self) -> str:
        words = [f"{self.space.value}, "] if self.space else []
        words.append(f"{self.rows}x{self.cols}x{self.dtype.name}")
        if self.layout is not Layout.ROW:
            words.append(f", {self.layout.value}")
        return f"tile<{''.join(words)}>"


INDEX, EFFECT = IndexType(), EffectType()
Type = IndexType | EffectType | TensorType | TileType

__all__ = ["EFFECT", "INDEX", "PANEL_COLS", "EffectType", "IndexType", "Layout", "Space", "TensorType", "TileType",
           "Type"]
