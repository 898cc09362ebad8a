"""Why a buffer has two slots, or only one: what the next turn of a loop may do while this one is at work.

Two slots let one pipe fill a tile while another still reads the one before. The allocator gives them where they help
and fit; this tells for each buffer what it decided, and what stood in the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pto.core.errors import Loc
from pto.core.target import Target
from pto.core.types import Space
from pto.ir.graph import Buffer
from pto.passes.accesses import Accesses
from pto.passes.allocate import Allocator, tile_type
from pto.passes.base import Stage


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was decided for one buffer.

    Attributes:
        lost: two slots were wanted, and there is one.
    """

    buffer: Buffer
    reason: str
    lost: bool
    locs: tuple[Loc, ...]

    @property
    def space(self) -> Space:
        """The memory that the buffer is in."""
        found = tile_type(self.buffer).space
        assert found is not None
        return found


@dataclass(frozen=True)
class _Judge:
    """The allocator's view of a graph, and what came of it."""

    allocator: Allocator
    placed: tuple[Buffer, ...]
    limit: int | None  # buffers of a memory that may have two slots, where flags ran out

    def of(self, buffer: Buffer) -> Overlap:
        """What was decided for a buffer, with the reason."""
        accesses = self.allocator.accesses.of[buffer.name]
        wanted = self.allocator.wants_two(buffer)
        reason = self.two(buffer) if buffer.slots > 1 else self.withdrawn(buffer) if wanted else self.unwanted(buffer)
        return Overlap(buffer, reason, wanted and buffer.slots == 1, accesses[0].node.locs)

    def two(self, buffer: Buffer) -> str:
        accesses = self.allocator.accesses.of[buffer.name]
        made = next((a.pipe for a in accesses if buffer.name in a.writes), accesses[0].pipe)
        others = sorted({a.pipe.name for a in accesses if a.pipe is not made})
        verb = "needs" if len(others) == 1 else "need"
        return f"{made.name} fills one slot while {' and '.join(others)} still {verb} the other"

    def unwanted(self, buffer: Buffer) -> str:
        """Why one slot is all that helps."""
        accesses = self.allocator.accesses
        pipes = {a.pipe for a in accesses.of[buffer.name]}
        if len(accesses.home(buffer.name)) == 1:
            return "it is made once, outside of every loop: there is no next one"
        if len(pipes) == 1:
            return f"{next(iter(pipes)).name} alone touches it, and a pipe works in order"
        if not accesses.written_first(buffer.name):
            return "a loop carries it: each turn goes on with what the turn before it left"
        nbytes, align = tile_type(buffer).nbytes, self.allocator.target.align
        assert nbytes % align
        return f"its {nbytes:,} bytes are no multiple of {align}, so that a second slot would not be aligned"

    def withdrawn(self, buffer: Buffer) -> str:
        """Why a second slot that would help is not there."""
        mine = [n for n in self.allocator.candidates() if tile_type(self.named[n]).space is tile_type(buffer).space]
        if self.limit is not None and mine.index(buffer.name) >= self.limit:
            return (f"a pair of pipes would need more than {self.allocator.target.flags} flags: fewer tiles in the "
                    "loop, or two loops, need fewer")
        space = tile_type(buffer).space
        assert space is not None
        there = [b for b in self.placed if tile_type(b).space is space]
        taken = max(b.address + self.allocator.size(b) * b.slots for b in there)
        return (f"{space.value} is full: a second slot takes {self.allocator.size(buffer):,} bytes, and "
                f"{taken:,} of {self.allocator.target.bytes_of(space):,} are taken: smaller tiles leave room")

    @property
    def named(self) -> dict[str, Buffer]:
        return {b.name: b for b in self.placed}


def overlaps(stages: tuple[Stage, ...], target: Target, limit: int | None) -> Iterator[Overlap]:
    """What was decided for each buffer of a compilation, in the order of the program."""
    before = next((a.graph for a, b in pairwise(stages) if b.name == "allocate"), None)
    if before is None:
        return
    placed = next(s.graph.buffers for s in stages if s.name == "allocate")
    judge = _Judge(Allocator(Accesses(before), target), placed, limit)
    yield from map(judge.of, placed)
