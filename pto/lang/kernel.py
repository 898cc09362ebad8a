"""From a function and the types of its arguments to a Tensor graph."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from types import CodeType, FunctionType
from typing import Any

from pto.core.dtypes import DType
from pto.core.errors import CaptureError, Loc, ShapeError, kernel_in, located
from pto.core.target import DEFAULT, Target
from pto.core.types import IndexType, TensorType
from pto.ir.graph import Graph
from pto.ir.ops import ARG
from pto.lang import capture, elements, language, methods, windows  # noqa: F401  (methods: gives tensors theirs)
from pto.lang.detection import detector
from pto.lang.integers import Index, unwrap
from pto.lang.outside import Captured, find, is_array
from pto.lang.quantised import assembled
from pto.lang.random import drawn
from pto.lang.regions import is_version
from pto.lang.stores import setitem
from pto.lang.symbols import Extent
from pto.lang.trace import Argument, Site, Tracer, finish, tracer, tracing
from pto.lang.values import Tensor, Tile, wrap

RESERVED = ("core", "cores")  # extents of every program


class constexpr:
    """Annotation of a parameter whose value is a constant of the program: each value compiles a program of its own."""

    def __class_getitem__(cls, kind: Any) -> type[constexpr]:
        return cls


CONSTANTS = (constexpr, int, float, bool, str)  # annotations of parameters that are no tensors
VALUES = (type(None), int, float, str, DType, tuple)  # of what a default is for: a constant is one of them


def _stored(value: object) -> bool:
    """Is it a tensor that was written to? A name that was bound to a new value is not."""
    if not isinstance(value, Tensor):
        return False
    name = value.val.node.op.name
    return not name.startswith("tensor.") or name == "tensor.assign"


Kind = Callable[[Any, str], tuple[DType, tuple[int, ...]]]  # of an array and its name


def no_kind(value: Any, name: str) -> tuple[DType, tuple[int, ...]]:
    """Where nothing knows arrays."""
    raise CaptureError(f"{name} is an array from outside of the kernel", loc=Loc.of_user(),
                       hint="make it an argument of the kernel")


def resolved(site: Site, resolve: Callable[[Extent], Extent]) -> Site:
    """A site whose extents are those that the program knows."""
    if site.watch is None:
        return site
    return replace(site, watch=replace(site.watch, dims=tuple(map(resolve, site.watch.dims))))


def lifted_if_named(value: Any) -> Any:
    """What a kernel reads from outside: an array as an implicit argument, where a name leads to it."""
    if not is_array(value) or isinstance(value, Tensor):
        return value
    found = tracer().lift(value)
    return value if found is None else found


def _unify_annotations(annotations: Mapping[str, TensorType], values: Mapping[str, Any]) -> None:
    """Values of the kernel that is being traced are what the annotations of one that it calls say."""
    symbols, extents = tracer().symbols, dict[str, Extent]()
    for name, wanted in annotations.items():
        value = values.get(name)
        if not isinstance(value, Tensor):
            raise CaptureError(f"{name} is a {type(value).__name__.lower()}, not a tensor",
                               hint="annotated parameters are whole tensors")
        if value.dtype != wanted.dtype or value.ndim != wanted.rank:
            raise ShapeError(f"{name} is {value.type}, not {wanted}")
        for mine, dim in zip(value.dims, wanted.dims, strict=True):
            expected = extents.setdefault(dim, mine) if isinstance(dim, str) else dim
            symbols.equal(mine, expected, f"{name} has an extent of {symbols.show(mine)}, not {symbols.show(expected)}")


MEANT = {  # by the name that NumPy or PyTorch would have
    "astype": "write x.to(pt.f16)", "type": "write x.to(pt.f16)", "numpy": "return the value: the call gives an array",
    "item": "return the value: the call gives an array", "tolist": "return the value: the call gives an array",
    "cpu": "leave it out: arrays are where they are", "cuda": "leave it out: arrays are where they are",
    "copy": "leave it out: values never change", "clone": "leave it out: values never change",
    "detach": "leave it out: there are no gradients", "einsum": "write pt.matmul of views, as q.unsqueeze(1)",
}


def _meant(err: Exception, space: Iterable[str]) -> str:
    """What to write instead of what Python does not find."""
    wanted, owner = getattr(err, "name", None), getattr(err, "obj", None)
    if wanted in MEANT:
        return MEANT[wanted]
    names = [*space] if isinstance(err, NameError) else [n for n in dir(owner) if not n.startswith("_")]
    close = get_close_matches(str(wanted), names, n=1) if wanted else []
    if close:
        return f"did you mean {close[0]}?"
    if "'Index'" in str(err):
        return ("an integer of the program is for bounds and subscripts; to compute with it make it a constant of the "
                "program, `n: int`, or pass an array of one element")
    if isinstance(err, NameError):
        return "names are those of the function, of what is around it, and the options of @pt.tile_kernel"
    if "argument" in str(err):
        return "help(pt.name) shows what a function of pto takes"
    return ("a kernel's values have + - * / @, subscripts and views; other functions are in pto, as pt.exp and pt.sum")


def _run(function: Callable[..., Any], values: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Call a kernel's function; what Python says of an operation that tensors lack is an error at the author's line."""
    try:
        return function(*values, **named)
    except (TypeError, AttributeError, NameError) as err:
        space = {*function.__code__.co_varnames, *function.__globals__} - {*dir(builtins)}
        raise CaptureError(str(err), loc=Loc.of_error(err), hint=_meant(err, sorted(space))) from err
    except RecursionError as err:
        raise CaptureError("the kernel calls itself, or nests calls too deeply", loc=Loc.of_error(err)) from None


@dataclass(frozen=True, slots=True)
class Traced:
    """A Tensor graph and what it relies on.

    Attributes:
        graph: its outputs are the returned tensors, then written arguments that are not returned.
        returned: how many of the outputs the function returned; -1: one, not in a tuple; 0: none.
        same: symbols that must equal another symbol or an integer.
        within: (extent, start, size, where): a piece that must be inside an axis.
        options: options of the kernel, as the author's code saw them.
        captured: arrays from outside of the kernel, which are implicit arguments.
        names: of the returned tensors, where they are variables.
        sites: places that report, by number; `log` is the name of the tensor in which they do.
    """

    graph: Graph
    returned: int
    same: Mapping[str, Extent]
    within: tuple[tuple[Extent, int, Extent, Loc], ...]
    options: Mapping[str, Any]
    captured: tuple[Captured, ...] = ()
    names: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()
    log: str = ""


@dataclass(frozen=True)
class Source:
    """A kernel's Python function, taken apart once."""

    function: FunctionType
    bound: tuple[Any, ...] = ()  # the object that the kernel is a method of
    scope: InitVar[Mapping[str, Any] | None] = None  # names around it, which annotations in quotes may use

    def __post_init__(self, scope: Mapping[str, Any] | None) -> None:
        hints = inspect.get_annotations(self.function)
        found = {name: self._annotation(name, hint, scope or {}) for name, hint in hints.items()}
        self.__dict__["hints"] = found
        self.__dict__["annotations"] = {n: hint for n, hint in found.items() if isinstance(hint, TensorType)}

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of what is around it that the function may read, functions defined in it included."""
        found, stack = set[str](), [self.function.__code__]
        while stack:
            code = stack.pop()
            found.update(code.co_names, code.co_freevars)
            stack += [c for c in code.co_consts if isinstance(c, CodeType)]
        return frozenset(found)

    @cached_property
    def name(self) -> str:
        return self.function.__name__ if self.function.__name__.isidentifier() else "kernel"

    @cached_property
    def loc(self) -> Loc:
        """Where the kernel is defined."""
        node = capture.definition(self.function)
        line, col = (node.lineno, node.col_offset) if node else (self.function.__code__.co_firstlineno, 0)
        return Loc(self.function.__code__.co_filename, line, col, col + len(f"def {self.name}"))

    @cached_property
    def code(self) -> CodeType | None:
        return capture.rewrite(self.function)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters.

        Raises:
            CaptureError: the function takes ``*args`` or ``**kwargs``.
        """
        found = self.signature.parameters.values()
        for p in found:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise CaptureError(f"{self.name} takes *{p.name}; a kernel names its arguments", loc=self.loc)
        return tuple(p.name for p in found)

    @cached_property
    def signature(self) -> inspect.Signature:
        """The parameters, without the one that is bound."""
        found = inspect.signature(self.function)
        return found.replace(parameters=list(found.parameters.values())[len(self.bound):])

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """Annotations of every kind."""
        return {}

    @cached_property
    def flexible(self) -> bool:
        """May some parameters be constants, or be left out, or be given by name only?"""
        return bool(self.choosable) or any(p.kind is p.KEYWORD_ONLY for p in self.signature.parameters.values())

    def is_constant(self, name: str, value: object) -> bool:
        """Is this value of a parameter a constant of the program, and no tensor?"""
        return name in self.choosable and (self.hints.get(name) in CONSTANTS or isinstance(value, VALUES))

    @cached_property
    def choosable(self) -> tuple[str, ...]:
        """Names of the parameters that are constants, or may be: of these there is an annotation, or a default."""
        return tuple(name for name, row in self.signature.parameters.items()
                     if row.default is not row.empty or self.hints.get(name) in CONSTANTS)

    @cached_property
    def positional(self) -> tuple[str, ...]:
        """Names of the parameters that a call may give by position."""
        return tuple(p.name for p in self.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """What each parameter is where a call does not give it."""
        return {name: row.default for name, row in self.signature.parameters.items()}

    @cached_property
    def annotations(self) -> Mapping[str, TensorType]:
        """Types of the parameters that are annotated as ``pt.f32["M", "K"]``."""
        return {}

    @cached_property
    def counts(self) -> tuple[str, ...]:
        """Names of the parameters that are integers of a call: annotated as ``pt.index``."""
        return tuple(p for p in self.parameters if isinstance(self.hints.get(p), IndexType))

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """Names of the other parameters."""
        return tuple(p for p in self.parameters if p not in self.counts)

    def _annotation(self, name: str, hint: Any, scope: Mapping[str, Any]) -> Any:
        """An annotation, evaluated where it is a string; one that is not Python says nothing to us."""
        alone = FunctionType(self.function.__code__, self.function.__globals__, closure=self.function.__closure__)
        alone.__annotations__ = {name: hint}
        try:
            return inspect.get_annotations(alone, locals=scope, eval_str=True)[name]
        except (NameError, SyntaxError, AttributeError, TypeError):
            return hint

    def declare(self, name: str, type: TensorType) -> None:
        """State the type of a parameter, as its annotation would."""
        self.__dict__["annotations"] = {**self.annotations, name: type}

    def declared(self) -> tuple[Argument, ...]:
        """The arguments by annotations alone; those that are constants by default are none.

        Raises:
            CaptureError: a parameter has no annotation.
        """
        rows = [p for p in self.signature.parameters.values() if p.name not in self.counts]
        names = [p.name for p in rows if p.default is p.empty or not self.is_constant(p.name, p.default)]
        for name in names:
            if name not in self.annotations:
                raise CaptureError(f"the type of {name} is not known", loc=self.loc,
                                   hint=f'annotate it, `{name}: pt.f32["M", "N"]`, or call the kernel once; '
                                        f'to a command give --arg "{name}=f32[M,N]"')
        return tuple(Argument(name, self.annotations[name]) for name in names)

    def trace(self, arguments: Sequence[Argument], hints: Mapping[str, int], options: Mapping[str, Any],
              constants: Mapping[str, Any], kind: Kind = no_kind, grid: Sequence[str] = (),
              target: Target = DEFAULT) -> Traced:
        """Run the function on symbolic arguments of these types, with the extents of this call as hints.

        Args:
            kind: the element type and the extents of an array from outside of the kernel, given it and its name.
            grid: names for the extents of the grid that the function is the body of, if it is launched on one.
            target: whose memories the tiles that the language chooses are for.

        Raises:
            PtoError: at the author's line, for what cannot be traced.
        """
        self._unique(arguments)
        found = Tracer(self.name, dict(hints), wrap, target)
        captured: list[Captured] = []
        found.lift, found.draw = partial(self._lift, found, captured, kind), drawn
        found.detect = detector(found.numeric.detect)
        with tracing(found), located(self.loc):
            values = {a.name: found.argument(a) for a in arguments} | {name: found.count(name) for name in self.counts}
            before = {name: value.val for name, value in values.items()}
            sizes = [found.count(name) for name in grid]
            given = assembled(values, constants)
            value, written = self.run_grid(given, options, sizes) if grid else self.run(given, options)
            returned = list(value) if isinstance(value, tuple | list) else [value] * (value is not None)
            for result in (v for v in (*returned, *written.values()) if isinstance(v, Tensor)):
                found.require_current([result.val], loc=found.bound_at(result.val) or self.loc)
                result.val = found.latest(result.val)
            known = {v.val for v in returned if isinstance(v, Tensor)} | set(before.values())
            last = [written.get(name, value) for name, value in values.items()]
            outputs = [*returned, *(w for w in last if _stored(w) and w.val not in known)]
            self._check(outputs)
            graph = finish(found, [o.val for o in outputs])
        count = len(returned) if isinstance(value, tuple | list) else -len(returned)
        symbols = found.symbols
        within = tuple((symbols.resolve(a), n, symbols.resolve(b), loc) for (a, n, b), loc in symbols.within.items())
        sites = tuple(resolved(site, symbols.resolve) for site in found.sites)
        same = {k: symbols.resolve(k) for k in symbols.same}
        return Traced(graph, count, same, within, dict(options), tuple(captured),
                      capture.returned(self.function, len(returned)), sites,
                      found.log.val.node["name"] if found.log is not None else "")

    def _lift(self, found: Tracer, captured: list[Captured], kind: Kind, value: Any) -> Any:
        """An array from outside as an implicit argument; None where no name leads to it."""
        if id(value) not in found.lifted:
            inner = found.inlined[-1] if found.inlined else self
            assert isinstance(inner, Source)
            place = find(value, inner.function, inner.bound, inner.names)
            if place is None:
                return None
            said, root, path = place
            name = said
            while name in found.names or name in found.dims or name in RESERVED:
                name += "_"
            dtype, shape = kind(value, name)
            dims = tuple(f"{name}{axis}" for axis in range(len(shape)))
            while found.names.intersection(dims) or found.dims.keys() & {*dims}:
                dims = tuple(f"{d}_" for d in dims)
            found.symbols.hints |= dict(zip(dims, shape, strict=True))
            argument = Argument(name, TensorType(dtype, dims))
            found.lifted[id(value)] = unwrap(found.argument(argument))
            captured.append(Captured(argument, str(value.dtype), root, path))
        return wrap(found.lifted[id(value)])

    def run(self, values: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Run the function under the current tracer; gives its result, and parameters that it bound anew."""
        hooks = {**elements.HOOKS, capture.FOR: language.for_loop, capture.SETITEM: setitem,
                 capture.RANGE: language.python_range,
                 capture.WHILE: language.known, capture.COUNTED: language.counted, capture.LIFT: lifted_if_named,
                 capture.STORE: windows.stored, capture.SYMBOLIC: language.symbolic, capture.BRANCH: language.branch,
                 capture.RESULT: lambda value, written, names: (value, dict(zip(names, written, strict=True)))}
        function = capture.build(self.function, self.code, {**options, **hooks})
        rows = [p for p in self.signature.parameters.values() if p.name in values]
        positional = [values[p.name] for p in rows if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: values[p.name] for p in rows if p.kind is p.KEYWORD_ONLY}
        calls = tracer().inlined
        calls.append(self)
        with kernel_in(self.function.__code__.co_filename):
            result = _run(function, [*self.bound, *positional], named)
        calls.pop()
        return result if self.code is not None else (result, {})

    @cached_property
    def stored(self) -> frozenset[str]:
        """Parameters that the function stores to, or binds anew."""
        return capture.stored(self.function)

    def run_grid(self, values: Mapping[str, Any], options: Mapping[str, Any],
                 grid: Sequence[Any]) -> tuple[None, dict[str, Any]]:
        """Run the function as the body of a loop over a grid; gives the last versions of what it stores to.

        Raises:
            CaptureError: it returns a value.
        """
        found, loc = tracer(), Loc.of_user()
        names = tuple(n for n in values if n in self.stored and isinstance(values[n], Tensor))

        def program(at: tuple[Any, ...], carried: tuple[Any, ...]) -> tuple[Any, ...]:
            found.programs.append((at, tuple(grid)))
            result, written = self.run({**values, **dict(zip(names, carried, strict=True))}, options)
            found.programs.pop()
            if result is not None:
                raise CaptureError(f"{self.name} returns a value, and each program of a grid would", loc=self.loc,
                                   hint="store it to an argument: out[i:i + m, j:j + n] = tile")
            new = [written.get(name, old) for name, old in zip(names, carried, strict=True)]
            return tuple(n if _stored(n) and is_version(n.val, old.val) else old
                         for n, old in zip(new, carried, strict=True))

        def level(at: tuple[Any, ...], carried: tuple[Any, ...]) -> tuple[Any, ...]:
            if len(at) == len(grid):
                return program(at, carried)
            return language.loop(language.Range(0, grid[len(at)], 1), lambda i, *vs: level((*at, i), vs), carried,
                                 names, loc)

        return None, dict(zip(names, level((), tuple(values[n] for n in names)), strict=True))

    def inline(self, values: Mapping[str, Any], options: Mapping[str, Any], grid: Sequence[Any] = ()) -> Any:
        """Run the function as a part of the kernel that is being traced; gives its result.

        What it stores to an argument is the next version of the caller's value.

        Raises:
            CaptureError: it calls itself, or stores to what is of a graph around the current one.
            PtoError: the values are not what its annotations say.
        """
        found, loc = tracer(), Loc.of_user()
        if any(outer is self for outer in found.inlined):
            raise CaptureError(f"{self.name} calls itself, and a kernel that is called in a kernel is inlined", loc=loc,
                               hint="write the repetition as a loop: for ... in pt.range(...)")
        with located(loc), found.called_from(loc):
            _unify_annotations(self.annotations, values)
            result, written = self.run_grid(values, options, grid) if grid else self.run(values, options)
            for name, new in written.items():
                old = values[name]
                if isinstance(old, Tensor) and _stored(new) and is_version(new.val, old.val):
                    if old.val.graph is not found.graph:
                        raise CaptureError(f"{self.name} stores to {name}, which is of the kernel around this loop",
                                           loc=loc, hint=f"return the value from {self.name}, and store it in the loop")
                    old.val = new.val
        return result

    def _unique(self, arguments: Sequence[Argument]) -> None:
        """Arguments and extents share one space of names with the numbers of cores."""
        taken = {*self.parameters, *RESERVED}
        for dim in (d for a in arguments for d in a.type.dims if d in taken):
            raise CaptureError(f"the extent {dim} of {self.name} has a name that means something else", loc=self.loc,
                               hint=f"argument names and {', '.join(RESERVED)} are taken: name the extent otherwise")

    def _unstored(self) -> str:
        """How a kernel gets a result."""
        bound = sorted(self.stored)
        if bound:
            return f"{bound[0]} is bound to another value, not stored to: write {bound[0]}[:] = value"
        return "return a tensor, or store to an argument"

    def _check(self, outputs: list[Any]) -> None:
        if not outputs:
            raise CaptureError(f"{self.name} has no result", hint=self._unstored())
        for value in outputs:
            tracer().require_seen([unwrap(value)])
            if not isinstance(value, Tensor):
                kind = "an integer" if isinstance(value, Index | int) else f"a {type(value).__name__.lower()}"
                raise ShapeError(f"{self.name} returns {kind}; a kernel returns tensors",
                                 hint="store the tile to a window of a result: C[i:i + m, j:j + n] = tile"
                                 if isinstance(value, Tile) else "return a tensor, or several: return a, b")
            if value.val.node.op is ARG and value.val.node["result"]:
                raise CaptureError(f"{self.name} returns a result that nothing is stored to",
                                   hint="store to it: out[:] = value, or out[i:i + m, j:j + n] = tile")
