"""What the compiler decided about memory, for people: where each tile lives, and what overlaps with what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pto.core.target import Target
from pto.passes.accesses import span
from pto.passes.overlap import Overlap, overlaps
from pto.passes.pipeline import Compiled


def explain(compiled: Compiled, target: Target) -> str:
    """The memories of a compiled kernel: bytes taken, the tiles in them with their slots and the reason, then the tiles
    that have one slot although two would let pipes overlap, with their lines.
    """
    rows = list(overlaps(compiled.stages, target, compiled.slots))
    program = compiled.program
    return "\n".join([f"{program.name} on {target.name}: {len(program.code)} instructions", *_memories(rows, target),
                      *_lost(rows)])


def _memories(rows: Sequence[Overlap], target: Target) -> Iterator[str]:
    width = max((len(row.buffer.name) for row in rows), default=0)
    kinds = {row.buffer.name: str(row.buffer.type) for row in rows}
    wide = max(map(len, kinds.values()), default=0)
    for space, capacity in target.capacity:
        mine = [row for row in rows if row.space is space]
        if mine:
            yield f"{space.value}: {max(span(row.buffer)[1] for row in mine):,} of {capacity:,} bytes"
        for row in mine:
            slots = "2 slots" if row.buffer.slots > 1 else "1 slot "
            reason = "see below" if row.lost else row.reason
            yield f"  {row.buffer.name:<{width}}  {kinds[row.buffer.name]:<{wide}}  {slots}  {reason}"


def _lost(rows: Sequence[Overlap]) -> Iterator[str]:
    lost = [row for row in rows if row.lost]
    if not lost:
        yield "every tile that gains by a second slot has one"
    for row in lost:
        at = f"{row.locs[0]}: " if row.locs else ""
        yield f"{at}{row.buffer.name} has one slot, and two would let pipes overlap: {row.reason}"
        yield from filter(None, (loc.excerpt() for loc in row.locs[:1]))
