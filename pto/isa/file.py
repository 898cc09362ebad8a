"""The `.pto` program file: a header, a table of sections, and the sections. Nothing in a file is trusted.

Header, 64 bytes: magic, version, number of sections, total length, SHA-256 of the section table, 8 zero bytes.
Table: for each section 64 bytes: name, offset, length, SHA-256. Then `code` (records), `meta` and `debug`
(JSON), one directly after the other: no gaps, no overlaps, nothing behind. Equal programs have equal bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import NoReturn

from pto.core.errors import PtoFormatError, UsageError
from pto.core.files import write_whole
from pto.isa.check import check, require_legal
from pto.isa.codec import decode_all, encode_all
from pto.isa.meta import debug_bytes, meta_bytes, read_debug, read_meta
from pto.isa.program import Program
from pto.isa.spec import RECORD_BYTES
from pto.isa.words import canonical, printable

MAGIC, VERSION = b"\x89PTO\r\n\x1a\n", 1  # like PNG's: a transfer as text, or of 7 bits, damages it
MIB = 2**20
LIMITS = {b"code": 16 * MIB * RECORD_BYTES, b"meta": 16 * MIB, b"debug": 64 * MIB}

_HEADER, _ENTRY = Struct("<8sIIQ32s8s"), Struct("<16sQQ32s")
_TABLE_BYTES = _ENTRY.size * len(LIMITS)
FIRST = _HEADER.size + _TABLE_BYTES
SIZE_LIMIT = FIRST + sum(LIMITS.values())


def dumps(program: Program) -> bytes:
    """The bytes of a program file. Debug text is kept as far as it is printable.

    Raises:
        ProgramError: the program breaks a static rule.
        PtoFormatError: a section is larger than a file may hold.
    """
    require_legal(program)
    whole = canonical(program)
    sections = dict(zip(LIMITS, (encode_all(whole.code), meta_bytes(whole), debug_bytes(whole)), strict=True))
    table, offset = b"", FIRST
    for name, data in sections.items():
        if len(data) > LIMITS[name]:
            raise PtoFormatError(f"section {name.decode()} has {len(data)} bytes, at most {LIMITS[name]}")
        table += _ENTRY.pack(name, offset, len(data), sha256(data).digest())
        offset += len(data)
    header = _HEADER.pack(MAGIC, VERSION, len(sections), offset, sha256(table).digest(), bytes(8))
    return b"".join((header, table, *sections.values()))


def loads(data: bytes, path: str = "<bytes>") -> Program:
    """The program that a file holds, statically checked.

    Raises:
        PtoFormatError: the bytes are not a program file, or its program breaks a static rule; nothing of it
            was used. The message names the file, the place and the reason.
    """
    try:
        return _program(_sections(data))
    except PtoFormatError as err:
        raise PtoFormatError(f"{printable(path)}: {err.message}", hint=err.hint) from None


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program file; whatever happens, the path holds the old file or the whole new one.

    Raises:
        ProgramError: the program breaks a static rule.
        UsageError: the file cannot be written.
    """
    data = dumps(program)
    try:
        write_whole(Path(path), data)
    except (OSError, ValueError) as err:
        raise UsageError(f"cannot write {printable(str(path))}: {_reason(err)}") from None


def load(path: str | os.PathLike[str]) -> Program:
    """The program of a file.

    Raises:
        PtoFormatError: the file cannot be read, or is not a program file.
    """
    name = str(path)
    try:
        data = _read(path)
    except (OSError, ValueError) as err:
        raise PtoFormatError(f"{printable(name)}: cannot be read: {_reason(err)}") from None
    except PtoFormatError as err:
        raise PtoFormatError(f"{printable(name)}: {err.message}") from None
    return loads(data, name)


def _read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file of legal size; opening neither waits for a pipe's writer nor follows its data."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise PtoFormatError("is not a regular file")
        if status.st_size > SIZE_LIMIT:
            raise PtoFormatError(f"has {status.st_size} bytes, a program file at most {SIZE_LIMIT}")
        with open(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(handle)


def _reason(err: OSError | ValueError) -> str:
    return printable(err.strerror if isinstance(err, OSError) and err.strerror else str(err))


def _refuse(place: str, reason: str) -> NoReturn:
    raise PtoFormatError(f"{place}: {reason}")


def _sections(data: bytes) -> dict[bytes, bytes]:
    """The sections of a file whose header, table and digests are right."""
    if not data.startswith(MAGIC):
        damaged = data[:4] in (MAGIC[:4], bytes([MAGIC[0] & 0x7F]) + MAGIC[1:4])
        _refuse("byte 0: magic", "damaged, as by a transfer as text" if damaged else "this is not a .pto file")
    if len(data) < FIRST:
        _refuse(f"byte {len(data)}", f"the file ends within its first {FIRST} bytes")
    table = data[_HEADER.size:FIRST]
    for offset, field, value, wanted in _header_fields(data, table):
        if value != wanted:
            _refuse(f"byte {offset}: {field}", f"is {_plain(value)}, not {_plain(wanted)}")
    found, position = {}, FIRST
    for number, name in enumerate(LIMITS):
        found[name] = _section(data, number, name, position)
        position += len(found[name])
    if position != len(data):
        _refuse(f"byte {position}", f"{len(data) - position} bytes follow the last section")
    return found


def _header_fields(data: bytes, table: bytes) -> tuple[tuple[int, str, object, object], ...]:
    """Offset, name, value and only legal value of each field."""
    _, version, count, total, digest, zero = _HEADER.unpack_from(data)
    return (
        (8, "version", version, VERSION), (12, "section count", count, len(LIMITS)),
        (16, "total length", total, len(data)), (24, "table digest", digest, sha256(table).digest()),
        (56, "reserved bytes", zero, bytes(8)),
    )


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _section(data: bytes, number: int, name: bytes, position: int) -> bytes:
    """The bytes of one section, which must lie at `position`."""
    entry = _HEADER.size + number * _ENTRY.size
    title, offset, length, digest = _ENTRY.unpack_from(data, entry)
    place = f"section {name.decode()}"
    if title != name.ljust(16, b"\0"):
        _refuse(f"byte {entry}: {place}: name", f"is {printable(repr(title))}")
    if offset != position:
        _refuse(f"byte {entry + 16}: {place}: offset", f"is {offset}, not {position}")
    if length > LIMITS[name]:
        _refuse(f"byte {entry + 24}: {place}: length", f"is {length}, at most {LIMITS[name]}")
    if length > len(data) - offset:
        _refuse(f"byte {entry + 24}: {place}: length", f"is {length}, the file has {len(data) - offset} more bytes")
    section = data[offset:offset + length]
    if sha256(section).digest() != digest:
        _refuse(f"byte {entry + 32}: {place}: digest", "does not fit the contents")
    return section


def _program(sections: dict[bytes, bytes]) -> Program:
    """The program of sections that are what was written, by whomever."""
    with _within("meta"):
        empty = read_meta(sections[b"meta"])
    with _within("code"):
        code = decode_all(sections[b"code"])
    with _within("debug"):
        spans, lines = read_debug(sections[b"debug"])
        program = replace(empty, code=code, spans=spans, lines=lines)
        if canonical(program) != program:
            _refuse("lines", "are not given for each instruction, or for none")
    faults = check(program)
    if faults:
        _refuse("the program breaks a rule of the machine", str(faults[0]))
    return program


@contextmanager
def _within(section: str) -> Iterator[None]:
    """Name the section in the message of an error that leaves the block."""
    try:
        yield
    except PtoFormatError as err:
        raise PtoFormatError(f"section {section}: {err.message}") from None
