"""Instructions that order what pipes and cores do.

A flag is one bit, named by source pipe, destination pipe and id. An event is a count from 0, named by the core that
sets it, the core that waits for it, and an id.
"""

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
PIPE_BARRIER = Instr(
    "pipe_barrier", 0x22, (),
    "the scalar unit waits until every pipe of this core has done all that it was given",
)
SYNC_ALL = Instr(
    "sync_all", 0x23, (),
    "as pipe_barrier; then the scalar unit waits until every core has come to as many sync_all as this one",
)
EVENT_SET = Instr(
    "event_set", 0x24, (Operand("pipe", Kind.PIPE), *index("core", "id")),
    "after all earlier instructions of pipe, add one to the event from this core to another",
)
EVENT_WAIT = Instr(
    "event_wait", 0x25, index("core", "id"),
    "the scalar unit waits until the event from another core to this one is above 0, and takes one from it",
)
