"""A pass: a pure function from graph to graph, with the facts it needs, makes and breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from pto.core.errors import CompilerBug
from pto.ir.graph import Graph
from pto.ir.verify import faults


@dataclass(frozen=True, slots=True)
class Fact:
    """A property of a graph that can be tested: `faults` lists the ways it fails to hold."""

    name: str
    faults: Callable[[Graph], list[str]]


@dataclass(frozen=True, slots=True)
class Pass:
    """A step of the pipeline."""

    name: str
    run: Callable[[Graph], Graph]
    needs: frozenset[Fact] = frozenset()
    makes: frozenset[Fact] = frozenset()
    breaks: frozenset[Fact] = frozenset()


@dataclass(frozen=True, slots=True)
class Stage:
    """A graph after a pass, and the milliseconds that the pass and the checks after it took."""

    name: str
    graph: Graph
    pass_ms: float
    check_ms: float


def run_pipeline(graph: Graph, passes: Sequence[Pass], given: frozenset[Fact] = frozenset()) -> tuple[Stage, ...]:
    """Apply the passes in order; after each, the graph and every fact that should still hold are checked.

    `given` are facts that hold at the start.

    Raises:
        CompilerBug: a pass broke the graph or a fact; the message names the pass.
    """
    holding = given
    stages: list[Stage] = []
    for step in passes:
        if missing := step.needs - holding:
            raise CompilerBug(f"{step.name} needs {sorted(fact.name for fact in missing)}")
        start = perf_counter()
        graph = step.run(graph)
        middle = perf_counter()
        holding = (holding - step.breaks) | step.makes
        found = faults(graph) or [f for fact in sorted(holding, key=lambda f: f.name) for f in fact.faults(graph)]
        if found:
            raise CompilerBug("\n".join([f"{step.name} broke the graph:", *found]))
        stages.append(Stage(step.name, graph, (middle - start) * 1e3, (perf_counter() - middle) * 1e3))
    return tuple(stages)
