"""What `@pt.tile_kernel` makes of a function: a callable that compiles itself, and shows how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from inspect import Parameter
from operator import index, is_not
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import BY_NUMPY, DType, TensorType
from pto.core.errors import (
    CapacityError,
    CaptureError,
    DTypeError,
    Loc,
    MemoryLimitError,
    PtoError,
    ShapeError,
    UsageError,
    located,
    require_known,
    user_frame,
)
from pto.core.numeric import DEFAULT as DEFAULT_NUMERIC
from pto.core.numeric import active
from pto.core.target import BY_NAME, DEFAULT, Target
from pto.ir.graph import Graph
from pto.ir.levels import LEVELS
from pto.isa.disasm import disassemble
from pto.isa.program import Program
from pto.lang.integers import Index
from pto.lang.kernel import Source, Traced
from pto.lang.quantised import Parts
from pto.lang.tiling import DIRECTIONS, TileOptimizer, config_of
from pto.lang.trace import Argument, is_tracing
from pto.passes.flag_ids import OutOfFlags
from pto.passes.pipeline import Options, compile_graph
from pto.quant.forms import Form, Packed
from pto.runtime.arguments import as_array, contiguous, dtype_of
from pto.runtime.explain import explain
from pto.runtime.fitting import advise
from pto.runtime.repeated import Repeated, are_same, held
from pto.runtime.variant import Variant
from pto.runtime.verify import Verdict, Verification
from pto.sim.machine import Changed

NATIVE = frozenset(map(np.dtype, BY_NUMPY))  # after `pto.core.arrays`, which makes bfloat16 known
Key = tuple[tuple[Any, ...], ...]  # element type and number of axes of each argument; constants
Constants = Mapping[str, Any]
NONE: Constants = MappingProxyType({})


def _is_size(value: object) -> bool:
    """May it be the extent of a grid?"""
    return hasattr(value, "__index__") and not isinstance(value, bool | Index) and index(value) >= 0


def _constant(item: tuple[str, Any]) -> tuple[Any, ...]:
    """What tells a constant from another: 1, 1.0 and True are equal, and trace to different programs."""
    name, value = item
    return name, type(value).__name__, value if type(value) is Parts else repr(value)


@dataclass(frozen=True)
class Launch:
    """A kernel on a grid, to be called."""

    kernel: Kernel
    grid: tuple[Any, ...]

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Run every program of the grid on these arguments."""
        return self.kernel._launch(values, named, self.grid)


class Kernel:
    """A tile kernel. Call it with arrays; or look at its graphs and its program.

    The kernel is traced and compiled when it is first called with arguments of given element types and
    numbers of axes; the program serves every extent for which what the trace relied on holds.
    """

    def __init__(self, function: FunctionType, *, target: Target = DEFAULT, options: Mapping[str, Any],
                 bound: tuple[Any, ...] = (), tiles: TileOptimizer | None = None) -> None:
        self.__name__, self.__doc__, self.__wrapped__ = function.__name__, function.__doc__, function
        self.source = Source(function, bound, user_frame().f_locals)
        self._require_used(options)
        self.target, self.options, self.tiles = target, dict(options), tiles
        self.variants: dict[Key, list[Variant]] = {}
        self._known_parts: dict[tuple[Any, ...], Parts] = {}
        self._lock = threading.Lock()
        self._latest: Variant | None = None
        self._repeated: Repeated | None = None
        self._held: list[Any] = []
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__

    def _require_used(self, options: Mapping[str, Any]) -> None:
        """An option directs the compiler, or is a name that the function reads: a misspelt one is neither."""
        for name in options:
            if name in self.source.parameters:
                raise UsageError(f"{name} is an option of {self.__name__} and an argument of it", loc=Loc.of_user(),
                                 hint=f"leave out one of them; or call it with {name}=...")
            if name not in DIRECTIONS and name not in self.source.names:
                close = get_close_matches(name, [*DIRECTIONS, "target", *self.source.names], n=1)
                raise UsageError(f"{self.__name__} does not use the option {name}", loc=Loc.of_user(),
                                 hint=f"did you mean {close[0]}?" if close else "an option is a name that the function "
                                 f"reads, target, or {', '.join(DIRECTIONS)}")

    def __get__(self, instance: object, owner: type | None = None) -> Kernel:
        """The kernel as a method: `self` is closed over, and its attributes are constants of the trace."""
        if instance is None:
            return self
        made = Kernel(self.__wrapped__, target=self.target, options=self.options, bound=(instance,), tiles=self.tiles)
        kept = getattr(instance, "__dict__", {})
        if isinstance(kept, dict) and getattr(owner, self.__name__, None) is self:
            kept[self.__name__] = made  # found there from now on, with its programs
        return made

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickled by name and copied by reference, as functions and methods are."""
        return (getattr, (*self.source.bound, self.__name__)) if self.source.bound else self.__qualname__

    def __repr__(self) -> str:
        return f"<tile kernel {self.__name__}({', '.join(self.source.parameters)})>"

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Run on arrays. Results are new arrays; arguments that the kernel stores to change in place.

        Raises:
            PtoError: the arguments do not fit the kernel, or each other.
        """
        last = self._repeated
        if last and not named and not is_tracing() and (extents := last.serves(values)) is not None:
            try:
                return self._run(last.variant, last.run, values, extents)
            except (Changed, ShapeError):  # nothing has run; extents may be others now
                pass
        return self._launch(values, named, ())

    def __getitem__(self, grid: Any) -> Launch:
        """``kernel[grid](...)``: the body runs once for each program of the grid, which `pt.program_id` tells.

        Args:
            grid: one to three integers, or a function of the kernel's options that gives them.

        Raises:
            UsageError: it is something else.
        """
        found = grid(self.options) if callable(grid) else grid
        sizes = tuple(found) if isinstance(found, tuple | list) else (found,)
        inside = is_tracing()
        if not 1 <= len(sizes) <= 3 or not all(_is_size(n) or (inside and isinstance(n, Index)) for n in sizes):
            raise UsageError(f"a grid is one to three integers, not {found!r}", loc=Loc.of_user(),
                             hint="write kernel[(pt.cdiv(n, block),)](...)")
        return Launch(self, sizes)

    def _launch(self, values: Sequence[Any], named: Mapping[str, Any], grid: tuple[Any, ...]) -> Any:
        """A call, on a grid if there is one."""
        if is_tracing():
            return self.source.inline(self._bind(values, named), self.options, grid)
        self._repeated = None  # its arrays may be seen to have changed
        names, given, constants, numbers = self._given(values, named)
        arrays = [self._array(v, n) for v, n in zip(given, names, strict=True)]
        extents = [n for array in arrays for n in array.shape] + numbers + [index(n) for n in grid]
        found = self._variant(arrays, extents, names, constants, len(grid))
        result = self._run(found, found.run, arrays, extents, given)
        if found.written and any(map(is_not, arrays, given)):
            found.write_back(arrays, given)
        if not (named or grid):
            self._note(values, arrays, found)
        return result

    def _run(self, found: Variant, run: Callable[..., Any], *arguments: Any) -> Any:
        """Run a variant in one of its ways; errors are told at the user's line."""
        self._latest = found
        try:
            return run(*arguments)
        except PtoError as err:
            err.loc = err.loc or Loc.of_user()
            raise
        except MemoryError as err:
            raise MemoryLimitError(f"{self.__name__}: {err}", loc=Loc.of_user(), hint="call it on parts of the arrays; "
                                   "numpy.broadcast_to and strides of 0 are copied") from None

    def _note(self, values: Sequence[Any], arrays: Sequence[NDArray[Any]], found: Variant) -> None:
        """Remember a call, where its arguments are those of the one before."""
        now, before = held(values), self._held
        self._held = now
        if are_same(now, before):
            self._repeated = Repeated.of(values, self._places[0], arrays, found)

    def _given(self, values: Sequence[Any],
               named: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any], Constants, list[int]]:
        """The same as `_split`, with the parts of quantised weights instead of these, and a constant that says so."""
        names, given, constants, numbers = self._split(values, named)
        if Packed not in map(type, given):
            return names, given, constants, numbers
        made: dict[str, Any] = {}
        known: dict[str, Any] = dict(constants)
        for name, value in zip(names, given, strict=True):
            if type(value) is Packed:
                known[name] = parts = self._parts(name, value.form, value.activation, value.shape)
                made |= dict(zip(parts.names, value.parts, strict=True))
            else:
                made[name] = value
        return tuple(made), tuple(made.values()), known, numbers

    def _parts(self, name: str, form: Form, activation: str, shape: tuple[int, ...]) -> Parts:
        """What is known of an argument that is quantised weights; the same each time, so that it is found at once."""
        key = name, form.name, activation, shape
        if key not in self._known_parts:
            names = tuple(self._named(f"{name}_{part}") for part in form.parts)
            self._known_parts[key] = Parts(form.name, activation, shape, names)
        return self._known_parts[key]

    def _split(self, values: Sequence[Any],
               named: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Any], Constants, list[int]]:
        """Names and values of the arguments that are tensors, the values of those that are constants, and integers."""
        names, counts = self.source.parameters, self.source.counts
        if not (named or self.source.flexible) and len(values) == len(names):
            if not counts:
                return names, values, NONE, []
            at, others = self._places
            numbers = [self._count(values[i], names[i]) for i in at]
            return self.source.tensors, [values[i] for i in others], NONE, numbers
        bound = self._bind(values, named)
        constants = {n: bound[n] for n in self.source.choosable if self.source.is_constant(n, bound[n])}
        numbers = [self._count(bound[n], n) for n in counts]
        tensors = {n: v for n, v in bound.items() if n not in constants and n not in counts}
        return tuple(tensors), tuple(tensors.values()), constants, numbers

    @cached_property
    def _places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the integers are among the parameters, and where the tensors."""
        names, counts = self.source.parameters, self.source.counts
        return tuple(map(names.index, counts)), tuple(i for i, name in enumerate(names) if name not in counts)

    def _count(self, value: Any, name: str) -> int:
        try:
            return index(value)
        except TypeError:
            raise UsageError(f"{name} is an integer of {self.__name__}, not a {type(value).__name__}",
                             loc=Loc.of_user()) from None

    def _array(self, value: Any, name: str) -> NDArray[Any]:
        if type(value) is np.ndarray and value.flags.c_contiguous and value.dtype in NATIVE:
            return value
        array = as_array(value, name, Loc.of_user())
        try:
            return array if contiguous(array) else np.ascontiguousarray(array)
        except MemoryError as err:
            raise MemoryLimitError(f"{name} is copied, for its elements are not one after the other: {err}",
                                   loc=Loc.of_user(), hint="pass a contiguous array, or parts of it") from None

    def _bind(self, values: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each parameter, defaults included."""
        rows, names = self.source.defaults, self.source.positional
        if len(values) > len(names) or (len(values) < len(names) and not named and not self.source.flexible):
            more = f"pass {', '.join(names[len(values):])}, too" if len(values) < len(names) else "leave out the rest"
            raise UsageError(f"{self.__name__} takes {len(names)} arguments ({', '.join(names)}), has {len(values)}",
                             loc=Loc.of_user(), hint=more)
        given = dict(zip(names, values, strict=False))
        for name in named:
            if name not in rows or name in given:
                said = f"has two values for {name}" if name in given else f"has no argument {name}"
                close = get_close_matches(name, rows, n=1)
                raise UsageError(f"{self.__name__} {said}", loc=Loc.of_user(), hint=f"did you mean {close[0]}?" if close
                                 and name not in given else f"its arguments are {', '.join(rows)}")
        given |= named
        bound = rows | given  # in the order of the parameters
        for name, value in bound.items():
            if value is Parameter.empty:
                raise UsageError(f"{self.__name__} needs the argument {name}", loc=Loc.of_user())
        return bound

    def declare(self, name: str, type: TensorType) -> None:
        """State the type of an argument, as its annotation would."""
        self._latest = self._repeated = None
        self._known_parts.clear()  # names that were free may be those of symbols now
        self.source.declare(name, type)

    # compiling

    def _variant(self, arrays: Sequence[NDArray[Any]], extents: Sequence[int], names: Sequence[str] = (),
                 constants: Constants = NONE, grid: int = 0) -> Variant:
        key: Key = tuple((a.dtype, a.ndim) for a in arrays)
        if grid:
            key += (("grid", grid),)
        key += (*self._computing(), *map(_constant, constants.items()))
        for found in self.variants.get(key, ()):
            if found.fits(extents):
                return found
        with located(Loc.of_user()):
            named = zip(names or self.source.tensors, arrays, strict=True)
            fixed = {part for c in constants.values() if isinstance(c, Parts) for part in c.names}
            arguments = tuple(Argument(n, TensorType(dtype_of(a), a.shape)) if n in fixed else self._argument(n, a)
                              for n, a in named)
            hints = self._hints(arguments, arrays)
            return self._compile(key, arguments, hints, constants, grid)

    @staticmethod
    def _computing() -> Key:
        """What of the numeric configuration a program is for; nothing where that is the usual one."""
        config = active().config
        return () if config is DEFAULT_NUMERIC else (("numeric", config),)

    def _compile(self, key: Key, arguments: tuple[Argument, ...], hints: Mapping[str, int],
                 constants: Constants = NONE, grid: int = 0) -> Variant:
        sizes = tuple(self._named(f"grid{axis}") for axis in range(grid))

        def traced(options: Mapping[str, Any]) -> Traced:
            return self.source.trace(arguments, hints, options, constants, self._kind, sizes, self.target)

        def directed(options: Mapping[str, Any]) -> Options:
            return Options(self.target, {k: v for k, v in options.items() if isinstance(v, int)})

        chosen = self._directed(arguments, hints)
        try:
            made = Variant.make(arguments, (*self.source.counts, *sizes), traced(chosen), directed(chosen))
        except OutOfFlags:  # smaller tiles need no fewer
            raise
        except CapacityError as err:
            advise(err, chosen, lambda options: compile_graph(traced(options).graph, directed(options)))
            raise
        with self._lock:
            self.variants.setdefault(key, []).append(made)
        return made

    def with_tiles(self, tiles: TileOptimizer) -> Kernel:
        """The kernel, whose tiles a tile optimizer directs."""
        return Kernel(self.__wrapped__, target=self.target, options=self.options, bound=self.source.bound, tiles=tiles)

    def _directed(self, arguments: Sequence[Argument], hints: Mapping[str, int]) -> Mapping[str, Any]:
        """The options, with what the tile optimizer says of this call."""
        if self.tiles is None:
            return self.options
        shapes = {a.name: tuple(d if isinstance(d, int) else hints.get(d, 0) for d in a.type.dims) for a in arguments}
        dtypes = {a.name: a.type.dtype for a in arguments}
        return {**self.options,
                **self.tiles.tiles(config_of(self.target, self.__name__, shapes, dtypes, self.options))}

    def _kind(self, value: Any, name: str) -> tuple[DType, tuple[int, ...]]:
        """The element type and the extents of an array from outside."""
        array = as_array(value, name, Loc.of_user())
        if not array.size:
            raise ShapeError(f"{name} has no elements", loc=Loc.of_user())
        return dtype_of(array), array.shape

    def _argument(self, name: str, array: NDArray[Any]) -> Argument:
        """The type of an argument: as annotated, else with a symbol for each axis."""
        annotated = self.source.annotations.get(name)
        dtype = dtype_of(array)
        if annotated is None:
            return Argument(name, TensorType(dtype, tuple(self._symbol(name, axis) for axis in range(array.ndim))))
        if annotated.dtype != dtype:
            raise DTypeError(f"{name} is {dtype.title}; {self.__name__} takes {annotated.dtype.title}",
                             hint=f"pass {name}.astype(numpy.{annotated.dtype.numpy})")
        if annotated.rank != array.ndim:
            raise ShapeError(f"{name} has {array.ndim} axes; {self.__name__} takes {annotated.rank}: "
                             f"{' x '.join(map(str, annotated.dims))}", hint=f"add an axis, as {name}.reshape(1, -1)"
                             if array.ndim < annotated.rank else f"pass a part, as {name}[0]")
        return Argument(name, annotated)

    def _symbol(self, name: str, axis: int) -> str:
        """What an extent is called: an argument's name and the axis, unless that names something else."""
        return self._named(f"{name}{axis}")

    def _named(self, found: str) -> str:
        taken = {*self.source.parameters, *(d for t in self.source.annotations.values() for d in t.dims)}
        while found in taken:
            found += "_"
        return found

    def _hints(self, arguments: Sequence[Argument], arrays: Sequence[NDArray[Any]]) -> dict[str, int]:
        """The extents of this call, by symbol; where annotations share a symbol, the extents must agree."""
        hints: dict[str, int] = {}
        first: dict[str, str] = {}
        for argument, array in zip(arguments, arrays, strict=True):
            for axis, (dim, size) in enumerate(zip(argument.type.dims, array.shape, strict=True)):
                here = f"{argument.name}.shape[{axis}]"
                want = hints.setdefault(dim, size) if isinstance(dim, str) else dim
                if size == 0:
                    raise ShapeError(f"{here} is 0; an argument has at least one element in each axis",
                                     hint=f"leave out the call where {argument.name} is empty")
                if want != size:
                    said = f"{first[dim]} is {want}" if isinstance(dim, str) else f"it must be {dim}"
                    raise ShapeError(f"{here} is {size}, but {said}", hint=f"both are {dim} in the annotations of "
                                     f"{self.__name__}" if isinstance(dim, str) else "")
                if isinstance(dim, str):
                    first.setdefault(dim, here)
        return hints

    def compiled(self) -> Variant:
        """The variant of the latest call; before the first, the one that the annotations describe.

        Raises:
            CaptureError: nothing was called yet, and an argument is not annotated.
        """
        if self._latest is None:
            arguments = self.source.declared()
            others = {*(a.name for a in arguments), *self.source.counts}
            constants = {n: p.default for n, p in self.source.signature.parameters.items() if n not in others}
            key: Key = tuple((numpy_dtype(a.type.dtype), a.type.rank) for a in arguments)
            key += (*self._computing(), *map(_constant, constants.items()))
            self._latest = self._compile(key, arguments, {}, constants)
        return self._latest

    def verify(self, *values: Any, ref: Any = None, tolerance: float = 1e-4) -> Verdict:
        """Run every level on these arguments, each compared with the one before it.

        Args:
            ref: a function of the same arguments, which returns what the kernel does or stores to the same arguments;
                or its result. The traced graph is compared with it.
            tolerance: allowed difference, relative to one plus the largest element.
        """
        names, given, constants, numbers = self._given(values, {})
        arrays = [self._array(v, n) for v, n in zip(given, names, strict=True)]
        extents = [n for array in arrays for n in array.shape] + numbers
        self._latest = found = self._variant(arrays, extents, names, constants)
        copies = [np.array(a) for a in arrays]
        expected = ref(*copies) if callable(ref) else ref
        if callable(ref) and expected is None:
            expected = [copies[slot] for slot in found.outputs if slot < len(copies)]
        if expected is not None:
            expected = [np.asarray(e) for e in (expected if isinstance(expected, tuple | list) else [expected])]
        with located(Loc.of_user()):
            return Verification(found, arrays, extents, tolerance).run(expected)

    # looking inside

    def graph(self, level: str = "tile") -> Graph:
        """The graph of a level: ``tensor``, ``tile``, ``block`` or ``execution``; printable with `pto.text`."""
        require_known(LEVELS, level, "level", loc=Loc.of_user())
        return self.compiled().compiled.graph(level)

    def program(self) -> Program:
        """The program."""
        return self.compiled().program

    def disasm(self) -> str:
        """The program as assembly, with the source line beside each instruction."""
        return disassemble(self.program())

    def explain(self) -> str:
        """What each on-chip memory holds, what overlaps by a second slot, and why the rest does not."""
        return explain(self.compiled().compiled, self.target)


def tile_kernel(function: FunctionType | None = None, *, target: str | Target = DEFAULT,
                tiles: TileOptimizer | None = None, **options: Any) -> Any:
    """Make a function a tile kernel.

    Use it plain or with options: ``@pt.tile_kernel`` or ``@pt.tile_kernel(tile_m=128, tile_n=128, tile_k=32)``.
    `tile_m`, `tile_n` and `tile_k` direct how whole-tensor expressions are cut; every option is a name that
    the function may use; `tiles`, a function decorated with `@pt.tile_optimizer`, gives them for each call that is
    compiled. `target` is the machine: ``"AI_Accelerator_V1"``, ``"AI_Accelerator_V2"`` (default).

    Raises:
        UsageError: there is no such target, or what is decorated is no function.
    """
    if isinstance(target, str):
        require_known(BY_NAME, target, "target", loc=Loc.of_user())
        target = BY_NAME[target]
    elif not isinstance(target, Target):
        raise UsageError(f"a target is a name or a pto.Target, not {target!r}", loc=Loc.of_user(),
                         hint=f"targets: {', '.join(BY_NAME)}")
    for name, value in options.items():
        if name.startswith("tile_") and (not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} is a positive integer, not {value!r}", loc=Loc.of_user(),
                             hint=f"an extent of a tile, as {name}=64")
    if function is None:
        chosen = target
        return lambda f: tile_kernel(f, target=chosen, tiles=tiles, **options)
    if not isinstance(function, FunctionType):
        raise CaptureError(f"tile_kernel decorates a function, not a {type(function).__name__}", loc=Loc.of_user())
    if tiles is not None and not isinstance(tiles, TileOptimizer):
        raise UsageError(f"tiles is a {type(tiles).__name__}, not a tile optimizer", loc=Loc.of_user(),
                         hint="decorate the function with @pt.tile_optimizer")
    return Kernel(function, target=target, options=options, tiles=tiles)
