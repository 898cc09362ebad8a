"""One line of assembly: its tree, and errors that point into it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import NoReturn

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.lexer import PatternStr

from pto.core.errors import AssemblyError, Loc
from pto.isa.codec import INT_MAX, INT_MIN
from pto.isa.words import clean, printable

LINE_LIMIT, MESSAGE_LIMIT = 64 * 2**10, 400  # characters
Node = Tree[Token]

_DIRECTIVE = re.compile(r"(?:[ \t]*[A-Za-z_][\w.]*[ \t]*:)*[ \t]*(\.\w*)", re.ASCII)
_INTEGER = re.compile(r"-?(0x[0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,18})", re.ASCII)
_TERMINALS = {
    "NAME": "a name", "NUMBER": "a number", "REF": "a %name", "TILE_TYPE": "a tile type", "STRING": "a string",
    "$END": "the end of the line",
}


@cache
def grammar() -> Lark:
    """The parser of a line, built when the first line is read."""
    path = Path(__file__).with_name("grammar.lark")
    return Lark(path.read_text(encoding="utf-8"), start="line", parser="lalr", maybe_placeholders=False)


@cache
def literals() -> dict[str, str]:
    """The terminals of the grammar that stand for one text, by name."""
    return {t.name: t.pattern.value for t in grammar().terminals if isinstance(t.pattern, PatternStr)}


@cache
def directives() -> tuple[str, ...]:
    """The directives that the grammar knows."""
    return tuple(sorted(word for word in literals().values() if re.fullmatch(r"\.[a-z]+", word)))


def _in_words(terminal: str) -> str:
    """What a reader calls a terminal."""
    text = literals().get(terminal, "")
    if text in directives():
        return "a directive"
    return f"'{text}'" if text else _TERMINALS.get(terminal, terminal)


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint that offers the nearest of the words that would be right."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def tokens(node: Node) -> list[Token]:
    """The tokens of a node, in order, leaving out inner nodes."""
    return [child for child in node.children if isinstance(child, Token)]


def nodes(node: Node) -> list[Node]:
    """The inner nodes of a node."""
    return [child for child in node.children if isinstance(child, Tree)]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a text."""

    file: str
    number: int
    text: str

    def at(self, start: int, end: int) -> Loc:
        """A span of the line, columns from 0."""
        return clean(Loc(self.file, self.number, start, end, self.text))

    def of(self, token: Token) -> Loc:
        """The span of a token."""
        start = (token.column or 1) - 1
        return self.at(start, start + len(token))

    def fail(self, message: str, where: Token | Loc, hint: str = "") -> NoReturn:
        """Refuse the text at a place in this line."""
        loc = self.of(where) if isinstance(where, Token) else where
        raise AssemblyError(printable(message[:MESSAGE_LIMIT]), loc=loc, hint=printable(hint[:MESSAGE_LIMIT]))

    def tree(self) -> list[Node]:
        """Labels, and the directive or instruction of the line; empty for a line of comment."""
        if len(self.text) > LINE_LIMIT:
            self.fail(f"a line of {len(self.text)} characters, at most {LINE_LIMIT}", self.at(0, 1))
        if not self.text or self.text.isspace():
            return []
        try:
            return nodes(grammar().parse(self.text))
        except UnexpectedInput as err:
            self._unexpected(err)

    def integer(self, token: Token, what: str, low: int = INT_MIN, high: int = INT_MAX) -> int:
        """The value of a token that must be an integer, decimal or hexadecimal."""
        value = int(token, 0) if _INTEGER.fullmatch(token) else None
        if value is None:
            self.fail(f"{what} takes an integer, not {token}", token)
        return value if low <= value <= high else self.fail(f"{what} takes {low} to {high}, not {token}", token)

    def _unexpected(self, err: UnexpectedInput) -> NoReturn:
        """Say what stands where it cannot, and what could."""
        word = _DIRECTIVE.match(self.text)
        if word and word[1] not in directives():
            hint = suggestion(word[1], directives()) or f"directives are {' '.join(directives())}"
            self.fail(f"no directive is called {word[1]}", self.at(word.start(1), word.end(1)), hint)
        start, had, names = max(0, err.column - 1), "", set()
        if isinstance(err, UnexpectedToken):
            names, had = err.accepts or set(err.expected), str(err.token)
        elif isinstance(err, UnexpectedCharacters):
            names, had = set(err.allowed or ()), self.text[start]
        if not had:
            start = len(self.text.rstrip())
        words = sorted(set(map(_in_words, names)))
        message = f"{had} cannot stand here" if had else "the line ends too early"
        wanted = f", expected {' or '.join(words)}" if words else ""
        self.fail(message + wanted, self.at(start, start + max(1, len(had))))
