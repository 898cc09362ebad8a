"""The manual of the instruction set, printed from the rows."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from inspect import getdoc
from math import prod

from pto.core.errors import UsageError
from pto.core.target import TARGETS
from pto.isa.program import FIRST_PARAMETER
from pto.isa.spec import RECORD_BYTES, REGISTERS, WHOLE, Attr, Instr, Kind, Operand, Pipe, Role, Trait, place_name
from pto.isa.table import BY_MNEMONIC, GROUPS, TABLE

WRITTEN = {
    Kind.TILE: ("`%name` or `%name[offset]`", "a declared tile; the offset in bytes (a register or an integer, not "
                "negative, 0 where it is left out) selects a slot"),
    Kind.TENSOR: ("`%name`", "a declared tensor: an argument in global memory; or a view"),
    Kind.SLOT: ("`%name`", "a declared view or tensor itself, not its elements"),
    Kind.INDEX: ("`r5`, `64`, `0x40`", "a 64-bit integer: a register or an immediate"),
    Kind.SCALAR: ("`r5`, `0.5`, `-inf`, `nan`", "a float64: an immediate, or the bits in a register"),
    Kind.DEST: ("`r5`", "the register that is written"),
    Kind.LABEL: ("`L13`", "a place in the program; in the record the number of the instruction"),
    Kind.PIPE: (" ".join(f"`{p.name}`" for p in Pipe), "a pipe; in the record its number, from 0 in this order"),
}
ROLES = {Role.IN: "read", Role.OUT: "written", Role.INOUT: "read and written"}
TRAITS = {
    Trait.COMMUTATIVE: "The first two sources may be swapped.",
    Trait.BRANCH: "May continue elsewhere.",
    Trait.HALT: "Nothing follows.",
    Trait.BITS: "Keeps bits, whatever they are.",
    Trait.REPORTS: "Is there for what it writes.",
    Trait.ACCUMULATES: "The destination is read unless `acc` is 0.",
}
HEAD = f"""# The instruction set

This page is printed from the rows in `pto/isa/table/` by `pto.isa.manual`; do not edit it.
It lists {len(TABLE)} instructions. A program is text (assembly) or a file of {RECORD_BYTES}-byte records;
each gives the other back.

## Record

An instruction is eight little-endian 64-bit words. Word 0, from its lowest bit:

| bits | field |
|---|---|
| 0-7 | opcode |
| 8-14 | mask: bit 8 + i is set where operand word i + 1 is the number of a register that is read |
| 15 | zero |
| 16-23 | the attributes, in their order: for each the number of its value, in as few bits as the last one needs |
| 24-63 | four tile numbers of 10 bits, for the tile operands in their order |

Words 1 to 7 are the operands in the order of the assembly line. What an instruction does not use is zero, or
the record is refused. The one NaN is `0x7ff8000000000000`.

There are {REGISTERS} registers of 64 bits. At the start `r0` holds the number of the core, `r1` the number of cores,
`r{FIRST_PARAMETER}` and those that follow the parameters, in the order of their declaration; all others are 0.

## Operands

| kind | written | what it is |
|---|---|---|
"""
TEXT = """
## Text

One directive or instruction a line; `;` starts a comment; a label is written `L13:`. `#name=value` after
the operands gives an attribute, then `!0,3` the source spans that the instruction came from.

```
.program NAME
.target V2
.param M 1 .. 8192                                  ; a symbol and its legal values
.tensor %A f32[M, 64] read                          ; or write, readwrite, unused, scratch
.view %V of %A f32                                  ; set by `tview`; all tensors are declared before it
.tile %a tile<l1, 64x64xf32> at 0x0 slots 2         ; memory, capacity, type; layouts other than row are named
.tile %c tile<l0c, 64x64xf32, panel> at 0x0 slots 1
.span 0 "gemm.py" 7 4 30 "    return pt.matmul(A, B)"   ; file, line, first column, end column, text
```

## Flags and pipes

Instructions of one pipe run in order. Between two pipes only a flag orders: `set_flag SRC, DST, id` and
`wait_flag SRC, DST, id`. A flag is one bit.

## Cores

Between cores `sync_all` orders everything, and an event what one core did before it set the event. Each core runs its
program in order, so a set never waits, and a program in which no core can go on is a deadlock in every legal order.

"""


def manual() -> str:
    """The whole manual, as Markdown."""
    rows = "".join(f"| {kind.value} | {how} | {what} |\n" for kind, (how, what) in WRITTEN.items())
    parts = [HEAD + rows + TEXT + _targets()]
    for title, module in GROUPS.items():
        parts.append(f"## {title}\n\n{getdoc(module)}\n")
        parts += [_entry(row) for row in vars(module).values() if isinstance(row, Instr)]
    return "\n".join(parts)


def entry(mnemonic: str) -> str:
    """What the manual says of one instruction.

    Raises:
        UsageError: there is no such instruction.
    """
    row = BY_MNEMONIC.get(mnemonic)
    if row is None:
        close = get_close_matches(mnemonic, BY_MNEMONIC, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        raise UsageError(f"no instruction is called {mnemonic!r}", hint=hint)
    return _entry(row)


def syntax(row: Instr) -> str:
    """The assembly line of an instruction, with names for its operands."""
    names = (f"%{o.name}" if o.is_memory or o.kind is Kind.SLOT else o.name for o in row.operands)
    return f"{row.mnemonic} {', '.join(names)}".rstrip()


def _targets() -> str:
    spaces = [space.value for space, _ in TARGETS[0].capacity]
    heads = ("target", "cores", *spaces, "alignment", "flags of two pipes")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for target in TARGETS:
        sizes = " | ".join(f"{size // 1024} KiB" for _, size in target.capacity)
        names = f"{target.alias} ({target.name})"
        lines.append(f"| {names} | {target.cores} | {sizes} | {target.align} | {target.flags} |")
    return "\n".join(("## Targets", "", *lines, ""))


def _entry(row: Instr) -> str:
    lines = [f"### {row.mnemonic}", "", f"`{syntax(row)}` (opcode {row.opcode:#04x})", "", f"{_sentence(row.doc)}"]
    lines += [text for trait, text in TRAITS.items() if trait in row.traits]
    if row.operands:
        lines += ["", *map(_operand, row.operands), *map(_attribute, row.attrs)]
    if row.routes:
        lines += ["", f"Element types: {_dtypes(row)}", "", *_routes(row)]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper() if not _is_formula(text) else text[:1]}{text[1:]}."


def _is_formula(text: str) -> bool:
    """Starts with the name of an operand, whose case matters."""
    return "=" in text


def _operand(operand: Operand) -> str:
    words = f"- `{operand.name}`: {operand.kind.value}"
    if not operand.is_memory:
        return words
    at = f" from row {_extent(operand.at[0])}, column {_extent(operand.at[1])}" if operand.at else ""
    at += "; numbers of {1} of `{0}`".format(*operand.picks) if operand.picks else ""
    return f"{words}, {ROLES[operand.role]}: {_extent(operand.rows)} x {_extent(operand.cols)}{at}"


def _attribute(attr: Attr) -> str:
    return f"- `#{attr.name}=`{' '.join(attr.values)}; {attr.values[0]} where it is left out"


def _extent(extent: str | int) -> str:
    if extent == WHOLE:
        return "all"
    return f"`{extent}`" if isinstance(extent, str) else str(extent)


def _dtypes(row: Instr) -> str:
    """Each legal combination; one name means that all operands have it."""
    names = [row.operands[i].name for i in row.memory]
    columns = [list(dict.fromkeys(column)) for column in zip(*row.dtypes, strict=False)]
    if len(columns) == len(names) > 1 and prod(map(len, columns)) == len(row.dtypes) > 1:
        return "; ".join(f"`{name}` {' '.join(column)}" for name, column in zip(names, columns, strict=True))
    return "; ".join(f"all {names[0]}" if len(names) == 1 else ", ".join(names) for names in row.dtypes)


def _routes(row: Instr) -> Iterator[str]:
    names = [row.operands[i].name for i in row.memory]
    yield f"| {' | '.join(names)} | pipe |"
    yield "|---" * (len(names) + 1) + "|"
    for route in row.routes:
        yield f"| {' | '.join(map(place_name, route.places))} | {route.pipe.name} |"
