"""Names and debug text as programs may hold them: what is printed can never reach a terminal as a command."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from pto.core.errors import Loc
from pto.isa.program import Program

NAME_LIMIT, FILE_LIMIT, TEXT_LIMIT = 128, 4096, 1024
COLUMN_LIMIT, LINE_LIMIT = TEXT_LIMIT, 2**31 - 1
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def is_name(text: str) -> bool:
    """Whether a program, parameter, tensor or tile may be called so."""
    return len(text) <= NAME_LIMIT and _NAME.fullmatch(text) is not None


def printable(text: str) -> str:
    """The text with each character that a terminal may obey (controls, direction marks) replaced by one sign."""
    if text.isprintable():
        return text
    return "".join(c if _harmless(c) else REPLACEMENT for c in text)


def shown(value: object) -> str:
    """A value from outside, as an error message may quote it."""
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def clean(loc: Loc) -> Loc:
    """The span as a program file holds it: printable, of bounded length."""
    return Loc(
        printable(loc.file[:FILE_LIMIT]), _between(loc.line, LINE_LIMIT),
        _between(loc.col, COLUMN_LIMIT), _between(loc.end, COLUMN_LIMIT), printable((loc.text or "")[:TEXT_LIMIT]),
    )


def canonical(program: Program) -> Program:
    """The program with its debug information as files and assembly hold it; all else is the same."""
    lines = program.lines + ((),) * (len(program.code) - len(program.lines)) if any(program.lines) else ()
    return replace(program, spans=tuple(map(clean, program.spans)), lines=lines)


def _harmless(char: str) -> bool:
    return char.isprintable() or char == "\t" or unicodedata.category(char) == "Zs"


def _between(value: int, high: int) -> int:
    return max(0, min(value, high))
