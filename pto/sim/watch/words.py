"""Word numbers of what a checked run keeps beside the cores: the watch. See `pto.sim.watch.state`."""

from __future__ import annotations

from pto.isa.spec import MEMORY_OPERANDS

# The watch. Addresses of tables are int64 words; a pool has a free list (0: none) and a count of what is free; a core
# has so many memories.
(
    MODES, CLOCKS, NOW, JOINED, VERSION, FLAG_CLOCKS, FLAG_LAST, BARRIERS, CHANNELS, PLACES, FOOTPRINTS,
    NODES, NODES_FREE, NODES_LEFT, ENTRIES, ENTRIES_FREE, ENTRIES_LEFT, GROUPS, GROUPS_FREE, GROUPS_LEFT,
    MEMORIES, ACCESS_AT,
) = range(22)
UNINITIALISED, RACES = 1, 2  # bits of MODES

# The access under way: who, what it does, the group that its bytes form, and where it failed.
A_CHAIN, A_CLOCK, A_PC, A_WRITES, A_NOW, A_GROUP, A_PLACE, A_START, A_STOP, A_WORDS = range(10)
# What raced with it.
REPORT_AT = ACCESS_AT + A_WORDS
R_PLACE, R_START, R_STOP, R_CHAIN, R_PC, R_WRITES, R_MINE, R_MY_WRITES, R_WORDS = range(9)
FLAG_PLACE, EVENT_PLACE = -1, -2  # places of races that are not of bytes; the start is then a flag's or event's number
PIECES_AT = REPORT_AT + R_WORDS  # of the memory operands of the present instruction
P_FIRST, P_OUTER, P_COUNT, P_INNER, P_INNER_COUNT, P_LENGTH, P_PLACE, P_WORDS = range(8)
WATCH_WORDS = PIECES_AT + P_WORDS * MEMORY_OPERANDS

# A footprint: how many memory operands, the pipe; then for each operand what follows. Extents and positions are
# numbers for `pto.sim.kernels.operands.extent`, or ALL_ROWS of a tensor; READS_IF is the operand word without which
# nothing is read, or -1.
FOOT_COUNT, FOOT_PIPE, FOOT_AT = range(3)
(
    F_POSITION, F_IS_TENSOR, F_READS, F_WRITES, F_READS_IF, F_ROWS, F_COLS, F_ROW, F_COL, F_SIZE,
    F_PLACE, F_ADDRESS, F_BYTES, F_LAYOUT, F_PITCH, F_HEIGHT, F_WIDTH, F_SURFACE, F_TENSOR, F_WORDS,
) = range(20)
FOOT_WORDS = FOOT_AT + F_WORDS * MEMORY_OPERANDS
LAYOUT_ROW, LAYOUT_COL, LAYOUT_PANEL = range(3)
ALL_ROWS = -(1 << 62)

# A place is a memory of a core, or a tensor: its granules of 64 bytes.
PLACE_HEADS, PLACE_WRITTEN, PLACE_WORDS = range(3)
# A head is 0, the first of a list of entries, or less than 0: minus a group, all of whose bytes have one history.
E_CHAIN, E_CLOCK, E_PC, E_MASK, E_WRITES, E_NEXT, E_WORDS = range(7)
G_PIECE, G_HEAD, G_NEXT, G_WORDS = 0, 6, 7, 8
N_NEXT, N_CLOCK = 0, 1  # a node: the clock of an event_set that no core has taken
C_FIRST, C_LAST, C_CHAIN, C_CLOCK, C_PC, C_WORDS = range(6)  # an event: its nodes, and who set it last
L_CLOCK, L_PC, L_WORDS = range(3)  # the last wait_flag of a flag
