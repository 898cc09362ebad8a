"""Scratch tensors in files and text: written and read, or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pto.core.dtypes import F32
from pto.core.errors import PtoFormatError
from pto.isa.asm import assemble
from pto.isa.disasm import disassemble
from pto.isa.file import dumps, loads
from pto.isa.program import Inst, Program, TensorDecl
from pto.isa.table import scalar


def test_scratch_is_written_and_read_or_refused():
    scratch = TensorDecl("y", F32, (4, 4), written=True, read=True, scratch=True)
    program = Program("p", "AI_Accelerator_V2", (), (scratch,), (), (Inst(scalar.HALT, ()),))
    assert assemble(disassemble(loads(dumps(program), "p.pto"))) == program
    for change in ({"read": False}, {"written": False}):
        with pytest.raises(PtoFormatError, match="scratch"):
            loads(dumps(replace(program, tensors=(replace(scratch, **change),))), "p.pto")
