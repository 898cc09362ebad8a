"""Tile extents that fit, for a kernel whose own do not: found by tracing and compiling it with smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pto.core.errors import CapacityError, PtoError
from pto.passes.choose_tiles import smaller

NAMES = ("tile", "block")  # how options that are extents of tiles begin


def directed(options: Mapping[str, Any]) -> dict[str, int]:
    """The options that are extents of tiles."""
    return {name: value for name, value in options.items()
            if name.lower().startswith(NAMES) and type(value) is int and value > 1}


def advise(err: CapacityError, options: Mapping[str, Any], attempt: Callable[[Mapping[str, Any]], object]) -> None:
    """Put three choices of tile extents that fit in an error's hint, where the kernel's options choose them.

    Args:
        attempt: compiles the kernel with other options; raises a PtoError where that does not work.
    """
    chosen = directed(options)

    def fits(extents: tuple[int, ...]) -> bool:
        try:
            attempt({**options, **dict(zip(chosen, extents, strict=True))})
        except PtoError:
            return False
        return True

    found = smaller(tuple(chosen.values()), fits) if chosen else []
    if found:
        texts = [", ".join(f"{n}={v}" for n, v in zip(chosen, extents, strict=True)) for extents in found]
        err.hint = f"these fit: {'; or '.join(texts)}"
