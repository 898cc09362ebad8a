"""One compiled form of a kernel: for arguments of given element types and axes, under guards on extents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import ShapeError, UsageError
from pto.isa.program import Program, TensorDecl
from pto.lang.kernel import Traced
from pto.lang.trace import Argument
from pto.passes.analysis import slot_of
from pto.passes.pipeline import Compiled
from pto.sim.machine import Machine

Guard = tuple[int, int, bool]  # (position, other position or value, is it a value?)


@dataclass(frozen=True)
class Variant:
    """A traced and compiled kernel, ready to be launched.

    `symbols` names, for each axis of each argument in order, the symbol or integer it is.
    """

    arguments: tuple[Argument, ...]
    traced: Traced
    compiled: Compiled

    @property
    def program(self) -> Program:
        return self.compiled.program

    @cached_property
    def symbols(self) -> tuple[int | str, ...]:
        return tuple(d for a in self.arguments for d in a.type.dims)

    @cached_property
    def first(self) -> dict[str, int]:
        """Where each symbol is first seen among the extents."""
        found: dict[str, int] = {}
        for position, symbol in enumerate(self.symbols):
            if isinstance(symbol, str):
                found.setdefault(symbol, position)
        return found

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """What the extents of a call must satisfy for this program to be right for it."""
        found: list[Guard] = []
        for position, symbol in enumerate(self.symbols):
            meant = self.traced.same.get(symbol, symbol) if isinstance(symbol, str) else symbol
            if isinstance(meant, int):
                found.append((position, meant, True))
            elif self.first[meant] != position:
                found.append((position, self.first[meant], False))
        return tuple(found)

    def fits(self, extents: Sequence[int]) -> bool:
        """Is the program right for these extents?"""
        return all(extents[i] == (j if fixed else extents[j]) for i, j, fixed in self.guards)

    @cached_property
    def machine(self) -> Machine:
        return Machine(self.program)

    @cached_property
    def parameters(self) -> tuple[int, ...]:
        """Where each parameter of the program is among the extents."""
        return tuple(self.first[p.name] for p in self.program.parameters)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """The slot of each output of the Tile graph."""
        graph = self.compiled.graph("tile")
        return tuple(slot_of(graph, k) for k in graph.outputs)

    def write_back(self, arrays: Sequence[NDArray[Any]], given: Sequence[Any]) -> None:
        """What was stored to a copy of an argument goes to the argument too.

        Raises:
            UsageError: the argument is no array.
        """
        for decl, array, value in zip(self.program.tensors, arrays, given, strict=False):
            if decl.written and array is not value:
                if isinstance(value, np.ndarray):
                    if not np.may_share_memory(array, value):
                        value[...] = array
                elif not hasattr(value, "__array_interface__") and not hasattr(value, "__dlpack__"):
                    raise UsageError(f"{self.program.name} stores to {decl.name}, which is a {type(value).__name__}",
                                     hint="pass an array to store to")

    @cached_property
    def idle(self) -> dict[tuple[str, tuple[int, ...]], list[NDArray[Any]]]:
        """Scratch tensors of earlier launches, to be used again."""
        return {}

    def scratch(self, decl: TensorDecl, shape: tuple[int, ...]) -> NDArray[Any]:
        """Room for an intermediate value."""
        try:
            return self.idle[decl.name, shape].pop()
        except (KeyError, IndexError):
            return np.empty(shape, decl.dtype.numpy)

    def run(self, arrays: Sequence[NDArray[Any]], extents: Sequence[int]) -> Any:
        """Launch on the caller's arrays; results are new arrays, written arguments change in place."""
        values = [extents[i] for i in self.parameters]
        for p, value in zip(self.program.parameters, values, strict=True):
            if not p.low <= value <= p.high:
                raise ShapeError(f"{self.program.name} is right for {p.low} <= {p.name} <= {p.high}; "
                                 f"{p.name} is {value}")
        by_name = dict(zip((p.name for p in self.program.parameters), values, strict=True))
        tensors = list(arrays)
        for decl in self.program.tensors[len(arrays):]:
            shape = tuple(by_name[d] if isinstance(d, str) else d for d in decl.dims)
            tensors.append(self.scratch(decl, shape) if decl.scratch else np.empty(shape, decl.dtype.numpy))
        self.machine.run(tensors, values)
        for decl, array in zip(self.program.tensors, tensors, strict=True):
            if decl.scratch:
                self.idle.setdefault((decl.name, array.shape), []).append(array)
        count = self.traced.returned
        results = [tensors[slot] for slot in self.outputs[:abs(count)]]
        return (results[0] if count == -1 else tuple(results)) if count else None
