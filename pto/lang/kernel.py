"""From a function and the types of its arguments to a Tensor graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

from pto.core.dtypes import F32
from pto.core.errors import CaptureError, DTypeError, Loc, ShapeError, located
from pto.core.types import TensorType
from pto.ir.graph import Graph
from pto.ir.ops import ARG
from pto.lang import capture, language
from pto.lang.symbols import Extent
from pto.lang.trace import Argument, Tracer, finish, tracer, tracing
from pto.lang.values import Tensor, setitem, unwrap, wrap

RESERVED = ("core", "cores")  # extents of every program


def _stored(value: object) -> bool:
    """Is it a tensor that was written to? A name that was bound to a new value is not."""
    if not isinstance(value, Tensor):
        return False
    name = value.val.node.op.name
    return not name.startswith("tensor.") or name == "tensor.assign"


def _run(function: Callable[..., Any], values: Sequence[Any]) -> Any:
    """Call a kernel's function; what Python says of an operation that tensors lack is an error at the author's line."""
    try:
        return function(*values)
    except (TypeError, AttributeError) as err:
        raise CaptureError(str(err), loc=Loc.of_error(err),
                           hint="a kernel's values have + - * / @, subscripts and views; other functions are in pto, "
                                "as pt.exp and pt.sum") from err
    except RecursionError as err:
        raise CaptureError("the kernel calls itself, or nests calls too deeply", loc=Loc.of_error(err)) from None


@dataclass(frozen=True, slots=True)
class Traced:
    """A Tensor graph and what it relies on.

    Attributes:
        graph: its outputs are the returned tensors, then written arguments that are not returned.
        returned: how many of the outputs the function returned; -1: one, not in a tuple; 0: none.
        same: symbols that must equal another symbol or an integer.
        options: options of the kernel, as the author's code saw them.
    """

    graph: Graph
    returned: int
    same: Mapping[str, Extent]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """A kernel's Python function, taken apart once."""

    function: FunctionType
    scope: InitVar[Mapping[str, Any] | None] = None  # names around it, which annotations in quotes may use

    def __post_init__(self, scope: Mapping[str, Any] | None) -> None:
        hints = inspect.get_annotations(self.function)
        found = {name: self._annotation(name, hint, scope or {}) for name, hint in hints.items()}
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
        """Names of the tensor parameters.

        Raises:
            CaptureError: the function takes ``*args`` or ``**kwargs``.
        """
        found = inspect.signature(self.function).parameters.values()
        for p in found:
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise CaptureError(f"{self.name} takes *{p.name}; a kernel names its arguments", loc=self.loc)
        return tuple(p.name for p in found)

    @cached_property
    def annotations(self) -> Mapping[str, TensorType]:
        """Types of the parameters that are annotated as ``pt.f32["M", "K"]``."""
        return {}

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
        """The arguments by annotations alone.

        Raises:
            CaptureError: a parameter has no annotation.
        """
        for name in self.parameters:
            if name not in self.annotations:
                raise CaptureError(f"the type of {name} is not known", loc=self.loc,
                                   hint=f'annotate it, `{name}: pt.f32["M", "N"]`, or call the kernel once')
        return tuple(Argument(name, self.annotations[name]) for name in self.parameters)

    def trace(self, arguments: Sequence[Argument], hints: Mapping[str, int], options: Mapping[str, Any]) -> Traced:
        """Run the function on symbolic arguments of these types, with the extents of this call as hints.

        Raises:
            PtoError: at the author's line, for what cannot be traced.
        """
        self._unique(arguments)
        self._floats(arguments)
        found = Tracer(self.name, hints, wrap)
        hooks = {capture.FOR: language.for_loop, capture.SETITEM: setitem, capture.RANGE: language.python_range,
                 capture.SYMBOLIC: language.symbolic, capture.BRANCH: language.branch,
                 capture.RESULT: lambda value, written: (value, written)}
        function = capture.build(self.function, self.code, {**options, **hooks})
        with tracing(found), located(self.loc):
            values = [found.argument(a) for a in arguments]
            result = _run(function, values)
            value, written = result if self.code is not None else (result, ())
            returned = list(value) if isinstance(value, tuple | list) else [value] * (value is not None)
            known = {v.val for v in (*returned, *values) if isinstance(v, Tensor)}
            outputs = [*returned, *(w for w in written if _stored(w) and w.val not in known)]
            self._check(outputs)
            graph = finish(found, [o.val for o in outputs])
        count = len(returned) if isinstance(value, tuple | list) else -len(returned)
        return Traced(graph, count, {k: found.symbols.resolve(k) for k in found.symbols.same}, dict(options))

    def _unique(self, arguments: Sequence[Argument]) -> None:
        """Arguments and extents share one space of names with the numbers of cores."""
        taken = {a.name for a in arguments} | set(RESERVED)
        for dim in (d for a in arguments for d in a.type.dims if d in taken):
            raise CaptureError(f"the extent {dim} of {self.name} has a name that means something else", loc=self.loc,
                               hint=f"argument names and {', '.join(RESERVED)} are taken: name the extent otherwise")

    def _floats(self, arguments: Sequence[Argument]) -> None:
        for a in (a for a in arguments if a.type.dtype != F32):
            raise DTypeError(f"{a.name} of {self.name} is {a.type.dtype}: kernels compute in float32", loc=self.loc,
                             hint=f"convert it: {a.name}.astype(np.float32)")

    def _check(self, outputs: list[Any]) -> None:
        if not outputs:
            raise CaptureError(f"{self.name} has no result", hint="return a tensor, or store to an argument")
        for value in outputs:
            tracer().require_seen([unwrap(value)])
            if not isinstance(value, Tensor):
                raise ShapeError(f"{self.name} returns a {type(value).__name__.lower()}; a kernel returns tensors",
                                 hint="store the tile to a window of a result: C[i:i + m, j:j + n] = tile")
            if value.val.node.op is ARG and value.val.node["result"]:
                raise CaptureError(f"{self.name} returns a result that nothing is stored to",
                                   hint="store to it: out[:] = value, or out[i:i + m, j:j + n] = tile")
            if value.val.node.op.name == "tensor.view" and not value.ndim:
                raise ShapeError(f"{self.name} returns one element, without an axis",
                                 hint="keep an axis: x[i:i + 1, j:j + 1] stored to a result, or x[i] and index outside")
