"""What a launch of a watched kernel found: the first odd value of each operation, under the name it is assigned to."""

from __future__ import annotations

import ast
import logging
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pto.core.errors import Loc, NumericError
from pto.core.numeric import NumericEvent, active
from pto.lang.capture import parsed
from pto.runtime.records import Record

LOGGER = logging.getLogger("pto.numeric")
UNNAMED = "its result"
Extent = Callable[[int | str], int]


def events(found: Sequence[Record], kernel: str, extent: Extent) -> list[NumericEvent]:
    """The first finding of each place, in the order in which the kernel was traced."""
    calls: dict[int, list[Record]] = {}
    for number, record in enumerate(found):
        watch = record.site.watch
        if record.first and record.site.call not in calls and watch is not None:
            group = found[number:number + 2 + watch.loops]
            if len(group) == 2 + watch.loops:  # else the log had no more room
                calls[record.site.call] = list(group)
    return [_event(calls[call], kernel, extent) for call in sorted(calls)]


def _event(group: Sequence[Record], kernel: str, extent: Extent) -> NumericEvent:
    first, picked, *counters = (record.values.reshape(-1)[0].item() for record in group)
    site, watch = group[0].site, group[0].site.watch
    assert watch is not None
    at = np.unravel_index(int(first), [extent(dim) for dim in watch.dims] or [1])
    element = tuple(int(n) for n in at)[:len(watch.dims)]
    return NumericEvent("nan" if math.isnan(picked) else "overflow", kernel, watch.argument or assigned(site.loc),
                        watch.op, site.loc, element, picked, tuple(counters))


def announce(found: Sequence[NumericEvent]) -> None:
    """Log what was found, and keep it where the configuration was set.

    Raises:
        NumericError: the first of it, where the configuration says so.
    """
    here = active()
    here.events.extend(found)
    for event in found:
        LOGGER.warning("%s", event)
    if found and here.config.on_detect == "raise":
        raise NumericError(found[0].said, loc=found[0].loc)


def assigned(loc: Loc) -> str:
    """What the value of an expression is assigned to, as its statement says."""
    tree = parsed(loc.file)
    if tree is None:  # nothing to look at, or cells with commands of their own
        return UNNAMED
    around = [node for node in _statements(tree) if node.lineno <= loc.line <= (node.end_lineno or 0)]
    return _target(max(around, key=lambda node: (node.lineno, node.col_offset)), loc) if around else UNNAMED


def _statements(tree: ast.AST) -> Iterator[ast.stmt | ast.Lambda]:
    kinds = ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Lambda
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def _target(node: ast.stmt | ast.Lambda, loc: Loc) -> str:
    if isinstance(node, ast.Assign):
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            inside = [t for t, v in zip(target.elts, value.elts, strict=True)
                      if (v.lineno, v.col_offset) <= (loc.line, loc.col)]
            target = inside[-1] if inside else target
        return ast.unparse(target)
    return ast.unparse(node.target) if isinstance(node, ast.AugAssign | ast.AnnAssign) else UNNAMED
