"""What one core does to another, compiled: events, and the barrier of all cores."""

from __future__ import annotations

from pto.sim.atomic import add_shared, load_shared
from pto.sim.kernels.checks import trap
from pto.sim.layout import (
    ARRIVALS,
    AWAITED,
    CORE,
    CORES,
    EVENT_IDS,
    EVENTS,
    EVENTS_AT,
    SETS,
    SHARED,
    STATUS,
    SYNCS,
    WORD,
    Status,
)
from pto.sim.traps import TrapKind
from pto.sim.vec import inline, set_word, word

BAD_EVENT, WAITING = int(TrapKind.BAD_EVENT), int(Status.WAITING)
ARRIVED, HAS_SET, EVENTS_FROM = WORD * ARRIVALS, WORD * SETS, WORD * EVENTS_AT


@inline
def progress(shared: int) -> int:
    """A number that grows whenever something happens that another core may wait for."""
    return load_shared(shared + ARRIVED) + load_shared(shared + HAS_SET)


@inline
def event(ctx: int, core_operand: int, core: int, number: int, setting: int) -> int:
    """The address of the count of an event to or from another core, or 0 and a trap."""
    cores = word(ctx, CORES)
    if core < 0 or core >= cores:
        return trap(ctx, BAD_EVENT, core_operand, core)
    if number < 0 or number >= word(ctx, EVENT_IDS):
        return trap(ctx, BAD_EVENT, core_operand + 1, number)
    me = word(ctx, CORE)
    pair = me * cores + core if setting else core * cores + me
    return word(ctx, SHARED) + EVENTS_FROM + WORD * (pair * EVENTS + number)


@inline
def send(ctx: int, count: int) -> None:
    """Add one to an event."""
    add_shared(count, 1)
    add_shared(word(ctx, SHARED) + HAS_SET, 1)


@inline
def take(ctx: int, count: int) -> int:
    """Take one from an event; 0 where it must wait."""
    if load_shared(count) == 0:
        set_word(ctx, STATUS, WAITING)
        return 0
    add_shared(count, -1)
    return 1


@inline
def arrive(ctx: int) -> int:
    """Come to the next sync_all."""
    syncs = word(ctx, SYNCS) + 1
    set_word(ctx, SYNCS, syncs)
    set_word(ctx, AWAITED, syncs * word(ctx, CORES))
    return 1


@inline
def sync_all(ctx: int, first: bool) -> int:
    """Go on when all cores have come; 0 where it must wait. `first`: this core comes now."""
    arrivals = word(ctx, SHARED) + ARRIVED
    arrived = add_shared(arrivals, 1) + 1 if first else load_shared(arrivals)
    if arrived < word(ctx, AWAITED):
        set_word(ctx, STATUS, WAITING)
        return 0
    set_word(ctx, AWAITED, 0)
    return 1
