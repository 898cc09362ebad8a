"""Which id each flag has. A pair of pipes has few, and flags that are never up together can have the same.

Those of different stretches of a program are not, for there is a barrier between them. Where that leaves too many,
forward flags of one stretch have the same id if they take turns: each is set only where the wait for the one before it
is known to be over.
"""

from __future__ import annotations

from collections.abc import Sequence

from pto.core.errors import CapacityError
from pto.ir.graph import Graph
from pto.isa.spec import Pipe
from pto.passes.insert_barriers import BARRIERS, is_shared
from pto.passes.order import Flag, Schedule

Pair = tuple[Pipe, Pipe]


class OutOfFlags(CapacityError):
    """A pair of pipes needs more ids than the target has; fewer slots need fewer."""


def has_barriers(graph: Graph) -> bool:
    """Is there a barrier in a graph, or in a loop of it?"""
    return any(node.op in BARRIERS for _, _, node in graph.walk())


class Segments:
    """Stretches of a program between barriers: flags of different stretches may share ids.

    What runs outside of grids is the same on all cores, and a barrier there drains all pipes. A stretch has a path: its
    number in the body it is in, after the path of the stretch that body's loop is in. Two stretches can be active
    together only if one's path begins with the other's.
    """

    def __init__(self, root: Graph) -> None:
        self.path: dict[int, tuple[int, ...]] = {}
        self.at: dict[tuple[int, int], tuple[int, ...]] = {}  # the stretch of a step
        self.home: dict[int, tuple[int, int]] = {}  # body: the step of a stretch that it is of
        if has_barriers(root):
            self._walk(root, (), None)

    def _walk(self, body: Graph, path: tuple[int, ...], home: tuple[int, int] | None) -> None:
        """`home`: the outermost loop that the body is in, if any. It primes and drains the flags of those inside: there
        need be no barrier between the end of an inner one and its next start.
        """
        self.path[id(body)] = path[:1]
        if home:
            self.home[id(body)] = home
        count = sum(node.op in BARRIERS for _, node in body.items())
        number = 0
        for key, node in body.items():
            number += node.op in BARRIERS
            here = (*path, number % count if home and count else number)  # the last stretch meets the next first
            self.at[id(body), key] = here
            if node.body is not None and (is_shared(node) or has_barriers(node.body)):
                self._walk(node.body, here, home or (id(body), key))
            elif node.body is not None:
                for inner in (node.body, *(n.body for _, _, n in node.body.walk() if n.body is not None)):
                    self.path[id(inner)], self.home[id(inner)] = here, (id(body), key)

    def of(self, flag: Flag) -> tuple[int, ...]:
        """The stretch in which a flag is used."""
        path = self.path.get(id(flag.body), ())
        return path if flag.back else self.at.get((id(flag.body), flag.after), path)


def numbered(flags: Sequence[Flag], limit: int, segments: Segments, schedule: Schedule) -> dict[Flag, int]:
    """Ids, for each ordered pair of pipes from 0 on.

    Raises:
        OutOfFlags: a pair needs more than the target has.
    """
    groups = [(flag,) for flag in flags]
    found = number(groups, segments)
    lacking = {(flag.src, flag.dst) for flag in flags if found[flag] + flag.slots > limit}
    if lacking:
        found = number(together(flags, lacking, segments, schedule), segments)
    for flag in flags:
        if found[flag] + flag.slots > limit:
            raise OutOfFlags(f"{flag.src.name} and {flag.dst.name} need more than {limit} flags",
                             loc=flag.locs[0] if flag.locs else None)
    return found


def number(groups: Sequence[tuple[Flag, ...]], segments: Segments) -> dict[Flag, int]:
    """Ids of groups of flags that have the same, above those of the stretches around."""
    used: dict[tuple[Pipe, Pipe, tuple[int, ...]], int] = {}
    found: dict[Flag, int] = {}
    for group in sorted(groups, key=lambda group: len(segments.of(group[0]))):
        flag, path = group[0], segments.of(group[0])
        around = [used.get((flag.src, flag.dst, path[:n]), 0) for n in range(len(path) + 1)]
        found |= dict.fromkeys(group, sum(around))
        used[flag.src, flag.dst, path] = around[-1] + flag.slots
    return found


def together(flags: Sequence[Flag], lacking: set[Pair], segments: Segments, schedule: Schedule
             ) -> list[tuple[Flag, ...]]:
    """Groups of flags that can have the same id, where a pair of pipes lacks ids; the others each alone."""
    numbers = {flag: n for n, flag in enumerate(schedule.flags)}
    live = {numbers[flag] for flag in flags}
    some = {numbers[flag] for flag in flags if (flag.src, flag.dst) in lacking and not flag.back}
    clashes = schedule.clashing(live, some)

    def fits(flag: Flag, group: tuple[Flag, ...]) -> bool:
        return _kind(flag, segments) == _kind(group[0], segments) and not any(
            frozenset((numbers[flag], numbers[other])) in clashes for other in group)

    groups: list[tuple[Flag, ...]] = []
    for flag in flags:
        at = next((n for n, group in enumerate(groups) if numbers[flag] in some and fits(flag, group)), len(groups))
        groups[at:at + 1] = [(*groups[at], flag) if at < len(groups) else (flag,)]
    return groups


def _kind(flag: Flag, segments: Segments) -> tuple[object, ...]:
    return flag.src, flag.dst, flag.slots, flag.back, segments.of(flag)
