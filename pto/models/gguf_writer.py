"""Writes GGUF v3: for models made here, and for tests of the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct, pack
from typing import Any

import numpy as np

from pto.models.gguf import ALIGNMENT, ALIGNMENT_KEY, ARRAY, MAGIC, SCALARS, STRING, VERSION
from pto.quant.blocks import Storage

ARRAY_OF = "array of "
NUMBERS = {name: number for number, (name, _) in SCALARS.items()}


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with the name of its GGUF type, as `Field.kind` has it; Python's own types need none."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """A tensor to be written: its shape as NumPy orders it, and its bytes."""

    name: str
    storage: Storage
    shape: tuple[int, ...]
    data: bytes


def dumps(fields: Mapping[str, Any], tensors: Sequence[TensorBytes], alignment: int = ALIGNMENT) -> bytes:
    """The bytes of a file.

    Fields are of bool, int (as u32), float (as f32), str, lists of one of these, or `Typed`.
    """
    if alignment != ALIGNMENT:
        fields = {ALIGNMENT_KEY: alignment, **fields}
    parts = [MAGIC, pack("<IQQ", VERSION, len(tensors), len(fields))]
    for key, value in fields.items():
        parts += [_string(key), _value(value)]
    offset = 0
    for tensor in tensors:
        extents = tensor.shape[::-1]
        parts += [_string(tensor.name), pack(f"<I{len(extents)}QIQ", len(extents), *extents, tensor.storage.number,
                                             offset)]
        offset += len(tensor.data) + -len(tensor.data) % alignment
    header = b"".join(parts)
    body = [header, bytes(-len(header) % alignment)]
    for tensor in tensors:
        body += [tensor.data, bytes(-len(tensor.data) % alignment)]
    return b"".join(body)


def _string(text: str) -> bytes:
    data = text.encode()
    return Struct("<Q").pack(len(data)) + data


def _value(value: Any) -> bytes:
    if isinstance(value, Typed) and value.kind.startswith(ARRAY_OF):
        kind = value.kind.removeprefix(ARRAY_OF)
        return _array(NUMBERS.get(kind, STRING), [Typed(kind, v) if kind in NUMBERS else v for v in value.value])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _array(_typed(value[0])[0] if value else STRING, value)
    number, data = _typed(value)
    return pack("<I", number) + data


def _array(number: int, values: Sequence[Any]) -> bytes:
    return pack("<IIQ", ARRAY, number, len(values)) + b"".join(_typed(one)[1] for one in values)


def _typed(value: Any) -> tuple[int, bytes]:
    """The number of the type, and the bytes."""
    if isinstance(value, str):
        return STRING, _string(value)
    kind = "bool" if isinstance(value, bool) else "u32" if isinstance(value, int) else "f32"
    if isinstance(value, Typed):
        kind, value = value.kind, value.value
    number = NUMBERS[kind]
    return number, np.array(value, SCALARS[number][1]).tobytes()
