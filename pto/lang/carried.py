"""Arrays and parts of arrays that loops and branches carry under a name which they bind again.

NumPy's names are bound to the arrays themselves: what is stored to an array later is seen under all of them. A program
carries the elements. So it is noted of which versions of arrays a carried tensor has the elements, and the tracer
refuses to use it once there are newer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pto.core.errors import Loc
from pto.core.types import TensorType
from pto.ir.graph import Val
from pto.lang.regions import is_version, outside
from pto.lang.trace import Sources, outdated, tracer


def sources(value: Any) -> Sources:
    """What a carried value has the elements of; nothing: it is no tensor."""
    if not isinstance(value, Val) or not isinstance(value.type, TensorType):
        return frozenset()
    return tracer().sources(value)


def begin(inits: Sequence[Val], parameters: Sequence[Val]) -> None:
    """Note what a loop carries that is part of an array when its first iteration begins."""
    found = tracer()
    inside = dict(zip(map(outside, inits), parameters, strict=True))
    for init, parameter in zip(inits, parameters, strict=True):
        if isinstance(init.type, TensorType) and (found.base(init) != outside(init) or outside(init) in found.copies):
            known = found.sources(init)
            found.copies[parameter] = None if known is None else frozenset(inside.get(v, v) for v in known)


def end(parameters: Sequence[Val], results: Sequence[Any], loc: Loc) -> list[Sources]:
    """What each carried value has the elements of when an iteration ends; its parameter among them: it may be what it
    was at the beginning.

    Raises:
        UnsupportedError: the next iteration reads old elements.
    """
    found, known = tracer(), list[Sources]()
    starts = {outside(v): p for v, p in zip(results, parameters, strict=True) if isinstance(v, Val)}
    for before, after in zip(parameters, results, strict=True):
        has = sources(after)
        if has and before not in found.copies and is_version(after, before):
            known.append(has)  # it is the array
            continue
        stored = [starts[v] for v in has or () if v in starts and starts[v] in found.next]
        if any(found.used_after(before, version) for version in stored):
            raise outdated(loc)
        if stored and has is not None and before in has:  # of an earlier iteration
            has = None
        if has is None and before in found.used:
            raise outdated(loc)
        known.append(has)
    return known


def over(inits: Sequence[Val], first: Sequence[Sources], parameters: Sequence[Val], last: Sequence[Sources],
         results: Sequence[Any], made: Sequence[Val], *, surely: bool) -> None:
    """Note what a loop has made of arrays and their parts: those of `last` or, unless it `surely` runs, of `first`."""
    found = tracer()
    outer = {outside(v): m for v, m in zip(results, made, strict=True) if isinstance(v, Val)}
    for n, (init, after) in enumerate(zip(inits, made, strict=True)):
        if not isinstance(init.type, TensorType):
            continue
        if is_version(after, outside(init)) and outside(init) not in found.copies:
            continue  # it is the array
        one, other = first[n], last[n]
        if other is not None and surely and parameters[n] not in other:
            one = frozenset()
        if one is None or other is None:
            found.copies[after] = None
            continue
        has = {found.latest(v) for v in one} | {outer.get(v, v) for v in other if v not in parameters}
        arrays = frozenset(v for v in has if v != after and found.is_array(v))
        if arrays:
            found.copies[after] = arrays
