"""Program files with every kind of damage: each is refused with one type of error, or is a whole legal program.

Most mutants have lengths and digests that fit, as an attacker's would. Children have little memory to spare, and a
file may take a second of the processor at most.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any

from pto.core.errors import PtoFormatError
from pto.isa.asm import assemble
from pto.isa.codec import encode_all
from pto.isa.disasm import disassemble
from pto.isa.file import FIRST, dumps, loads
from pto.isa.meta import debug_bytes, meta_bytes
from pto.isa.spec import RECORD_BYTES
from tests.campaigns.children import in_children
from tests.campaigns.corpus import by_hand, emitted
from tests.campaigns.report import Report, main
from tests.isa.gemm import GEMM

COUNT, BATCH = 50_000, 1000
SECONDS, SPARE, MESSAGE = 1.0, 96 << 20, 1000  # of the processor; bytes of memory beside what is there; characters
LONGEST = 1 << 20  # bytes of a section
READ_BACK = 20  # of so many accepted files one is also printed and assembled
Sections = dict[str, bytes]
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 63, 64, 2**31, 2**40, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**19, 10**30, 0.5,
    "", "a", "f32", "ub", "row", "M", "V2", "A" * 200, "A" * 5000, "\x1b[2J", "a\nb", "\u202e", "\ud800", "\0",
    "é", "%", [], {}, [[]], [None], {"name": "x"}, [1, 2, 3], ["M", "K"], [0] * 20,
)
TEXTS = ("[" * 3000, '{"a":' * 500, "9" * 5000, "1e999", "NaN", "-0", "\\ud800", "/**/", " ", "\ufeff", '""', "\\u0000")


def run(count: int, seed: int) -> Report:
    """Load `count` mutants."""
    originals()
    return in_children(lambda number, report: judge(report, f"case {number}", mutant(Random(f"{seed} {number}"))),
                       count, batch=BATCH, first=little_memory)


def little_memory() -> None:
    """Let this process have little more memory than it has."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    most = pages * os.sysconf("SC_PAGESIZE") + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@cache
def originals() -> tuple[Sections, ...]:
    """Programs as their sections."""
    chosen = ("vadd_loop", "relay", "counted", "embedding lookup", "rows softmax", "gemm s8 s8 s32")
    programs = [GEMM, *(sample.program for sample in (*by_hand(), *emitted()) if sample.name in chosen)]
    return tuple({"code": encode_all(p.code), "meta": meta_bytes(p), "debug": debug_bytes(p)} for p in programs)


def packed(sections: Sections, change: Callable[[list[list[Any]]], None] = lambda rows: None) -> bytes:
    """A file of these sections; the rows of the table are changed before they are signed."""
    rows: list[list[Any]] = []
    offset = 64 + 64 * len(sections)
    for name, data in sections.items():
        rows.append([name.encode(), offset, len(data), sha256(data).digest()])
        offset += len(data)
    change(rows)
    table = b"".join(struct.pack("<16sQQ32s", name, at % 2**64, size % 2**64, sign) for name, at, size, sign in rows)
    header = struct.pack("<8sIIQ32s8x", b"\x89PTO\r\n\x1a\n", 1, len(rows), offset, sha256(table).digest())
    return header + table + b"".join(sections.values())


def mutant(random: Random) -> bytes:
    """A damaged file."""
    sections = dict(random.choice(originals()))
    kind = random.random()
    if kind < 0.08:
        return _bytes(random, packed(sections))
    if kind < 0.16:
        return _framing(random, sections)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        name = random.choice(("code", "meta", "meta", "debug"))
        change = _records if name == "code" else random.choice((_values, _values, _values, _bytes, _text))
        sections[name] = change(random, sections[name])[:LONGEST]
    return packed(sections)


def _bytes(random: Random, data: bytes) -> bytes:
    """Bits flipped; bytes replaced, removed or repeated."""
    found = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(found) or 1)
        draw = random.randrange(5)
        if draw == 0 and found:
            found[at] ^= 1 << random.randrange(8)
        elif draw == 1:
            found[at:at + 8] = random.choice((bytes(8), b"\xff" * 8, b"\0" * 7 + b"\x80", b"99999999", b'[[[[{{""'))
        elif draw == 2:
            del found[at:at + random.choice((1, 8, 64, 10**6))]
        else:
            other = random.randrange(len(found) or 1)
            found[at:at] = found[other:other + random.randint(1, 64)] * random.choice((1, 1, 1, 500))
    return bytes(found)


def _framing(random: Random, sections: Sections) -> bytes:
    """A signed table that lies, sections in another order, more or fewer of them, more bytes."""
    def lie(rows: list[list[Any]]) -> None:
        row = random.choice(rows)
        at = random.randrange(4)
        wrong = (0, 1, 63, 255, 2**29, 2**31, 2**63, 2**64 - 1, -64, row[1] - 1, row[2] + 1, FIRST)
        texts = (b"", b"code", b"kode\0", bytes(32), row[3][:16])
        row[at] = random.choice(wrong) if at in (1, 2) else random.choice(texts)
    names = list(sections)
    draw = random.randrange(4)
    if draw == 0:
        return packed(sections, lie)
    if draw == 1:
        random.shuffle(names)
        return packed({name: sections[name] for name in names})
    if draw == 2:
        names.pop(random.randrange(3))
        more = {f"s{i}": b"x" for i in range(random.choice((0, 1, 300)))}
        return packed({**{name: sections[name] for name in names}, **more})
    data = packed(sections)
    at = random.choice((8, 12, 16, 24, 56))
    return data[:at] + random.randbytes(4) + data[at + 4:] + random.randbytes(random.choice((0, 1, 64)))


def _records(random: Random, data: bytes) -> bytes:
    """Records flipped, removed, repeated, exchanged; words of them replaced."""
    records = [bytearray(data[at:at + RECORD_BYTES]) for at in range(0, len(data), RECORD_BYTES)]
    draw, at = random.randrange(6), random.randrange(len(records) or 1)
    if not records or draw == 0:
        return _bytes(random, data)
    if draw == 1:
        records[at][random.randrange(len(records[at]))] ^= 1 << random.randrange(8)
    elif draw == 2:
        word = 8 * random.randrange(8)
        records[at][word:word + 8] = struct.pack("<q", random.choice((0, 1, -1, 64, 300, 2**31, 2**63 - 1, -(2**63))))
    elif draw == 3:
        del records[at]
    elif draw == 4:
        records[at:at] = [records[random.randrange(len(records))]] * random.choice((1, 1, 1, 30, 2000))
    else:
        other = random.randrange(len(records))
        records[at], records[other] = records[other], records[at]
    return b"".join(map(bytes, records))


def _values(random: Random, data: bytes) -> bytes:
    """A value of the JSON replaced, removed, repeated or exchanged with another."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return _bytes(random, data)
    places = list(_places(value))
    if not places:
        return _text(random, data)
    holder, key = random.choice(places)
    draw = random.randrange(6)
    if draw < 3:
        holder[key] = random.choice(HOSTILE)
    elif draw == 3:
        del holder[key]
    elif draw == 4:
        other, at = random.choice(places)
        if at in other if isinstance(other, dict) else True:
            holder[key], other[at] = other[at], holder[key]
    elif isinstance(holder, list):
        holder[key:key] = [holder[key]] * random.choice((1, 1, 20, 3000))
    else:
        holder[random.choice(("more", "name", "lines", ""))] = holder[key]
    try:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError):  # a value that holds itself
        return _bytes(random, data)


def _places(value: Any) -> Any:
    """Every holder in a JSON value, with each of its keys."""
    todo = [value]
    while todo:
        holder = todo.pop()
        if isinstance(holder, dict | list):
            keys = holder if isinstance(holder, dict) else range(len(holder))
            for key in list(keys):
                yield holder, key
                todo.append(holder[key])


def _text(random: Random, data: bytes) -> bytes:
    """Text that is no JSON, or not in its one form, put somewhere."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(TEXTS).encode("utf-8") + data[at + random.choice((0, 0, 1)):]


def judge(report: Report, name: str, data: bytes) -> None:
    """Load it, and hold what happens against what loaders promise; any other exception is the caller's to see."""
    start = time.process_time()
    try:
        program = loads(data, f"{name}.pto")
    except PtoFormatError as err:
        message = str(err)
        report.saw(f"refused: {_reason(err.message)}")
        if type(err) is not PtoFormatError or not message.replace("\n", "").isprintable() or len(message) > MESSAGE:
            report.fail(f"{name}: {type(err).__name__} with a message of {len(message)} characters: {message[:200]!r}")
        program = None
    took = time.process_time() - start
    if took > SECONDS:
        report.fail(f"{name}: {took:.1f} s for {len(data)} bytes")
    if program is None:
        return
    report.saw("accepted")
    if dumps(program) != data:
        report.fail(f"{name}: what was accepted is not what is written")
    if len(program.code) < 200 and sum(data) % READ_BACK == 0:
        report.saw("accepted, printed and assembled again")
        if assemble(disassemble(program)) != program:
            report.fail(f"{name}: the text of an accepted file is another program")


def _reason(message: str) -> str:
    """The first words of a message, behind the file's name."""
    words = message.split(": ")
    return words[1].split(" ")[0] if words[1].startswith("byte") else words[1]


if __name__ == "__main__":
    main("files", run, COUNT)
