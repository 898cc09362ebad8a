"""Every illegal value of a single field of each instruction: assembler, decoder, static checker and machine refuse it.

A value is tried in each form that can hold it: text, a record in a file, an instruction in memory, a run without a
static check. All must point at the instruction. What only a record can hold is refused by the decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pto.core.errors import AssemblyError, ProgramError, PtoFormatError
from pto.core.target import BY_NAME
from pto.isa.asm import assemble
from pto.isa.check import check
from pto.isa.codec import ATTRIBUTES_SHIFT, decode, encode, encode_all
from pto.isa.disasm import disassemble
from pto.isa.file import loads
from pto.isa.meta import debug_bytes, meta_bytes
from pto.isa.program import Arg, Inst, Program, Reg, TileRef
from pto.isa.spec import OPERAND_WORDS, RECORD_BYTES, REGISTERS, Kind, Pipe
from pto.isa.table import TABLE, scalar, sync
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, by_hand, case_of, legal_case, numbered
from tests.campaigns.files import packed
from tests.campaigns.guarded import Arguments, Form, guard_arenas
from tests.campaigns.operands import warm
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import LEAST, with_instruction, with_operand, wrong_values
from tests.sim.programs import Listing, R
from tests.sim.soup import TENSORS, TILES, VIEWS, arrays
from tests.sim.test_agree import ROUTES

WORDS = struct.Struct(f"<Q{OPERAND_WORDS}q")
MASK, TILES_AT, TILE_BITS = 8, 24, 10
MOST_TILES, FAR = 1 << TILE_BITS, 2**31
NO_REGISTER = (Kind.TENSOR, Kind.SLOT, Kind.LABEL, Kind.PIPE, Kind.DEST)
NO_REGISTERS = (REGISTERS, FAR, -1)
OTHER_NANS = (0x7FF0_0000_0000_0001, -(2**51), 0x7FF8_0000_0000_0001)
COUNT = 1000  # that is, all


@dataclass(frozen=True)
class Field:
    """A value of the operand at a position in each form that can hold it."""

    position: int
    arg: Arg | None = None
    text: str | None = None
    word: int | None = None
    register: bool = False  # the mask says so
    tile: int | None = None


def run(count: int, seed: int) -> Report:
    """Try every illegal value on `count` of all routes of the table and instructions of the scalar unit."""
    warm()
    cases: list[int | tuple[Sample, int]] = [*_scalars(), *range(len(ROUTES))]
    chosen = np.random.default_rng(seed).permutation(len(cases))[:count].tolist()

    def one(number: int, report: Report) -> None:
        case = cases[chosen[number]]
        _all(report, *(legal_case(case, seed) if isinstance(case, int) else case))
    report = in_children(one, len(chosen), first=guard_arenas)
    reserved(report)
    return report


def _scalars() -> Iterator[tuple[Sample, int]]:
    """A program for each instruction of the scalar unit, with its place there."""
    out = Listing()
    out(scalar.TVIEW, 2, 0, 0, 4, 4, 4, 1)
    for row in vars(scalar).values():
        if row in TABLE and row.operands[:1] == (scalar.DEST,):
            out(row, R[9], *[3] * (len(row.operands) - 1))
    for row in (scalar.BLT, scalar.BGE):
        out(row, 1, 0, "on")
    out(scalar.JMP, "on")
    out.label("on")
    for first, second in ((0, 1), (2, 4), (6, 5)):
        out(sync.SET_FLAG, first, second, 3)
        out(sync.WAIT_FLAG, first, second, 3)
    out(sync.EVENT_SET, 4, 0, 2)
    out(sync.EVENT_WAIT, 0, 2)
    out(scalar.HALT)
    program = out.program(tiles=TILES, tensors=TENSORS, views=VIEWS)
    sample = Sample("scalar unit", program, tuple(arrays()), (), 1)
    yield from ((sample, pc) for pc in range(len(program.code)))


def _all(report: Report, sample: Sample, pc: int) -> None:
    """Every illegal value of every field of one instruction."""
    sample = replace(sample, program=numbered(sample.program))
    for name, refuses in PARTIES.items():
        if refuses(sample, pc, Field(-1)):
            report.fail(f"{sample.name} at pc {pc}: the {name} refuses the legal instruction")
            return
    report.saw("instructions")
    for field in illegal(sample.program, pc):
        report.saw("illegal values")
        for name, refuses in PARTIES.items():
            verdict = refuses(sample, pc, field)
            if verdict is None:
                continue
            report.saw(f"refused by the {name}", bool(verdict))
            if not verdict:
                report.fail(f"{sample.name} at pc {pc}: {field}: not refused there by the {name}")


def illegal(program: Program, pc: int) -> Iterator[Field]:
    """Illegal values of each field of an instruction, from what the manual says."""
    inst = program.code[pc]
    for position, (operand, arg) in enumerate(zip(inst.spec.operands, inst.args, strict=True)):
        yield from _kind(program, operand.kind, position, arg)
    for wrong in wrong_values(program, inst, BY_NAME[program.target].cores):
        if wrong.seen:
            yield _number(inst, wrong.position, wrong.value)
    if inst.spec in (sync.SET_FLAG, sync.WAIT_FLAG):
        for one, other in ((0, 1), (1, 0)):
            pipe = int(inst.args[other])  # type: ignore[arg-type]
            yield Field(one, pipe, Pipe(pipe).name, pipe)


def _number(inst: Inst, position: int, value: int) -> Field:
    arg = with_operand(inst, position, value).args[position]
    return Field(position, arg, str(value), value)


def _kind(program: Program, kind: Kind, position: int, arg: Arg) -> Iterator[Field]:
    """Values that no operand of a kind can have."""
    if kind in (Kind.TENSOR, Kind.SLOT, Kind.LABEL, Kind.PIPE):
        yield from _counted(program, kind, position)
    if kind is Kind.DEST:
        yield Field(position, 5, "5")
        yield Field(position, word=5, register=True)
        yield from (Field(position, Reg(n), f"r{n}", n) for n in NO_REGISTERS)
    if kind in (Kind.INDEX, Kind.SCALAR, Kind.TILE):
        for number in NO_REGISTERS:
            yield Field(position, _of(arg, Reg(number)), f"r{number}", number, register=True)
    if kind in (Kind.INDEX, Kind.TILE):
        yield from (Field(position, _of(arg, value), str(value)) for value in (2**63, LEAST - 1))
    if kind is Kind.SCALAR:
        yield Field(position, TileRef(0), "%none")
        yield from (Field(position, word=bits) for bits in OTHER_NANS)
    if isinstance(arg, TileRef):
        for tile in (len(program.tiles), MOST_TILES - 1):
            yield Field(position, TileRef(tile, arg.offset), f"%none{tile}", tile=tile)
        yield Field(position, TileRef(MOST_TILES, 0))


def _counted(program: Program, kind: Kind, position: int) -> Iterator[Field]:
    """What numbers nothing, and what is no number."""
    limit = {Kind.LABEL: len(program.code), Kind.PIPE: len(Pipe)}.get(kind, len(program.surfaces))
    text = {Kind.LABEL: "{}", Kind.PIPE: "P{}"}.get(kind, "%none{}")
    for value in (limit, limit + 1, FAR, -1, LEAST):
        yield Field(position, value, text.format(value), value)
    yield Field(position, Reg(5), "[r5]" if kind is Kind.LABEL else "r5", 5, register=True)  # r5 may be a label's name
    yield Field(position, 0.5, "0.5")


def _of(arg: Arg, value: int | Reg) -> Arg:
    """The value; of a tile, as its offset."""
    return TileRef(arg.tile, value) if isinstance(arg, TileRef) else value


def _by_assembler(sample: Sample, pc: int, field: Field) -> bool | None:
    """Whether the text with this value is refused, at its line."""
    if field.position >= 0 and field.text is None:
        return None
    lines = disassemble(sample.program, source=False).split("\n")
    instructions = [i for i, line in enumerate(lines) if line.startswith("  ")]
    at = instructions[pc]
    if field.position >= 0:
        lines[at] = _respelled(sample.program.code[pc], lines[at], field)
    try:
        assemble("\n".join(lines), "x")
    except (AssemblyError, ProgramError) as err:
        return err.loc is not None and err.loc.line == at + 1
    return False


def _respelled(inst: Inst, line: str, field: Field) -> str:
    """The line of an instruction with another text for one operand; of a tile, for its offset."""
    assert field.text is not None
    words, _, span = line.strip().partition(" !")
    mnemonic, _, rest = words.partition(" ")
    texts = [text.strip() for text in rest.split(",")]
    old = inst.args[field.position]
    if isinstance(old, TileRef) and not field.text.startswith("%"):
        texts[field.position] = f"{texts[field.position].partition('[')[0]}[{field.text}]"
    else:
        texts[field.position] = field.text
    return f"  {mnemonic} {', '.join(texts)} !{span}"


def _record(inst: Inst, field: Field) -> bytes | None:
    """The record with the value; None where no record holds it."""
    head, *words = WORDS.unpack(encode(inst))
    if field.position < 0:
        return WORDS.pack(head, *words)
    if field.word is None and field.tile is None:
        return None
    if field.word is not None:
        words[field.position] = field.word
        head = head & ~(1 << MASK + field.position) | field.register << MASK + field.position
    if field.tile is not None:
        before = sum(o.kind is Kind.TILE for o in inst.spec.operands[:field.position])
        low = TILES_AT + TILE_BITS * before
        head = head & ~(MOST_TILES - 1 << low) | field.tile << low
    return WORDS.pack(head, *words)


def _by_decoder(sample: Sample, pc: int, field: Field) -> bool | None:
    """Whether a file with the record is refused, and says which instruction it is."""
    program = sample.program
    record = _record(program.code[pc], field)
    if record is None:
        return None
    code = encode_all(program.code)
    code = code[:pc * RECORD_BYTES] + record + code[(pc + 1) * RECORD_BYTES:]
    try:
        loads(packed({"code": code, "meta": meta_bytes(program), "debug": debug_bytes(program)}))
    except PtoFormatError as err:
        return f"instruction {pc}" in err.message
    return False


def _by_checker(sample: Sample, pc: int, field: Field) -> bool | None:
    changed = _changed(sample.program, pc, field)
    if changed is None:
        return None
    faults = check(changed)
    return bool(faults) and faults[0].pc == pc


def _by_machine(sample: Sample, pc: int, field: Field) -> bool | None:
    """Whether the linker or a trap refuses it, at its line."""
    changed = _changed(sample.program, pc, field)
    if changed is None:
        return None
    given = Arguments(sample.tensors, Form.END if pc & 1 else Form.START)
    try:
        Machine(changed).run(given.arrays, sample.parameters)
    except MachineTrap as err:
        return err.pc == pc and err.loc == changed.span(pc)
    except ProgramError as err:
        return f"pc {pc}: " in err.message and err.loc == changed.span(pc)
    return False


def _changed(program: Program, pc: int, field: Field) -> Program | None:
    if field.position < 0:
        return program
    if field.arg is None:
        return None
    inst = program.code[pc]
    args = (*inst.args[:field.position], field.arg, *inst.args[field.position + 1:])
    return with_instruction(program, pc, Inst(inst.spec, args))


PARTIES = {"assembler": _by_assembler, "decoder": _by_decoder, "checker": _by_checker, "machine": _by_machine}


def reserved(report: Report) -> None:
    """Opcodes of no row, and bits that a row does not use, which only a record can hold."""
    for opcode in sorted(set(range(256)) - {row.opcode for row in TABLE}):
        _refused(report, WORDS.pack(opcode, *[0] * OPERAND_WORDS), f"opcode {opcode}")
    for inst in {inst.spec: inst for sample in (*by_hand(), *(case_of(n, 0, 6)[1] for n in range(len(ROUTES))))
                 for inst in sample.program.code}.values():
        record = encode(inst)
        for bit in _unused(inst):
            data = bytearray(record)
            data[bit // 8] ^= 1 << bit % 8
            _refused(report, bytes(data), f"{inst.spec.mnemonic}: bit {bit}")


def _unused(inst: Inst) -> Iterator[int]:
    """Bits of a record that must be zero."""
    operands = inst.spec.operands
    yield from (MASK + i for i in range(OPERAND_WORDS) if i >= len(operands) or operands[i].kind in NO_REGISTER)
    yield ATTRIBUTES_SHIFT - 1
    yield from range(ATTRIBUTES_SHIFT + sum(attr.bits for attr in inst.spec.attrs), TILES_AT)
    yield from range(TILES_AT + TILE_BITS * sum(o.kind is Kind.TILE for o in operands), 64)
    yield from range(64 + 64 * len(operands), 8 * RECORD_BYTES)


def _refused(report: Report, record: bytes, what: str) -> None:
    report.saw("reserved bits and opcodes")
    try:
        decode(record)
    except PtoFormatError:
        return
    report.fail(f"{what}: not refused by the decoder")


if __name__ == "__main__":
    main("fields", run, COUNT)
