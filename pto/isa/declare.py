"""What the directives of assembly declare."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lark import Token

from pto.core.dtypes import DTYPES
from pto.core.errors import Loc
from pto.core.target import BY_NAME
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Parameter, TensorDecl, TileDecl, ViewDecl
from pto.isa.source import Line, Node, nodes, suggestion, tokens
from pto.isa.words import COLUMN_LIMIT, FILE_LIMIT, LINE_LIMIT, TEXT_LIMIT, printable

USES = {"read": (False, True), "write": (True, False), "readwrite": (True, True), "unused": (False, False),
        "scratch": (True, True)}
SPACES, LAYOUTS = {s.value: s for s in Space}, {x.value: x for x in Layout}

_TILE = re.compile(r"tile<\s*(\w+)\s*,\s*(\d{1,9})x(\d{1,9})x(\w+)\s*(?:,\s*(\w+)\s*)?>", re.ASCII)
_EXAMPLES = ("tile<ub, 16x32xf32>", "tile<l0c, 16x32xf32, panel>")
T = TypeVar("T")


@dataclass(slots=True)
class Draft:
    """What the directives so far have declared; names lead to numbers."""

    name: str = ""
    target: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    tensors: dict[str, TensorDecl] = field(default_factory=dict)
    views: dict[str, ViewDecl] = field(default_factory=dict)
    tiles: dict[str, TileDecl] = field(default_factory=dict)
    spans: list[Loc] = field(default_factory=list)
    numbers: dict[str, dict[str, int]] = field(default_factory=lambda: {"tensor": {}, "tile": {}})


def declare(draft: Draft, line: Line, node: Node) -> None:
    """Add what one directive declares."""
    _DIRECTIVES[str(node.data)](draft, line, node)


def find(draft: Draft, line: Line, kind: str, ref: Token) -> int:
    """The number of a declared tile, or of a declared tensor or view."""
    known = draft.numbers[kind]
    number = known.get(ref[1:])
    if number is None:
        names = [f"%{name}" for name in known]
        hint = suggestion(ref, names) or f"declared: {', '.join(names[:8]) or 'none'}"
        line.fail(f"no {kind} is called {ref}", ref, hint)
    return number


def _once(line: Line, token: Token, old: str) -> str:
    return str(token) if not old else line.fail("this directive is given twice", token)


def _program(draft: Draft, line: Line, node: Node) -> None:
    [name] = tokens(node)
    draft.name = _once(line, name, draft.name)


def _target(draft: Draft, line: Line, node: Node) -> None:
    [name] = tokens(node)
    draft.target = _once(line, name, draft.target)
    if name not in BY_NAME:
        hint = suggestion(name, BY_NAME) or f"targets are {', '.join(BY_NAME)}"
        line.fail(f"no target is called {name}", name, hint)


def _param(draft: Draft, line: Line, node: Node) -> None:
    name, low, high = tokens(node)
    bounds = line.integer(low, "a bound"), line.integer(high, "a bound")
    _add(line, "parameter", draft.parameters, name, name, Parameter(str(name), *bounds))


def _tensor(draft: Draft, line: Line, node: Node) -> None:
    ref, dtype, use = tokens(node)
    [extents] = nodes(node)
    dims = tuple(_extent(line, token) for token in tokens(extents))
    written, read = _choice(line, "use", USES, str(use), use)
    decl = TensorDecl(ref[1:], _choice(line, "element type", DTYPES, str(dtype), dtype), dims, written, read,
                      str(use) == "scratch")
    if draft.views:
        line.fail("tensors are declared before views", ref)
    draft.numbers["tensor"][decl.name] = len(draft.tensors)
    _add(line, "tensor", draft.tensors, ref, ref[1:], decl)


def _view(draft: Draft, line: Line, node: Node) -> None:
    ref, of, dtype = tokens(node)
    tensor = find(draft, line, "tensor", of)
    if tensor >= len(draft.tensors):
        line.fail(f"{of} is a view, not a tensor", of)
    kind = tuple(draft.tensors.values())[tensor].dtype
    if kind.name != dtype:
        line.fail(f"{of} is of {kind}, not {dtype}", dtype)
    if ref[1:] in draft.tensors:
        line.fail(f"tensor {ref[1:]} is declared twice", ref)
    draft.numbers["tensor"][ref[1:]] = len(draft.tensors) + len(draft.views)
    _add(line, "view", draft.views, ref, ref[1:], ViewDecl(ref[1:], tensor))


def _extent(line: Line, token: Token) -> int | str:
    return str(token) if token.type == "NAME" else line.integer(token, "an extent")


def _tile(draft: Draft, line: Line, node: Node) -> None:
    ref, kind, *place = (t for t in tokens(node) if t.type in ("REF", "TILE_TYPE", "NUMBER"))
    address, slots = line.integer(place[0], "an address"), line.integer(place[1], "slots")
    decl = TileDecl(ref[1:], _tile_type(line, kind), address, slots)
    draft.numbers["tile"][decl.name] = len(draft.tiles)
    _add(line, "tile", draft.tiles, ref, ref[1:], decl)


def _tile_type(line: Line, token: Token) -> TileType:
    found = _TILE.fullmatch(token)
    if not found:
        line.fail("this is no tile type", token, f"tile types are written {' or '.join(_EXAMPLES)}")
    space, rows, cols, dtype, layout = found.groups()
    return TileType(
        _choice(line, "element type", DTYPES, dtype, token), int(rows), int(cols),
        _choice(line, "memory", SPACES, space, token), _choice(line, "layout", LAYOUTS, layout or "row", token),
    )


def _span(draft: Draft, line: Line, node: Node) -> None:
    number, file, row, col, end, text = tokens(node)
    if line.integer(number, "a span's number") != len(draft.spans):
        line.fail(f"spans are numbered in order, this one is {len(draft.spans)}", number)
    draft.spans.append(Loc(
        _string(line, file, FILE_LIMIT), line.integer(row, "a line", 0, LINE_LIMIT),
        line.integer(col, "a column", 0, COLUMN_LIMIT), line.integer(end, "a column", 0, COLUMN_LIMIT),
        _string(line, text, TEXT_LIMIT),
    ))


def _string(line: Line, token: Token, limit: int) -> str:
    try:
        text = str(json.loads(token, strict=False))
    except json.JSONDecodeError as err:
        line.fail(f"a string is written as in JSON: {err.msg}", token)
    if len(text) > limit:
        line.fail(f"a string of {len(text)} characters, at most {limit}", token)
    return text if printable(text) == text else line.fail("the string has a control character", token)


def _choice(line: Line, what: str, rows: dict[str, T], word: str, token: Token) -> T:
    if word not in rows:
        hint = suggestion(word, rows) or f"there are {', '.join(rows)}"
        line.fail(f"no {what} is called {word}", token, hint)
    return rows[word]


def _add(line: Line, kind: str, rows: dict[str, T], token: Token, name: str, row: T) -> None:
    if name in rows:
        line.fail(f"{kind} {name} is declared twice", token)
    rows[name] = row


_DIRECTIVES: dict[str, Callable[[Draft, Line, Node], None]] = {
    "program": _program, "target": _target, "param": _param, "tensor": _tensor, "view": _view, "tile": _tile,
    "span": _span,
}
