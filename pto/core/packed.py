"""Packed weights as rows: how the codes of 16 rows lie together in bytes, in the order in which a product takes them.

A record holds 32 columns of 16 rows: first 16 scales and 16 offsets in float16, for formats that have them, then the
codes. Two neighbouring columns of the 16 rows are a step, of 32 numbers; the codes of a step lie in 32 lanes of 16 bits
(of 8 bits where a code has them), those of the next steps in the bits above. Records follow each other along a row.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS, COLS, STEPS, LANES = 16, 32, 16, 32
HALF = 2  # bytes of a scale


@dataclass(frozen=True, slots=True)
class Packing:
    """One format of records.

    Attributes:
        name: what it is called.
        bits: of a code in a plane.
        planes: ternary digits of a code, weighted 1, 3, 9; 1 for plain codes.
        zero: what is taken from the sum of the planes' codes.
        scaled, shifted: have scales; have offsets. A format without scales stands for integers.
        low, high: least and largest value.
    """

    name: str
    bits: int
    planes: int
    zero: int
    scaled: bool
    shifted: bool
    low: int
    high: int

    @property
    def head(self) -> int:
        """Bytes before the codes."""
        return ROWS * HALF * (self.scaled + self.shifted)

    @property
    def plane(self) -> int:
        """Bytes of the codes of a plane."""
        return ROWS * COLS * self.bits // 8

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return self.head + self.planes * self.plane

    @property
    def lane(self) -> int:
        """Bits of a lane."""
        return 16 if self.bits < 8 else 8


Q8 = Packing("q8", 8, 1, 0, scaled=True, shifted=False, low=-128, high=127)
Q4 = Packing("q4", 4, 1, 0, scaled=True, shifted=True, low=0, high=15)
T3 = Packing("t3", 2, 3, 5, scaled=True, shifted=True, low=-5, high=21)  # digits add up to 13 with code 8
T2 = Packing("t2", 2, 1, 1, scaled=False, shifted=False, low=-1, high=1)
PACKINGS = (Q8, Q4, T3, T2)
BY_NAME = {row.name: row for row in PACKINGS}
