"""The fast machine: a program on virtual cores, exact, checked on every access, at native speed."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Collection, Sequence
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import Seen, numpy_dtype
from pto.core.errors import CompilerBug, DTypeError, ProgramError, ShapeError, UsageError
from pto.core.target import BY_NAME
from pto.isa.program import FIRST_PARAMETER, Program, TensorDecl
from pto.sim import jit
from pto.sim.launch import ENTRY, Frame, Launch
from pto.sim.layout import (
    ALIGN_MASK,
    ARENA,
    CORE,
    CORES,
    EVENT_IDS,
    EXACT,
    FUEL,
    LENDING,
    LOAN_WORDS,
    REGISTERS_AT,
    SCALARS,
    SPARE,
    TENSOR_ROWS,
    TENSOR_WORDS,
    TENSORS_AT,
    TILES,
    WATCH,
)
from pto.sim.link import PAGE, Words, link
from pto.sim.loans import JOINING, apart
from pto.sim.names import ENGINE, STANDING, WATCHED
from pto.sim.standing import COMPARE, Standing
from pto.sim.watch.state import Watch, chosen

DEFAULT_FUEL = 1 << 42  # for each core: some hours
Array = NDArray[Any]
# What a launch puts into contexts: descriptors that stay there, others by where they begin, and whether loads may lend.
Described = tuple[Standing | None, Sequence[tuple[int, Sequence[int]]], bool]


class Changed(Exception):
    """An array is no more as it was at an earlier launch."""


class RunStats(NamedTuple):
    """Instructions that ran, on all cores together."""

    scalar: int
    tile: int


class _Memory:
    """A block of host memory that starts on a page."""

    def __init__(self, nbytes: int) -> None:
        self.block = np.zeros(nbytes + PAGE, np.uint8)
        self.address = -(-self.block.ctypes.data // PAGE) * PAGE


_idle: dict[int, list[_Memory]] = {}  # arenas by size; what a program finds in one is undefined


def _take(nbytes: int) -> _Memory:
    pool = _idle.setdefault(nbytes, [])
    try:
        return pool.pop()
    except IndexError:
        return _Memory(nbytes)


class Machine:
    """A linked program, ready to be launched, from several host threads too if need be."""

    def __init__(self, program: Program, *, cores: int = 1, threads: int = 1, exact: bool = False,
                 check: str | Collection[str] = ()) -> None:
        """Link a program.

        Args:
            program: what every core runs.
            cores: virtual cores.
            threads: host threads that share the cores; checks take one.
            exact: sums as left folds, to the last bit as the manual says.
            check: ``uninitialised``, ``races``, or ``all``: what to look for besides what always traps.
        """
        self.check = chosen(check)
        threads = 1 if self.check else threads
        if cores < 1 or threads < 1:
            raise UsageError(f"a machine has at least one core and one thread, not {cores} and {threads}")
        limit = BY_NAME[program.target].cores if program.target in BY_NAME else cores
        if cores > limit:
            raise UsageError(f"{program.target} has {limit} cores, not {cores}")
        self.program, self.cores, self.threads, self.exact = program, cores, min(threads, cores), exact
        self.joined = any(inst.spec in JOINING for inst in program.code)
        self._linked = link(program)
        engine = WATCHED if self.check else ENGINE
        address = jit.addresses(sorted(self._linked.functions | {engine, STANDING}))
        self._linked.bind(address)
        self._code = self._linked.code.ctypes.data
        self._engine, self._compare = ENTRY(address[engine]), COMPARE(address[STANDING])
        self._template = self._blank()
        self._frames: list[Frame] = []
        flat = {view.tensor for view in program.views}
        self._answer: tuple[list[int], bool] = [], False
        self._standing: Standing | None = None
        self._before: list[tuple[int, ...]] = []  # descriptors of the last launch, of arrays that were looked at
        self._known: list[int] | None = None  # the parameters of the last launch, which were found to be right
        self._written = [decl.written for decl in program.tensors]
        self._views = [_View(decl, program, i in flat) for i, decl in enumerate(program.tensors)]

    def run(self, tensors: Sequence[Array], parameters: Sequence[int] = (), *, fuel: int | None = None) -> RunStats:
        """Run the program on every core.

        Args:
            tensors: an array for each tensor of the program; those it writes are changed in place.
            parameters: a value for each parameter of the program.
            fuel: units of work for each core.

        Raises:
            TrapError: an instruction was refused.
            FuelError: a core did not finish within its fuel.
            UsageError, ShapeError, DTypeError: the arguments are not what the program takes.
        """
        values = self._parameters(parameters)
        if len(tensors) != len(self._views):
            raise UsageError(f"{self.program.name} takes {len(self._views)} tensors, has {len(tensors)}")
        described = self._described(tensors, values)
        sizes = [array.nbytes for array in tensors] if self.check else None
        return RunStats(*self._launched(described, values, DEFAULT_FUEL if fuel is None else fuel, tensors, sizes))

    def standing(self, arrays: Sequence[Array]) -> Standing | None:
        """What `again` takes for the first arrays of the last launch; None: each is to be looked at."""
        found = self._standing
        return found if found and not self.check and found.is_about(arrays) else None

    def again(self, standing: Standing, tensors: Sequence[Array], parameters: Sequence[int], held: object) -> None:
        """Run on arrays of an earlier launch, and on others.

        Args:
            tensors: the last ones, made for this launch as the program declares them; they share memory with none.
            held: what keeps those before them alive.

        Raises:
            Changed: an array is not as it was; nothing has run.
            TrapError: an instruction was refused.
        """
        values, first = self._parameters(parameters), len(self._views) - len(tensors)
        addresses = standing.addresses(tensors, values, first)
        if addresses is None:
            raise Changed
        rows = [(TENSOR_WORDS * i, self._views[i].placed(tensors[i - first], values, addresses[i]))
                for i in standing.others]
        self._launched((standing, rows, standing.lends), values, DEFAULT_FUEL, (tensors, held))

    def _launched(self, described: Described, values: list[int], fuel: int, held: object,
                  sizes: list[int] | None = None) -> tuple[int, int]:
        """Run, and count instructions; `sizes`, in bytes, are for what is watched."""
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = Frame(self._template, self.threads)
        # Where cores wait for each other each needs its memories; else those of a host thread run one after the other.
        memories = [_take(self._linked.arena.nbytes) for _ in range(self.cores if self.joined else self.threads)]
        self._fill(frame, memories, values, described, fuel)
        launch = Launch(self.program, self._engine, self._code, frame, joined=self.joined, held=(self, held, memories))
        if sizes is not None:
            launch.watch = Watch(self.program, self.cores, self.check, sizes)
            frame.contexts[:, WATCH] = launch.watch.address
        try:
            launch.run()
            scalar = tile = 0
            for row in frame.cores:
                scalar, tile = scalar + row[SCALARS], tile + row[TILES]
        finally:
            if not launch.stopped:  # else a thread may still be at work in them
                self._frames.append(frame)
                _idle[self._linked.arena.nbytes].extend(memories)
        return scalar, tile

    def _described(self, tensors: Sequence[Array], values: list[int]) -> Described:
        """The descriptors of all arrays; those that are the same ones at each launch are looked at together."""
        views, standing, before = self._views, self._standing, self._before
        if standing and standing.addresses(tensors, values):
            others = {i: views[i].words(tensors[i], values) for i in standing.others}
            if not any([row is before[i] for i, row in others.items()]):  # else more of them stay
                words = standing.words.tolist()
                for i, row in others.items():
                    before[i] = row
                    words[TENSOR_WORDS * i:TENSOR_WORDS * (i + 1)] = row
                return standing, [(TENSOR_WORDS * i, row) for i, row in others.items()], self._lending(words)
        found = [view.words(tensor, values) for view, tensor in zip(views, tensors, strict=True)]
        same = [i for i, (one, other) in enumerate(zip(found, before, strict=False)) if one is other]
        self._before, words = found, [*chain.from_iterable(found)]
        relied = {dim: values[dim] for i in same for dim in views[i].dims if dim >= 0}
        self._standing = Standing.of(same, tensors, words, relied, self._lends(words, same), self._compare)
        return None, [(0, words)], self._lending(words)

    def _blank(self) -> Words:
        """Contexts as they are at the start of every launch."""
        descriptors = TENSOR_WORDS * len(self.program.surfaces)
        template = np.zeros((self.cores, TENSORS_AT + descriptors + LOAN_WORDS * self._linked.loans), np.int64)
        first = TENSORS_AT + TENSOR_WORDS * len(self.program.tensors)
        template[:, first + TENSOR_ROWS:TENSORS_AT + descriptors:TENSOR_WORDS] = -1
        template[:, EXACT] = self.exact
        target = BY_NAME[self.program.target]
        template[:, ALIGN_MASK:EVENT_IDS + 1] = target.align - 1, target.flags, target.events
        template[:, REGISTERS_AT] = template[:, CORE] = np.arange(self.cores)
        template[:, CORES] = self.cores
        template[:, REGISTERS_AT + 1] = self.cores
        return template

    def _parameters(self, parameters: Sequence[int]) -> list[int]:
        declared, known = self.program.parameters, self._known
        if known is not None and parameters == known:
            return known
        if len(parameters) != len(declared):
            raise UsageError(f"{self.program.name} takes {len(declared)} parameters, has {len(parameters)}")
        values = [int(value) for value in parameters]
        for value, row in zip(values, declared, strict=True):
            if not row.low <= value <= row.high:
                bounds = f"{row.low} <= {row.name} <= {row.high}"
                raise UsageError(f"{self.program.name}: {bounds} is violated by {value}")
        self._known = values
        return values

    def _fill(self, frame: Frame, memories: list[_Memory], values: list[int], described: Described, fuel: int) -> None:
        standing, rows, lending = described
        if standing and frame.standing is not standing:
            for context in frame.starts:
                context[TENSORS_AT:TENSORS_AT + len(standing.words)] = standing.words
            frame.standing = standing
        frame.reset()
        start, given = REGISTERS_AT + FIRST_PARAMETER, array("l", values)
        placed = [(TENSORS_AT + at, array("l", row)) for at, row in rows]
        for core, context in enumerate(frame.cores):
            address = memories[core % len(memories)].address
            context[FUEL], context[LENDING] = fuel, lending
            context[ARENA], context[SPARE] = address, address + self._linked.arena.spare
            context[start:start + len(given)] = given  # plain words: NumPy's ways into a row take longer
            for at, row in placed:
                context[at:at + len(row)] = row

    def _lending(self, words: list[int]) -> bool:
        """Whether loads may leave bytes in arrays with these descriptors; the last answer is kept."""
        known, answer = self._answer
        if known != words:
            answer = self._lends(words, range(len(self._views)))
            self._answer = words, answer
        return answer

    def _lends(self, words: Sequence[int], places: Sequence[int]) -> bool:
        """The same of some of the arrays."""
        return self._linked.loans > 0 and apart([span(words, i) for i in places], [self._written[i] for i in places])


class _View:
    """How an array becomes the rows and columns of a declared tensor; `flat`, of one that has views."""

    def __init__(self, decl: TensorDecl, program: Program, flat: bool) -> None:
        names = [row.name for row in program.parameters]
        for dim in decl.dims:
            if dim not in names if isinstance(dim, str) else dim < 0:
                raise ProgramError(f"tensor {decl.name}: {dim} is no extent or parameter of {program.name}")
        self.decl, self.dtype, self.flat = decl, numpy_dtype(decl.dtype), flat
        self.dims = [names.index(dim) if isinstance(dim, str) else -1 - dim for dim in decl.dims]
        self.symbolic = max(self.dims, default=-1) >= 0
        self._last: tuple[Seen, tuple[object, ...], tuple[int, ...]] | None = None

    def words(self, array: Array, values: list[int]) -> tuple[int, ...]:
        """The descriptor of an array that fits the declaration; most launches are on that of the one before."""
        last = self._last
        if last is not None and last[0].still(array) and last[1] == self._about(array, values):
            return last[2]
        words, seen = self._described(array, values), Seen(array)
        if seen.address == words[0]:
            self._last = seen, self._about(array, values), words
        return words

    def _about(self, array: Array, values: list[int]) -> tuple[object, ...]:
        """What a descriptor depends on besides what an array that was seen is."""
        return array.flags.writeable or not self.decl.written, self.symbolic and values

    def placed(self, array: Array, values: list[int], address: int) -> tuple[int, ...]:
        """The descriptor of an array that was made for a launch as declared, at an address."""
        shape, size = [values[dim] if dim >= 0 else -1 - dim for dim in self.dims], self.dtype.itemsize
        rows, cols = prod(shape[:-1]), shape[-1] if shape else 1
        if array.nbytes != rows * cols * size:
            raise CompilerBug(f"tensor {self.decl.name} was made with {array.nbytes} bytes, not {rows * cols * size}")
        return address, rows, cols, cols * size, size

    def _described(self, array: Array, values: list[int]) -> tuple[int, ...]:
        decl = self.decl
        if not isinstance(array, np.ndarray):
            raise UsageError(f"tensor {decl.name} is a {type(array).__name__}, not an array")
        if array.dtype != self.dtype:
            raise DTypeError(f"tensor {decl.name} is {array.dtype}, not {self.dtype}")
        shape = array.shape
        want = tuple([values[dim] if dim >= 0 else -1 - dim for dim in self.dims])
        if shape != want:
            raise ShapeError(f"tensor {decl.name} has shape {shape}, not {want}")
        if decl.written and not array.flags.writeable:
            raise UsageError(f"tensor {decl.name} is read-only, and the program writes to it")
        return _address(array), *self._extents(array), self.dtype.itemsize

    def _extents(self, array: Array) -> tuple[int, int, int]:
        shape, strides, size = array.shape, array.strides, self.dtype.itemsize
        if self.flat and not array.flags.c_contiguous:
            raise self._refused(strides, "has views, and")
        if len(shape) == 2 and (strides[1] == size or shape[1] <= 1):
            return shape[0], shape[1], strides[0]
        if len(shape) == 1 and (strides[0] == size or shape[0] <= 1):
            return 1, shape[0], size
        if not array.flags.c_contiguous:
            raise self._refused(strides)
        last = shape[-1] if shape else 1
        return prod(shape[:-1]), last, last * size

    def _refused(self, strides: tuple[int, ...], why: str = "has") -> UsageError:
        message = f"tensor {self.decl.name} {why} strides {strides}; its elements must be contiguous"
        return UsageError(message, hint="pass numpy.ascontiguousarray(x)")


def _address(array: Any) -> int:
    """Where the first element of an array is: NumPy's own answer takes as long as the rest of a descriptor."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError, BufferError):  # read-only, empty, in pieces, or of elements that buffers do not know
        return int(array.ctypes.data)


def span(words: Sequence[int], tensor: int) -> tuple[int, int]:
    """The first address of an array, and the one behind its last, from its descriptor."""
    base, rows, cols, stride, size = words[TENSOR_WORDS * tensor:TENSOR_WORDS * (tensor + 1)]
    last = (rows - 1) * stride
    return (base + min(0, last), base + max(0, last) + cols * size) if rows and cols else (base, base)
