"""Which pass first changed a value: every level is interpreted, and compared with the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import Loc, PtoError, ShapeError
from pto.core.target import BY_NAME
from pto.ir.graph import Graph, Node
from pto.ir.ops import BLOCK_OPS, EXECUTION_OPS, TENSOR_OPS, TILE_OPS
from pto.ir.views import viewed_slots
from pto.isa.program import TensorDecl
from pto.isa.table import move
from pto.passes.analysis import slot_of
from pto.passes.base import Stage
from pto.runtime.blame import Recording, first_wrong, quoted
from pto.runtime.interpret import Stuck, interpret, unwritten
from pto.runtime.variant import Variant
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine

Array = NDArray[Any]
STORE = move.TSTORE.mnemonic
WRITERS = (TENSOR_OPS["assign"], TILE_OPS["store"], BLOCK_OPS[STORE], EXECUTION_OPS[STORE])
CORES = 2  # of the run in which races between cores are looked for
RACES = {1: ("races in a core", "insert-flags: a flag is missing between two pipes"),
         CORES: ("races between cores", "insert-barriers: a barrier is missing between two nests, or two programs of a "
                 "grid store to the same elements")}


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a step's result is not that of the step before.

    Attributes:
        output, element: the first element that differs, and of which output.
        count: how many elements of that output differ; `size` is how many there are.
        node: the first node that computes something else, as the step's text shows it.
        loc: the line of the kernel that the node is there for.
    """

    step: str
    before: str
    output: int
    element: tuple[int, ...]
    was: float
    now: float
    bound: float
    count: int
    size: int
    node: str
    loc: Loc | None

    def __str__(self) -> str:
        at = ", ".join(map(str, self.element))
        head = (f"{self.step} changed output {self.output}[{at}]: {self.was!r} after {self.before}, "
                f"{self.now!r} after it (allowed: {self.bound:.2g}); {self.count:,} of {self.size:,} elements differ")
        place = f"{self.loc}\n{self.loc.excerpt()}" if self.loc else ""
        return "\n".join(filter(None, (head, self.node, place)))


@dataclass(frozen=True, slots=True)
class Failure:
    """The first step whose result does not run, or not in every order.

    Attributes:
        what: in words, what is wrong and with which step.
    """

    step: str
    what: str
    message: str
    node: str
    loc: Loc | None

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.what, self.message, self.node)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: every step that was run, with its largest difference to the one before."""

    steps: tuple[tuple[str, float], ...]
    difference: Difference | Failure | None

    @property
    def ok(self) -> bool:
        return self.difference is None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"{name:22} largest difference {error:.3g}" for name, error in self.steps]
        return "\n".join([*lines, "every step agrees" if self.ok else str(self.difference)])


@dataclass(frozen=True)
class Step:
    """Something to run: the graph after a pass, or the program.

    Attributes:
        graph: what is run, where it is a graph.
        says: what it means that it does not run; the step to blame is its first word.
        compute: gives the outputs; what it is given records what nodes compute, where it is `traceable`.
    """

    name: str
    graph: Graph | None
    compute: Callable[[Recording | None], list[Array]]
    says: str = ""
    traceable: bool = True


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

    # steps

    def stage(self, stage: Stage, recording: Recording | None) -> list[Array]:
        """The outputs after a pass."""
        tensors = self.room(len(self.variant.program.tensors))
        target = BY_NAME.get(self.variant.program.target, self.variant.options.target)
        found = interpret(stage.graph, tensors, self.values, target=target,
                          observe=(lambda node, value: recording.note(node, node.locs, value)) if recording else None)
        return found if stage.graph.level == "tensor" else [tensors[slot] for slot in self.variant.outputs]

    def launched(self, run: Callable[[list[Array], list[int]], object]) -> list[Array]:
        """The outputs of a run of the program."""
        tensors = self.room(len(self.variant.program.tensors))
        run(tensors, [self.values[p.name] for p in self.variant.program.parameters])
        return [tensors[slot] for slot in self.variant.outputs]

    def emitted(self, recording: Recording | None) -> list[Array]:
        """The outputs of the program by the meaning of each instruction."""
        program = self.variant.program
        machine = SlowMachine(program)
        if recording is not None:
            machine.observe = lambda pc, value: recording.note(pc, program.spans_of(pc), value)
        return self.launched(machine.run)

    def steps(self) -> Iterator[Step]:
        """The graph after each pass, then the program: slowly, on the machine, and there with a watch for races."""
        for stage in self.variant.compiled.stages:
            yield Step(stage.name, stage.graph, partial(self.stage, stage))
        program = self.variant.program
        yield Step("emit", None, self.emitted)
        yield Step("the machine", None, partial(self.run_on, Machine(program)), traceable=False)
        for cores, (name, says) in RACES.items():
            machine = Machine(program, cores=cores, check="races")
            yield Step(name, None, partial(self.run_on, machine), says, traceable=False)

    def run_on(self, machine: Machine, recording: Recording | None) -> list[Array]:
        """The outputs of the program on the fast machine."""
        return self.launched(machine.run)

    # comparing

    def run(self, reference: Sequence[Array] | None) -> Verdict:
        """Compare each step with the one before, the first with the reference."""
        before, last = reference, None
        if reference is not None:
            self.require_alike(reference)
        rows: list[tuple[str, float]] = []
        for step in self.steps():
            try:
                now = [comparable(a) for a in step.compute(None)]
            except (PtoError, Stuck) as err:
                says = step.says or f"what {step.name} made does not run"
                blamed = step.says.partition(":")[0] or step.name
                node = quoted(err.node, step.graph, self.variant.program) if isinstance(err, Stuck) else ""
                return Verdict(tuple(rows), Failure(blamed, says, str(err), node, getattr(err, "loc", None)))
            if before is not None:
                rows.append((step.name, max(map(furthest, before, now), default=0.0)))
                if (found := self.compare(last, step, before, now)) is not None:
                    return Verdict(tuple(rows), found)
            before, last = now, step
        return Verdict(tuple(rows), None)

    def require_alike(self, reference: Sequence[Array]) -> None:
        """The reference has the results that the kernel has.

        Raises:
            ShapeError: it has another number of them, or of other extents.
        """
        decls = [self.variant.program.tensors[slot] for slot in self.variant.outputs]
        if len(reference) != len(decls):
            raise ShapeError(f"the reference has {len(reference)} results, {self.variant.program.name} {len(decls)}",
                             hint="it returns what the kernel returns, then the arguments that the kernel stores to")
        for number, (found, decl) in enumerate(zip(reference, decls, strict=True)):
            want = tuple(self.shape(decl))
            if found.shape != want:
                raise ShapeError(f"result {number} of the reference is {' x '.join(map(str, found.shape))}, that of "
                                 f"{self.variant.program.name} {' x '.join(map(str, want))}",
                                 hint="the reference computes what the kernel does, on NumPy arrays")

    def compare(self, last: Step | None, step: Step, before: Sequence[Array],
                now: Sequence[Array]) -> Difference | None:
        """The first element that differs by more than is allowed from what `last` made, or (None) the reference."""
        for output, (a, b) in enumerate(zip(before, now, strict=True)):
            bound = self.tolerance * (1.0 + float(np.nanmax(np.abs(a), initial=0.0)))
            wrong = ~((np.abs(a - b) <= bound) | (a == b) | (np.isnan(a) & np.isnan(b)))
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                node, loc = self.culprit(last, step, output)
                return Difference(step.name, last.name if last else "the reference", output, at, float(a[at]),
                                  float(b[at]), bound, int(wrong.sum()), wrong.size, node, loc)
        return None

    def culprit(self, last: Step | None, step: Step, output: int) -> tuple[str, Loc | None]:
        """The node that is to blame, as text, and its line: the first whose value differs, else one that stores it."""
        program = self.variant.program
        if last is not None and step.traceable:
            before, after = Recording(), Recording()
            last.compute(before)
            step.compute(after)
            if (found := first_wrong(before, after, self.tolerance)) is not None:
                locs = program.spans_of(found) if isinstance(found, int) else found.locs
                return quoted(found, step.graph, program), locs[0]
        stores = writers(step.graph, self.variant.outputs[output]) if step.graph is not None else []
        graph = self.variant.traced.graph
        made = graph[graph.outputs[output]].locs
        loc = (stores[0].locs or made or (None,))[0] if stores else (made or (None,))[0]
        return (quoted(stores[0], step.graph, program) if stores else ""), loc


def comparable(array: Array) -> Array:
    """Elements whose differences can be taken."""
    return array if array.dtype == np.float32 else array.astype(np.float64)


def furthest(a: Array, b: Array) -> float:
    """The largest difference."""
    return float(np.nanmax(np.abs(a - b), initial=0.0))


def writers(root: Graph, slot: int) -> list[Node]:
    """The nodes that store to an argument slot."""
    found, views = [], viewed_slots(root)
    for graph, key, node in root.walk():
        if node.op in WRITERS:
            number = node["dst"] if root.level == "execution" else slot_of(graph, key)
            if views.get(number, number) == slot:
                found.append(node)
    return found
