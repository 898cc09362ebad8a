"""Two accesses that nothing orders, as they are reported."""

from __future__ import annotations

from dataclasses import dataclass

from pto.core.errors import Loc
from pto.isa.spec import Pipe


@dataclass(frozen=True, slots=True)
class Access:
    """One side of a race: bytes `start` to `stop` of `place`."""

    pc: int
    pipe: Pipe
    core: int
    mnemonic: str
    writes: bool
    place: str
    start: int
    stop: int
    loc: Loc | None

    def __str__(self) -> str:
        verb = "writes" if self.writes else "reads"
        where = f" ({self.loc})" if self.loc else ""
        head = (f"  {self.mnemonic} at pc {self.pc} ({self.pipe.name}, core {self.core}) "
                f"{verb} bytes {self.start} to {self.stop}{where}")
        return "\n".join(filter(None, (head, self.loc.excerpt() if self.loc else "")))


@dataclass(frozen=True, slots=True)
class Race:
    """Two accesses that nothing orders; `count` pairs of these two instructions race, the first is shown."""

    first: Access
    second: Access
    count: int = 1

    def __str__(self) -> str:
        one, two = self.first, self.second
        missing = f"no flag orders {one.pipe.name} -> {two.pipe.name}"
        if one.core != two.core:
            missing = f"nothing orders core {one.core} and core {two.core}"
        return f"race on {one.place}: {missing}\n{one}\n{two}"
