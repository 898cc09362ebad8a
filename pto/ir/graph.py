"""Frozen nodes and the one graph class of every level. The only file that knows how networkx stores them.

A loop is a node with a closed body graph: the body's parameters are the counter, the carried values and
one value for each captured outer value, in the order of the loop node's operands, and no edge crosses the
border. Keys only grow, so key order is a topological order; at the Execution level it is program order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import networkx as nx

from pto.core.errors import CompilerBug, Loc
from pto.core.types import EFFECT, INDEX, Type
from pto.ir.ops import CONST, FOR, GET, INDEX_OPS, PARAM, STRUCTURE, Op

Operand = "Val | int"
Spans = tuple[Loc, ...]
LOOP_BOUNDS = 3  # a loop's first operands: low, high, step


@dataclass(frozen=True, slots=True)
class Node:
    """One value or effect: how it is made, its type, and the user's spans that asked for it."""

    op: Op
    inputs: tuple[int, ...]
    attrs: tuple[tuple[str, Any], ...]
    type: Type
    locs: Spans = ()
    body: Graph | None = None

    def __getitem__(self, name: str) -> Any:
        for key, value in self.attrs:
            if key == name:
                return value
        raise CompilerBug(f"{self.op.name} has no attribute {name}")

    @property
    def carried(self) -> int:
        """How many values a loop carries."""
        return len(self.body.outputs) if self.body else 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """An extent that is known at launch, and the range in which the program is right."""

    name: str
    low: int = 1
    high: int = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Buffer:
    """A declared tile of the Execution level: `slots` tiles of one type from `address` (-1: not placed)."""

    name: str
    type: Type
    slots: int = 1
    address: int = -1


def has_spans(op: Op) -> bool:
    """Is there an expression of the user's behind a node? Behind constants and declarations there is none."""
    return op is FOR or op not in STRUCTURE


def joined(*spans: Spans) -> Spans:
    """The spans of all, each once."""
    return tuple(dict.fromkeys(chain.from_iterable(spans)))


class Causes:
    """On whose behalf nodes are made: the user's spans that a node gets which has none of its own."""

    __slots__ = ("here", "stack")

    def __init__(self, here: Callable[[], Spans]) -> None:
        self.here, self.stack = here, list[Spans]()

    @property
    def now(self) -> Spans:
        """The spans of the innermost cause that has any."""
        return next(filter(None, reversed(self.stack)), None) or self.here()

    def __enter__(self) -> None:
        """The cause on top of the stack is on."""

    def __exit__(self, *_: object) -> None:
        self.stack.pop()


class Val:
    """A value under construction: a node of a graph."""

    __slots__ = ("graph", "key")

    def __init__(self, graph: Graph, key: int) -> None:
        self.graph, self.key = graph, key

    @property
    def node(self) -> Node:
        return self.graph[self.key]

    @property
    def type(self) -> Type:
        return self.node.type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Val) and other.graph is self.graph and other.key == self.key

    def __hash__(self) -> int:
        return hash((id(self.graph), self.key))


class Graph:
    """A directed acyclic graph of nodes; an edge's key is the operand position it feeds.

    A root has a name, a level, symbols and (Execution) buffers; a body has an outer graph instead. `here` tells the
    span of what is made for no cause that was stated.
    """

    def __init__(self, outer: Graph | None = None, *, name: str = "", level: str = "",
                 symbols: tuple[Symbol, ...] = (), buffers: tuple[Buffer, ...] = (),
                 here: Callable[[], Spans] = tuple) -> None:
        self.nodes: list[Node] = []
        self._users: list[list[int]] = []  # of each node, in order, once for each use
        self.outer = outer
        self.depth: int = outer.depth + 1 if outer else 0
        self.name, self.level, self.symbols, self.buffers = name, level, symbols, buffers
        self.params: list[int] = []
        self.outputs: tuple[int, ...] = ()
        self.captured: dict[Val, int] = {}
        self.carries: dict[int, Val] = {}  # initial values of a body's carried parameters
        self.causes: Causes = outer.causes if outer else Causes(here)
        self._known: dict[Any, Any] = {}
        self._named: tuple[tuple[Buffer, ...], frozenset[str]] = (), frozenset()

    # reading

    @property
    def buffer_names(self) -> frozenset[str]:
        """The names of the buffers, made once for a tuple of them: every instruction is checked against these."""
        if self._named[0] is not self.buffers:
            self._named = self.buffers, frozenset(b.name for b in self.buffers)
        return self._named[1]

    def __getitem__(self, key: int) -> Node:
        return self.nodes[key]

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def nx(self) -> nx.MultiDiGraph:
        """The graph as networkx has it, for its algorithms: each node's `node`, and edges from operands."""
        made = nx.MultiDiGraph()
        made.add_nodes_from((key, {"node": node}) for key, node in self.items())
        made.add_edges_from((source, key, position) for key, node in self.items()
                            for position, source in enumerate(node.inputs))
        return made

    def items(self) -> Iterator[tuple[int, Node]]:
        """Keys and nodes, in key order, which is a topological order."""
        return enumerate(self.nodes)

    def users(self, key: int) -> list[tuple[int, Node]]:
        """The nodes that use a value, once for each use."""
        return [(user, self.nodes[user]) for user in self._users[key]]

    def size(self) -> int:
        """Nodes, bodies included."""
        return sum(1 + (n.body.size() if n.body else 0) for _, n in self.items())

    def walk(self) -> Iterator[tuple[Graph, int, Node]]:
        """Every node of this graph and of its bodies, outer before inner, in order."""
        for key, node in self.items():
            yield self, key, node
            if node.body is not None:
                yield from node.body.walk()

    def constant(self, key: int) -> int | None:
        """The integer a node is, if it is a constant."""
        node = self[key]
        return int(node["value"]) if node.op is CONST else None

    # building

    def add(self, node: Node) -> Val:
        """Append a node whose inputs are keys of this graph."""
        key = len(self.nodes)
        self.nodes.append(node)
        self._users.append([])
        for source in node.inputs:
            self._users[source].append(key)
        return Val(self, key)

    def param(self, type: Type) -> Val:
        """A parameter of a body."""
        value = self.add(Node(PARAM, (), (), type))
        self.params.append(value.key)
        return value

    def use(self, value: Val | int) -> int:
        """The key of a value here: constants are made anew, outer values become captured parameters."""
        if not isinstance(value, Val):
            if ("const", value) not in self._known:
                self._known["const", value] = self.add(Node(CONST, (), (("value", int(value)),), INDEX)).key
            return int(self._known["const", value])
        if value.graph is self:
            return value.key
        if self.outer is None:
            raise CompilerBug(f"a value of {value.node.op.name} is used outside the graph that sees it")
        if value not in self.captured:
            if value.graph is not self.outer:
                self.outer.use(value)
            self.captured[value] = self.param(value.type).key
        return self.captured[value]

    def op(self, op: Op, *inputs: Val | int, type: Type = EFFECT, locs: Sequence[Loc] = (),
           body: Graph | None = None, **attrs: Any) -> Val:
        """Append a node of these operands; the type is taken as given (the verifier checks it).

        Without spans of its own it gets those of what it is made for, see `because`.
        """
        keys = tuple(self.use(v) for v in inputs)
        spans = tuple(locs) or (self.causes.now if has_spans(op) else ())
        return self.add(Node(op, keys, tuple(attrs.items()), type, spans, body))

    def because(self, locs: Spans) -> Causes:
        """``with graph.because(locs):`` nodes made in any graph of this root that state no spans have these."""
        self.causes.stack.append(locs)
        return self.causes

    def apply(self, op: Op, *inputs: Val | int, locs: Sequence[Loc] = (), **attrs: Any) -> Val:
        """Append a node whose type the op's rule derives."""
        types = tuple(INDEX if isinstance(v, int) else v.type for v in inputs)
        return self.op(op, *inputs, type=op.rule(types, attrs, EFFECT), locs=locs, **attrs)

    def index(self, name: str, *inputs: Val | int) -> Val | int:
        """An integer operation: folded, shared, and placed in the outermost graph that sees its operands.

        This one rule is loop-invariant code motion and common subexpressions for all scalar code.
        """
        if name == "madd" and inputs[2] == 0:
            name, inputs = "mul", inputs[:2]
        folded = INDEX_OPS[name].fold(*(_peek(v) for v in inputs))
        if folded is not None:
            return _pick(folded, inputs)
        if name == "sub" and (shift := self._cancelled(*inputs)) is not None:
            return shift
        home = max((v.graph for v in inputs if isinstance(v, Val)), key=lambda g: g.depth, default=self)
        identity = (name, *(v if isinstance(v, int) else (v.graph.depth, v.key) for v in inputs))
        if identity not in home._known:
            home._known[identity] = home.op(INDEX_OPS[name], *inputs, type=INDEX)
        found: Val = home._known[identity]
        return found

    def _cancelled(self, total: Val | int, base: Val | int) -> Val | int | None:
        """How a slice's extent is seen: c where the operands are (x + c) or (c + x), and x, or x, and (x - c); d - c
        where they are (x - c) and (x - d), of constants.
        """
        (x, c), (y, d) = self._less(total), self._less(base)
        if x is not None and x == y and d >= c:
            return d - c
        if isinstance(base, Val) and base.node.op is INDEX_OPS["sub"] and Val(base.graph, base.node.inputs[0]) == total:
            return _value(base.graph, base.node.inputs[1])
        if not isinstance(total, Val) or total.node.op is not INDEX_OPS["add"]:
            return None
        graph, (left, right) = total.graph, total.node.inputs
        for one, other in ((left, right), (right, left)):
            if base == Val(graph, one) or (isinstance(base, Val) and graph.captured.get(base) == one):
                return _value(graph, other)
        return None

    @staticmethod
    def _less(value: Val | int) -> tuple[Val | None, int]:
        """(x, c) where a value is x less a constant."""
        if isinstance(value, Val) and value.node.op is INDEX_OPS["sub"]:
            one, other = value.node.inputs
            constant = value.graph.constant(other)
            if constant is not None:
                return Val(value.graph, one), constant
        return None, 0

    def loop(self, bounds: Sequence[Val | int], inits: Sequence[Val],
             body: Callable[[Graph, Val, list[Val]], Sequence[Val | int]],
             locs: Sequence[Loc] = (), **attrs: Any) -> list[Val]:
        """``for counter in low .. high by step: carried = body(graph, counter, carried)``; bounds are all three.

        Returns the last carried values. The loop node is made after its body, with what the body
        captured as its last operands.
        """
        inner = Graph(self)
        counter = inner.param(INDEX)
        carried = [inner.param(v.type) for v in inits]
        inner.carries = {p.key: v for p, v in zip(carried, inits, strict=True)}
        results = body(inner, counter, carried)
        inner.outputs = tuple(inner.use(v) for v in results)
        if len(inner.outputs) != len(inits):
            raise CompilerBug("a loop's body must yield as many values as it carries")
        node = self.op(FOR, *bounds, *inits, *inner.captured, locs=locs, body=inner, **attrs)
        return [self.op(GET, node, type=v.type, index=i) for i, v in enumerate(inits)]


def _value(graph: Graph, key: int) -> Val | int:
    """A node as an operand: constants as numbers."""
    constant = graph.constant(key)
    return Val(graph, key) if constant is None else constant


def _peek(value: Val | int) -> int | None:
    return value if isinstance(value, int) else value.graph.constant(value.key)


def _pick(folded: int | str, inputs: tuple[Val | int, ...]) -> Val | int:
    """A folding is an integer, or `"0"`, `"1"`, ...: the operand that is the result."""
    return inputs[int(folded)] if isinstance(folded, str) else folded


def captures(node: Node) -> list[tuple[int, int]]:
    """(outer key, body parameter) of each value a loop captures."""
    assert node.body is not None
    first = 1 + node.carried
    return list(zip(node.inputs[LOOP_BOUNDS + node.carried:], node.body.params[first:], strict=True))


def origin(graph: Graph, key: int) -> tuple[Graph, int]:
    """Where a captured value comes from: the graph that makes it, and its key there; any other as it is."""
    while graph[key].op is PARAM and graph.outer is not None:
        source = next((v for v, k in graph.captured.items() if k == key), None)
        if source is None:
            break
        graph, key = source.graph, source.key
    return graph, key
