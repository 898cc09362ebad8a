"""Records: every instruction has one, and nothing else is one."""

from __future__ import annotations

import math
import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import ProgramError, PtoFormatError
from pto.isa.codec import CANONICAL_NAN, decode, decode_all, encode, encode_all
from pto.isa.program import Inst, Reg, TileRef
from pto.isa.spec import OPERAND_WORDS, RECORD_BYTES, Kind
from pto.isa.table import BY_MNEMONIC, BY_OPCODE, TABLE
from tests.isa.gemm import GEMM
from tests.isa.strategies import instructions
from tests.scaling import calls

TADD, TMULS, MOV, JMP = (BY_MNEMONIC[name] for name in ("tadd", "tmuls", "mov", "jmp"))
WORDS = struct.Struct("<Q7q")
PLAIN = {
    Kind.TILE: TileRef(3, 64), Kind.TENSOR: 2, Kind.INDEX: -5, Kind.SCALAR: 0.5, Kind.DEST: Reg(7), Kind.LABEL: 1,
    Kind.PIPE: 3, Kind.SLOT: 2,
}
ILLEGAL = {
    Kind.TILE: (1, 1.0, Reg(1), TileRef(-1), TileRef(1024), TileRef(0, -64), TileRef(0, 2**63), TileRef(0, Reg(256))),
    Kind.TENSOR: (-1, 2**31, 1.0, Reg(1), TileRef(0)), Kind.SLOT: (-1, 2**31, 1.0, Reg(1), TileRef(0)),
    Kind.INDEX: (2**63, -(2**63) - 1, 1.0, True, Reg(-1), Reg(256), TileRef(0)),
    Kind.SCALAR: (1, True, Reg(256), TileRef(0)),
    Kind.DEST: (1, Reg(-1), Reg(256)),
    Kind.LABEL: (-1, 2**31, Reg(1), 1.0),
    Kind.PIPE: (-1, 7, Reg(1), 1.0),
}


def plain(row) -> Inst:
    return Inst(row, tuple(PLAIN[o.kind] for o in row.operands))


def words(record: bytes) -> list[int]:
    return list(WORDS.unpack(record))


def test_the_table_is_closed():
    assert len(BY_OPCODE) == len(TABLE) == len(BY_MNEMONIC), "two rows share an opcode or a mnemonic"
    assert all(0 < row.opcode < 256 for row in TABLE)


@given(instructions())
def test_an_instruction_survives_encoding(inst):
    record = encode(inst)
    assert len(record) == RECORD_BYTES
    assert decode(record) == inst
    assert encode(decode(record)) == record


def test_a_record_is_what_the_manual_says():
    record = encode(Inst(TMULS, (TileRef(5, 128), TileRef(1023, Reg(9)), -1.0, 3, Reg(255))))
    head, *rest = words(record)
    assert head == TMULS.opcode | 0b10010 << 8 | 5 << 24 | 1023 << 34
    assert rest == [128, 9, struct.unpack("<q", struct.pack("<d", -1.0))[0], 3, 255, 0, 0]
    assert words(encode(Inst(MOV, (Reg(4), -2))))[:3] == [MOV.opcode, 4, -2]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.mnemonic)
def test_no_illegal_value_is_encoded(row):
    good = plain(row)
    for i, operand in enumerate(row.operands):
        for value in ILLEGAL[operand.kind]:
            args = (*good.args[:i], value, *good.args[i + 1:])
            with pytest.raises(ProgramError, match=f"{row.mnemonic}: operand {operand.name}: "):
                encode(Inst(row, args))
    with pytest.raises(ProgramError, match=f"{row.mnemonic} takes"):
        encode(Inst(row, (*good.args, 1)))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.mnemonic)
def test_every_single_field_is_refused_or_means_itself(row):
    """Each bit of the head flipped, each word set to border values: refused, or another canonical record."""
    good = words(encode(plain(row)))
    changed = [[good[0] ^ 1 << bit, *good[1:]] for bit in range(64)]
    borders = (-(2**63), -1, 0, 6, 7, 255, 256, 2**31, 2**63 - 1, 0x7FF0_0000_0000_0001, -(2**51), CANONICAL_NAN)
    changed += [[*good[:i], v, *good[i + 1:]] for i in range(1, OPERAND_WORDS + 1) for v in borders]
    for row_words in changed:
        record = WORDS.pack(*row_words)
        try:
            inst = decode(record)
        except PtoFormatError:
            continue
        assert encode(inst) == record


@pytest.mark.parametrize(("change", "reason"), [
    ((0, 0xFE), "opcode 0xfe: no instruction has it"),
    ((0, 0), "opcode 0x00: no instruction has it"),
    ((0, TADD.opcode | 1 << 15), "tadd: bit 15 must be zero"),
    ((0, TADD.opcode | 1 << 16), "tadd: attributes must be zero"),
    ((0, TADD.opcode | 1 << 13), "tadd: mask bits of no operand must be zero"),
    ((0, TADD.opcode | 1 << 54), "tadd: tile numbers of no operand must be zero"),
    ((7, 1), "tadd: word 7 must be zero"),
    ((1, -64), "tadd: operand dst: offset -64 is negative"),
])
def test_what_is_not_used_is_zero(change, reason):
    found = words(encode(Inst(TADD, (TileRef(0), TileRef(0), TileRef(0), 4, 4))))
    found[change[0]] = change[1]
    with pytest.raises(PtoFormatError) as err:
        decode(WORDS.pack(*found))
    assert err.value.message == reason


def test_attributes_are_numbers_of_their_values():
    row = BY_MNEMONIC["tcvt"]
    inst = Inst(row, (TileRef(0, 0), TileRef(1, 0), 4, 4), ("rto", "on"))
    record = bytearray(encode(inst))
    assert record[2] == 5 | 1 << 3 and decode(bytes(record)) == inst
    record[2] = 7
    with pytest.raises(PtoFormatError, match="attribute round has no value 7"):
        decode(bytes(record))
    for attrs, why in ((("up", "on"), "attribute round is one of rne"), (("rne",), "has 2 attributes; 1 given")):
        with pytest.raises(ProgramError, match=why):
            encode(Inst(row, inst.args, attrs))
    assert Inst(row, inst.args).attrs == ("rne", "off")


def test_registers_are_where_they_may_be():
    with pytest.raises(PtoFormatError, match="operand rows: register r256 does not exist"):
        decode(WORDS.pack(TADD.opcode | 0b01000 << 8, 0, 0, 0, 256, 0, 0, 0))
    with pytest.raises(PtoFormatError, match="operand dst: the mask calls it a register"):
        decode(WORDS.pack(MOV.opcode | 1 << 8, 1, 0, 0, 0, 0, 0, 0))
    with pytest.raises(PtoFormatError, match="operand target: instruction 9 is beyond the end, there are 9"):
        decode(encode(Inst(JMP, (9,))), length=9)


@given(st.binary(min_size=RECORD_BYTES, max_size=RECORD_BYTES))
def test_other_words_are_refused(record):
    with pytest.raises(PtoFormatError):
        decode(record[:7] + b"\xff" + record[8:-1] + b"\1")


def test_random_words_are_refused_or_mean_themselves():
    random, accepted = Random(7), 0
    heads = [row.opcode for row in TABLE]
    for _ in range(20_000):
        shift = random.choice((0, 0, 8, 15, 16, 24))
        head = random.choice(heads) | random.getrandbits(2) << shift << 2 * (shift == 24)
        record = WORDS.pack(head % 2**64, *(random.choice((0, 0, 1, 64, 300, -1, 2**40)) for _ in range(7)))
        try:
            inst = decode(record)
        except PtoFormatError:
            continue
        accepted += 1
        assert encode(inst) == record
    assert accepted > 10


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324])
def test_scalars_survive_bit_for_bit(value):
    inst = Inst(TMULS, (TileRef(0), TileRef(0), value, 1, 1))
    record = encode(inst)
    assert record[24:32] == struct.pack("<d", value)
    assert decode(record) == inst
    assert encode(decode(record)) == record


def test_there_is_one_nan():
    odd = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0123))[0]
    record = encode(Inst(TMULS, (TileRef(0), TileRef(0), odd, 1, 1)))
    assert struct.unpack("<Q", record[24:32])[0] == CANONICAL_NAN
    with pytest.raises(PtoFormatError, match="operand scalar: 0xfff8000000000123 is not the canonical NaN"):
        decode(record[:24] + struct.pack("<d", odd) + record[32:])


def test_a_programs_records():
    data = encode_all(GEMM.code)
    assert decode_all(data) == GEMM.code
    with pytest.raises(PtoFormatError, match="65 bytes are no whole number"):
        decode_all(data[:65])
    with pytest.raises(PtoFormatError, match="instruction 1 at byte 64: opcode 0x00"):
        decode_all(data[:64] + bytes(64))
    with pytest.raises(PtoFormatError, match="a record has 64 bytes, not 3"):
        decode(b"abc")


@pytest.mark.parametrize("count", [150, 600])
def test_encoding_takes_few_calls_an_instruction(count):
    code = (GEMM.code * 24)[:count]
    assert calls(lambda: encode_all(code)) < 100 * count
