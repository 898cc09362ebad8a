"""Calls on the arrays of an earlier call: what was found out about these is known. Weights are the same each time."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import Seen
from pto.quant.forms import Packed
from pto.runtime.variant import Variant

OWNERS = np.ndarray, Packed


def held(values: Sequence[Any]) -> list[Any]:
    """The arrays and quantised weights among values, not kept alive: of the same ones it is the same objects."""
    return [weakref.ref(value) for value in values if type(value) in OWNERS]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A call, as others on the same arrays and quantised weights are; its integers may be other ones.

    Attributes:
        kinds: the type of each value.
        packed: the quantised weights, and their places among the values; they are not kept alive.
        seen: all arrays, those of quantised weights among them.
        extents: those of the arrays.
        variant: what ran; its arrays share no memory that they must not share.
        computing: what of the numeric configuration the program was for.
    """

    kinds: list[type]
    packed: tuple[tuple[int, weakref.ref[Packed]], ...]
    seen: tuple[Seen, ...]
    extents: list[int]
    variant: Variant
    computing: Any

    @classmethod
    def of(cls, values: Sequence[Any], integers: Sequence[int], arrays: Sequence[NDArray[Any]], variant: Variant,
           computing: Any) -> Repeated | None:
        """A call that ran; None where a value is something else than the arrays that the machine was given.

        Args:
            integers: the places of those among the values.
        """
        kinds, same = [type(value) for value in values], taken(values)
        if any(kind not in ((int,) if at in integers else OWNERS) for at, kind in enumerate(kinds)):
            return None
        if list(map(id, same)) != list(map(id, arrays)):  # one was copied
            return None
        packed = tuple((at, weakref.ref(value)) for at, value in enumerate(values) if type(value) is Packed)
        extents = [n for array in arrays for n in array.shape]
        return cls(kinds, packed, tuple(map(Seen, arrays)), extents, variant, computing)

    def arrays(self, values: Sequence[Any]) -> list[NDArray[Any]] | None:
        """The arrays of another call, if they are those of this one, and as they were."""
        if [type(value) for value in values] != self.kinds:
            return None
        if not all([values[at] is known() for at, known in self.packed]):
            return None
        found = taken(values)
        return found if all([seen.still(array) for seen, array in zip(self.seen, found, strict=True)]) else None


def taken(values: Sequence[Any]) -> list[NDArray[Any]]:
    """The arrays among values, and those of which quantised weights consist, in order."""
    found: list[NDArray[Any]] = []
    for value in values:
        if type(value) is np.ndarray:
            found.append(value)
        elif type(value) is Packed:
            found += value.parts
    return found
