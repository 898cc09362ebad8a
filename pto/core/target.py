"""The machines a program can be compiled for, as rows."""

from __future__ import annotations

from dataclasses import dataclass

from pto.core.types import Space

KIB = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """One machine.

    Attributes:
        name: public name; `alias` is the short one.
        capacity: bytes of each on-chip memory of a core.
        cores: number of cores.
        align: alignment of tiles in bytes.
        flags: flag ids for each ordered pair of pipes.
        events: event ids for each ordered pair of cores.
    """

    name: str
    alias: str
    capacity: tuple[tuple[Space, int], ...]
    cores: int
    align: int = 64
    flags: int = 8
    events: int = 8

    def bytes_of(self, space: Space) -> int:
        """Capacity of a memory, in bytes."""
        return dict(self.capacity)[space]


def memories(*, ub: int, l1: int, l0a: int, l0b: int, l0c: int) -> tuple[tuple[Space, int], ...]:
    """A capacity table from sizes in KiB."""
    sizes = {Space.L1: l1, Space.L0A: l0a, Space.L0B: l0b, Space.L0C: l0c, Space.UB: ub}
    return tuple((space, size * KIB) for space, size in sizes.items())


V1 = Target("AI_Accelerator_V1", "V1", memories(ub=192, l1=512, l0a=64, l0b=64, l0c=128), cores=24)
V2 = Target("AI_Accelerator_V2", "V2", memories(ub=256, l1=512, l0a=64, l0b=64, l0c=256), cores=32)

TARGETS = (V1, V2)
BY_NAME = {name: row for row in TARGETS for name in (row.name, row.alias)}
DEFAULT = V2
