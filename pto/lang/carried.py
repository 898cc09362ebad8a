"""Arrays and parts of arrays that loops and branches carry under a name which they bind again.

NumPy's names are bound to the arrays themselves: what is stored to an array later is seen under all of them. A program
carries the elements. So it is noted of which versions of arrays a carried tensor has the elements, and the tracer
refuses to use it once there are newer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pto.core.errors import Loc
from pto.core.types import TensorType
from pto.ir.graph import Val
from pto.lang.regions import is_version, outside
from pto.lang.trace import Sources, outdated, tracer


def begins(inits: Sequence[Val], parameters: Sequence[Val]) -> None:
    """Note what a loop carries that is part of an array when an iteration begins."""
    found = tracer()
    inside = dict(zip(map(outside, inits), parameters, strict=True))
    for init, parameter in zip(inits, parameters, strict=True):
        if isinstance(init.type, TensorType) and (found.base(init) != outside(init) or outside(init) in found.copies):
            known = found.sources(init)
            found.copies[parameter] = None if known is None else frozenset(inside.get(v, v) for v in known)


def ends(parameters: Sequence[Val], results: Sequence[Any], loc: Loc) -> Iterator[Sources]:
    """What each carried value has the elements of when an iteration ends.

    Raises:
        UnsupportedError: the next iteration reads an array of which this one leaves only old elements.
    """
    found = tracer()
    for before, after in zip(parameters, results, strict=True):
        known = found.sources(after) if isinstance(after, Val) and isinstance(after.type, TensorType) else frozenset()
        if known is None and before in found.used:
            raise outdated(loc)
        yield known


def before(inits: Sequence[Val], *, surely: bool) -> list[Sources]:
    """What each value has the elements of where the loop has no iteration; nothing, if it `surely` has one."""
    return [tracer().sources(init) if isinstance(init.type, TensorType) and not surely else frozenset()
            for init in inits]


def over(inits: Sequence[Val], first: Sequence[Sources], last: Sequence[Sources], results: Sequence[Any],
         made: Sequence[Val]) -> None:
    """Note what a loop has made of arrays and their parts: those of `first`, or those of `last`."""
    found = tracer()
    outer = {outside(v): m for v, m in zip(results, made, strict=True) if isinstance(v, Val)}
    for init, one, other, after in zip(inits, first, last, made, strict=True):
        if not isinstance(init.type, TensorType):
            continue
        if is_version(after, outside(init)) and outside(init) not in found.copies:
            continue  # it is the array
        if one is None or other is None:
            found.copies[after] = None
            continue
        sources = {found.latest(v) for v in one} | {outer.get(v, v) for v in other}
        arrays = frozenset(v for v in sources if v != after and found.is_array(v))
        if arrays:
            found.copies[after] = arrays
