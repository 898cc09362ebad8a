"""Which pass first changed a value: every level is interpreted, and compared with the one before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import Loc
from pto.isa.program import TensorDecl
from pto.passes.base import Stage
from pto.runtime.interpret import interpret, unwritten
from pto.runtime.variant import Variant
from pto.sim.machine import Machine

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a step's result is not that of the step before."""

    step: str
    before: str
    output: int
    element: tuple[int, ...]
    was: float
    now: float
    bound: float
    loc: Loc | None

    def __str__(self) -> str:
        at = ", ".join(map(str, self.element))
        head = (f"{self.step} changed output {self.output}[{at}]: {self.was!r} after {self.before}, "
                f"{self.now!r} after it (allowed: {self.bound:.2g})")
        return f"{head}\n{self.loc}\n{self.loc.excerpt()}" if self.loc else head


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: every step that was run, with its largest difference to the one before."""

    steps: tuple[tuple[str, float], ...]
    difference: Difference | None

    @property
    def ok(self) -> bool:
        return self.difference is None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"{name:22} largest difference {error:.3g}" for name, error in self.steps]
        return "\n".join([*lines, "every step agrees" if self.ok else str(self.difference)])


class Verification:
    """Runs one variant on one set of arguments, at every level."""

    def __init__(self, variant: Variant, arrays: Sequence[Array], extents: Sequence[int], tolerance: float) -> None:
        self.variant, self.arrays, self.tolerance = variant, arrays, tolerance
        self.others = variant.implicit()
        extents = variant.all_extents(extents, list(self.others.values()))
        self.values = {name: extents[position] for name, position in variant.first.items()}

    def room(self, count: int) -> list[Array]:
        """Copies of the arguments, and not-a-number for results; `count` slots."""
        made = [np.array(a) for a in self.arrays]
        for decl in self.variant.program.tensors[len(made):count]:
            given = self.others.get(decl.name)
            made.append(unwritten(self.shape(decl), numpy_dtype(decl.dtype)) if given is None else np.array(given))
        return made

    def shape(self, decl: TensorDecl) -> tuple[int, ...]:
        return tuple(self.values[d] if isinstance(d, str) else d for d in decl.dims)

    def results(self, stage: Stage) -> list[Array]:
        """The outputs after a pass."""
        tensors = self.room(len(self.variant.program.tensors))
        found = interpret(stage.graph, tensors, self.values)
        return found if stage.graph.level == "tensor" else [tensors[slot] for slot in self.variant.outputs]

    def program(self) -> list[Array]:
        """The outputs of the program on the fast machine."""
        tensors = self.room(len(self.variant.program.tensors))
        Machine(self.variant.program).run(tensors, [self.values[p.name] for p in self.variant.program.parameters])
        return [tensors[slot] for slot in self.variant.outputs]

    def steps(self) -> list[tuple[str, Callable[[], list[Array]]]]:
        """Every step that can be run: passes whose graph is complete, then the program."""
        stages = [s for s in self.variant.compiled.stages if s.name not in ("bufferize", "allocate", "insert-barriers")]
        found: list[tuple[str, Callable[[], list[Array]]]] = [(s.name, partial(self.results, s)) for s in stages]
        return [*found, ("emit and run", self.program)]

    def run(self, reference: Sequence[Array] | None) -> Verdict:
        """Compare each step with the one before, the first with the reference."""
        before, name = reference, "the reference"
        rows: list[tuple[str, float]] = []
        for step, compute in self.steps():
            now = [np.asarray(a) if a.dtype == np.float32 else a.astype(np.float64) for a in compute()]
            if before is not None:
                worst = max((float(np.nanmax(np.abs(a - b), initial=0.0)) for a, b in zip(before, now, strict=True)),
                            default=0.0)
                rows.append((step, worst))
                if (found := self.compare(step, name, before, now)) is not None:
                    return Verdict(tuple(rows), found)
            before, name = now, step
        return Verdict(tuple(rows), None)

    def compare(self, step: str, name: str, before: Sequence[Array], now: Sequence[Array]) -> Difference | None:
        for output, (a, b) in enumerate(zip(before, now, strict=True)):
            bound = self.tolerance * (1.0 + float(np.nanmax(np.abs(a), initial=0.0)))
            wrong = ~((np.abs(a - b) <= bound) | (a == b) | (np.isnan(a) & np.isnan(b)))
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                return Difference(step, name, output, at, float(a[at]), float(b[at]), bound, self.loc(output))
        return None

    def loc(self, output: int) -> Loc | None:
        """The line that made an output."""
        graph = self.variant.traced.graph
        locs = graph[graph.outputs[output]].locs
        return locs[0] if locs else None
