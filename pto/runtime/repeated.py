"""Calls on the arrays of an earlier call: what was found out about these is known. Weights are the same each time."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        integers: the places of those among the values.
        held: all other values.
        extents: those of the arrays.
        variant: what ran. Its machine knows whether the arrays still are as they were.
        computing: what of the numeric configuration the program was for.
    """

    integers: Sequence[int]
    held: list[Any]
    extents: list[int]
    variant: Variant
    computing: Any

    @classmethod
    def of(cls, values: Sequence[Any], integers: Sequence[int], arrays: Sequence[NDArray[Any]], variant: Variant,
           computing: Any) -> Repeated | None:
        """A call that ran; None where a value is something else than the arrays that the machine was given."""
        kinds = [type(value) for value in values]
        if any(kind not in ((int,) if at in integers else OWNERS) for at, kind in enumerate(kinds)):
            return None
        if list(map(id, taken(values))) != list(map(id, arrays)) or not variant.plain:  # one was copied
            return None
        extents = [n for array in arrays for n in array.shape]
        return cls(integers, held(values), extents, variant, computing)

    def arrays(self, values: Sequence[Any]) -> list[NDArray[Any]] | None:
        """The arrays of another call, if it is on those of this one."""
        if len(values) != len(self.held) + len(self.integers) or not are_same(held(values), self.held):
            return None
        return taken(values) if all([type(values[at]) is int for at in self.integers]) else None


def are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Are they the same objects, one by one?"""
    return len(some) == len(others) and all(map(is_, some, others))


def taken(values: Sequence[Any]) -> list[NDArray[Any]]:
    """The arrays among values, and those of which quantised weights consist, in order."""
    found: list[NDArray[Any]] = []
    for value in values:
        if type(value) is np.ndarray:
            found.append(value)
        elif type(value) is Packed:
            found += value.parts
    return found
