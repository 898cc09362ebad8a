"""Assembly text to programs. The grammar knows the shape of a line; the table knows the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lark import Token

from pto.core.errors import AssemblyError, Loc, ProgramError
from pto.isa.check import check
from pto.isa.codec import attribute_fault, operand_count, operand_fault
from pto.isa.declare import Draft, declare, find
from pto.isa.program import Arg, Inst, Program, Reg, TileRef
from pto.isa.source import Line, Node, nodes, suggestion, tokens
from pto.isa.spec import Instr, Kind, Operand, Pipe
from pto.isa.table import BY_MNEMONIC
from pto.isa.words import canonical, clean

TEXT_LIMIT, LINES_LIMIT = 64 * 2**20, 4 * 2**20  # characters, lines

_REGISTER = re.compile(r"r(0|[1-9][0-9]{0,5})", re.ASCII)
_PIPES = {pipe.name: int(pipe) for pipe in Pipe}


@dataclass(frozen=True, slots=True)
class _Jump:
    """A label that may not have been seen yet."""

    name: Token
    line: Line


@dataclass(frozen=True, slots=True)
class _Written:
    """An instruction as it stands in the text."""

    spec: Instr
    args: tuple[Arg | _Jump, ...]
    attrs: tuple[str, ...]
    spans: tuple[int, ...]
    loc: Loc


@dataclass(slots=True)
class _Text:
    """What has been read so far."""

    draft: Draft = field(default_factory=Draft)
    labels: dict[str, int] = field(default_factory=dict)
    code: list[_Written] = field(default_factory=list)


def assemble(text: str, file: str = "<asm>", *, legal: bool = True) -> Program:
    """The program that a text spells.

    `legal=False` leaves out the static check, for tests of what the machine itself refuses.

    Raises:
        AssemblyError: the text is not a program; the error names line and column, and shows the line.
        ProgramError: the program breaks a static rule, at the line of the text that breaks it.
    """
    read = _Text()
    for number, line in enumerate(_lines(text, file), 1):
        _read(read, Line(file, number, line))
    program = _program(read, clean(Loc(file, 1)))
    faults = check(program) if legal else []
    if faults:
        first = faults[0]
        loc = clean(Loc(file, 1)) if first.pc is None else read.code[first.pc].loc
        raise ProgramError(str(first), loc=loc, hint=first.hint)
    return program


def _lines(text: str, file: str) -> Iterable[str]:
    """The lines of a text that is within the limits."""
    count = text.count("\n") + 1
    if len(text) > TEXT_LIMIT or count > LINES_LIMIT:
        message = f"a text of {len(text)} characters in {count} lines, at most {TEXT_LIMIT} in {LINES_LIMIT}"
        raise AssemblyError(message, loc=clean(Loc(file, 1)))
    return (line.removesuffix("\r") for line in text.split("\n"))


def _read(read: _Text, line: Line) -> None:
    """One more line."""
    for node in line.tree():
        if node.data == "label":
            [name] = tokens(node)
            if name in read.labels:
                line.fail(f"label {name} is defined twice", name)
            read.labels[str(name)] = len(read.code)
        elif node.data == "instruction":
            read.code.append(_instruction(read.draft, line, node))
        else:
            declare(read.draft, line, node)


def _program(read: _Text, start: Loc) -> Program:
    """Everything together, with labels resolved."""
    draft = read.draft
    for directive, value in ((".program", draft.name), (".target", draft.target)):
        if not value:
            raise AssemblyError(f"the text has no {directive} directive", loc=start)
    code = tuple(
        Inst(row.spec, tuple(_target(read, arg) if isinstance(arg, _Jump) else arg for arg in row.args), row.attrs)
        for row in read.code
    )
    return canonical(Program(
        draft.name, draft.target, tuple(draft.parameters.values()), tuple(draft.tensors.values()),
        tuple(draft.tiles.values()), code, tuple(draft.spans), tuple(row.spans for row in read.code),
        tuple(draft.views.values()),
    ))


def _target(read: _Text, jump: _Jump) -> int:
    pc = read.labels.get(jump.name)
    if pc is None:
        jump.line.fail(f"no label is called {jump.name}", jump.name, suggestion(jump.name, read.labels))
    return pc


def _instruction(draft: Draft, line: Line, node: Node) -> _Written:
    """An instruction, with its operands as its row wants them."""
    [mnemonic] = tokens(node)
    spec = BY_MNEMONIC.get(mnemonic)
    if spec is None:
        line.fail(f"no instruction is called {mnemonic}", mnemonic, suggestion(mnemonic, BY_MNEMONIC))
    operands, attributes, spans = nodes(node)
    written = nodes(operands)
    if len(written) != len(spec.operands):
        line.fail(operand_count(spec, len(written)), mnemonic)
    args = tuple(_operand(draft, line, o, tokens(n)) for o, n in zip(spec.operands, written, strict=True))
    numbers = tuple(_span(draft, line, token) for token in tokens(spans))
    return _Written(spec, args, _attributes(spec, line, nodes(attributes)), numbers, line.of(mnemonic))


def _attributes(spec: Instr, line: Line, written: list[Node]) -> tuple[str, ...]:
    """The value of each attribute: what is written, or the default."""
    known, found = {attr.name: attr for attr in spec.attrs}, dict[str, str]()
    for node in written:
        name, value = tokens(node)
        if name not in known:
            hint = suggestion(name, known) or f"its attributes are {', '.join(known) or 'none'}"
            line.fail(f"{spec.mnemonic} has no attribute {name}", name, hint)
        if name in found:
            line.fail(f"attribute {name} is given twice", name)
        if value not in known[name].values:
            line.fail(attribute_fault(known[name], value), value, suggestion(value, known[name].values))
        found[str(name)] = str(value)
    return tuple(found.get(attr.name, attr.values[0]) for attr in spec.attrs)


def _span(draft: Draft, line: Line, token: Token) -> int:
    number = line.integer(token, "a span's number")
    return number if 0 <= number < len(draft.spans) else line.fail(f"span {number} is not declared", token)


def _operand(draft: Draft, line: Line, operand: Operand, words: list[Token]) -> Arg | _Jump:
    """The value of one operand, which its kind allows."""
    head = words[0]
    if len(words) > 1 and operand.kind is not Kind.TILE:
        line.fail(f"{operand.name} takes {_WANTED[operand.kind]}: only a tile has an offset", words[1])
    arg = _READ[operand.kind](draft, line, words)
    if arg is None:
        line.fail(f"{operand.name} takes {_WANTED[operand.kind]}, not {head}", head)
    fault = "" if isinstance(arg, _Jump) else operand_fault(operand, arg)
    return arg if not fault else line.fail(f"operand {operand.name}: {fault}", words[-1])


def _tile(draft: Draft, line: Line, words: list[Token]) -> Arg | None:
    if words[0].type != "REF":
        return None
    number = find(draft, line, "tile", words[0])
    if len(words) == 1:
        return TileRef(number)
    offset = _index(draft, line, words[1:])
    if offset is None:
        line.fail(f"an offset is an integer or a register, not {words[1]}", words[1])
    return TileRef(number, offset)


def _tensor(draft: Draft, line: Line, words: list[Token]) -> Arg | None:
    return find(draft, line, "tensor", words[0]) if words[0].type == "REF" else None


def _register(draft: Draft, line: Line, words: list[Token]) -> Reg | None:
    return Reg(int(words[0][1:])) if _REGISTER.fullmatch(words[0]) else None


def _index(draft: Draft, line: Line, words: list[Token]) -> int | Reg | None:
    if words[0].type == "NUMBER":
        return line.integer(words[0], "an operand")
    return _register(draft, line, words)


def _scalar(draft: Draft, line: Line, words: list[Token]) -> Arg | None:
    word = words[0]
    if word == "nan":
        return math.nan
    if word.type != "NUMBER" and word != "inf":
        return _register(draft, line, words)
    try:
        value = float(word)
    except ValueError:
        return None
    if math.isinf(value) and not word.endswith("inf"):
        line.fail(f"{word} is too large for a float", word, "infinity is written inf or -inf")
    return value


def _label(draft: Draft, line: Line, words: list[Token]) -> Arg | _Jump | None:
    if words[0].type == "NUMBER":
        return line.integer(words[0], "a place in the program")
    return _Jump(words[0], line) if words[0].type == "NAME" else None


def _pipe(draft: Draft, line: Line, words: list[Token]) -> Arg | None:
    if words[0].type != "NAME":
        return None
    if words[0] not in _PIPES:
        hint = suggestion(words[0].upper(), _PIPES) or f"pipes are {', '.join(_PIPES)}"
        line.fail(f"no pipe is called {words[0]}", words[0], hint)
    return _PIPES[words[0]]


_WANTED = {
    Kind.TILE: "a tile such as %a or %a[r5]", Kind.TENSOR: "a tensor such as %A",
    Kind.SLOT: "a tensor such as %A",
    Kind.INDEX: "an integer or a register", Kind.SCALAR: "a number or a register", Kind.DEST: "a register",
    Kind.LABEL: "a label", Kind.PIPE: "a pipe",
}
_READ: dict[Kind, Callable[[Draft, Line, list[Token]], Arg | _Jump | None]] = {
    Kind.TILE: _tile, Kind.TENSOR: _tensor, Kind.SLOT: _tensor, Kind.INDEX: _index, Kind.SCALAR: _scalar,
    Kind.DEST: _register, Kind.LABEL: _label, Kind.PIPE: _pipe,
}
