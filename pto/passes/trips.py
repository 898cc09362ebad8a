"""How often loops run, as far as their bounds tell, and which of the loops that may be empty run together.

A conflict has two ends. What else is ordered may run or not, so it is seen where least else orders it: where only the
loops around its ends run, those that run whenever these do, once, and no other. Loops whose bounds change from one
iteration to the next of a loop around them may run in some only, so their ends are also taken one and two iterations
apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

from pto.ir.graph import LOOP_BOUNDS, Graph, Node, origin
from pto.ir.ops import CONST, PARAM
from pto.isa.table import scalar
from pto.passes.ranges import ALL, Range, Ranges

FACTORS = {  # what rises with its operands, and how many of them are multiplied: these must not be below 0
    **dict.fromkeys((scalar.ADD.mnemonic, scalar.MIN.mnemonic, scalar.MAX.mnemonic), 0),
    **dict.fromkeys((scalar.MUL.mnemonic, scalar.MADD.mnemonic), 2),
}
TURNS = frozenset((0, 1, 2))  # iterations of a schedule
EXPANDED = {row.mnemonic for row in (scalar.ADD, scalar.MUL, scalar.DIV, scalar.MIN)}
Turns = dict["Bounds", frozenset[int]]  # which loops that may be empty run, and in which iterations around them
Tours = dict["Bounds", "Tour"]


@dataclass(frozen=True)
class End:
    """A bound of a loop: a constant, or the identity of the node that says it and the body that it changes in."""

    constant: int | None
    node: int = 0
    home: int = 0


@dataclass(frozen=True)
class Bounds:
    """From where to where a loop runs.

    Attributes:
        least: what the upper bound surely reaches.
        grows: once it runs, it runs in all later iterations around it.
    """

    low: End
    high: End
    least: int = field(default=ALL[0], compare=False)
    grows: bool = field(default=False, compare=False)

    @property
    def home(self) -> int:
        """The body in whose iterations the bounds change; 0: none."""
        return self.high.home or self.low.home

    def runs_with(self, other: Bounds) -> bool:
        """Does this loop run whenever a loop of other bounds does?"""
        return _at_most(self.low, other.low) and _at_most(other.high, self.high)

    def goes_on(self, other: Bounds) -> bool:
        """Does it begin where another ends, and at least one of the two run?"""
        first = other.low.constant
        return self.low == other.high and first is not None and first < self.least


def _at_most(a: End, b: End) -> bool:
    return a == b or (a.constant is not None and b.constant is not None and a.constant <= b.constant)


@dataclass(frozen=True, slots=True)
class Count:
    """How often a loop runs: exactly so, if that is known; at most; and whether it surely runs."""

    bounds: Bounds
    exactly: int | None
    most: int
    surely: bool


class Trips:
    """What is known of the loops of one graph."""

    def __init__(self, root: Graph) -> None:
        self.ranges = Ranges(root)
        self._counts: dict[int, Count] = {}  # by the identities of the bodies

    def count(self, graph: Graph, node: Node) -> Count:
        """How often a loop runs; looked at once."""
        if id(node.body) not in self._counts:
            self._counts[id(node.body)] = Count(self.bounds(graph, node), self.exactly(graph, node),
                                                self.at_most(graph, node), self.at_least_once(graph, node))
        return self._counts[id(node.body)]

    def bounds(self, graph: Graph, node: Node) -> Bounds:
        """From where to where a loop runs."""
        low, high = (self._end(graph, key) for key in node.inputs[:2])
        grows = low.constant is not None and self.rises(graph, node.inputs[1], high.home)
        return Bounds(low, high, self.least(graph, node.inputs[1]), grows)

    def _end(self, graph: Graph, key: int) -> End:
        graph, key = origin(graph, key)
        node = graph[key]
        if node.op is CONST:
            return End(int(node["value"]))
        return End(None, id(node), id(graph) if graph.outer is not None else 0)

    def least(self, graph: Graph, key: int) -> int:
        """A number that an index is surely not below."""
        return self.ranges.of(graph, key)[0]

    def at_most(self, graph: Graph, node: Node) -> int:
        """How many iterations a loop has at most, as far as its bounds tell; else more than a schedule takes."""
        low, high, step = (self.term(graph, key) for key in node.inputs[:LOOP_BOUNDS])
        if "grid" in dict(node.attrs):  # from the number of the core, by the number of cores: all, where there is one
            return max(high.range[1], 0)
        if step.number is None or step.number < 1:
            return len(TURNS)
        return max(-(-gap(high, low) // step.number), 0)

    def at_least_once(self, graph: Graph, node: Node) -> bool:
        """Does a loop surely run?"""
        low, high = (self.term(graph, key) for key in node.inputs[:2])
        return gap(low, high) < 0 or (low.number == 0 and _edge(high))

    def exactly(self, graph: Graph, node: Node) -> int | None:
        """How many iterations a loop has, if it is always as many."""
        low, high, step = (self.ranges.known(graph, key) for key in node.inputs[:LOOP_BOUNDS])
        return None if low is None or high is None or step is None else max(-(-(high - low) // step), 0)

    def term(self, graph: Graph, key: int, depth: int = 8) -> Term:
        """An index as an expression."""
        found = self.ranges.of(graph, key)
        graph, key = origin(graph, key)
        node = graph[key]
        if found[0] == found[1]:
            return Term(CONST.name, (), found[0], found)
        if node.op.name not in EXPANDED or depth == 0:
            return Term("", (), id(node), found)
        return Term(node.op.name, tuple(self.term(graph, k, depth - 1) for k in node.inputs), 0, found)

    def stays(self, graph: Graph, key: int, home: int) -> bool:
        """Is an index the same in all iterations of a body?"""
        graph, key = origin(graph, key)
        return id(graph) != home or graph[key].op is CONST

    def rises(self, graph: Graph, key: int, home: int) -> bool:
        """Does an index never fall from one iteration of a body to the next?"""
        graph, key = origin(graph, key)
        node = graph[key]
        if self.stays(graph, key, home) or (node.op is PARAM and key == graph.params[0]):
            return True
        if node.op.name == scalar.DIV.mnemonic:
            above, by = node.inputs
            return self.stays(graph, by, home) and self.least(graph, by) >= 0 and self.rises(graph, above, home)
        if node.op.name not in FACTORS:
            return False
        return (all(self.least(graph, i) >= 0 for i in node.inputs[:FACTORS[node.op.name]])
                and all(self.rises(graph, i, home) for i in node.inputs))


@dataclass(frozen=True)
class Tour:
    """In which iterations around it a loop runs, and whether it has but one of its own there, which orders least."""

    turns: frozenset[int] = frozenset()
    once: bool = False


# How often innermost loops run: once each time; and, read in a circle, after any two numbers, odd or even, an odd one
# as well as an even one.
BRIEF = (1,), (1, 1, 1, 2, 2, 2, 1, 2, 3)


@dataclass
class Course:
    """A course through a schedule: the loops that run, and after which barriers it shows something new.

    Attributes:
        least: all loops have as few iterations as they can, also those that are never empty.
        brief: all loops run, the innermost ones as often as these numbers say, in turn: what one of these loops leaves
            behind meets its next start with little between, whatever slots those are.
    """

    tours: Tours
    after: set[int]
    least: bool = False
    brief: tuple[int, ...] = ()

    def tour(self, bounds: Bounds) -> Tour:
        """How a loop runs."""
        return self.tours.get(bounds, Tour(TURNS if self.brief else frozenset()))

    def takes(self, other: Course) -> bool:
        """Go through the parts of another course, too, if the loops of both run alike."""
        if (self.least != other.least or self.after & other.after
                or any(self.tours.get(x, tour) != tour for x, tour in other.tours.items())):
            return False
        self.tours.update(other.tours)
        self.after.update(other.after)
        return True


@dataclass(frozen=True)
class Passage:
    """The way from a barrier that runs, or from the start, to the next one that does.

    Attributes:
        start: the barrier; 0 is the start.
        around: the loops around it that may be empty. They run.
        loops: of the loops on the way that may be empty each with those of them around it.
        last: those of `loops` that lie behind the last barrier on the way.
        skipped: the loops that may be empty around each barrier on the way, of which one at least does not run.
    """

    start: int
    around: frozenset[Bounds]
    loops: tuple[frozenset[Bounds], ...]
    last: frozenset[frozenset[Bounds]]
    skipped: tuple[frozenset[Bounds], ...] = ()


@dataclass
class Trail:
    """What the first course through a schedule, which takes all loops, comes by.

    Attributes:
        barriers: by the identities of their nodes, from the start (0) to the end (0).
        around: the loops that may be empty around each.
        seen: behind each the loops that may be empty, each with those of them around it.
    """

    barriers: list[int] = field(default_factory=lambda: [0])
    around: dict[int, frozenset[Bounds]] = field(default_factory=lambda: {0: frozenset()})
    seen: dict[int, dict[frozenset[Bounds], None]] = field(default_factory=dict)

    def enters(self, inside: Collection[Bounds]) -> None:
        """Comes into a loop that may be empty; `inside` are all of these around, itself the last."""
        self.seen.setdefault(self.barriers[-1], {})[frozenset(inside)] = None

    def meets(self, barrier: int, inside: Collection[Bounds]) -> None:
        """Comes to a barrier."""
        self.barriers.append(barrier)
        self.around[barrier] = frozenset(inside)

    def passages(self) -> Iterator[Passage]:
        """All of them, each once. A barrier that loops which may be empty are around may be skipped."""
        known = set()
        for at, start in enumerate(self.barriers[:-1]):
            loops, skipped = dict(self.seen.get(start, {})), dict[int, None]()
            last = frozenset(loops)
            for after in self.barriers[at + 1:]:
                key = start, tuple(sorted(skipped)), last
                if key not in known:
                    known.add(key)
                    yield Passage(start, self.around[start], tuple(loops), last,
                                  tuple(self.around[barrier] for barrier in skipped))
                if not self.around[after]:
                    break
                skipped[after] = None
                last = frozenset(self.seen.get(after, {}))
                loops.update(self.seen.get(after, {}))


def courses(trail: Trail) -> list[Course]:
    """The further courses through a schedule."""
    made: list[Course] = []
    for passage in trail.passages():
        for tours in _of_passage(passage):
            least = {x: Tour(tour.turns, bool(tour.turns)) for x, tour in tours.items()}
            for course in (Course(tours, {passage.start}), Course(least, {passage.start}, least=True)):
                known = not course.least and set(tours.values()) <= {Tour(TURNS)}  # it is the first course
                if not known and not any(other.takes(course) for other in made):
                    made.append(course)
    return made


def brief_courses(trail: Trail, brief: Sequence[tuple[int, ...]]) -> list[Course]:
    """The courses of all loops, the innermost ones as often as some numbers say."""
    return [Course({}, set(trail.barriers), brief=counts) for counts in brief]


def _of_passage(passage: Passage) -> list[Tours]:
    """What may run of the loops on a way; those around no end run once."""
    every = list({bounds: None for found in (*passage.loops, passage.around, *passage.skipped) for bounds in found})
    made: dict[tuple[Tour, ...], None] = {}
    for a, b in product((frozenset[Bounds](), *passage.loops), repeat=2):
        if passage.skipped and not {a, b} & passage.last:
            continue  # the same on a shorter way
        for turn in TURNS if any(x.home for x in a | b) else (0,):
            ends = {**dict.fromkeys(passage.around, TURNS), **_ends(a, b, turn)}
            for turns in _with_others(ends, every):
                if all(any(not turns[x] for x in around) for around in passage.skipped):
                    made[tuple(Tour(turns[x], bool(turns[x]) and x not in a | b) for x in every)] = None
    return [dict(zip(every, tours, strict=True)) for tours in made]


def _ends(a: frozenset[Bounds], b: frozenset[Bounds], turn: int) -> Turns:
    """The loops around one end in the first iteration, those around the other some iterations later."""
    found: Turns = {}
    for bounds, at in (*((x, 0) for x in a), *((x, turn) for x in b)):
        found[bounds] = found.get(bounds, frozenset()) | ({at} if bounds.home else TURNS)
    return found


def _after(turns: frozenset[int]) -> frozenset[int]:
    return frozenset(n for n in TURNS if turns and n >= min(turns))


def _with_others(ends: Turns, every: Collection[Bounds]) -> Iterator[Turns]:
    """With all loops that run whenever these do; of two of which one runs, one or the other in each iteration."""
    found = {x: frozenset[int]().union(*(turns for y, turns in ends.items() if x.runs_with(y))) for x in every}
    found = {x: _after(turns) if x.grows else turns for x, turns in found.items()}
    pairs = [(x, y) for x in every for y in every if y.goes_on(x)]
    for firsts in _choices(all(x.grows for x, _ in pairs)) if pairs else (TURNS,):
        chosen = dict(found)
        for x, y in pairs:
            chosen[x] |= firsts - chosen[y]
            chosen[x] = _after(chosen[x]) if x.grows else chosen[x]
            chosen[y] |= TURNS - chosen[x]
        yield chosen


def _choices(grows: bool) -> Iterator[frozenset[int]]:
    """In which iterations the first of two loops runs; one that grows, from any iteration on."""
    for count in range(len(TURNS) + 1):
        for turns in combinations(sorted(TURNS), count):
            if not grows or _after(frozenset(turns)) == set(turns):
                yield frozenset(turns)


@dataclass(frozen=True, slots=True)
class Term:
    """An index as an expression: an operation on others or, without operands, what a node says.

    Attributes:
        range: between which numbers it lies.
    """

    name: str
    operands: tuple[Term, ...]
    node: int
    range: Range = field(compare=False)

    @property
    def number(self) -> int | None:
        """What it is, if it can be but one number."""
        return self.range[0] if self.range[0] == self.range[1] else None

    @property
    def multiple_of(self) -> Term | None:
        """x, where this is x // c * c."""
        quotient, times = self.operands
        if times.number is None or times.number < 1 or quotient.name != scalar.DIV.mnemonic:
            return None
        return quotient.operands[0] if quotient.operands[1].number == times.number else None


def gap(high: Term, low: Term) -> int:
    """What one index is at most above another."""
    if high == low:
        return 0
    known = high.range[1] - low.range[0]
    for rules, name in ((_BELOW, low.name), (_ABOVE, high.name)):
        if name in rules and (apart := rules[name](high, low)) is not None:
            return min(known, apart)
    return known


def _below_a_sum(high: Term, low: Term) -> int | None:
    one, more = low.operands
    return None if more.number is None else gap(high, one) - more.number


def _below_a_multiple(high: Term, low: Term) -> int | None:
    one, by = low.multiple_of, low.operands[1].number
    return None if one is None or by is None else gap(high, one) + by - 1


def _above_a_sum(high: Term, low: Term) -> int | None:
    one, more = high.operands
    return None if more.number is None else gap(one, low) + more.number


def _above_a_multiple(high: Term, low: Term) -> int | None:
    return None if high.multiple_of is None else gap(high.multiple_of, low)


Rules = dict[str, Callable[[Term, Term], "int | None"]]  # what two indices are at most apart, by how one is made
_BELOW: Rules = {
    scalar.ADD.mnemonic: _below_a_sum, scalar.MUL.mnemonic: _below_a_multiple,
    scalar.MIN.mnemonic: lambda high, low: max(gap(high, x) for x in low.operands),
}
_ABOVE: Rules = {
    scalar.ADD.mnemonic: _above_a_sum, scalar.MUL.mnemonic: _above_a_multiple,
    scalar.MIN.mnemonic: lambda high, low: min(gap(x, low) for x in high.operands),
}


def _edge(end: Term) -> bool:
    """The smaller of a tile's extent and what is left of a tensor: at least 1 inside a loop over it."""
    return end.name == scalar.MIN.mnemonic
