"""The tracer: a kernel's Python runs once on symbolic values, and what it does becomes a Tensor graph."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from pto.core.dtypes import S32, DType
from pto.core.errors import CaptureError, CompilerBug, Loc, UnsupportedError, located, user_frame
from pto.core.numeric import active
from pto.core.target import DEFAULT, Target
from pto.core.types import EFFECT, INDEX, TensorType, Type
from pto.ir.graph import Graph, Node, Symbol, Val, origin
from pto.ir.ops import ARG, DIM, GET, PARAM, TENSOR_OPS, TILE_OPS, Op
from pto.ir.rewrite import Made, Rewriter
from pto.lang.symbols import Symbols

Factory = Callable[[Any], Any]
Sources = frozenset[Val] | None  # versions of arrays of which something has elements; None: of one that is outdated
STORES = (TENSOR_OPS["assign"], TILE_OPS["store"])  # they give the next version of a tensor


@dataclass(frozen=True, slots=True)
class Argument:
    """A tensor argument: its name and type, whose dims name symbols."""

    name: str
    type: TensorType


@dataclass(frozen=True, slots=True)
class Watch:
    """What a kernel that is watched reports at a place: an element's number, its value, and the counters of loops.

    Attributes:
        op: the operation.
        dims: extents of the tensor or tile that the element is of.
        loops: how many counters there are.
        argument: the argument's name, where it came with one.
    """

    op: str
    dims: tuple[int | str, ...]
    loops: int = 0
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a kernel that reports a value.

    Attributes:
        call: number of the first site of the same call.
        text: what is printed before the value; of an assertion, its message.
        asserts: whether it reports a condition that does not hold.
        shown: whether the value is printed.
        dtype: of the value.
        watch: what it is of a kernel that is watched.
    """

    call: int
    loc: Loc
    text: str
    asserts: bool = False
    shown: bool = True
    dtype: DType = S32
    watch: Watch | None = None

    def of(self, dtype: DType) -> Site:
        return replace(self, dtype=dtype)


def undrawn(value: Any, seed: Any) -> Any:
    """Where nothing makes random bits."""
    raise CompilerBug("a tracer that rounds at random has no random bits")


def outdated(loc: Loc) -> UnsupportedError:
    """The error about a copy that would differ from NumPy's view."""
    return UnsupportedError("a loop or a branch binds this name again, to an array or a part of one, and there is a "
                            "store to the array between that and this", loc=loc,
                            hint="subscript the array itself, or bind the name to a copy: row = x[i].contiguous()")


class Tracer:
    """What is being built: the graph in which operations land, its extents, and what is known of them."""

    def __init__(self, name: str, hints: dict[str, int], wrap: Factory, target: Target = DEFAULT) -> None:
        self.root = Graph(name=name, level="tensor", here=lambda: self.spans(Loc.of_user()))
        self.graph, self.symbols, self.wrap, self.target = self.root, Symbols(hints), wrap, target
        self.dims: dict[str, Val] = {}
        self.valid: dict[Val, Any] = {}  # valid regions of tiles, as far as they were asked for
        self.slots, self.names = 0, set[str]()
        self.counts = set[str]()  # integers of the call: not below 0
        self.extents = set[str]()  # those that are extents: not below 1
        self.inlined: list[object] = []  # the kernels that are being inlined, outermost first
        self.callers: tuple[Loc, ...] = ()  # where they were called, innermost first
        self.lift: Factory = lambda value: None  # an array from outside as a tensor, if it can be one
        self.programs: list[tuple[Any, ...]] = []  # where in its grid the kernel is, and the grid, of each that has one
        self.lifted: dict[int, Val] = {}  # by the identity of the array
        self.replaced = set[Val]()  # versions of tensors that have a next one, or may have
        self.next: dict[Val, Val] = {}  # versions of tensors, and what stores made of them
        self.copies: dict[Val, Sources] = {}  # what loops carry that is an array, or a part of one
        self.used: dict[Val, int] = {}  # tensors that were read, and how many versions had a next one at the last time
        self.sites: list[Site] = []  # that report
        self.log: Any = None  # where they do
        self.numeric = active().config
        self.draw: Callable[[Any, Any], Any] = undrawn  # random bits for the elements of a value, given a seed or None
        self.detect: Any = None  # told of each operation, where the numeric configuration says what to look for
        self.draws = 0  # under the configuration's seed

    def dim(self, extent: int | str) -> Any:
        """An extent as a value."""
        extent = self.symbols.resolve(extent)
        return extent if isinstance(extent, int) else self.wrap(self.dims[extent])

    def count(self, name: str) -> Any:
        """Declare an integer of the call, which is a symbol."""
        self.names.add(name)
        self.counts.add(name)
        self.dims[name] = self.root.op(DIM, type=INDEX, name=name)
        return self.wrap(self.dims[name])

    def argument(self, argument: Argument, *, result: int = 0) -> Any:
        """Declare the next slot."""
        for extent in argument.type.dims:
            if isinstance(extent, str) and extent not in self.dims:
                self.dims[extent] = self.root.op(DIM, type=INDEX, name=extent)
        self.names.add(argument.name)
        made = self.root.op(ARG, type=argument.type, name=argument.name, slot=self.slots, result=result)
        self.slots += 1
        return self.wrap(made)

    def room(self, type: TensorType, called: str) -> Any:
        """Declare room for a tensor that the kernel makes, under a name of its own that begins with `called`."""
        return self.argument(Argument(self.free(f"{called}{self.slots}"), type), result=1)

    def free(self, name: str) -> str:
        """A name that no argument has yet."""
        while name in self.names:
            name += "_"
        return name

    def extent(self, value: Any) -> int | str | None:
        """What an integer is as an extent of a tensor: a constant, or the name of a symbol; None: neither."""
        if isinstance(value, int):
            return value if value > 0 and not isinstance(value, bool) else None
        found = getattr(value, "val", None)
        if found is None or found.node.op is not DIM:
            return None
        name = str(found.node["name"])
        self.extents |= {name} & self.counts
        return name

    def emit(self, op: Op, *inputs: Any, type: Type | None = None, **attrs: Any) -> Any:
        """Append an operation at the user's line; its type is derived unless stated."""
        loc = Loc.of_user()
        inputs = tuple(getattr(v, "val", v) for v in inputs)
        with located(loc):
            self.require_seen(inputs)
            self.require_fresh(inputs)
            self.require_current(inputs, stores=op in STORES)
            inputs = tuple(self.latest(v) if isinstance(v, Val) else v for v in inputs)
            types = tuple(INDEX if isinstance(v, int) else self.symbols.type(v.type) for v in inputs)
            found = op.rule(types, attrs, type if type is not None else EFFECT)
            made = self.graph.op(op, *inputs, type=found, locs=self.spans(loc), **attrs)
            if op in STORES:
                self.stored(inputs[0], made)
            value = self.wrap(made)
            return value if self.detect is None else self.detect(op, inputs, attrs, value)

    def stored(self, before: Val, after: Val) -> None:
        """Note that a version of a tensor has a next one."""
        self.replaced.add(before)
        self.next[before] = after

    def latest(self, value: Val) -> Val:
        """The last version of a tensor, or a view of it: under other names, too, it is one array."""
        while value in self.next:
            value = self.next[value]
        node = value.node
        if node.op is not TENSOR_OPS["view"] or Val(value.graph, node.inputs[0]) not in self.next:
            return value
        base, *place = (Val(value.graph, k) for k in node.inputs)
        return self.graph.op(node.op, self.latest(base), *place, type=value.type, locs=node.locs)

    def base(self, value: Val) -> Val:
        """The tensor that a view is of; any other value."""
        value = Val(*origin(value.graph, value.key))
        if value.node.op is TENSOR_OPS["view"]:
            value = Val(*origin(value.graph, value.node.inputs[0]))
        return value

    def sources(self, value: Val) -> Sources:
        """The versions of arrays whose elements a tensor has, as a view or as a copy, and the copy itself; None: one
        was stored to since.
        """
        base = self.base(value)
        found = self.copies.get(base, frozenset[Val]())
        return None if found is None or any(v in self.next for v in found) else found | {base}

    def bound_at(self, value: Val) -> Loc | None:
        """The line of the loop that binds a carried value."""
        base = self.base(value)
        return next(iter(base.graph[base.node.inputs[0]].locs), None) if base.node.op is GET else None

    def is_array(self, value: Val) -> bool:
        """Is it memory, what stores made of that, or something that a loop carries?"""
        return value.node.op in (ARG, PARAM) or value in self.next.values()

    def used_after(self, value: Val, version: Val) -> bool:
        """Was a tensor read after a version of an array had a next one?"""
        return self.used.get(value, 0) > list(self.next).index(version)

    def require_current(self, values: Sequence[Any], *, stores: bool = False, loc: Loc | None = None) -> None:
        """An array or a part of one, by a name that a loop or a branch binds again, is a copy: nothing was stored to
        the array since, and nothing is stored to the copy, for in NumPy it is the array.

        Raises:
            UnsupportedError: it would show.
        """
        for n, value in enumerate(values):
            if not isinstance(value, Val) or not isinstance(value.type, TensorType):
                continue
            base = self.base(value)
            self.used[base] = len(self.next)
            if self.sources(value) is None or (stores and n == 0 and base in self.copies):
                raise outdated(loc or Loc.of_user())

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Trace steps that nothing is to be looked for in."""
        before, self.detect = self.detect, None
        try:
            yield
        finally:
            self.detect = before

    def require_seen(self, values: Iterable[Any]) -> None:
        """Values are used where they exist: in the graph that made them, and in the bodies inside it.

        Raises:
            CaptureError: one was made in a loop that is over, or in another kernel.
        """
        for value in values:
            graph: Graph | None = self.graph
            while isinstance(value, Val) and graph is not value.graph:
                if graph is None:
                    raise self._unseen(value)
                graph = graph.outer

    def require_fresh(self, values: Iterable[Any]) -> None:
        """An element is used before its tensor is stored to: it is a view, where NumPy's is a number of its own.

        Raises:
            CaptureError: what it reads now may be another number.
        """
        for value in values:
            if not isinstance(value, Val) or value.node.op is not TENSOR_OPS["view"]:
                continue
            an_element = isinstance(value.type, TensorType) and not value.type.dims
            if an_element and Val(value.graph, value.node.inputs[0]) in self.replaced:
                raise CaptureError("this element was read before its tensor was stored to, and is used after it",
                                   loc=Loc.of_user(), hint="keep a copy of it: kept = A[i].contiguous()")

    def _unseen(self, value: Val) -> CaptureError:
        home = value.graph
        while home.outer is not None:
            home = home.outer
        if home is not self.root:
            return CaptureError("this value is of another kernel", loc=Loc.of_user(),
                                hint="a kernel's values are its arguments and what it computes from them")
        return CaptureError("this value was made in a loop, and does not exist after it", loc=Loc.of_user(),
                            hint="give it a name that has a value of the same type before the loop")

    def spans(self, loc: Loc) -> tuple[Loc, ...]:
        """An expression's own span, then those of the calls that lead to it."""
        return tuple(dict.fromkeys((loc, *self.callers)))

    @contextmanager
    def called_from(self, loc: Loc) -> Iterator[None]:
        """Trace a kernel that is called in a kernel."""
        before, self.callers = self.callers, (loc, *self.callers)
        try:
            yield
        finally:
            self.callers = before

    @contextmanager
    def inside(self, graph: Graph) -> Iterator[None]:
        """Build in a loop's body."""
        outer, self.graph = self.graph, graph
        try:
            yield
        finally:
            self.graph = outer


_TRACER: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


def is_tracing() -> bool:
    """Is a kernel being traced?"""
    return _TRACER.get() is not None


def watching() -> Any:
    """What looks for odd values in the kernel that is being traced; None: nothing does."""
    found = _TRACER.get()
    return None if found is None else found.detect


def tracer() -> Tracer:
    """The tracer of the kernel that is being traced.

    Raises:
        CaptureError: no kernel is being traced.
    """
    found = _TRACER.get()
    if found is None:
        raise CaptureError("this works inside a kernel only", loc=Loc.of_user(),
                           hint="call it from a function decorated with @pt.tile_kernel")
    return found


def uncaptured() -> str:
    """Why Python runs the author's control flow as it is, and what to do about it; empty where it is captured."""
    frame = user_frame()
    name, file = frame.f_code.co_name, frame.f_code.co_filename
    kernels = tracer().inlined
    mine = getattr(kernels[-1], "function", None) if kernels else None
    if not linecache.getlines(file, frame.f_globals):
        return "write the kernel in a file: of what is typed, or given to exec, there is no source to look at"
    if mine is not None and (name, file) != (mine.__name__, mine.__code__.co_filename) and not name.startswith("__pto"):
        return f"decorate {name} with @pt.tile_kernel: it is then a part of the kernel that calls it"
    return ""


@contextmanager
def tracing(found: Tracer) -> Iterator[None]:
    """Make a tracer the current one."""
    token = _TRACER.set(found)
    try:
        yield
    finally:
        _TRACER.reset(token)


class _Resolve(Rewriter):
    """Copies a traced graph with every symbol replaced by its representative."""

    def __init__(self, symbols: Symbols, dims: dict[str, Val]) -> None:
        self.symbols, self.dims = symbols, dims

    def type(self, type: Type) -> Type:
        return self.symbols.type(type)

    def rule(self, graph: Graph, node: Node, inputs: list[Any]) -> Made | None:
        if node.op is not DIM:
            return None
        found = self.symbols.resolve(node["name"])
        return found if isinstance(found, int) else self.dims[found]


def finish(found: Tracer, outputs: Sequence[Val]) -> Graph:
    """The traced graph with every symbol resolved, and only the extents that are still symbols."""
    old, resolve = found.root, found.symbols.resolve
    names = [name for name in found.dims if resolve(name) == name]
    low = {name: 0 for name in found.counts - set(map(resolve, found.extents))}
    symbols = tuple(Symbol(name, low.get(name, 1)) for name in names)
    new = Graph(name=old.name, level=old.level, symbols=symbols)
    dims = {name: new.op(DIM, type=INDEX, name=name) for name in names}
    old.outputs = tuple(old.use(v) for v in outputs)
    env: dict[int, Any] = {}
    _Resolve(found.symbols, dims).block(old, new, env)
    new.outputs = tuple(new.use(env[k]) for k in old.outputs)
    return new
