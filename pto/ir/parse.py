"""Text to a graph of its level. The grammar knows the shape of a line; the level's table knows the rest."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from pto.core.dtypes import DTYPES
from pto.core.errors import GraphTextError, Loc, located
from pto.core.types import EFFECT, INDEX, Layout, Space, TensorType, TileType, Type
from pto.ir.graph import Buffer, Graph, Symbol, Val
from pto.ir.levels import LEVELS
from pto.ir.ops import ARG, DIM, Op
from pto.isa.spec import Kind, Pipe

MAX_DEPTH = 64
_SPAN = re.compile(r"([^:,;]+):(\d+):(\d+)-(\d+)")
_TILE = re.compile(r"tile<(?:(\w+), )?(\d+)x(\d+)x(\w+)(?:, (\w+))?>")


@cache
def _grammar() -> Lark:
    return Lark(Path(__file__).with_name("graph.lark").read_text(), parser="lalr")


def _type(token: Token) -> Type:
    text = str(token)
    if text.startswith("tensor<"):
        *dims, dtype = text[7:-1].split(" x ")  # with spaces: a symbol may have an x in its name
        if dtype in DTYPES and all(d.isdigit() or d.isidentifier() for d in dims):
            return TensorType(DTYPES[dtype], tuple(int(d) if d.isdigit() else d for d in dims))
    elif (found := _TILE.fullmatch(text)) and found[4] in DTYPES:
        space, rows, cols, dtype, layout = found.groups()
        if (space or "ub") in {s.value for s in Space} and (layout or "row") in {x.value for x in Layout}:
            return TileType(DTYPES[dtype], int(rows), int(cols), Space(space) if space else None,
                            Layout(layout or "row"))
    raise GraphTextError(f"{text} is not a type")


def _number(token: Token) -> Any:
    if token.type == "INT":
        return int(token)
    if token.type != "FLOAT":
        return str(token)
    return math.nan if token == "nan" else float(token)  # one object, so that equal graphs compare equal


class Reader:
    """Builds the graph from the parse tree, naming the place of every mistake."""

    def __init__(self, text: str, file: str) -> None:
        self.rows, self.file = text.splitlines(), file

    def at(self, token: Token) -> Loc:
        line = token.line or 1
        start = (token.column or 1) - 1
        text = self.rows[line - 1] if line <= len(self.rows) else ""
        return Loc(self.file, line, start, start + len(token), text)

    def read(self, tree: Tree[Token]) -> Graph:
        level, name, *rest = tree.children
        if str(level) not in LEVELS:
            raise GraphTextError(f"there is no level {level}", loc=self.at(_token(level)),
                                 hint=f"levels are {', '.join(LEVELS)}")
        graph = Graph(name=str(name), level=str(level))
        self.ops = LEVELS[str(level)].ops
        env: dict[str, Val] = {}
        for item in rest:
            if item is not None:
                assert isinstance(item, Tree)
                with located(self.at(next(item.scan_values(lambda t: isinstance(t, Token)), _token(name)))):
                    getattr(self, item.data)(graph, item, env)
        return graph

    def symbol(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        name, *bounds = tree.children
        env[str(name)] = graph.op(DIM, type=INDEX, name=str(name)[1:])
        if bounds[0] is not None:
            low, high = (int(str(b.children[0])) for b in bounds if isinstance(b, Tree))
            graph.symbols += (Symbol(str(name)[1:], low, high),)
        elif str(name) not in ("%core", "%cores"):  # those are every program's own
            graph.symbols += (Symbol(str(name)[1:]),)

    def argument(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        name, type_, *attrs = tree.children
        slot = sum(node.op is ARG for _, node in graph.items())
        given = dict(self.attribute(a) for a in attrs)
        env[str(name)] = graph.op(ARG, type=_type(_token(type_)), name=str(name)[1:], slot=slot,
                                  result=int(given.get("result", 0)))

    def buffer(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        name, type_, *attrs = tree.children
        given = dict(self.attribute(a) for a in attrs)
        graph.buffers += (Buffer(str(name)[1:], _type(_token(type_)), given.get("slots", 1), given.get("at", -1)),)

    def attribute(self, tree: Any) -> tuple[str, Any]:
        key, value = tree.children
        return str(key), _number(value)

    def block(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        if graph.depth > MAX_DEPTH:
            raise GraphTextError(f"loops are nested deeper than {MAX_DEPTH}")
        for item in tree.children:
            assert isinstance(item, Tree)
            first = next(item.scan_values(lambda t: isinstance(t, Token)), None)
            with located(self.at(first) if first is not None else None):
                getattr(self, item.data)(graph, item, env)

    def leave(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        graph.outputs = tuple(graph.use(self.value(o, env)) for o in tree.children if o is not None)

    def value(self, tree: Any, env: dict[str, Val]) -> Val | int:
        token = tree.children[0]
        if token.type == "INT":
            return int(token)
        if token.type == "VALUE" and str(token) in env:
            return env[str(token)]
        close = get_close_matches(str(token), env, n=1)
        raise GraphTextError(f"{token} is not defined here", loc=self.at(token),
                             hint=f"did you mean {close[0]}?" if close else "")

    def loop(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        results, counter, low, high, step, carry, *rest = tree.children
        attrs = dict(self.attribute(t) for t in rest if isinstance(t, Tree) and t.data == "attribute")
        pairs = carry.children if isinstance(carry, Tree) else []
        values = [self.value(o, env) for o in pairs[1::2]]
        inits = [v if isinstance(v, Val) else Val(graph, graph.use(v)) for v in values]
        block = next(t for t in rest if isinstance(t, Tree) and t.data == "block")
        spans = next((t for t in rest if isinstance(t, Token)), None)

        def body(inner: Graph, index: Val, carried: list[Val]) -> list[Val]:
            names = [str(counter), *map(str, pairs[0::2])]
            self.block(inner, block, {**env, **dict(zip(names, [index, *carried], strict=True))})
            return [Val(inner, k) for k in inner.outputs]

        bounds = [self.value(o, env) for o in (low, high, step)]
        made = graph.loop(bounds, inits, body, self.locs(spans), **attrs)
        names = [str(n) for n in results.children] if isinstance(results, Tree) else []
        if len(names) != len(made):
            raise GraphTextError(f"the loop carries {len(made)} values, but {len(names)} are named")
        env.update(zip(names, made, strict=True))

    def operation(self, graph: Graph, tree: Tree[Token], env: dict[str, Val]) -> None:
        result, name, *rest = tree.children
        op = self.ops.get(str(name))
        if op is None:
            close = get_close_matches(str(name), self.ops, n=1)
            raise GraphTextError(f"the {graph.level} level has no operation {name}", loc=self.at(_token(name)),
                                 hint=f"did you mean {close[0]}?" if close else "")
        operands = [t for t in rest if isinstance(t, Tree) and t.data == "operand"]
        attrs = dict(self.attribute(t) for t in rest if isinstance(t, Tree) and t.data == "attribute")
        tokens = [t for t in rest if isinstance(t, Token)]
        stated = next((_type(t) for t in tokens if t.type == "TYPE"), EFFECT if result is None else INDEX)
        inputs, more = self.operands(op, operands, env, execution=result is None and op.instr is not None)
        spans = next((t for t in tokens if t.type == "SPANS"), None)
        made = graph.op(op, *inputs, type=stated, locs=self.locs(spans), **more, **attrs)
        if isinstance(result, Tree):
            if len(result.children) != 1:
                raise GraphTextError(f"{name} makes one value", loc=self.at(_token(name)))
            env[str(result.children[0])] = made

    def operands(self, op: Op, trees: list[Tree[Token]], env: dict[str, Val],
                 execution: bool) -> tuple[list[Val | int], dict[str, Any]]:
        if not execution:
            return [self.value(t, env) for t in trees], {}
        assert op.instr is not None
        if len(trees) != len(op.instr.operands):
            raise GraphTextError(f"{op.name} takes {', '.join(o.name for o in op.instr.operands)}")
        inputs: list[Val | int] = []
        attrs: dict[str, Any] = {"tiles": ()} if any(o.kind is Kind.TILE for o in op.instr.operands) else {}
        for operand, tree in zip(op.instr.operands, trees, strict=True):
            first, *offset = (t for t in tree.children if t is not None)
            if operand.kind is Kind.TILE:
                attrs["tiles"] += (str(first)[1:],)
                inputs.append(self.value(Tree("operand", offset), env) if offset else 0)
            elif operand.kind is Kind.INDEX:
                inputs.append(self.value(tree, env))
            elif operand.kind is Kind.PIPE:
                attrs[operand.name] = int(Pipe[str(first)])
            else:
                attrs[operand.name] = _number(_token(first))
        return inputs, attrs

    def locs(self, token: Token | None) -> tuple[Loc, ...]:
        found = _SPAN.findall(str(token)) if token is not None else []
        # With a text, an empty one: what is read from disk must not make a message quote another file.
        return tuple(Loc(f.strip(), int(line), int(col) - 1, int(end), "") for f, line, col, end in found)


def _token(value: Any) -> Token:
    assert isinstance(value, Token)
    return value


def parse(text: str, file: str = "<graph>") -> Graph:
    """The graph that `text` prints.

    Raises:
        GraphTextError: with the line and column of what is wrong.
    """
    reader = Reader(text, file)
    try:
        return reader.read(_grammar().parse(text if text.endswith("\n") else text + "\n"))
    except UnexpectedInput as err:
        at = Loc(file, max(err.line, 1), max(0, err.column - 1), 0,
                 reader.rows[err.line - 1] if 0 < err.line <= len(reader.rows) else "")
        raise GraphTextError("this is not a line of a graph", loc=at) from None
    except KeyError as err:
        raise GraphTextError(f"{err.args[0]} is not known here") from None


