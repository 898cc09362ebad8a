"""Calls on the arrays of an earlier call: what was found out about these is known. Weights are the same each time."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.numeric import NumericConfig, active
from pto.quant.forms import Packed
from pto.runtime.variant import Variant, taken
from pto.sim.machine import Changed, Machine
from pto.sim.standing import Standing

OWNERS = np.ndarray, Packed
INTEGER = 0  # which is the id of nothing


def held(values: Sequence[Any]) -> list[Any]:
    """The arrays and quantised weights among values, not kept alive: of the same ones it is the same objects."""
    return [weakref.ref(value) for value in values if type(value) in OWNERS]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A call, as others on the same arrays and quantised weights are; its integers may be other ones.

    Attributes:
        integers: the places of those among the values.
        ids: of all other values; `INTEGER` for those. They tell values apart until one of these is gone.
        held: the others, not kept alive.
        gone: those that are no more.
        extents: those of the arrays.
        variant: what ran.
        machine: on what.
        standing: what that knows of the arrays, and whether they still are as they were.
        config: the numeric configuration that the program was for.
    """

    integers: Sequence[int]
    ids: list[int]
    held: list[Any]
    gone: list[Any]
    extents: list[int]
    variant: Variant
    machine: Machine
    standing: Standing
    config: NumericConfig

    @classmethod
    def of(cls, values: Sequence[Any], integers: Sequence[int], arrays: Sequence[NDArray[Any]],
           variant: Variant) -> Repeated | None:
        """A call that ran; None where an integer was left out, or a value is no array that the machine got."""
        kinds, left_out = [type(value) for value in values], any(at >= len(values) for at in integers)
        if left_out or any(kind not in ((int,) if at in integers else OWNERS) for at, kind in enumerate(kinds)):
            return None
        if list(map(id, taken(values))) != list(map(id, arrays)) or not variant.plain:  # one was copied
            return None
        machine = variant.machine
        standing = machine.standing(arrays)
        if standing is None:
            return None
        gone: list[Any] = []
        others = [value for at, value in enumerate(values) if at not in integers]
        extents = [n for array in arrays for n in array.shape]
        return cls(integers, _ids(values, integers), [weakref.ref(value, gone.append) for value in others], gone,
                   extents, variant, machine, standing, active().config)

    def serves(self, values: Sequence[Any]) -> list[int] | None:
        """The extents of another call, if it is on the same and the program is right for its integers."""
        if len(values) != len(self.ids) or _ids(values, self.integers) != self.ids or self.gone:
            return None
        if active().config is not self.config:
            return None
        extents = self.extents + [values[at] for at in self.integers]
        return extents if self.variant.fits_integers(extents) else None

    def run(self, values: Sequence[Any], extents: Sequence[int]) -> Any:
        """Launch on the values of a call that this `serves`.

        Raises:
            Changed: an array is not as it was; nothing has run.
        """
        if self.variant.machine is not self.machine:
            raise Changed
        return self.variant.again(self.machine, self.standing, values, extents)


def _ids(values: Sequence[Any], integers: Sequence[int]) -> list[int]:
    """What tells values apart, but for those at some places that are integers."""
    found = list(map(id, values))
    for at in integers:
        if type(values[at]) is int:
            found[at] = INTEGER
    return found


def are_same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Are they the same objects, one by one?"""
    return len(some) == len(others) and all(map(is_, some, others))
