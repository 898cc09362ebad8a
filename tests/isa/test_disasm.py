"""What programs look like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pto.core.errors import Loc
from pto.isa.asm import assemble
from pto.isa.disasm import disassemble
from pto.isa.file import dumps
from pto.isa.program import Inst, Reg, TileRef
from pto.isa.table import BY_MNEMONIC
from tests.isa.gemm import GEMM
from tests.scaling import calls

GOLDEN = Path(__file__).with_name("gemm.ptoas")


def test_a_small_matrix_product():
    text = disassemble(GEMM)
    assert text == GOLDEN.read_text(encoding="utf-8")
    assert assemble(text) == GEMM
    assert dumps(assemble(text)) == dumps(GEMM)


def test_without_source_there_is_no_comment_beside_instructions():
    text = disassemble(GEMM, source=False)
    assert "; 0" not in text and "!1,0" in text
    assert assemble(text) == GEMM


def test_nothing_printed_moves_a_terminal():
    evil = "\x1b]0;owned\a\N{RIGHT-TO-LEFT OVERRIDE}\n\x9b31m\u2028\ud800"
    program = replace(
        GEMM, name=evil, target=evil, spans=tuple(Loc(evil, 1, 0, 9, evil) for _ in GEMM.spans),
        tensors=tuple(replace(t, name=evil + t.name, dims=(evil,)) for t in GEMM.tensors),
        tiles=tuple(replace(t, name=evil + t.name) for t in GEMM.tiles),
        parameters=tuple(replace(p, name=evil) for p in GEMM.parameters),
    )
    text = disassemble(program)
    assert text.replace("\n", "").isprintable()
    assert text.count("\n") == disassemble(GEMM).count("\n")


def test_debug_text_is_kept_as_far_as_it_is_printable():
    text = "\tx = 1\f# \N{ZERO WIDTH SPACE}\N{IDEOGRAPHIC SPACE}" + "y" * 2000
    kept = replace(GEMM, spans=(Loc("k.py", 1, 0, 5, text), *GEMM.spans[1:]))
    again = assemble(disassemble(kept))
    shown = text.replace("\f", "\ufffd").replace("\N{ZERO WIDTH SPACE}", "\ufffd")[:1024]
    assert again.spans[0] == Loc("k.py", 1, 0, 5, shown)
    assert again == assemble(disassemble(again))


def test_what_names_nothing_is_shown():
    code = (Inst(BY_MNEMONIC["tmov"], (TileRef(77), TileRef(0), 1, 1)), Inst(BY_MNEMONIC["jmp"], (99,)),
            Inst(BY_MNEMONIC["set_flag"], (55, 1, 0)))
    text = disassemble(replace(GEMM, code=code, lines=()))
    assert "%?77, %a1, 1, 1" in text and "jmp           99" in text and "?55, MTE2, 0" in text


def test_a_long_mnemonic_stands_apart_from_its_operands():
    for row in BY_MNEMONIC.values():
        register = Inst(row, tuple(Reg(5) for _ in row.operands))
        [line] = [x for x in disassemble(replace(GEMM, code=(register,), lines=())).split("\n") if x.startswith("  ")]
        assert line.split()[0] == row.mnemonic


@pytest.mark.parametrize("count", [150, 600])
def test_printing_takes_few_calls_an_instruction(count):
    program = replace(GEMM, code=(GEMM.code * 24)[:count], lines=(GEMM.lines * 24)[:count])
    assert calls(lambda: disassemble(program)) < 110 * count
