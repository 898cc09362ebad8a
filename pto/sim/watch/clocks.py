"""What is ordered behind what, compiled: a vector clock for each pipe of each core, carried by flags and events."""

from __future__ import annotations

from pto.isa.spec import Pipe
from pto.sim.kernels.checks import trap
from pto.sim.layout import CORE, CORES, EVENTS, FLAGS, STATUS, SYNCS, WATCH, WORD, Status
from pto.sim.traps import TrapKind
from pto.sim.vec import called, inline, set_word, word
from pto.sim.watch.pools import give_node, node, take_node
from pto.sim.watch.words import (
    BARRIERS,
    C_CHAIN,
    C_CLOCK,
    C_FIRST,
    C_LAST,
    C_PC,
    C_WORDS,
    CHANNELS,
    CLOCKS,
    EVENT_PLACE,
    FLAG_CLOCKS,
    FLAG_LAST,
    FLAG_PLACE,
    JOINED,
    L_CLOCK,
    L_PC,
    L_WORDS,
    MODES,
    N_CLOCK,
    N_NEXT,
    NOW,
    R_CHAIN,
    R_MINE,
    R_MY_WRITES,
    R_PC,
    R_PLACE,
    R_START,
    R_STOP,
    R_WRITES,
    RACES,
    REPORT_AT,
    VERSION,
)

PIPES, PAIRS, SCALAR = len(Pipe), len(Pipe) ** 2, int(Pipe.S)
RACE, NO_ROOM = int(TrapKind.RACE), int(Status.NO_ROOM)
REPORT = WORD * REPORT_AT


@inline
def clock_of(watch: int, chain: int) -> int:
    """The address of the clock of a pipe: by chain, how many of its instructions come before."""
    return word(watch, NOW) + WORD * word(watch, CLOCKS) * chain


@inline
def merge(watch: int, clock: int, other: int) -> None:
    """Put behind a clock all that is behind another."""
    for i in range(word(watch, CLOCKS)):
        set_word(clock, i, max(word(clock, i), word(other, i)))


@inline
def copy_clock(watch: int, to: int, clock: int) -> None:
    """Keep a clock."""
    for i in range(word(watch, CLOCKS)):
        set_word(to, i, word(clock, i))


@inline
def advance(watch: int, core: int, pipe: int) -> int:
    """The clock of a pipe at its next instruction: behind its last, and what the scalar unit was behind."""
    chain = core * PIPES + pipe
    clock, version = clock_of(watch, chain), word(word(watch, VERSION), core)
    if word(word(watch, JOINED), chain) != version:
        merge(watch, clock, clock_of(watch, core * PIPES + SCALAR))
        set_word(word(watch, JOINED), chain, version)
    set_word(clock, chain, word(clock, chain) + 1)
    return clock


@inline
def scalar_waited(watch: int, core: int) -> None:
    """The clock of the scalar unit has changed."""
    set_word(word(watch, VERSION), core, word(word(watch, VERSION), core) + 1)


@called
def report(ctx: int, place: int, start: int, stop: int, chain: int, pc: int, writes: int, mine: int,
           my_writes: int) -> int:
    """Trap, and say which access is not ordered before that of chain `mine`."""
    r = word(ctx, WATCH) + REPORT
    set_word(r, R_PLACE, place)
    set_word(r, R_START, start)
    set_word(r, R_STOP, stop)
    set_word(r, R_CHAIN, chain)
    set_word(r, R_PC, pc)
    set_word(r, R_WRITES, writes)
    set_word(r, R_MINE, mine)
    set_word(r, R_MY_WRITES, my_writes)
    return trap(ctx, RACE, -1, 0)


@called
def flag_set(ctx: int, pair: int, number: int) -> int:
    """A set_flag; 0 where the wait for what was set before is not ordered before it."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES == 0:
        return 1
    src, dst = core * PIPES + pair // PIPES, core * PIPES + pair % PIPES
    clock, flag = advance(watch, core, pair // PIPES), (core * PAIRS + pair) * FLAGS + number
    last = word(watch, FLAG_LAST) + WORD * L_WORDS * flag
    if word(last, L_CLOCK) > word(clock, dst):
        return report(ctx, FLAG_PLACE, pair * FLAGS + number, 0, dst, word(last, L_PC), 1, src, 1)
    copy_clock(watch, word(watch, FLAG_CLOCKS) + WORD * word(watch, CLOCKS) * flag, clock)
    return 1


@called
def flag_wait(ctx: int, pair: int, number: int, pc: int) -> int:
    """A wait_flag."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES == 0:
        return 1
    dst, flag = pair % PIPES, (core * PAIRS + pair) * FLAGS + number
    clock = advance(watch, core, dst)
    merge(watch, clock, word(watch, FLAG_CLOCKS) + WORD * word(watch, CLOCKS) * flag)
    last = word(watch, FLAG_LAST) + WORD * L_WORDS * flag
    set_word(last, L_CLOCK, word(clock, core * PIPES + dst))
    set_word(last, L_PC, pc)
    if dst == SCALAR:
        scalar_waited(watch, core)
    return 1


@inline
def channel(ctx: int, source: int, to: int, number: int) -> int:
    """The address of what is known of an event."""
    events = (source * word(ctx, CORES) + to) * EVENTS + number
    return word(word(ctx, WATCH), CHANNELS) + WORD * C_WORDS * events


@called
def event_set(ctx: int, pipe: int, to: int, number: int, pc: int) -> int:
    """An event_set; 0 where the set before it, by another pipe, is not ordered before it."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES == 0:
        return 1
    clock, mine = advance(watch, core, pipe), core * PIPES + pipe
    c = channel(ctx, core, to, number)
    chain = word(c, C_CHAIN)
    if chain != mine and word(c, C_CLOCK) > word(clock, chain):
        return report(ctx, EVENT_PLACE, to * EVENTS + number, 0, chain, word(c, C_PC), 1, mine, 1)
    new = take_node(watch)
    if new == 0:
        set_word(ctx, STATUS, NO_ROOM)
        return 0
    copy_clock(watch, node(watch, new) + WORD * N_CLOCK, clock)
    set_word(node(watch, new), N_NEXT, 0)
    if word(c, C_FIRST) == 0:
        set_word(c, C_FIRST, new)
    else:
        set_word(node(watch, word(c, C_LAST)), N_NEXT, new)
    set_word(c, C_LAST, new)
    set_word(c, C_CHAIN, mine)
    set_word(c, C_CLOCK, word(clock, mine))
    set_word(c, C_PC, pc)
    return 1


@called
def event_taken(ctx: int, source: int, number: int) -> int:
    """An event_wait that has not to wait any more."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES == 0:
        return 1
    c = channel(ctx, source, core, number)
    first = word(c, C_FIRST)
    clock = advance(watch, core, SCALAR)
    merge(watch, clock, node(watch, first) + WORD * N_CLOCK)
    set_word(c, C_FIRST, word(node(watch, first), N_NEXT))
    give_node(watch, first)
    scalar_waited(watch, core)
    return 1


@called
def pipes_drained(ctx: int) -> int:
    """A barrier: the scalar unit is behind all that the pipes of its core were given."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES != 0:
        clock = advance(watch, core, SCALAR)
        for pipe in range(PIPES):
            merge(watch, clock, clock_of(watch, core * PIPES + pipe))
        scalar_waited(watch, core)
    return 1


@inline
def barrier(ctx: int) -> int:
    """The clock of the sync_all that a core has come to. No core comes to one before all have left the last but one."""
    watch = word(ctx, WATCH)
    return word(watch, BARRIERS) + WORD * word(watch, CLOCKS) * (word(ctx, SYNCS) & 1)


@called
def arrived(ctx: int) -> int:
    """The scalar unit has come to a sync_all."""
    watch = word(ctx, WATCH)
    if word(watch, MODES) & RACES != 0:
        pipes_drained(ctx)
        merge(watch, barrier(ctx), clock_of(watch, word(ctx, CORE) * PIPES + SCALAR))
    return 1


@called
def left(ctx: int) -> int:
    """The scalar unit goes on from a sync_all."""
    watch, core = word(ctx, WATCH), word(ctx, CORE)
    if word(watch, MODES) & RACES != 0:
        merge(watch, clock_of(watch, core * PIPES + SCALAR), barrier(ctx))
        scalar_waited(watch, core)
    return 1
