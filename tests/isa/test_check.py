"""Each static rule refuses what breaks it, and says where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from pto.core.dtypes import F32, DType
from pto.core.errors import Loc, ProgramError
from pto.core.types import Layout, Space, TileType
from pto.isa.asm import assemble
from pto.isa.check import check, require_legal
from pto.isa.codec import decode, encode
from pto.isa.program import Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import Kind
from pto.isa.table import BY_MNEMONIC
from tests.isa.gemm import GEMM
from tests.isa.strategies import programs
from tests.isa.test_codec import ILLEGAL

HALT = Inst(BY_MNEMONIC["halt"])
HEAD = """\
.program p
.target V2
.param M 1 .. 64
.tensor %in f32[M, 64] read
.tensor %out f32[M, 64] write
.tile %x tile<ub, 64x64xf32> at 0x0 slots 2
.tile %y tile<ub, 32x16xf32> at 0x8000 slots 1
.tile %s tile<ub, 64x1xf32, col> at 0xa000 slots 1
.tile %l1 tile<l1, 64x64xf32> at 0x0 slots 1
.tile %l0a tile<l0a, 64x64xf32> at 0x0 slots 1
.tile %l0b tile<l0b, 32x32xf32, panel> at 0x0 slots 2
.tile %acc tile<l0c, 64x32xf32, panel> at 0x0 slots 1
"""


def faults(*lines: str) -> list[str]:
    return [str(fault) for fault in check(assemble(HEAD + "\n".join(lines) + "\nhalt", legal=False))]


@settings(max_examples=60)
@given(programs())
def test_random_programs_are_legal(program):
    assert check(program) == []
    require_legal(program)


def test_a_matrix_product_is_legal():
    assert check(GEMM) == []


DECLARATIONS = [
    ({"target": "V9"}, "target 'V9' is not known"),
    ({"name": "a b"}, "program 'a b': not a name"),
    ({"name": "a" * 129}, f"program '{'a' * 56}...: not a name"),
    ({"name": "\x1b[1m"}, "program '\\x1b[1m': not a name"),
    ({"parameters": (Parameter("M"), Parameter("M"))}, "parameter 'M' is declared 2 times"),
    ({"parameters": (Parameter("M", 2, 1),)}, "parameter M: no 64-bit integer is from 2 to 1"),
    ({"parameters": (Parameter("M", 0, 2**63),)}, f"parameter M: no 64-bit integer is from 0 to {2**63}"),
    ({"parameters": tuple(Parameter(f"p{i}") for i in range(255))}, "255 parameters, there are registers for 254"),
    ({"tensors": (TensorDecl("A", F32, ("K",)),)}, "tensor A: extent 'K' is no parameter"),
    ({"tensors": (TensorDecl("A", F32, (-1,)),)}, f"tensor A: extent -1 is outside 0 to {2**40}"),
    ({"tensors": (TensorDecl("A", F32, (2**21, 2**21)),)}, f"tensor A: more than {2**40} elements"),
    ({"tensors": (TensorDecl("A", F32, (1,) * 9),)}, "tensor A: rank 9, at most 8"),
    ({"tensors": tuple(TensorDecl(f"t{i}", F32, ()) for i in range(1025))}, "1025 tensors, a program has at most 1024"),
    ({"lines": ((), ())}, "spans are given for 2 instructions, there are 1"),
    ({"lines": ((0,),)}, "span 0 is not declared, there are 0"),
    ({"lines": ((-1,),), "spans": (Loc("a", 1),)}, "span -1 is not declared, there are 1"),
    ({"code": ()}, "a program has at least one instruction"),
]


@pytest.mark.parametrize(("change", "message"), DECLARATIONS)
def test_declarations(change, message):
    program = replace(Program("p", "V2", code=(HALT,)), **change)
    assert [str(fault) for fault in check(program)] == [message]


def ub(rows: int, cols: int, layout: Layout = Layout.ROW) -> TileType:
    return TileType(F32, rows, cols, Space.UB, layout)


TILES = [
    (ub(4, 4), {"address": 32}, "address 32 is no multiple of 64"),
    (ub(4, 4), {"address": -64}, "address -64 is no multiple of 64"),
    (ub(256, 257), {}, "bytes 0 to 263168 pass the end of ub, which has 262144 on AI_Accelerator_V2"),
    (ub(128, 256), {"slots": 3}, "bytes 0 to 393216 pass the end of ub, which has 262144 on AI_Accelerator_V2"),
    (ub(4, 4), {"slots": 0}, "0 slots, at least 1"),
    (ub(3, 3), {"slots": 2}, "slots of 36 bytes are no multiple of 64"),
    (ub(0, 4), {}, "tile<ub, 0x4xf32> has no elements"),
    (ub(4, 24, Layout.PANEL), {}, "24 columns are no whole number of panels of 16"),
    (ub(4, 2, Layout.COL), {}, "2 columns, a tile with layout col has 1"),
    (TileType(F32, 4, 4), {}, "tile<4x4xf32> names no memory"),
]


@pytest.mark.parametrize(("kind", "placing", "message"), TILES)
def test_tiles(kind, placing, message):
    decl = TileDecl("x", kind, **{"address": 0, **placing})
    assert [str(f) for f in check(Program("p", "V2", tiles=(decl,), code=(HALT,)))] == [f"tile x: {message}"]


def test_there_are_not_more_tiles_than_a_record_can_name():
    tiles = tuple(TileDecl(f"t{i}", ub(1, 1), 0) for i in range(1025))
    assert [str(f) for f in check(Program("p", "V2", tiles=tiles, code=(HALT,)))] == [
        "1025 tiles, a record can name 1024"]


PAIR = ("set_flag V, MTE3, 0", "wait_flag V, MTE3, 0")
INSTRUCTIONS = [
    (("tadd %x, %x, %l1, 1, 1",), "0: tadd cannot have dst in ub, a in ub, b in l1"),
    (("tadd %x, %x, %y, 33, 1",), "0: tadd: operand b: 33 rows, the tile holds 0 to 32"),
    (("tadd %x, %x, %y, 1, 17",), "0: tadd: operand b: 17 columns, the tile holds 0 to 16"),
    (("tadd %x, %x, %x, -1, 1",), "0: tadd: operand dst: -1 rows, the tile holds 0 to 64"),
    (("textract %l0a, %l1, 1, 0, 64, 1",), "0: textract: operand src: rows from 1: the tile has 64"),
    (("textract %l0a, %l1, 0, 65, 1, r9",), "0: textract: operand src: columns from 65: the tile has 64"),
    (("textract %l0a, %l1, -1, 0, 1, 1",), "0: textract: operand src: rows from -1: the tile has 64"),
    (("tadd %x[32], %x, %x, 1, 1",), "0: tadd: operand dst: offset 32 is no multiple of 64"),
    (("tadd %x[16448], %x, %x, 64, 64",),
     "0: tadd: operand dst: offset 16448: the region ends at byte 32832, the declaration has 32768"),
    (("tadd %x[32768], %x, %x, r9, r9",),
     "0: tadd: operand dst: offset 32768: the region ends at byte 32769, the declaration has 32768"),
    (("textract %l0b[4160], %l1, 0, 0, 32, 32",),
     "0: textract: operand dst: offset 4160: the region ends at byte 8256, the declaration has 8192"),
    (("trowsum %s[64], %x, 64, 64",),
     "0: trowsum: operand dst: offset 64: the region ends at byte 320, the declaration has 256"),
    (("tload %x, %in, -1, 0, 1, 1",), "0: tload: operand src: i = -1 is negative"),
    (("tload %x, %out, 0, 0, 1, 1",), "0: tload: operand src: tensor out is not declared as read"),
    (("tstore %in, %x, 0, 0, 1, 1",), "0: tstore: operand dst: tensor in is not declared as written"),
    (("set_flag V, MTE3, 8", *PAIR), "0: set_flag: operand id: flag 8 is outside 0 to 7"),
    (("wait_flag V, MTE3, -1", *PAIR), "0: wait_flag: operand id: flag -1 is outside 0 to 7"),
    (("set_flag V, V, 0", "wait_flag V, V, 0"), "0: set_flag: source and destination pipe are the same"),
    (("set_flag V, M, 0", *PAIR), "0: set_flag from V to M without any wait_flag"),
    (("wait_flag V, M, 0", *PAIR), "0: wait_flag from V to M without any set_flag"),
    (("L: jmp L",), "0: jmp: no path leads from here to a halt"),
    (("blt r5, r6, 1", "L: mov r5, 1", "jmp L"), "0: blt: no path leads from here to a halt"),
    (("jmp 2",), "0: jmp: operand target: instruction 2 is beyond the end, there are 2"),
]


@pytest.mark.parametrize(("lines", "message"), INSTRUCTIONS)
def test_instructions(lines, message):
    assert faults(*lines)[0] == f"instruction {message}"


@pytest.mark.parametrize("lines", [
    ("tadd %x[16384], %x, %x, 64, 64",), ("tadd %x[r9], %x, %x, r9, r9",), ("textract %l0b[4096], %l1, 0, 0, 32, 20",),
    ("textract %l0a, %l1, 63, 64, 1, 0",), ("tadd %x[32704], %x, %x, 1, 16",), ("tload %x, %in, r9, 9000, 64, 64",),
    PAIR, ("set_flag V, MTE3, r5", "wait_flag V, MTE3, 7"), ("tmatmul %acc, %l0a, %l0b, 64, 32, 32, 0",),
    ("jmp 2", "L: jmp L",), ("L: blt r5, r6, L",),
])
def test_what_is_just_legal(lines):
    assert faults(*lines) == []


def test_the_end_cannot_be_run_over():
    code = (Inst(BY_MNEMONIC["mov"], (Reg(5), 1)),)
    assert [str(f) for f in check(Program("p", "V2", code=code))] == [
        "instruction 0: mov: the program can run off its end"]


def test_what_records_cannot_hold_is_refused_as_by_the_encoder():
    for pc, inst in enumerate(GEMM.code):
        for i, operand in enumerate(inst.spec.operands):
            for value in ILLEGAL[operand.kind]:
                bad = Inst(inst.spec, (*inst.args[:i], value, *inst.args[i + 1:]))
                with pytest.raises(ProgramError) as err:
                    encode(bad)
                code = (*GEMM.code[:pc], bad, *GEMM.code[pc + 1:])
                found = check(replace(GEMM, code=code))
                assert (found[0].message, found[0].pc) == (err.value.message, pc)


def test_tiles_and_tensors_exist():
    for pc, inst in enumerate(GEMM.code):
        for i, operand in enumerate(inst.spec.operands):
            value = {Kind.TILE: TileRef(5), Kind.TENSOR: 3}.get(operand.kind)
            if value is not None:
                bad = Inst(inst.spec, (*inst.args[:i], value, *inst.args[i + 1:]))
                assert decode(encode(bad)) == bad
                found = check(replace(GEMM, code=(*GEMM.code[:pc], bad, *GEMM.code[pc + 1:])))
                assert f"operand {operand.name}: {operand.kind.value} " in found[0].message
                assert "is not declared" in found[0].message


def test_the_error_is_at_the_source_line():
    code = (*GEMM.code[:10], Inst(GEMM.code[10].spec, (*GEMM.code[10].args[:4], 65, 70)), *GEMM.code[11:])
    with pytest.raises(ProgramError) as err:
        require_legal(replace(GEMM, code=code))
    assert str(err.value) == """\
/home/me/gemm.py:7:9: error[PTO-E0104]: instruction 10: textract: operand dst: 65 rows, the tile holds 0 to 64 \
(and 1 more)
            acc += pt.tile_matmul(A[:, k], B[k])
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"""


def test_element_types_are_those_of_the_row():
    odd = DType("c64", "complex64", 64, "c", "complex64")
    tensors = (replace(GEMM.tensors[0], dtype=odd), *GEMM.tensors[1:])
    assert str(check(replace(GEMM, tensors=tensors))[0]) == (
        "instruction 6: tload of f32 c64: legal element types are f32, f16, bf16, s32, s16, s8, u8, pred")
