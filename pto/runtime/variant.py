"""One compiled form of a kernel: for arguments of given element types and axes, under guards on extents."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype, room
from pto.core.errors import ShapeError, UsageError
from pto.ir.ops import ARG
from pto.isa.program import Program
from pto.lang.kernel import Traced
from pto.lang.trace import Argument
from pto.passes.analysis import slot_of
from pto.passes.pipeline import Compiled, Options, compile_graph
from pto.quant.forms import Packed
from pto.runtime import keep
from pto.runtime.arguments import as_array, contiguous, convert, require_writable
from pto.runtime.dump import dump
from pto.runtime.reports import deliver
from pto.runtime.threads import get_num_threads
from pto.runtime.trapped import explain
from pto.sim.machine import Changed, Machine
from pto.sim.standing import Standing
from pto.sim.traps import MachineTrap

NONE: Mapping[str, NDArray[Any]] = MappingProxyType({})
Guard = tuple[int, int, bool]  # (position, other position or value, is it a value?)
Bound = tuple[Sequence[int], Sequence[int], Sequence[tuple[int, ...]]]  # extents; parameters; shapes


class Room(NamedTuple):
    """A tensor that a launch makes."""

    name: str
    dims: tuple[int | str, ...]
    dtype: np.dtype[Any]
    scratch: bool
    make: Callable[..., NDArray[Any]]


def picked(positions: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    """The values at some positions."""
    return tuple([values[i] for i in positions])


def named(program: Program, outputs: Sequence[int], names: Sequence[str]) -> Program:
    """A program whose results are called as in the kernel, where that is no other's name."""
    tensors = list(program.tensors)
    taken = {decl.name for decl in tensors} | {row.name for row in program.parameters}
    for slot, name in zip(outputs, names, strict=False):
        if tensors[slot].name == f"result{slot}" and name not in taken:
            tensors[slot] = replace(tensors[slot], name=name)
            taken.add(name)
    return replace(program, tensors=tuple(tensors))


@dataclass(frozen=True)
class Variant:
    """A traced and compiled kernel, ready to be launched.

    `symbols` names, for each axis of each argument in order, the symbol or integer it is, then the integers of a call,
    then those of the axes of arrays from outside.
    """

    arguments: tuple[Argument, ...]
    counts: tuple[str, ...]
    traced: Traced
    options: Options
    program: Program
    outputs: tuple[int, ...]  # the slot of each output

    @classmethod
    def make(cls, arguments: tuple[Argument, ...], counts: tuple[str, ...], traced: Traced, options: Options, *,
             fresh: bool = False) -> Variant:
        """Compile, or find what an earlier process compiled."""
        uncached = fresh or os.environ.get("PTO_DISABLE_CACHE") or os.environ.get("PTO_DUMP_DIR")
        name = "" if uncached else keep.key(traced.graph, options)
        if name and (kept := keep.fetch(name)):
            return cls(arguments, counts, traced, options, named(*kept, traced.names), kept[1])
        compiled = compile_graph(traced.graph, options)
        if directory := os.environ.get("PTO_DUMP_DIR"):
            dump(compiled, Path(directory))
        tile = compiled.graph("tile")
        outputs = tuple(slot_of(tile, k) for k in tile.outputs)
        if name:
            keep.put(name, compiled.program, outputs)
        made = cls(arguments, counts, traced, options, named(compiled.program, outputs, traced.names), outputs)
        made.__dict__["compiled"] = compiled
        return made

    @cached_property
    def compiled(self) -> Compiled:
        """The graph after each pass; made anew where the program came from the cache."""
        return compile_graph(self.traced.graph, self.options)

    @cached_property
    def symbols(self) -> tuple[int | str, ...]:
        implicit = tuple(d for c in self.traced.captured for d in c.argument.type.dims)
        return (*(d for a in self.arguments for d in a.type.dims), *self.counts, *implicit)

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
        """Is the program right for these extents, and for what there is outside?"""
        if self.traced.captured:
            found = self.outside()
            if found is None:
                return False
            extents = self.all_extents(extents, found)
        if any(last == extents for last, _, _ in self._last):
            return True
        fixed, values, left, right = self._checks
        return picked(fixed, extents) == values and picked(left, extents) == picked(right, extents)

    def fits_integers(self, extents: Sequence[int]) -> bool:
        """The same of a call whose arrays have the extents that they had when it was right, and no array is outside."""
        return all([extents[at] == (other if is_value else extents[other]) for at, other, is_value in self._counted])

    @cached_property
    def _counted(self) -> tuple[Guard, ...]:
        """The guards that concern integers of a call."""
        first = sum(a.type.rank for a in self.arguments)
        return tuple((i, j, value) for i, j, value in self.guards if i >= first or (not value and j >= first))

    @cached_property
    def _checks(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The guards as two comparisons of many extents, for those of a model are a hundred."""
        fixed = [(i, j) for i, j, value in self.guards if value]
        pairs = [(i, j) for i, j, value in self.guards if not value]
        return (tuple(i for i, _ in fixed), tuple(j for _, j in fixed),
                tuple(i for i, _ in pairs), tuple(j for _, j in pairs))

    def outside(self) -> list[Any] | None:
        """The arrays from outside of the kernel as they are now; None where one is not what the program is for."""
        found = [c.fetch() for c in self.traced.captured]
        return None if any(v is None or 0 in v.shape for v in found) else found

    def all_extents(self, extents: Sequence[int], found: Sequence[Any]) -> list[int]:
        """The extents of a call with those of the arrays from outside."""
        return [*extents, *(int(n) for value in found for n in value.shape)]

    def implicit(self) -> dict[str, NDArray[Any]]:
        """The arrays from outside of the kernel, by name, as the machine takes them.

        Raises:
            UsageError: another thread took one away since it was looked at.
        """
        found = self.outside()
        if found is None:
            raise UsageError(f"an array that {self.program.name} reads from outside changed while it was called")
        names = [c.argument.name for c in self.traced.captured]
        arrays = {n: as_array(v, n) for n, v in zip(names, found, strict=True)}
        return {n: a if contiguous(a) else np.ascontiguousarray(a) for n, a in arrays.items()}

    @cached_property
    def machines(self) -> dict[tuple[int, str], Machine]:
        """A machine for each number of threads, and for what was looked for."""
        return {}

    @property
    def machine(self) -> Machine:
        """The program on as many cores as there are threads for it."""
        count, check = get_num_threads(), os.environ.get("PTO_CHECK", "")
        found = self.machines.get((count, check))
        if found is None:
            cores = max(count, 2) if check else count  # one core has no races with another
            found = self.machines[count, check] = Machine(self.program, cores=cores, threads=count, check=check)
        return found

    @cached_property
    def parameters(self) -> tuple[int, ...]:
        """Where each parameter of the program is among the extents."""
        return tuple(self.first[p.name] for p in self.program.parameters)

    def write_back(self, arrays: Sequence[NDArray[Any]], given: Sequence[Any]) -> None:
        """What was stored to a copy of an argument goes to the argument too."""
        for i in self.written:
            if arrays[i] is not given[i]:
                view = convert(given[i], self.arguments[i].name)
                if not np.may_share_memory(arrays[i], view):
                    view[...] = arrays[i]

    def require(self, given: Sequence[Any]) -> None:
        """What is stored to can be stored to: known before anything runs.

        Raises:
            UsageError: an argument is read-only, no array, or overlaps itself.
        """
        for i in self.written:
            value = given[i]
            if type(value) is not np.ndarray or not (value.flags.c_contiguous and value.flags.writeable):
                require_writable(value, self.arguments[i].name, self.program.name)

    @cached_property
    def written(self) -> tuple[int, ...]:
        """Positions of the arguments that the program stores to."""
        return tuple(i for i, _ in enumerate(self.arguments) if self.program.tensors[i].written)

    def _apart(self, arrays: Sequence[NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> None:
        """Arguments that are stored to share no memory with others.

        Raises:
            UsageError: two of them do.
        """
        for i in self.written:
            for j, other in enumerate(arrays):
                if i != j and np.may_share_memory(arrays[i], other):
                    a, b = self.arguments[i].name, self.arguments[j].name
                    raise UsageError(f"{a} is stored to, and shares memory with {b}", hint=f"pass a copy of {b}")
            for name, other in others.items():
                if np.may_share_memory(arrays[i], other):
                    raise UsageError(f"{self.arguments[i].name} is stored to, and shares memory with {name}, which "
                                     f"{self.program.name} reads from outside", hint="pass a copy")

    @cached_property
    def idle(self) -> list[list[NDArray[Any] | None]]:
        """The tensors that earlier launches made, to be used again: one for each of `_made` that is scratch."""
        return []

    def _rooms(self, shapes: Sequence[tuple[int, ...]], others: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The tensors that a launch makes.

        Room for an intermediate value is zeros at first, for a kernel need not store to all of its own. What launches
        of other extents left is let go: texts of ever other lengths would keep a set each.
        """
        try:
            rooms = self.idle.pop()
        except IndexError:  # there is none, perhaps because another thread took it
            rooms = [None if i in self._fresh else row.make(row.dims, row.dtype) for i, row in enumerate(self._made)]
        for i, shape in zip(self._fresh, shapes, strict=True):
            row, old = self._made[i], rooms[i]
            if old is None or old.shape != shape:
                rooms[i] = others[row.name] if row.name in others else row.make(shape, row.dtype)
        return rooms

    @cached_property
    def _fresh(self) -> tuple[int, ...]:
        """Which of `_made` a launch looks at: all but scratch whose shape never changes."""
        return tuple(i for i, row in enumerate(self._made)
                     if not row.scratch or any(isinstance(d, str) for d in row.dims))

    @cached_property
    def _results(self) -> tuple[int, ...]:
        """Which of `_made` the caller gets."""
        return tuple(i for i, row in enumerate(self._made) if not row.scratch)

    def _within(self, extents: Sequence[int]) -> None:
        """Pieces of axes lie inside of them.

        Raises:
            ShapeError: at the line that takes a piece that does not.
        """
        for (extent, start, _, loc), (at, end) in zip(self.traced.within, self._pieces, strict=True):
            have, room = extents[at] if at >= 0 else -1 - at, extents[end] if end >= 0 else -1 - end
            if start + have > room:
                raise ShapeError(f"{have} elements from {start} on ({extent}) are not inside an axis of extent {room}",
                                 loc=loc)

    @cached_property
    def _pieces(self) -> tuple[tuple[int, int], ...]:
        """Of each piece of an axis, where its extent and that of the axis are among the extents (-1 - n: the number n).
        """
        def place(extent: int | str) -> int:
            return self.first[extent] if isinstance(extent, str) else -1 - extent
        return tuple((place(extent), place(size)) for extent, _, size, _ in self.traced.within)

    @cached_property
    def declared_results(self) -> frozenset[str]:
        """Results that the kernel made by `pt.empty`, and stores to where it likes."""
        nodes = (node for _, node in self.traced.graph.items() if node.op is ARG and node["result"])
        known = {node["name"] for node in nodes}
        return frozenset(d.name for slot, d in enumerate(self.program.tensors)
                         if d.name in known or f"result{slot}" in known)

    @cached_property
    def _made(self) -> tuple[Room, ...]:
        """The tensors that a launch makes: zeros, where the program may leave elements as they are."""
        return tuple(Room(d.name, d.dims, numpy_dtype(d.dtype), d.scratch,
                          room if d.scratch else np.zeros if d.name in self.declared_results else np.empty)
                     for d in self.program.tensors[len(self.arguments):])

    @cached_property
    def _last(self) -> list[Bound]:
        """What was found for the extents of the last launch, if there was one: most have those of the one before."""
        return []

    def _bound(self, extents: Sequence[int]) -> tuple[Sequence[int], Sequence[tuple[int, ...]]]:
        """The parameters of the program, and the shapes of the tensors that a launch looks at.

        Raises:
            ShapeError: the program is not right for these extents.
        """
        for last, values, shapes in self._last:
            if last == extents:
                return values, shapes
        values = [extents[i] for i in self.parameters]
        for p, value in zip(self.program.parameters, values, strict=True):
            if not p.low <= value <= p.high:
                raise ShapeError(f"{self.program.name} is right for {p.low} <= {p.name} <= {p.high}; "
                                 f"{p.name} is {value}")
        self._within(extents)
        shapes = [tuple([values[dim] if dim >= 0 else -1 - dim for dim in dims]) for dims in self._sizes]
        self._last[:] = [(extents, values, shapes)]
        return values, shapes

    @cached_property
    def _sizes(self) -> tuple[tuple[int, ...], ...]:
        """Of each tensor that a launch looks at, which parameter an extent is (-1 - n: the number n)."""
        names = [p.name for p in self.program.parameters]
        return tuple(tuple(names.index(d) if isinstance(d, str) else -1 - d for d in self._made[i].dims)
                     for i in self._fresh)

    @cached_property
    def _log(self) -> int:
        """The slot of the tensor that the program reports in."""
        return next(i for i, decl in enumerate(self.program.tensors) if decl.name == self.traced.log)

    @property
    def plain(self) -> bool:
        """Does a launch take its arguments alone, and report nothing?"""
        return not (self.traced.captured or self.traced.sites)

    def _run(self, tensors: Sequence[NDArray[Any]], values: Sequence[int], extents: Sequence[int]) -> None:
        """Run the machine, and pass on what it reports, whatever ended it."""
        if not self.traced.sites:
            self.machine.run(tensors, values)
            return
        try:
            self.machine.run(tensors, values)
        finally:  # an assertion that did not hold says more than what it led to
            deliver(tensors[self._log], self.traced.sites, self.program.name,
                    lambda dim: dim if isinstance(dim, int) else extents[self.first[dim]])

    def run(self, arrays: Sequence[NDArray[Any]], extents: Sequence[int], given: Sequence[Any]) -> Any:
        """Launch on arrays, and what they were made of; results are new ones, written arguments change in place.

        Raises:
            UsageError: as `require`.
        """
        self.require(given)
        others: Mapping[str, NDArray[Any]] = self.implicit() if self.traced.captured else NONE
        if others:
            extents = self.all_extents(extents, list(others.values()))
        values, shapes = self._bound(extents)
        rooms = self._rooms(shapes, others)
        tensors = [*arrays, *rooms]
        self._apart(arrays, others)
        try:
            self._run(tensors, values, extents)
        except MachineTrap as err:
            explain(err, self.program, [array.shape for array in tensors])
            raise
        return self._returned(rooms, arrays)

    def again(self, machine: Machine, standing: Standing, given: Sequence[Any], extents: Sequence[int]) -> Any:
        """Launch a `plain` variant on arguments of an earlier launch.

        Raises:
            Changed: an array is not as it was; nothing has run.
        """
        values, shapes = self._bound(extents)
        rooms = self._rooms(shapes, NONE)
        try:
            machine.again(standing, rooms, values, given)
        except Changed:
            self.idle.append(rooms)  # as if nobody had looked: scratch stays the same, too
            raise
        except MachineTrap as err:
            explain(err, self.program, [array.shape for array in (*taken(given), *rooms)])
            raise
        return self._returned(rooms, taken(given) if self._hands_back else ())

    def _returned(self, rooms: list[Any], arrays: Sequence[NDArray[Any]]) -> Any:
        """What the kernel returns; scratch is kept for another launch."""
        count = self.traced.returned
        results = [rooms[i] if i >= 0 else arrays[i] for i in self._places]
        for i in self._results:
            rooms[i] = None
        self.idle.append(rooms)
        return (results[0] if count == -1 else tuple(results)) if count else None

    @cached_property
    def _hands_back(self) -> bool:
        """Are there arguments among what the kernel returns?"""
        return any(i < 0 for i in self._places)

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """Where each returned tensor is: among those that a launch makes, or, from the end, among the arguments."""
        return tuple(slot - len(self.arguments) for slot in self.outputs[:abs(self.traced.returned)])


def taken(values: Sequence[Any]) -> list[NDArray[Any]]:
    """The arrays among values, and those of which quantised weights consist, in order."""
    found: list[NDArray[Any]] = []
    for value in values:
        if type(value) is np.ndarray:
            found.append(value)
        elif type(value) is Packed:
            found += value.parts
    return found
