"""Assembly: what is printed is read back, and what is wrong is shown where it is."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings

from pto.core.errors import AssemblyError, ProgramError
from pto.isa import asm, source
from pto.isa.asm import assemble
from pto.isa.disasm import disassemble
from pto.isa.file import dumps
from pto.isa.program import Reg, TileRef
from tests.isa.gemm import GEMM
from tests.isa.strategies import programs

HEAD = """\
.program p
.target V2
.param M 1 .. 64
.tensor %A f32[M, 64] readwrite
.tile %x tile<ub, 64x64xf32> at 0x0 slots 2
.span 0 "k.py" 7 4 9 "    a + b"
"""


def body(*lines: str) -> str:
    return HEAD + "\n".join((*lines, "  halt"))


@settings(max_examples=60)
@given(programs())
def test_text_gives_the_same_bytes(program):
    again = assemble(disassemble(program))
    assert again == program
    assert dumps(again) == dumps(program)
    assert assemble(disassemble(program, source=False)) == program


def test_spellings():
    program = assemble(body(
        "first: second:", "  tmuls %x[0x4000], %x[r9], -inf, 0x10, r3 ; comment",
        "\ttexpands %x, nan, 1, 1 !0,0",
        "texpands %x, 2, 1, 1\r", "mov r5, -0x8000000000000000", "", "third: blt r5, r2, second", "bge r5, r2, 0",
    ))
    tmuls, texpands, two, mov, blt, bge, _ = program.code
    assert tmuls.args == (TileRef(0, 16384), TileRef(0, Reg(9)), -math.inf, 16, Reg(3))
    assert texpands.args[1] is math.nan
    assert two.args[1] == 2.0 and isinstance(two.args[1], float)
    assert mov.args == (Reg(5), -(2**63))
    assert (blt.args[2], bge.args[2]) == (0, 0)
    assert program.lines[:3] == ((), (0, 0), ())


ERRORS = {
    "taddd %x, %x, %x, 1, 1": """\
        k.s:7:1: error[PTO-E0102]: no instruction is called taddd
            taddd %x, %x, %x, 1, 1
            ^^^^^
        help: did you mean tadd?""",
    "  tadd %x, %x": """\
        k.s:7:3: error[PTO-E0102]: tadd takes dst, a, b, rows, cols; 2 given
              tadd %x, %x
              ^^^^""",
    "halt 3": """\
        k.s:7:1: error[PTO-E0102]: halt takes no operands; 1 given
            halt 3
            ^^^^""",
    "tadd %x, %y, %x, 1, 1": """\
        k.s:7:10: error[PTO-E0102]: no tile is called %y
            tadd %x, %y, %x, 1, 1
                     ^^
        help: declared: %x""",
    "tload %x, %AA, 0, 0, 1, 1": """\
        k.s:7:11: error[PTO-E0102]: no tensor is called %AA
            tload %x, %AA, 0, 0, 1, 1
                      ^^^
        help: did you mean %A?""",
    "loop: jmp lop": """\
        k.s:7:11: error[PTO-E0102]: no label is called lop
            loop: jmp lop
                      ^^^
        help: did you mean loop?""",
    ".tensr %B f32[] read": """\
        k.s:7:1: error[PTO-E0102]: no directive is called .tensr
            .tensr %B f32[] read
            ^^^^^^
        help: did you mean .tensor?""",
    "mov r5, r6 r7": """\
        k.s:7:12: error[PTO-E0102]: r7 cannot stand here, expected '!' or '#' or ',' or the end of the line
            mov r5, r6 r7
                       ^^""",
    "mov r5, @": """\
        k.s:7:9: error[PTO-E0102]: @ cannot stand here, expected a %name or a name or a number
            mov r5, @
                    ^""",
    "mov r5,": """\
        k.s:7:8: error[PTO-E0102]: the line ends too early, expected a %name or a name or a number
            mov r5,
                   ^""",
    "mov 5, 6": """\
        k.s:7:5: error[PTO-E0102]: dst takes a register, not 5
            mov 5, 6
                ^""",
    "mov r256, 6": """\
        k.s:7:5: error[PTO-E0102]: operand dst: register r256 does not exist, there are 256
            mov r256, 6
                ^^^^""",
    "mov r1, 9223372036854775808": """\
        k.s:7:9: error[PTO-E0102]: an operand takes -9223372036854775808 to 9223372036854775807, not 9223372036854775808
            mov r1, 9223372036854775808
                    ^^^^^^^^^^^^^^^^^^^""",
    "mov r1, %x": """\
        k.s:7:9: error[PTO-E0102]: a takes an integer or a register, not %x
            mov r1, %x
                    ^^""",
    "mov r1, 0.5": """\
        k.s:7:9: error[PTO-E0102]: an operand takes an integer, not 0.5
            mov r1, 0.5
                    ^^^""",
    "tadds %x, %x, 1e999, 1, 1": """\
        k.s:7:15: error[PTO-E0102]: 1e999 is too large for a float
            tadds %x, %x, 1e999, 1, 1
                          ^^^^^
        help: infinity is written inf or -inf""",
    "set_flag MTE22, V, 0": """\
        k.s:7:10: error[PTO-E0102]: no pipe is called MTE22
            set_flag MTE22, V, 0
                     ^^^^^
        help: did you mean MTE2?""",
    "mov r5, 1 !1": """\
        k.s:7:12: error[PTO-E0102]: span 1 is not declared
            mov r5, 1 !1
                       ^""",
    ".tile %y tile<ubb, 4x4xf32> at 0 slots 1": """\
        k.s:7:10: error[PTO-E0102]: no memory is called ubb
            .tile %y tile<ubb, 4x4xf32> at 0 slots 1
                     ^^^^^^^^^^^^^^^^^^
        help: did you mean ub?""",
    ".tile %x tile<ub, 4x4xf32> at 0 slots 1": """\
        k.s:7:7: error[PTO-E0102]: tile x is declared twice
            .tile %x tile<ub, 4x4xf32> at 0 slots 1
                  ^^""",
    ".target V9": """\
        k.s:7:9: error[PTO-E0102]: this directive is given twice
            .target V9
                    ^^""",
    "tadd %x, %x, %x, 65, 1": """\
        k.s:7:1: error[PTO-E0104]: instruction 0: tadd: operand dst: 65 rows, the tile holds 0 to 64
            tadd %x, %x, %x, 65, 1
            ^^^^""",
    "tadd %x[4], %x, %x, 1, 1": """\
        k.s:7:1: error[PTO-E0104]: instruction 0: tadd: operand dst: offset 4 is no multiple of 64
            tadd %x[4], %x, %x, 1, 1
            ^^^^""",
    "mov r5, 1 \x1b[31m": """\
        k.s:7:11: error[PTO-E0102]: \N{REPLACEMENT CHARACTER} cannot stand here, expected '!' or '#' or ','
            mov r5, 1 \N{REPLACEMENT CHARACTER}[31m
                      ^""",
}


@pytest.mark.parametrize(("line", "message"), ERRORS.items(), ids=list(ERRORS))
def test_errors_show_the_place(line, message):
    with pytest.raises((AssemblyError, ProgramError)) as err:
        assemble(body(line), "k.s")
    assert str(err.value) == textwrap.dedent(message)


def test_what_a_text_must_have():
    with pytest.raises(AssemblyError, match=r"the text has no \.target directive"):
        assemble(".program p\nhalt")
    with pytest.raises(AssemblyError, match=r"the text has no \.program directive"):
        assemble("")
    with pytest.raises(AssemblyError, match="label a is defined twice"):
        assemble(body("a:", "a: mov r5, 1"))
    with pytest.raises(ProgramError, match="can run off its end"):
        assemble(HEAD + "mov r5, 1")


def test_the_static_check_can_be_left_out():
    program = assemble(body("tadd %x, %x, %x, 65, 1"), legal=False)
    assert program.code[0].args[3] == 65


@pytest.mark.parametrize("text", [
    ".program " + "a" * 70_000, "x" * (64 * 2**20 + 1), "mov r1, " + "9" * 60_000, ".span 0 \"\\ud800\" 1 1 1 \"\"",
    ".span 0 \"\x1b[2J\" 1 1 1 \"\"", ".span 0 \"a\" -1 1 1 \"\"", ".span 0 \"a",
    ".tile %a tile<ub, 1x1xf32, fig> at 0 slots 1",
    ".param M 9 .. x", "[" * 5000, "a:" * 5000 + "1", "\0", "\ud800", ".tensor %a f32[" + "1, " * 9000 + "1] read",
])
def test_hostile_texts_are_refused(text):
    with pytest.raises((AssemblyError, ProgramError)) as err:
        assemble(text)
    assert str(err.value).replace("\n", "").isprintable()
    assert len(str(err.value)) < 4000


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_limit_of_a_line(more):
    text = body("; ".ljust(source.LINE_LIMIT + more, "x"))
    if more <= 0:
        assemble(text)
    else:
        with pytest.raises(AssemblyError, match="a line of 65537 characters, at most 65536"):
            assemble(text)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_limits_of_a_text(more, monkeypatch):
    text = body("")
    for name, size in (("TEXT_LIMIT", len(text)), ("LINES_LIMIT", text.count("\n") + 1)):
        with monkeypatch.context() as patch:
            patch.setattr(asm, name, size - more)
            if more <= 0:
                assemble(text)
            else:
                with pytest.raises(AssemblyError, match="a text of"):
                    assemble(text)


def test_mutants_are_refused_or_valid():
    random, accepted, messages = Random(5), 0, []
    good = disassemble(GEMM).split("\n")
    parts = (*'%[],!:;"\\ -rL\0\x1bé', "..", "9" * 20, "nan", "tile<")
    for _ in range(1000):
        lines = list(good)
        number = random.randrange(len(lines))
        at = random.randrange(len(lines[number]) + 1)
        cut = lines[number][at + random.choice((0, 0, 1, 3)):]
        lines[number] = random.choice((lines[number][:at] + random.choice(parts) + cut, random.choice(good)))
        try:
            program = assemble("\n".join(lines))
        except (AssemblyError, ProgramError) as err:
            messages.append(str(err))
        else:
            accepted += 1
            assert assemble(disassemble(program)) == program
    assert 0 < accepted < 700
    assert all(text.replace("\n", "").isprintable() for text in messages)


def test_no_mnemonic_is_in_the_grammar():
    text = Path(source.__file__).with_name("grammar.lark").read_text().split("line: label*")[1]
    assert "tadd" not in text and "mov" not in text


@pytest.mark.parametrize("module", ["disasm", "manual", "file"])
def test_imports_are_cheap(module):
    probe = f"import sys, pto.isa.{module}; print([m for m in ('lark', 'numpy', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
