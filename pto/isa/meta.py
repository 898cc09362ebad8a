"""The declarations and debug information of a program as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pto.core.dtypes import DTYPES, DType
from pto.core.errors import Loc, PtoFormatError
from pto.core.types import Layout, Space, TileType
from pto.isa.codec import INT_MAX, INT_MIN
from pto.isa.program import Parameter, Program, TensorDecl, TileDecl, ViewDecl
from pto.isa.words import COLUMN_LIMIT, FILE_LIMIT, LINE_LIMIT, TEXT_LIMIT, printable, shown

DIGITS = 20  # of the longest 64-bit integer, with its sign

T = TypeVar("T")


def meta_bytes(program: Program) -> bytes:
    """Everything of a program but its code and its debug information."""
    return _dump({
        "name": program.name,
        "target": program.target,
        "parameters": [{"name": p.name, "low": p.low, "high": p.high} for p in program.parameters],
        "tensors": [
            {"name": t.name, "dtype": t.dtype.name, "dims": list(t.dims), "written": t.written, "read": t.read,
             "scratch": t.scratch}
            for t in program.tensors
        ],
        "views": [{"name": v.name, "tensor": v.tensor} for v in program.views],
        "tiles": [_tile_row(t) for t in program.tiles],
    })


def debug_bytes(program: Program) -> bytes:
    """The source spans of a program."""
    return _dump({
        "spans": [[s.file, s.line, s.col, s.end, s.text or ""] for s in program.spans],
        "lines": [list(row) for row in program.lines],
    })


def read_meta(data: bytes) -> Program:
    """A program without code, from what `meta_bytes` wrote.

    Raises:
        PtoFormatError: the bytes are anything else; the message names the field.
    """
    name, target, parameters, tensors, views, tiles = _fields(
        _parse(data), "the section", ("name", "target", "parameters", "tensors", "views", "tiles")
    )
    program = Program(
        _text(name, "name", TEXT_LIMIT), _text(target, "target", TEXT_LIMIT),
        _each(parameters, "parameters", _parameter), _each(tensors, "tensors", _tensor),
        _each(tiles, "tiles", _tile), views=_each(views, "views", _view),
    )
    return program if meta_bytes(program) == data else _refuse("the section", "is not in its one canonical form")


def read_debug(data: bytes) -> tuple[tuple[Loc, ...], tuple[tuple[int, ...], ...]]:
    """The spans, and the lines of each instruction, from what `debug_bytes` wrote.

    Raises:
        PtoFormatError: the bytes are anything else; the message names the field.
    """
    spans, lines = _fields(_parse(data), "the section", ("spans", "lines"))
    found = _each(spans, "spans", _span), _each(lines, "lines", _line)
    if debug_bytes(Program("", "", spans=found[0], lines=found[1])) != data:
        _refuse("the section", "is not in its one canonical form")
    return found


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _parse(data: bytes) -> object:
    try:
        found: object = json.loads(
            data.decode("ascii"), object_pairs_hook=_object, parse_int=_digits, parse_float=_no_number,
            parse_constant=_no_number,
        )
    except UnicodeDecodeError as err:
        _refuse("the section", f"is not ASCII at byte {err.start}")
    except json.JSONDecodeError as err:
        _refuse("the section", f"is not JSON at byte {err.pos}: {err.msg}")
    except RecursionError:
        _refuse("the section", "is nested too deeply")
    return found


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("the section", "has an object with a key given twice")
    return found


def _digits(text: str) -> int:
    return int(text) if len(text) <= DIGITS else _refuse("the section", f"has an integer of {len(text)} digits")


def _no_number(text: str) -> NoReturn:
    _refuse("the section", f"has the number {shown(text)}, all numbers are integers")


def _refuse(where: str, reason: str) -> NoReturn:
    raise PtoFormatError(f"{where} {reason}")


def _fields(value: object, where: str, keys: tuple[str, ...]) -> list[object]:
    """The values of an object that has exactly these keys."""
    if not isinstance(value, dict):
        _refuse(where, f"is {shown(value)}, not an object")
    wrong = sorted(set(value) ^ set(keys))
    if wrong:
        _refuse(where, f"lacks {wrong[0]}" if wrong[0] in keys else f"has the unknown key {shown(wrong[0])}")
    return [value[key] for key in keys]


def _each(value: object, where: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
    return tuple(read(item, f"{where}[{i}]") for i, item in enumerate(_list(value, where)))


def _list(value: object, where: str) -> list[object]:
    return value if isinstance(value, list) else _refuse(where, f"is {shown(value)}, not an array")


def _text(value: object, where: str, limit: int) -> str:
    if not isinstance(value, str):
        _refuse(where, f"is {shown(value)}, not a string")
    if len(value) > limit:
        _refuse(where, f"has {len(value)} characters, at most {limit}")
    return value if printable(value) == value else _refuse(where, "has a control character")


def _integer(value: object, where: str, low: int = INT_MIN, high: int = INT_MAX) -> int:
    if type(value) is not int or not low <= value <= high:
        _refuse(where, f"is {shown(value)}, not an integer from {low} to {high}")
    return value


def _flag(value: object, where: str) -> bool:
    return value if isinstance(value, bool) else _refuse(where, f"is {shown(value)}, not true or false")


def _one_of(value: object, where: str, rows: dict[str, T]) -> T:
    if not isinstance(value, str) or value not in rows:
        _refuse(where, f"is {shown(value)}, not one of {', '.join(rows)}")
    return rows[value]


def _dtype(value: object, where: str) -> DType:
    return _one_of(value, where, DTYPES)


def _parameter(value: object, where: str) -> Parameter:
    name, low, high = _fields(value, where, ("name", "low", "high"))
    return Parameter(
        _text(name, f"{where}.name", TEXT_LIMIT), _integer(low, f"{where}.low"), _integer(high, f"{where}.high")
    )


def _tensor(value: object, where: str) -> TensorDecl:
    wanted = ("name", "dtype", "dims", "written", "read", "scratch")
    name, dtype, dims, written, read, scratch = _fields(value, where, wanted)
    found = TensorDecl(
        _text(name, f"{where}.name", TEXT_LIMIT), _dtype(dtype, f"{where}.dtype"), _each(dims, f"{where}.dims", _dim),
        _flag(written, f"{where}.written"), _flag(read, f"{where}.read"), _flag(scratch, f"{where}.scratch"),
    )
    if found.scratch and not (found.written and found.read):
        _refuse(where, "is scratch, which is written and read")
    return found


def _view(value: object, where: str) -> ViewDecl:
    name, tensor = _fields(value, where, ("name", "tensor"))
    return ViewDecl(_text(name, f"{where}.name", TEXT_LIMIT), _integer(tensor, f"{where}.tensor"))


def _dim(value: object, where: str) -> int | str:
    return _text(value, where, TEXT_LIMIT) if isinstance(value, str) else _integer(value, where)


_TILE_KEYS = ("name", "dtype", "rows", "cols", "space", "layout", "address", "slots")
_SPACES, _LAYOUTS = {s.value: s for s in Space}, {x.value: x for x in Layout}


def _tile_row(tile: TileDecl) -> dict[str, object]:
    kind = tile.type
    space = kind.space.value if kind.space else ""
    values = (
        tile.name, kind.dtype.name, kind.rows, kind.cols, space, kind.layout.value, tile.address, tile.slots,
    )
    return dict(zip(_TILE_KEYS, values, strict=True))


def _tile(value: object, where: str) -> TileDecl:
    name, dtype, rows, cols, space, layout, address, slots = _fields(value, where, _TILE_KEYS)
    kind = TileType(
        _dtype(dtype, f"{where}.dtype"), _integer(rows, f"{where}.rows"), _integer(cols, f"{where}.cols"),
        _one_of(space, f"{where}.space", _SPACES), _one_of(layout, f"{where}.layout", _LAYOUTS),
    )
    return TileDecl(
        _text(name, f"{where}.name", TEXT_LIMIT), kind, _integer(address, f"{where}.address"),
        _integer(slots, f"{where}.slots"),
    )


def _span(value: object, where: str) -> Loc:
    row = _list(value, where)
    if len(row) != 5:
        _refuse(where, f"has {len(row)} values, not file, line, column, end and text")
    return Loc(
        _text(row[0], f"{where}[0]", FILE_LIMIT), _integer(row[1], f"{where}[1]", 0, LINE_LIMIT),
        _integer(row[2], f"{where}[2]", 0, COLUMN_LIMIT), _integer(row[3], f"{where}[3]", 0, COLUMN_LIMIT),
        _text(row[4], f"{where}[4]", TEXT_LIMIT),
    )


def _line(value: object, where: str) -> tuple[int, ...]:
    return _each(value, where, _integer)
