"""Instructions that order pipes. A flag is one bit, named by source pipe, destination pipe and id."""

from pto.isa.spec import Instr, Kind, Operand, index

PIPES = (Operand("src", Kind.PIPE), Operand("dst", Kind.PIPE))

SET_FLAG = Instr(
    "set_flag", 0x20, (*PIPES, *index("id")),
    "after all earlier instructions of pipe src, set the flag; a set flag that is set again traps",
)
WAIT_FLAG = Instr(
    "wait_flag", 0x21, (*PIPES, *index("id")),
    "pipe dst continues when the flag is set, and clears it",
)
