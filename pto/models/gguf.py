"""The GGUF v3 file: metadata and tensors. Nothing in a file is trusted, and nothing is allocated on its word.

Header: ``GGUF``, version, number of tensors, number of fields. Then the fields (name, type, value), then the tensors
(name, extents with the contiguous one first, storage, offset), then, aligned, their bytes one after the other.
Here a file's tensors lie in the order of their entries, without holes, and nothing lies behind the last one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from struct import Struct
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import PtoFormatError
from pto.isa.words import printable, shown
from pto.models.stored import Buffer, StoredTensor, mapped, refuse
from pto.quant.blocks import BY_NUMBER, STORAGES

Row = TypeVar("Row")
MAGIC, VERSION = b"GGUF", 3
ALIGNMENT, ALIGNMENT_KEY = 32, "general.alignment"
NAME_BYTES, KEY_BYTES = 64, 65535  # as ggml and the specification have them
MIB = 2**20

# Names of the storages that exist and are not read here.
OTHER_STORAGES = {
    6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}
# Number, name and NumPy's type of each kind of scalar; the rest are strings and arrays.
SCALARS = {
    0: ("u8", "<u1"), 1: ("i8", "<i1"), 2: ("u16", "<u2"), 3: ("i16", "<i2"), 4: ("u32", "<u4"), 5: ("i32", "<i4"),
    6: ("f32", "<f4"), 7: ("bool", "<u1"), 10: ("u64", "<u8"), 11: ("i64", "<i8"), 12: ("f64", "<f8"),
}
BOOL, STRING, ARRAY = 7, 8, 9
TYPES = {number: name for number, (name, _) in SCALARS.items()} | {STRING: "string", ARRAY: "array"}

_U32, _U64, _HEADER = Struct("<I"), Struct("<Q"), Struct("<4sIQQ")
_SMALLEST_FIELD = _U64.size + _U32.size + 1
_SMALLEST_TENSOR = 2 * _U64.size + 2 * _U32.size + _U64.size


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask for. Bytes of metadata and of one string, counts, extents of a tensor."""

    metadata: int = 256 * MIB
    string: int = 16 * MIB
    strings: int = 2**22
    items: int = 2**24
    fields: int = 65536
    tensors: int = 65536
    dims: int = 4
    elements: int = 2**40
    alignment: int = MIB


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Strings:
    """An array of strings, read when asked for; that each is sound UTF-8 is known."""

    data: Buffer
    offset: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        at = self.offset
        for _ in range(self.count):
            stop = at + _U64.size + _U64.unpack_from(self.data, at)[0]
            yield str(self.data[at + _U64.size:stop], "utf-8")
            at = stop


Value = int | float | bool | str | Strings | NDArray[Any] | tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One piece of metadata: where it is, and what it holds. Numbers of an array stay in the file."""

    key: str
    kind: str
    value: Value
    offset: int

    def integer(self, low: int = 0, high: int = 2**32 - 1) -> int:
        """The value, which must be an integer from low to high."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.refuse(f"is of type {self.kind}, not an integer")
        if not low <= self.value <= high:
            self.refuse(f"is {self.value}, not between {low} and {high}")
        return self.value

    def number(self) -> float:
        """The value as a float."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.refuse(f"is of type {self.kind}, not a number")
        return float(self.value)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.refuse(f"is of type {self.kind}, not a bool")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str):
            self.refuse(f"is of type {self.kind}, not a string")
        return self.value

    def texts(self, count: int | None = None) -> list[str]:
        """The value, which must be an array of strings, of `count` if given."""
        if not isinstance(self.value, Strings):
            self.refuse(f"is of type {self.kind}, not an array of strings")
        self._count(len(self.value), count)
        return list(self.value)

    def numbers(self, count: int | None = None) -> NDArray[Any]:
        """The value, which must be an array of numbers, of `count` if given."""
        if not isinstance(self.value, np.ndarray):
            self.refuse(f"is of type {self.kind}, not an array of numbers")
        self._count(len(self.value), count)
        return self.value

    def refuse(self, reason: str) -> NoReturn:
        """Say that this field is wrong.

        Raises:
            PtoFormatError: always.
        """
        refuse(self.offset, printable(self.key), reason)

    def _count(self, found: int, wanted: int | None) -> None:
        if wanted is not None and found != wanted:
            self.refuse(f"has {found} elements, not {wanted}")


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A sound file: its fields and tensors by name, in the order of the file."""

    path: str
    fields: Mapping[str, Field]
    tensors: Mapping[str, StoredTensor]


def load(path: str | os.PathLike[str], limits: Limits = LIMITS) -> GgufFile:
    """The file at a path, mapped into memory.

    Raises:
        PtoFormatError: it is no GGUF file, or one that this reader refuses. The message names the file, the
            offset, the field and the reason.
    """
    return parse(mapped(path), str(path), limits)


def parse(data: Buffer, path: str = "<bytes>", limits: Limits = LIMITS) -> GgufFile:
    """The file that some bytes are; see `load`."""
    try:
        return _file(data, path, limits)
    except PtoFormatError as err:
        raise PtoFormatError(f"{printable(path)}: {err.message}") from None


class _Cursor:
    """Reads forward through the header, never past its end."""

    def __init__(self, data: Buffer, limits: Limits) -> None:
        self.data, self.limits = data, limits
        self.position, self.strings = 0, 0
        self.end = min(len(data), limits.metadata)

    @property
    def left(self) -> int:
        return self.end - self.position

    def take(self, size: int, field: str) -> int:
        """Step over bytes; gives where they began."""
        if size > self.left:
            if self.end < len(self.data):
                refuse(self.position, field, f"the metadata has more than {self.limits.metadata} bytes")
            refuse(self.position, field, f"needs {size} bytes, the file has {self.left} more")
        start = self.position
        self.position += size
        return start

    def u32(self, field: str) -> int:
        return int(_U32.unpack_from(self.data, self.take(4, field))[0])

    def u64(self, field: str) -> int:
        return int(_U64.unpack_from(self.data, self.take(8, field))[0])

    def string(self, field: str, limit: int) -> str:
        start = self.position
        length = self.u64(field)
        if length > limit:
            refuse(start, field, f"is a string of {length} bytes, at most {limit}")
        begin = self.take(length, field)
        try:
            return str(self.data[begin:begin + length], "utf-8")
        except UnicodeDecodeError:
            refuse(begin, field, "is not UTF-8")

    def skip_strings(self, count: int, field: str) -> None:
        """Step over strings, each of which must be sound. Vocabularies have 10^5 of them: no call for each."""
        self.strings += count
        if self.strings > self.limits.strings:
            refuse(self.position, field, f"the arrays have {self.strings} strings, at most {self.limits.strings}")
        at, data, end, limit, length_at = self.position, self.data, self.end, self.limits.string, _U64.unpack_from
        for number in range(count):
            length = length_at(data, at)[0] if end - at >= _U64.size else 0
            begin = at + _U64.size
            if length > limit or length > end - begin:
                self.position = at
                self.string(f"{field}[{number}]", limit)  # says what is wrong
            try:
                str(data[begin:begin + length], "utf-8")
            except UnicodeDecodeError:
                refuse(begin, f"{field}[{number}]", "is not UTF-8")
            at = begin + length
        self.position = at


def _file(data: Buffer, path: str, limits: Limits) -> GgufFile:
    cursor = _Cursor(data, limits)
    tensors, fields = _header(cursor)
    read = _fields(cursor, fields)
    alignment = _alignment(read.get(ALIGNMENT_KEY), limits)
    entries = _table(cursor, tensors, _entry)
    return GgufFile(path, read, _placed(data, path, entries, cursor.position, alignment))


def _header(cursor: _Cursor) -> tuple[int, int]:
    """Numbers of tensors and fields."""
    if cursor.data[:4] != MAGIC:
        refuse(0, "magic", "this is not a GGUF file")
    start = cursor.take(_HEADER.size, "header")
    _, version, tensors, fields = _HEADER.unpack_from(cursor.data, start)
    if version != VERSION:
        big = int.from_bytes(version.to_bytes(4, "little"), "big") <= VERSION
        refuse(4, "version", "the file is big-endian" if big else f"is {version}, not {VERSION}")
    for offset, name, count, limit, smallest in (
        (8, "tensor count", tensors, cursor.limits.tensors, _SMALLEST_TENSOR),
        (16, "field count", fields, cursor.limits.fields, _SMALLEST_FIELD),
    ):
        if count > limit:
            refuse(offset, name, f"is {count}, at most {limit}")
        if count * smallest > cursor.left:
            refuse(offset, name, f"is {count}, but only {cursor.left} bytes follow")
    return tensors, fields


def _table(cursor: _Cursor, count: int, read: Callable[[_Cursor, int], tuple[str, Row]]) -> dict[str, Row]:
    """Rows by name."""
    found: dict[str, Row] = {}
    for number in range(count):
        start = cursor.position
        name, row = read(cursor, number)
        if name in found:
            refuse(start, shown(name), "appears twice")
        found[name] = row
    return found


def _fields(cursor: _Cursor, count: int) -> dict[str, Field]:
    return _table(cursor, count, _field)


def _field(cursor: _Cursor, number: int) -> tuple[str, Field]:
    key = _name(cursor, f"key of field {number}", KEY_BYTES)
    kind = _kind(cursor, key)
    start = cursor.position
    if kind == ARRAY:
        name, value = _array(cursor, key, depth=1)
        return key, Field(key, f"array of {name}", value, start)
    return key, Field(key, TYPES[kind], _scalar(cursor, kind, key), start)


def _name(cursor: _Cursor, what: str, limit: int) -> str:
    start = cursor.position
    name = cursor.string(what, limit)
    if not name.isprintable() or not name:
        refuse(start, what, f"{shown(name)} is not a printable name")
    return name


def _kind(cursor: _Cursor, key: str) -> int:
    start = cursor.position
    kind = cursor.u32(f"type of {key}")
    if kind not in TYPES:
        refuse(start, f"type of {key}", f"is {kind}, at most {max(TYPES)}")
    return kind


def _scalar(cursor: _Cursor, kind: int, key: str) -> Value:
    if kind == STRING:
        return cursor.string(key, cursor.limits.string)
    dtype = np.dtype(SCALARS[kind][1])
    start = cursor.take(dtype.itemsize, key)
    value: int | float = np.frombuffer(cursor.data, dtype, 1, start)[0].item()
    if kind != BOOL:
        return value
    if value > 1:
        refuse(start, key, f"is a bool of value {value}")
    return bool(value)


def _array(cursor: _Cursor, key: str, depth: int) -> tuple[str, Value]:
    """The name of the element type, and the elements."""
    kind, start = _kind(cursor, key), cursor.position
    count = cursor.u64(f"length of {key}")
    smallest = np.dtype(SCALARS[kind][1]).itemsize if kind in SCALARS else _U64.size
    if count > cursor.limits.items:
        refuse(start, f"length of {key}", f"is {count}, at most {cursor.limits.items}")
    if count * smallest > cursor.left:
        refuse(start, f"length of {key}", f"is {count}, but only {cursor.left} bytes follow")
    if kind == ARRAY:
        return _arrays(cursor, key, count, depth)
    if kind == STRING:
        strings = Strings(cursor.data, cursor.position, count)
        cursor.skip_strings(count, key)
        return TYPES[kind], strings
    dtype = np.dtype(SCALARS[kind][1])
    numbers = np.frombuffer(cursor.data, dtype, count, cursor.take(count * dtype.itemsize, key))
    if kind == BOOL and count and numbers.max() > 1:
        refuse(cursor.position - count, key, "has a bool that is neither 0 nor 1")
    return TYPES[kind], numbers


def _arrays(cursor: _Cursor, key: str, count: int, depth: int) -> tuple[str, Value]:
    if depth > 1:
        refuse(cursor.position, key, "is an array of arrays of arrays")
    if count > cursor.limits.fields:
        refuse(cursor.position, f"length of {key}", f"is {count} arrays, at most {cursor.limits.fields}")
    return "array", tuple(_array(cursor, f"{key}[{number}]", depth + 1)[1] for number in range(count))


def _alignment(field: Field | None, limits: Limits) -> int:
    if field is None:
        return ALIGNMENT
    value = field.integer(1, limits.alignment)
    if value & (value - 1):
        field.refuse(f"is {value}, not a power of two")
    return value


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor as the file describes it: extents with the contiguous one first, offset within the data."""

    extents: tuple[int, ...]
    number: int
    relative: int
    start: int


def _entry(cursor: _Cursor, number: int) -> tuple[str, _Entry]:
    name = _name(cursor, f"name of tensor {number}", NAME_BYTES)
    extents = _extents(cursor, name)
    start = cursor.position
    storage = cursor.u32(f"storage of {name}")
    if storage not in BY_NUMBER:
        known = ", ".join(row.name for row in STORAGES)
        refuse(start, f"storage of {name}", f"is {OTHER_STORAGES.get(storage, storage)}; readable are {known}")
    if extents[0] % BY_NUMBER[storage].elements:
        refuse(start, f"storage of {name}", f"{BY_NUMBER[storage].name} has blocks of {BY_NUMBER[storage].elements}, "
               f"the tensor rows of {extents[0]}")
    start = cursor.position
    return name, _Entry(extents, storage, cursor.u64(f"offset of {name}"), start)


def _extents(cursor: _Cursor, name: str) -> tuple[int, ...]:
    start, limits = cursor.position, cursor.limits
    count = cursor.u32(f"dimensions of {name}")
    if not 1 <= count <= limits.dims:
        refuse(start, f"dimensions of {name}", f"are {count}, not between 1 and {limits.dims}")
    start = cursor.position
    extents = tuple(cursor.u64(f"extent {axis} of {name}") for axis in range(count))
    if 0 in extents or prod(extents) > limits.elements:
        shape = " x ".join(map(str, extents))
        refuse(start, f"extents of {name}", f"are {shape}, not between 1 and {limits.elements} elements")
    return extents


def _placed(data: Buffer, path: str, entries: Mapping[str, _Entry], header: int,
            alignment: int) -> dict[str, StoredTensor]:
    """The tensors, whose bytes must follow one another, each aligned, up to the end of the file."""
    base, relative, end = -header % alignment + header, 0, 0
    found: dict[str, StoredTensor] = {}
    for name, entry in entries.items():
        tensor = StoredTensor(name, BY_NUMBER[entry.number], entry.extents[::-1], data, base + entry.relative, path)
        if entry.relative != relative:
            refuse(entry.start, f"offset of {name}", f"is {entry.relative}, not {relative}")
        end = relative + tensor.nbytes
        if base + end > len(data):
            refuse(entry.start, f"offset of {name}",
                   f"its {tensor.nbytes} bytes end at {base + end}, the file at {len(data)}")
        relative = -end % alignment + end
        found[name] = tensor
    if len(data) > base + relative:
        refuse(base + relative, "data", f"{len(data) - base - relative} bytes follow the last tensor")
    return found
