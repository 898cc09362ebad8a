"""Instructions as 64-byte records, and back. A record has one meaning and an instruction one record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from struct import Struct
from typing import TypeGuard

from pto.core.errors import ProgramError, PtoFormatError
from pto.isa.program import Arg, Inst, Reg, TileRef
from pto.isa.spec import (
    ATTRIBUTE_BITS,
    OPERAND_WORDS,
    RECORD_BYTES,
    REGISTERS,
    TILE_BITS,
    Attr,
    Instr,
    Kind,
    Operand,
    Pipe,
)
from pto.isa.table import BY_OPCODE

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
TILES = 1 << TILE_BITS
CANONICAL_NAN = 0x7FF8_0000_0000_0000
MASK_SHIFT, ATTRIBUTES_SHIFT, TILES_SHIFT = 8, 16, 24
ATTRIBUTE_MASK = (1 << ATTRIBUTE_BITS) - 1

_RECORD = Struct(f"<Q{OPERAND_WORDS}q")
_DOUBLE, _WORD = Struct("<d"), Struct("<q")


def encode(inst: Inst) -> bytes:
    """The record of an instruction.

    Raises:
        ProgramError: an operand has a value that no record can hold.
    """
    fault = next(iter(inst_faults(inst)), "")
    if fault:
        raise ProgramError(fault)
    words, mask, tiles, shift = [0] * OPERAND_WORDS, 0, 0, 0
    for i, arg in enumerate(inst.args):
        if isinstance(arg, TileRef):
            tiles |= arg.tile << shift
            shift += TILE_BITS
            arg = arg.offset
        if isinstance(arg, Reg):
            mask |= (inst.spec.operands[i].kind is not Kind.DEST) << i
            words[i] = arg.number
        else:
            words[i] = arg if isinstance(arg, int) else _bits(arg)
    head = inst.spec.opcode | mask << MASK_SHIFT | _attributes(inst) << ATTRIBUTES_SHIFT | tiles << TILES_SHIFT
    return _RECORD.pack(head, *words)


def decode(record: bytes, *, length: int | None = None) -> Inst:
    """The instruction of a record; with `length`, labels must lie in a program of so many instructions.

    Raises:
        PtoFormatError: the record is not what `encode` makes of any instruction.
    """
    if len(record) != RECORD_BYTES:
        raise PtoFormatError(f"a record has {RECORD_BYTES} bytes, not {len(record)}")
    head, *words = _RECORD.unpack(record)
    spec = BY_OPCODE.get(head & 0xFF)
    if spec is None:
        raise PtoFormatError(f"opcode {head & 0xFF:#04x}: no instruction has it")
    _refuse_unused(spec, head, words)
    mask, tiles = head >> MASK_SHIFT, head >> TILES_SHIFT
    args: list[Arg] = []
    for i, operand in enumerate(spec.operands):
        args.append(_read(spec, operand, words[i], bool(mask >> i & 1), tiles % TILES))
        if operand.kind is Kind.TILE:
            tiles >>= TILE_BITS
    inst = Inst(spec, tuple(args), _read_attributes(spec, head >> ATTRIBUTES_SHIFT & ATTRIBUTE_MASK))
    fault = next(iter(inst_faults(inst, length)), "")
    if fault:
        raise PtoFormatError(fault)
    return inst


def encode_all(code: Iterable[Inst]) -> bytes:
    """The records of instructions, one after the other."""
    return b"".join(map(encode, code))


def decode_all(data: bytes) -> tuple[Inst, ...]:
    """The instructions of a whole program.

    Raises:
        PtoFormatError: a record is refused; the message names the instruction and its byte offset.
    """
    if len(data) % RECORD_BYTES:
        raise PtoFormatError(f"{len(data)} bytes are no whole number of {RECORD_BYTES}-byte records")
    length, code = len(data) // RECORD_BYTES, []
    for pc, start in enumerate(range(0, len(data), RECORD_BYTES)):
        try:
            code.append(decode(data[start:start + RECORD_BYTES], length=length))
        except PtoFormatError as err:
            raise PtoFormatError(f"instruction {pc} at byte {start}: {err.message}") from None
    return tuple(code)


def inst_faults(inst: Inst, length: int | None = None) -> list[str]:
    """One sentence for each operand that has a value its kind cannot have, whatever the program declares."""
    spec = inst.spec
    known = BY_OPCODE.get(spec.opcode)
    if known is not spec and known != spec:
        return [f"{spec.mnemonic} is not in the table of instructions"]
    if len(inst.args) != len(spec.operands):
        return [operand_count(spec, len(inst.args))]
    if len(inst.attrs) != len(spec.attrs):
        return [f"{spec.mnemonic} has {len(spec.attrs)} attributes; {len(inst.attrs)} given"]
    faults = [
        f"{spec.mnemonic}: {attribute_fault(attr, value)}"
        for attr, value in zip(spec.attrs, inst.attrs, strict=True) if value not in attr.values
    ]
    for operand, arg in zip(spec.operands, inst.args, strict=True):
        fault = operand_fault(operand, arg)
        if not fault and length is not None and operand.kind is Kind.LABEL and isinstance(arg, int) and arg >= length:
            fault = f"instruction {arg} is beyond the end, there are {length}"
        if fault:
            faults.append(f"{spec.mnemonic}: operand {operand.name}: {fault}")
    return faults


def operand_count(spec: Instr, count: int) -> str:
    """The complaint about a wrong number of operands."""
    names = ", ".join(o.name for o in spec.operands) or "no operands"
    return f"{spec.mnemonic} takes {names}; {count} given"


def attribute_fault(attr: Attr, value: object) -> str:
    """The complaint about a value that an attribute cannot have."""
    return f"attribute {attr.name} is one of {', '.join(attr.values)}, not {value}"


def operand_fault(operand: Operand, arg: Arg) -> str:
    """What is wrong with a value as an operand of this kind; empty if nothing."""
    return _FAULTS[operand.kind](arg)


def _whole(arg: object) -> TypeGuard[int]:
    return isinstance(arg, int) and not isinstance(arg, bool)


def _index(arg: Arg) -> str:
    if _whole(arg):
        return "" if INT_MIN <= arg <= INT_MAX else f"{arg} does not fit 64 bits"
    return _register(arg, "an integer or a register")


def _register(arg: Arg, wanted: str = "a register") -> str:
    if not isinstance(arg, Reg):
        return f"takes {wanted}, not {type(arg).__name__}"
    legal = _whole(arg.number) and 0 <= arg.number < REGISTERS
    return "" if legal else f"register {arg} does not exist, there are {REGISTERS}"


def _scalar(arg: Arg) -> str:
    return "" if type(arg) is float else _register(arg, "a float or a register")


def _tile(arg: Arg) -> str:
    if not isinstance(arg, TileRef):
        return f"takes a tile, not {type(arg).__name__}"
    if not _whole(arg.tile) or not 0 <= arg.tile < TILES:
        return f"tile number {arg.tile} is outside 0 to {TILES - 1}"
    if _whole(arg.offset) and arg.offset < 0:
        return f"offset {arg.offset} is negative"
    return _index(arg.offset)


def _below(what: str, limit: int) -> Callable[[Arg], str]:
    """The rule of a plain number from 0 to below a limit."""
    def rule(arg: Arg) -> str:
        if not _whole(arg):
            return f"takes a {what} number, not {type(arg).__name__}"
        if arg < 0:
            return f"{what} number {arg} is negative"
        return "" if arg < limit else f"{what} number {arg} is above {limit - 1}"
    return rule


_FAULTS: dict[Kind, Callable[[Arg], str]] = {
    Kind.TILE: _tile, Kind.INDEX: _index, Kind.SCALAR: _scalar, Kind.DEST: _register,
    Kind.TENSOR: _below("tensor", 2**31), Kind.SLOT: _below("tensor", 2**31),
    Kind.LABEL: _below("instruction", 2**31), Kind.PIPE: _below("pipe", len(Pipe)),
}
_MAY_BE_REGISTER = (Kind.TILE, Kind.INDEX, Kind.SCALAR)


def _bits(value: float) -> int:
    """The bits of a float; the machine has one NaN."""
    bits: int = CANONICAL_NAN if math.isnan(value) else _WORD.unpack(_DOUBLE.pack(value))[0]
    return bits


def _float(word: int) -> float:
    """The float of a word; NaN is always the object `math.nan`, so that equal programs compare equal."""
    value: float = _DOUBLE.unpack(_WORD.pack(word))[0]
    if value == value:
        return value
    if word != CANONICAL_NAN:
        raise PtoFormatError(f"{word % 2**64:#x} is not the canonical NaN")
    return math.nan


def _attributes(inst: Inst) -> int:
    """The attribute bits."""
    word, shift = 0, 0
    for attr, value in zip(inst.spec.attrs, inst.attrs, strict=True):
        word |= attr.values.index(value) << shift
        shift += attr.bits
    return word


def _read_attributes(spec: Instr, word: int) -> tuple[str, ...]:
    """The values of the attributes, whose bits are all that may be set."""
    found = []
    for attr in spec.attrs:
        number = word & (1 << attr.bits) - 1
        if number >= len(attr.values):
            raise PtoFormatError(f"{spec.mnemonic}: attribute {attr.name} has no value {number}")
        found.append(attr.values[number])
        word >>= attr.bits
    if word:
        raise PtoFormatError(f"{spec.mnemonic}: attributes must be zero")
    return tuple(found)


def _refuse_unused(spec: Instr, head: int, words: list[int]) -> None:
    """Everything that a row does not use is zero."""
    count = len(spec.operands)
    tiles = sum(o.kind is Kind.TILE for o in spec.operands)
    unused = (
        ("mask bits of no operand", (head >> MASK_SHIFT & 0x7F) >> count),
        ("bit 15", head >> 15 & 1),
        ("tile numbers of no operand", head >> TILES_SHIFT + TILE_BITS * tiles),
        *((f"word {i + 1}", words[i]) for i in range(count, OPERAND_WORDS)),
    )
    for what, value in unused:
        if value:
            raise PtoFormatError(f"{spec.mnemonic}: {what} must be zero")


def _read(spec: Instr, operand: Operand, word: int, register: bool, tile: int) -> Arg:
    """The operand that a word stands for."""
    if register and operand.kind not in _MAY_BE_REGISTER:
        raise PtoFormatError(f"{spec.mnemonic}: operand {operand.name}: the mask calls it a register")
    if operand.kind is Kind.TILE:
        return TileRef(tile, Reg(word) if register else word)
    if register or operand.kind is Kind.DEST:
        return Reg(word)
    if operand.kind is not Kind.SCALAR:
        return word
    try:
        return _float(word)
    except PtoFormatError as err:
        raise PtoFormatError(f"{spec.mnemonic}: operand {operand.name}: {err.message}") from None
