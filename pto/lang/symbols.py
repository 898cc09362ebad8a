"""Extents under tracing: symbols with the values of this call, which of them must be equal, and why.

A program is traced for any value of its symbols. What the trace relied on is kept as guards: two symbols
are equal, or a symbol has one value (broadcasting an axis of extent 1). A call whose shapes break a guard is
traced anew, and then either gives another program or the error, at the line that relied on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pto.core.errors import Loc, ShapeError
from pto.core.types import TensorType, Type

Extent = int | str


@dataclass
class Symbols:
    """Which symbols are known to be equal, under the extents of this call (`hints`), where there are any."""

    hints: dict[str, int] = field(default_factory=dict)
    same: dict[str, Extent] = field(default_factory=dict)
    within: dict[tuple[Extent, int, Extent], Loc] = field(default_factory=dict)

    def resolve(self, extent: Extent) -> Extent:
        """The representative of a symbol: another symbol, or an integer."""
        while isinstance(extent, str) and extent in self.same:
            extent = self.same[extent]
        return extent

    def value(self, extent: Extent) -> int | None:
        """What an extent is in this call, if known."""
        extent = self.resolve(extent)
        return extent if isinstance(extent, int) else self.hints.get(extent)

    def show(self, extent: Extent) -> str:
        value = self.value(extent)
        return str(extent) if value is None else str(value)

    def type(self, value: Type) -> Type:
        """A type with its symbols resolved."""
        if isinstance(value, TensorType):
            return TensorType(value.dtype, tuple(map(self.resolve, value.dims)))
        return value

    def equal(self, a: Extent, b: Extent, complaint: str, hint: str = "") -> None:
        """Make two extents equal from here on.

        Raises:
            ShapeError: they differ in this call.
        """
        a, b = self.resolve(a), self.resolve(b)
        if a == b:
            return
        x, y = self.value(a), self.value(b)
        if x is not None and y is not None and x != y:
            raise ShapeError(complaint, hint=hint)
        if isinstance(b, str):
            self.same[b] = a
        else:
            assert isinstance(a, str)
            self.same[a] = b

    def unify(self, x: Sequence[Extent], y: Sequence[Extent], complaint: str, *, broadcast: bool) -> None:
        """Make extents equal, aligned at the right; with `broadcast` one of two may be 1.

        Raises:
            ShapeError: they differ in this call.
        """
        for m, n in zip(reversed(x), reversed(y), strict=False):
            if broadcast and self.is_one(n) != self.is_one(m):
                self.pin(n if self.is_one(n) else m)
            else:
                self.equal(m, n, complaint, "extents must be equal, or 1 in one of the operands" if broadcast else "")

    def inside(self, extent: Extent, start: int, size: Extent, loc: Loc) -> None:
        """Rely on `extent` elements from `start` on being inside of `size`.

        Raises:
            ShapeError: they are not, in this call.
        """
        extent, size = self.resolve(extent), self.resolve(size)
        if extent == size and start == 0:
            return
        have, room = self.value(extent), self.value(size)
        if start < 0 or (have is not None and room is not None and start + have > room):
            raise ShapeError(f"{have} elements from {start} on are not inside an axis of extent {room}", loc=loc,
                             hint="take fewer elements, or begin further to the front")
        if not (isinstance(extent, int) and isinstance(size, int)):
            self.within.setdefault((extent, start, size), loc)

    def is_one(self, extent: Extent) -> bool:
        """Is the extent 1 in this call?"""
        return self.value(extent) == 1

    def pin(self, extent: Extent) -> None:
        """Rely on the value that a symbol has in this call."""
        extent = self.resolve(extent)
        value = self.value(extent)
        if isinstance(extent, str) and value is not None:
            self.same[extent] = value
