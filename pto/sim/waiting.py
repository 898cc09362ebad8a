"""Cores that wait for each other for ever, and events that nobody took, as the errors of both machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pto.isa.program import Program
from pto.sim.traps import MachineTrap, TrapKind, trap_error

Channel = tuple[int, int, int]  # an event: the core that sets it, the core that waits for it, its id


@dataclass(frozen=True, slots=True)
class Wait:
    """What a core waits for at `pc`: an event by its id, or where that is None a sync_all of the cores in `on`."""

    pc: int
    event: int | None
    on: tuple[int, ...]

    def __str__(self) -> str:
        if self.event is None:
            return f"sync_all, to which core {self.on[0]} has not come"
        return f"event {self.event} from core {self.on[0]}"


def deadlock(program: Program, waits: Mapping[int, Wait], pcs: Sequence[int]) -> MachineTrap:
    """The trap of the lowest core that waits: it tells for whom, and for whom that one waits, until that ends."""
    words, at = [], min(waits)
    seen: set[int] = set()
    while at in waits and at not in seen:
        seen.add(at)
        words.append(f"core {at} at pc {waits[at].pc} waits for {waits[at]}")
        at = waits[at].on[0]
    words.append(f"core {at} is named already" if at in seen else f"core {at} has halted at pc {pcs[at]}")
    first = min(waits)
    return trap_error(program, TrapKind.DEADLOCK, waits[first].pc, first, detail="; ".join(words))


def events_left(program: Program, events: Mapping[Channel, int], pcs: Sequence[int]) -> None:
    """The end of a run: nothing is left of what cores have set.

    Raises:
        MachineTrap: something is; the lowest core that set it is named.
    """
    left = sorted(channel for channel, count in events.items() if count)
    if left:
        detail = ", ".join(map(event_name, left[:4]))
        core = left[0][0]
        raise trap_error(program, TrapKind.EVENT_LEFT_SET, pcs[core], core, detail=detail)


def event_name(channel: Channel) -> str:
    """An event in words."""
    source, destination, number = channel
    return f"event core {source} -> core {destination}, id {number}"
