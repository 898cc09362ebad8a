"""The safetensors file: a JSON header and tensors. Nothing in a file is trusted.

Eight bytes of length, a JSON object (name: storage, shape, first and last byte), then the bytes of the tensors, which
must cover the rest of the file without holes or overlaps. Models of several files have an index that names them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from struct import Struct
from typing import Any

from pto.core.errors import PtoFormatError
from pto.isa.words import printable, shown
from pto.models.stored import Buffer, StoredTensor, mapped, refuse
from pto.quant.blocks import PLAIN

MIB = 2**20
METADATA = "__metadata__"
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
KEYS = {"dtype", "shape", "data_offsets"}
_LENGTH = Struct("<Q")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask for: bytes of the header and of JSON files, counts, extents of a tensor.

    `marks` and `json_marks` bound how often each of ``{``, ``[`` and ``,`` appears in a header and in a JSON file, and
    so what its objects occupy; `depth` how deeply they are nested.
    """

    header: int = 100_000_000
    json: int = 64 * MIB
    marks: int = 2**20
    json_marks: int = 2**22
    depth: int = 64
    tensors: int = 65536
    dims: int = 8
    elements: int = 2**40
    files: int = 1024


LIMITS = Limits()


def load_folder(folder: Path, limits: Limits = LIMITS) -> dict[str, StoredTensor]:
    """The tensors of a folder with one file, or with an index of several.

    Raises:
        PtoFormatError: a file is missing, or is not what it claims to be.
    """
    if not (folder / INDEX).exists():
        return load(folder / SINGLE, limits)
    index = read_json(folder / INDEX, limits)
    names = index.get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise PtoFormatError(f"{printable(str(folder / INDEX))}: weight_map: is no table of file names")
    files = sorted(set(names.values()))
    if len(files) > limits.files:
        raise PtoFormatError(f"{printable(str(folder / INDEX))}: weight_map: names {len(files)} files, "
                             f"at most {limits.files}")
    found: dict[str, StoredTensor] = {}
    for file in files:
        if file != Path(file).name or not file.isprintable():
            raise PtoFormatError(f"{printable(str(folder / INDEX))}: weight_map: {shown(file)} is no plain file name")
        found |= {name: tensor for name, tensor in load(folder / file, limits).items() if names.get(name) == file}
    missing = sorted(names.keys() - found.keys())
    if missing:
        raise PtoFormatError(f"{printable(str(folder / INDEX))}: weight_map: {shown(missing[0])} is not in its file")
    return found


def load(path: str | os.PathLike[str], limits: Limits = LIMITS) -> dict[str, StoredTensor]:
    """The tensors of a file, mapped into memory.

    Raises:
        PtoFormatError: it is no safetensors file, or one that this reader refuses. The message names the file,
            the offset, the field and the reason.
    """
    return parse(mapped(path), str(path), limits)


def parse(data: Buffer, path: str = "<bytes>", limits: Limits = LIMITS) -> dict[str, StoredTensor]:
    """The tensors of the file that some bytes are; see `load`."""
    try:
        return _tensors(data, path, limits)
    except PtoFormatError as err:
        raise PtoFormatError(f"{printable(path)}: {err.message}") from None


def read_json(path: Path, limits: Limits = LIMITS) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        PtoFormatError: there is none.
    """
    try:
        data = mapped(path)
        if len(data) > limits.json:
            refuse(0, "JSON", f"has {len(data)} bytes, at most {limits.json}")
        return parse_json(bytes(data), 0, limits.json_marks, limits.depth)
    except PtoFormatError as err:
        name = printable(str(path))
        raise PtoFormatError(err.message if err.message.startswith(name) else f"{name}: {err.message}") from None


def parse_json(text: bytes, offset: int, marks: int, depth: int) -> dict[str, Any]:
    """The object that a text at an offset of a file is. No name may appear twice."""
    for mark in (b"{", b"[", b","):
        if text.count(mark) > marks:
            refuse(offset, "JSON", f"has more than {marks} times {mark.decode()!r}")
    try:
        found = json.loads(str(text, "utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as err:
        refuse(offset + err.start, "JSON", "is not UTF-8")
    except json.JSONDecodeError as err:
        refuse(offset + err.pos, "JSON", printable(err.msg))
    except RecursionError:
        refuse(offset, "JSON", "is nested too deeply")
    except ValueError as err:  # integers of thousands of digits
        refuse(offset, "JSON", printable(str(err).partition(";")[0]))
    if not isinstance(found, dict):
        refuse(offset, "JSON", "is no object")
    level: list[Any] = [found]
    while level := [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)
                    if isinstance(inner, dict | list)]:
        depth -= 1
        if not depth:
            refuse(offset, "JSON", "is nested too deeply")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(n for n in names if names.count(n) > 1))} appears twice")
    return found


def _tensors(data: Buffer, path: str, limits: Limits) -> dict[str, StoredTensor]:
    if len(data) < _LENGTH.size:
        refuse(len(data), "header length", f"the file ends within its first {_LENGTH.size} bytes")
    length = _LENGTH.unpack_from(data)[0]
    base = _LENGTH.size + length
    if length > limits.header:
        refuse(0, "header length", f"is {length}, at most {limits.header}")
    if base > len(data):
        refuse(0, "header length", f"is {length}, but only {len(data) - _LENGTH.size} bytes follow")
    header = parse_json(data[_LENGTH.size:base], _LENGTH.size, limits.marks, limits.depth)
    _require_texts(header.pop(METADATA, {}))
    if len(header) > limits.tensors:
        refuse(_LENGTH.size, "header", f"has {len(header)} tensors, at most {limits.tensors}")
    rows = [_tensor(data, path, base, name, entry, limits) for name, entry in header.items()]
    _require_cover(rows, base, len(data))
    return {row.name: row for row in rows}


def _require_texts(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(_LENGTH.size, METADATA, "is no table of texts")


def _tensor(data: Buffer, path: str, base: int, name: str, entry: object, limits: Limits) -> StoredTensor:
    field = shown(name)
    if not name.isprintable() or not isinstance(entry, dict) or entry.keys() != KEYS:
        refuse(_LENGTH.size, field, f"is not described by {', '.join(sorted(KEYS))}")
    storage = entry["dtype"]
    if not isinstance(storage, str) or storage not in PLAIN:
        refuse(_LENGTH.size, f"{field}: dtype", f"is {shown(storage)}; readable are {', '.join(PLAIN)}")
    shape = _naturals(entry["shape"], f"{field}: shape", limits.dims)
    first, *rest = _naturals(entry["data_offsets"], f"{field}: data_offsets", 2) or (0,)
    if prod(shape) > limits.elements or 0 in shape:
        refuse(_LENGTH.size, f"{field}: shape", f"has not between 1 and {limits.elements} elements")
    tensor = StoredTensor(name, PLAIN[storage], shape, data, base + first, path)
    if rest != [first + tensor.nbytes]:
        refuse(_LENGTH.size, f"{field}: data_offsets", f"are not of {tensor.nbytes} bytes")
    return tensor


def _naturals(values: object, field: str, most: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) > most:
        refuse(_LENGTH.size, field, f"is no list of at most {most} numbers")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**63:
            refuse(_LENGTH.size, field, f"has {shown(value)}, not a number of elements or bytes")
    return tuple(values)


def _require_cover(rows: list[StoredTensor], base: int, end: int) -> None:
    """The tensors follow one another from the header to the end of the file."""
    position = base
    for row in sorted(rows, key=lambda row: row.offset):
        if row.offset != position:
            refuse(_LENGTH.size, f"{shown(row.name)}: data_offsets", f"begin at {row.offset - base}, "
                   f"not at {position - base}")
        position += row.nbytes
    if position != end:
        refuse(min(position, end), "data", f"the tensors end at byte {position}, the file at {end}")
