"""The pipeline: the ordered passes, with the reason wherever order matters."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from pto.core.errors import CapacityError, GraphTextError
from pto.core.target import DEFAULT, Target
from pto.ir.graph import Graph
from pto.ir.verify import faults
from pto.isa.program import Program
from pto.isa.table import sync
from pto.passes import facts
from pto.passes.allocate import allocate
from pto.passes.base import Fact, Pass, Stage, run_pipeline
from pto.passes.bufferize import bufferize
from pto.passes.choose_tiles import choices
from pto.passes.emit import emit
from pto.passes.expression import Tiles
from pto.passes.insert_barriers import insert_barriers
from pto.passes.insert_flags import OutOfFlags, insert_flags
from pto.passes.materialise import materialise
from pto.passes.tensor_to_tile import tensor_to_tile
from pto.passes.tile_to_block import tile_to_block

LEVEL_FACTS = (facts.TILE_LEVEL, facts.BLOCK_LEVEL, facts.EXECUTION_LEVEL)


@dataclass(frozen=True, slots=True)
class Options:
    """What a kernel's author directs: tile extents, by name, and the target."""

    target: Target = DEFAULT
    tiles: dict[str, int] = field(default_factory=dict)


# Where a pair of pipes lacks flags: first barriers, for the nests between two of them use the same ids; then fewer
# slots.
THRIFT: tuple[tuple[int | None, bool], ...] = ((None, False), (None, True), (2, True), (1, True), (0, True))


def passes(target: Target, tiles: Tiles, slots: int | None = None, barriers: bool = False) -> tuple[Pass, ...]:
    """Every step, in order; at most `slots` buffers of a memory have two slots, `barriers` between all nests."""
    return (
        Pass("materialise", materialise),
        Pass("tensor-to-tile", partial(tensor_to_tile, tiles=tiles), makes=frozenset({facts.TILE_LEVEL})),
        Pass("tile-to-block", partial(tile_to_block, target=target), needs=frozenset({facts.TILE_LEVEL}),
             makes=frozenset({facts.BLOCK_LEVEL}), breaks=frozenset({facts.TILE_LEVEL})),
        Pass("bufferize", bufferize, needs=frozenset({facts.BLOCK_LEVEL}),
             makes=frozenset({facts.EXECUTION_LEVEL}), breaks=frozenset({facts.BLOCK_LEVEL})),
        # Before flags: buffers that share bytes need flags between them.
        Pass("allocate", partial(allocate, target=target, limit=slots), needs=frozenset({facts.EXECUTION_LEVEL}),
             makes=frozenset({facts.ALLOCATED})),
        # Before flags: what a barrier orders needs none.
        Pass("insert-barriers", partial(insert_barriers, everywhere=barriers), needs=frozenset({facts.ALLOCATED})),
        Pass("insert-flags", partial(insert_flags, limit=target.flags), needs=frozenset({facts.ALLOCATED}),
             makes=frozenset({facts.SYNCHRONISED})),
    )


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program and the graph after each pass, the traced Tensor graph first."""

    stages: tuple[Stage, ...]
    program: Program

    def graph(self, level: str) -> Graph:
        """The last graph of a level."""
        return next(s.graph for s in reversed(self.stages) if s.graph.level == level)


def remaining(graph: Graph, steps: tuple[Pass, ...]) -> tuple[tuple[Pass, ...], frozenset[Fact]]:
    """The passes that a graph of any level still needs, and the facts that it already has.

    Raises:
        GraphTextError: the graph is not well formed.
    """
    known = (*LEVEL_FACTS, facts.ALLOCATED) if graph.level == "execution" else LEVEL_FACTS
    given = frozenset(f for f in known if graph.level != "tensor" and not f.faults(graph))
    given |= {f for f in (facts.SPANNED,) if not f.faults(graph)}  # text that was edited need not have spans
    first = {"tensor": 0, "tile": 2, "block": 3, "execution": 4}[graph.level]
    if graph.level == "execution" and facts.ALLOCATED in given:
        first = 7 if has_flags(graph) else 5
    if found := faults(graph):
        raise GraphTextError("the graph is not well formed: " + "; ".join(found[:3]))
    return steps[first:], given


def has_flags(graph: Graph) -> bool:
    """Were flags inserted already?"""
    return any(node.op.name == sync.SET_FLAG.mnemonic for _, _, node in graph.walk())


def compile_graph(graph: Graph, options: Options) -> Compiled:
    """Lower a graph of any level to a program.

    Tile extents that the author did not direct are tried from large to small; where a pair of pipes would need
    more flags than there are, barriers are added and the slots of a memory withdrawn.

    Raises:
        CapacityError: the directed tiles, or the smallest ones, do not fit.
    """
    problem: CapacityError | None = None
    for tiles in choices(graph, options.target, options.tiles):
        for slots, barriers in THRIFT:
            try:
                steps, given = remaining(graph, passes(options.target, tiles, slots, barriers))
                stages = run_pipeline(graph, steps, given)
            except OutOfFlags as err:
                if slots == 0:
                    raise CapacityError(err.message, hint="split the kernel in two") from None
            except CapacityError as err:
                problem = problem or err
                break
            else:
                found = (Stage("trace", graph, 0.0, 0.0), *stages)
                return Compiled(found, emit(found[-1].graph, options.target))
    assert problem is not None
    raise problem
