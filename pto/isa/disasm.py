"""Programs as assembly text. What this prints, the assembler accepts, and gives the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from pto.core.errors import Loc
from pto.isa.program import FIRST_PARAMETER, Arg, Inst, Program, TensorDecl, TileDecl, TileRef, ViewDecl
from pto.isa.spec import Kind, Operand, Pipe
from pto.isa.words import canonical, printable

MNEMONIC_WIDTH, COMMENT_COLUMN = 14, 52
USES = {(False, True): "read", (True, False): "write", (True, True): "readwrite", (False, False): "unused"}


def disassemble(program: Program, *, source: bool = True) -> str:
    """The text of a program; with `source`, a comment beside each instruction gives its number and source line."""
    whole = canonical(program)
    return "\n".join([*_head(whole), *_declarations(whole), "", *_code(whole, source)]) + "\n"


def operand_text(program: Program, operand: Operand, arg: Arg) -> str:
    """One operand as it stands in an instruction; what names nothing is shown with a question mark."""
    if isinstance(arg, TileRef):
        suffix = f"[{arg.offset}]" if arg.offset != 0 else ""
        return f"%{_name(program.tiles, arg.tile)}{suffix}"
    if isinstance(arg, int) and operand.kind in (Kind.TENSOR, Kind.SLOT):
        return f"%{_name(program.surfaces, arg)}"
    if isinstance(arg, int) and operand.kind is Kind.LABEL:
        return f"L{arg}" if 0 <= arg <= len(program.code) else str(arg)
    if isinstance(arg, int) and operand.kind is Kind.PIPE:
        return Pipe(arg).name if arg in tuple(Pipe) else f"?{arg}"
    return "nan" if isinstance(arg, float) and math.isnan(arg) else str(arg)


def _head(program: Program) -> Iterator[str]:
    counts = {
        "instruction": len(program.code), "tile": len(program.tiles), "tensor": len(program.tensors),
        **({"view": len(program.views)} if program.views else {}), "parameter": len(program.parameters),
    }
    words = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
    yield f"; {printable(program.name)}: {words}"
    yield f".program {printable(program.name)}"
    yield f".target {printable(program.target)}"


def _declarations(program: Program) -> Iterator[str]:
    for i, parameter in enumerate(program.parameters, FIRST_PARAMETER):
        line = f".param {printable(parameter.name)} {parameter.low} .. {parameter.high}"
        yield f"{line:<{COMMENT_COLUMN}} ; r{i}"
    yield from map(_tensor, program.tensors)
    for view in program.views:
        tensor = program.tensors[view.tensor] if 0 <= view.tensor < len(program.tensors) else None
        of = f"{printable(tensor.name)} {tensor.dtype}" if tensor else f"?{view.tensor}"
        yield f".view %{printable(view.name)} of %{of}"
    width = max((len(tile.name) for tile in program.tiles), default=0)
    for tile in program.tiles:
        name = printable(tile.name)
        yield f".tile %{name:<{width}} {tile.type} at {tile.address:#x} slots {tile.slots}"
    for i, span in enumerate(program.spans):
        yield f".span {i} {_string(span.file)} {span.line} {span.col} {span.end} {_string(span.text or '')}"


def _tensor(tensor: TensorDecl) -> str:
    dims = ", ".join(map(printable, map(str, tensor.dims)))
    use = "scratch" if tensor.scratch else USES[tensor.written, tensor.read]
    return f".tensor %{printable(tensor.name)} {tensor.dtype}[{dims}] {use}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _code(program: Program, source: bool) -> Iterator[str]:
    """Labels and instructions, comments in one column."""
    targets = _targets(program)
    texts = [instruction(program, inst) for inst in program.code]
    spans = [f"!{','.join(map(str, row))}" if row else "" for row in program.lines] or [""] * len(texts)
    width = min(COMMENT_COLUMN, max(map(len, texts), default=0))
    margin = max(map(len, spans), default=0)
    before: Loc | None = None
    for pc, (text, span) in enumerate(zip(texts, spans, strict=True)):
        if pc in targets:
            yield f"L{pc}:"
        loc, comment = program.span(pc), f"; {pc}"
        if loc and (before is None or (loc.file, loc.line) != (before.file, before.line)):
            comment += f"  {_place(loc)}"
        before = loc or before
        yield f"  {text:<{width}} {span:<{margin}} {comment if source else ''}".rstrip()
    if len(program.code) in targets:
        yield f"L{len(program.code)}:"


def _targets(program: Program) -> set[int]:
    """Where instructions jump to."""
    return {
        arg for inst in program.code for operand, arg in zip(inst.spec.operands, inst.args, strict=True)
        if operand.kind is Kind.LABEL and isinstance(arg, int)
    }


def _place(loc: Loc) -> str:
    """A source line for people: file, number, text."""
    text = (loc.text or "").strip()
    return f"{PurePath(loc.file).name}:{loc.line}{f' | {text}' if text else ''}"


def instruction(program: Program, inst: Inst) -> str:
    """An instruction as a listing shows it."""
    operands = ", ".join(
        operand_text(program, operand, arg) for operand, arg in zip(inst.spec.operands, inst.args, strict=True)
    )
    attributes = "".join(
        f" #{attr.name}={value}" for attr, value in zip(inst.spec.attrs, inst.attrs, strict=False)
        if value != attr.values[0]
    )
    return f"{inst.spec.mnemonic:<{MNEMONIC_WIDTH - 1}} {operands}{attributes}".rstrip()


def _name(rows: Sequence[TensorDecl | ViewDecl | TileDecl], number: int) -> str:
    return printable(rows[number].name) if 0 <= number < len(rows) else f"?{number}"
