"""The pipeline: the ordered passes, with the reason wherever order matters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile

from pto.core.errors import CapacityError, GraphTextError
from pto.core.target import DEFAULT, Target
from pto.ir.graph import Graph
from pto.ir.verify import faults
from pto.isa.program import Program
from pto.isa.table import sync
from pto.passes import facts
from pto.passes.allocate import allocate
from pto.passes.base import Fact, Pass, Stage, run_pass, uncollected
from pto.passes.bufferize import bufferize
from pto.passes.choose_tiles import Tiles, choices
from pto.passes.combine import combine
from pto.passes.elide_copies import elide_copies
from pto.passes.emit import emit
from pto.passes.flag_ids import OutOfFlags
from pto.passes.hoist import hoist
from pto.passes.insert_barriers import insert_barriers
from pto.passes.insert_flags import insert_flags
from pto.passes.lower_quantised import lower_quantised
from pto.passes.materialise import materialise
from pto.passes.simplify import simplify
from pto.passes.tensor_to_tile import tensor_to_tile
from pto.passes.tile_to_block import tile_to_block

LEVEL_FACTS = (facts.TILE_LEVEL, facts.BLOCK_LEVEL, facts.EXECUTION_LEVEL)


@dataclass(frozen=True, slots=True)
class Options:
    """What a kernel's author directs: tile extents, by name, and the target."""

    target: Target = DEFAULT
    tiles: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thrift:
    """How sparing a program is.

    Attributes:
        slots: how many buffers of a memory have two slots at most.
        barriers: between all nests of the program, not only where one needs what another stored.
        inside: barriers between the loops of a block, too.
        hoisting: tiles that are the same in each iteration of a loop stay in their memory while it runs.
    """

    slots: int | None = None
    barriers: bool = False
    inside: bool = False
    hoisting: bool = True

    def fewer_flags(self) -> Thrift | None:
        """The next to try where a pair of pipes lacks flags: no tiles that outlive a loop; then barriers, for the nests
        between two of them use the same ids; then fewer slots; and barriers between the loops of a block.
        """
        if self.hoisting:
            return replace(self, hoisting=False)
        if not self.barriers:
            return replace(self, barriers=True)
        slots = MOST_SLOTS if self.slots is None else self.slots - 1
        if slots < 0 and not self.inside:
            return replace(self, inside=True, slots=None)
        return replace(self, slots=slots) if slots >= 0 else None


MOST_SLOTS = 2  # that are tried where all are too many


def passes(target: Target, tiles: Tiles, thrift: Thrift | None = None) -> tuple[Pass, ...]:
    """Every step, in order."""
    thrift = thrift or Thrift()
    return (
        # Before materialise: it decides which of the values that a product becomes get a tensor of their own.
        Pass("lower-quantised", lower_quantised),
        Pass("simplify", simplify),
        Pass("elide-copies", elide_copies),
        Pass("materialise", materialise),
        Pass("tensor-to-tile", partial(tensor_to_tile, tiles=tiles), makes=frozenset({facts.TILE_LEVEL})),
        Pass("tile-to-block", partial(tile_to_block, target=target), needs=frozenset({facts.TILE_LEVEL}),
             makes=frozenset({facts.BLOCK_LEVEL}), breaks=frozenset({facts.TILE_LEVEL})),
        Pass("combine", combine, needs=frozenset({facts.BLOCK_LEVEL})),
        # After combining: what two instructions share may leave a loop, and a part of one does not.
        *((Pass("hoist", hoist, needs=frozenset({facts.BLOCK_LEVEL})),) if thrift.hoisting else ()),
        Pass("bufferize", bufferize, needs=frozenset({facts.BLOCK_LEVEL}),
             makes=frozenset({facts.EXECUTION_LEVEL}), breaks=frozenset({facts.BLOCK_LEVEL})),
        # Before flags: buffers that share bytes need flags between them.
        Pass("allocate", partial(allocate, target=target, limit=thrift.slots), needs=frozenset({facts.EXECUTION_LEVEL}),
             makes=frozenset({facts.ALLOCATED})),
        # Before flags: what a barrier orders needs none.
        Pass("insert-barriers", partial(insert_barriers, everywhere=thrift.barriers, inside=thrift.inside),
             needs=frozenset({facts.ALLOCATED})),
        Pass("insert-flags", partial(insert_flags, limit=target.flags), needs=frozenset({facts.ALLOCATED}),
             makes=frozenset({facts.SYNCHRONISED})),
    )


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program and the graph after each pass, the traced Tensor graph first.

    Attributes:
        slots: how many buffers of a memory could have two slots, where flags ran out; None: any number.
    """

    stages: tuple[Stage, ...]
    program: Program
    slots: int | None = None

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
    if found := faults(graph):
        raise GraphTextError("the graph is not well formed: " + "; ".join(found[:3]))
    after = {"tensor": None, "tile": "tensor-to-tile", "block": "tile-to-block", "execution": "bufferize"}[graph.level]
    if graph.level == "execution" and facts.ALLOCATED in given:
        after = "insert-flags" if has_flags(graph) else "allocate"
    done = [step.name for step in steps].index(after) + 1 if after else 0
    return steps[done:], given


def has_flags(graph: Graph) -> bool:
    """Were flags inserted already?"""
    return any(node.op.name == sync.SET_FLAG.mnemonic for _, _, node in graph.walk())


class Attempts:
    """Runs of the pipeline on one graph: a run begins with what the last one has in common with it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.last: list[tuple[Pass, Stage, frozenset[Fact]]] = []

    def run(self, steps: tuple[Pass, ...], given: frozenset[Fact] = frozenset()) -> tuple[Stage, ...]:
        """The graphs after each step; `given` are the facts that hold at the start.

        Raises:
            CompilerBug: as of `run_pass`.
        """
        common = takewhile(lambda pair: pair[0].is_like(pair[1][0]), zip(steps, self.last, strict=False))
        self.last = self.last[:sum(1 for _ in common)]
        graph, holding = self.graph, given
        if self.last:
            graph, holding = self.last[-1][1].graph, self.last[-1][2]
        for step in steps[len(self.last):]:
            stage, holding = run_pass(graph, step, holding)
            graph = stage.graph
            self.last.append((step, stage, holding))
        return tuple(stage for _, stage, _ in self.last)


@uncollected()
def compile_graph(graph: Graph, options: Options) -> Compiled:
    """Lower a graph of any level to a program.

    Tile extents that the author did not direct are tried from large to small, each as lavishly as it fits.

    Raises:
        CapacityError: the directed tiles, or the smallest ones, do not fit.
    """
    problem: CapacityError | None = None
    attempts = Attempts(graph)
    for tiles in choices(graph, options.target, options.tiles):
        thrift: Thrift | None = Thrift()
        while thrift is not None:
            try:
                stages = attempts.run(*remaining(graph, passes(options.target, tiles, thrift)))
            except OutOfFlags as err:
                thrift = thrift.fewer_flags()
                if thrift is None:
                    raise OutOfFlags(err.message, loc=err.loc, hint="use fewer tiles in one loop: split the loop in "
                                     "two, with a tensor between them") from None
            except CapacityError as err:
                problem = problem or err
                thrift = replace(thrift, hoisting=False) if thrift.hoisting else None
            else:
                found = (Stage("trace", graph), *stages)
                return Compiled(found, emit(found[-1].graph, options.target), thrift.slots)
    assert problem is not None
    raise problem
