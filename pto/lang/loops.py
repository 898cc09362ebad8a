"""Loops of a program that functions of the language make, as a `for` statement of a kernel makes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pto.lang.language import Range, for_loop


def repeat(bounds: Range, body: Callable[..., tuple[Any, ...]], *carried: Any) -> Any:
    """`carried = body(counter, *carried)` for each value of the counter; gives the last ones."""
    names = tuple(f"value{i}" for i, _ in enumerate(carried))
    return for_loop(bounds, body, carried, names, (), subscripts=True)
