"""A pass: a pure function from graph to graph, with the facts it needs, makes and breaks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pto.core.errors import CompilerBug
from pto.ir.graph import Graph
from pto.ir.verify import faults


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collection of cyclic garbage: graphs are alive until their compilation ends, and to go through them
    again and again would take a quarter of its time, and more of a longer one.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


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

    def is_like(self, other: Pass) -> bool:
        """Does another pass of this name do the same to a graph?"""
        return self.name == other.name and getattr(self.run, "keywords", {}) == getattr(other.run, "keywords", {})


@dataclass(frozen=True, slots=True)
class Stage:
    """A graph after a pass."""

    name: str
    graph: Graph


def run_pass(graph: Graph, step: Pass, holding: frozenset[Fact]) -> tuple[Stage, frozenset[Fact]]:
    """Apply a pass where some facts hold; then the graph and every fact that should still hold are checked.

    Raises:
        CompilerBug: the pass broke the graph or a fact; the message names it.
    """
    if missing := step.needs - holding:
        raise CompilerBug(f"{step.name} needs {sorted(fact.name for fact in missing)}")
    graph = step.run(graph)
    holding = (holding - step.breaks) | step.makes
    found = faults(graph) or [f for fact in sorted(holding, key=lambda f: f.name) for f in fact.faults(graph)]
    if found:
        raise CompilerBug("\n".join([f"{step.name} broke the graph:", *found]))
    return Stage(step.name, graph), holding
