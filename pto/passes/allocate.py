"""Addresses and slots of the buffers of an Execution graph.

First fit, largest first; buffers that are never alive together may share bytes (flags, inserted later, are
computed on bytes, so this is safe). A buffer that two pipes touch in each iteration of a loop gets two slots
where they fit, the loads from global memory first: the loop that owns it carries a parity, and offset and
flag id follow from it, so the body exists once. Slots are withdrawn, the least wanted first, until all fits.
Operands of products that only come from arrays which the program never writes share bytes with none, where that fits:
the machine then need not copy them (see `pto.sim.loans`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pto.core.errors import CapacityError
from pto.core.target import Target
from pto.core.types import Space, TileType
from pto.ir.graph import LOOP_BOUNDS, Buffer, Graph, Node, Val
from pto.ir.ops import FOR
from pto.ir.rewrite import Made, Rewriter
from pto.isa.spec import Kind, Pipe, Role
from pto.isa.table.move import TLOAD
from pto.passes.accesses import Accesses, meet
from pto.passes.choose_tiles import smaller
from pto.passes.trips import Trips

WANTED = {Pipe.MTE2: 0, Pipe.MTE1: 1, Pipe.FIX: 2, Pipe.MTE3: 2}


def tile_type(buffer: Buffer) -> TileType:
    """The type of the tiles of a buffer."""
    assert isinstance(buffer.type, TileType)
    return buffer.type


@dataclass(frozen=True)
class Allocator:
    """Slots and addresses for one graph on one target."""

    accesses: Accesses
    target: Target

    @cached_property
    def turns(self) -> dict[int, int]:
        """How many iterations each body has at most."""
        root = self.accesses.root
        known = Trips(root)
        return {id(n.body): known.at_most(graph, n) for graph, _, n in root.walk() if n.body is not None}

    def size(self, buffer: Buffer) -> int:
        """Bytes of one slot, aligned."""
        return -(-tile_type(buffer).nbytes // self.target.align) * self.target.align

    def wants_two(self, buffer: Buffer) -> bool:
        """Do two pipes meet in it in each iteration of the loop it lives in, and is it made anew there?"""
        home = self.accesses.home(buffer.name)
        pipes = {a.pipe for a in self.accesses.of[buffer.name]}
        if tile_type(buffer).nbytes % self.target.align:
            return False  # the second slot would not be aligned
        return (len(home) > 1 and len(pipes) > 1 and self.accesses.written_first(buffer.name)
                and self.turns[id(home[-1])] > 1)

    def rank(self, buffer: Buffer) -> int:
        return min(WANTED.get(a.pipe, 3) for a in self.accesses.of[buffer.name])

    def candidates(self) -> list[str]:
        """Buffers that want two slots, the most wanted first."""
        found = [b for b in self.accesses.root.buffers if self.accesses.of[b.name] and self.wants_two(b)]
        return [b.name for b in sorted(found, key=self.rank)]

    def run(self, limit: int | None = None) -> tuple[Buffer, ...]:
        """Every buffer with slots and address; at most `limit` buffers of a memory have two slots.

        Raises:
            CapacityError: one slot each does not fit.
        """
        placed: dict[str, Buffer] = {}
        wanted = self.candidates()
        for space, capacity in self.target.capacity:
            mine = [b for b in self.accesses.root.buffers
                    if tile_type(b).space is space and self.accesses.of[b.name]]
            names = {b.name for b in mine}
            found = self.best(mine, [n for n in wanted if n in names][:limit], capacity)
            if found is None:
                raise self.overflow(space, capacity, mine)
            placed.update((b.name, b) for b in found)
        return tuple(placed[b.name] for b in self.accesses.root.buffers if b.name in placed)

    def best(self, mine: list[Buffer], double: list[str], capacity: int) -> list[Buffer] | None:
        """The buffers of a memory with those alone that can be lent, if that fits, and as many of these two-slotted as
        then fit, which may be fewer.
        """
        found = self.most(mine, double, capacity)
        if found is None or all(self.is_alone(b, found) for b in found if b.name in self.lent):
            return found
        return self.most(mine, double, capacity, self.lent) or found

    def most(self, mine: list[Buffer], double: list[str], capacity: int,
             alone: frozenset[str] = frozenset()) -> list[Buffer] | None:
        """The buffers of a memory with as many of these two-slotted as fit, the first ones; found by bisection."""
        if (found := self.place(mine, set(double), capacity, alone)) is not None:
            return found
        found, few, many = self.place(mine, set(), capacity, alone), 0, len(double)
        while found is not None and many - few > 1:
            count = (few + many) // 2
            if (fitting := self.place(mine, set(double[:count]), capacity, alone)) is None:
                many = count
            else:
                found, few = fitting, count
        return found

    @staticmethod
    def is_alone(buffer: Buffer, placed: list[Buffer]) -> bool:
        """Does no other buffer of its memory share a byte with it?"""
        return not any(meet(buffer, other) for other in placed if other is not buffer)

    @cached_property
    def lent(self) -> frozenset[str]:
        """Buffers of L1 that are only loaded, from arrays that the program never writes."""
        written, others, loaded = set[int](), set[str](), dict[str, set[int]]()
        for access in self.accesses.all:
            row = access.node.op.instr
            assert row is not None
            slots = [(o.role, self.accesses.slot(access.node[o.name])) for o in row.operands if o.kind is Kind.TENSOR]
            written |= {slot for role, slot in slots if Role.OUT in role}
            if row is not TLOAD:
                others |= access.writes
            for name in access.writes if row is TLOAD else ():
                loaded.setdefault(name, set()).update(slot for _, slot in slots)
        kept = {name for name, slots in loaded.items() if name not in others and not slots & written}
        return frozenset(b.name for b in self.accesses.root.buffers
                         if b.name in kept and tile_type(b).space is Space.L1)

    def place(self, mine: list[Buffer], double: set[str], capacity: int,
              alone: frozenset[str]) -> list[Buffer] | None:
        """First fit, double-slotted and large ones first; None where something does not fit.

        Those with two slots, and those that are to be alone, share bytes with none: they lie one after the other, below
        all others.
        """
        done: dict[str, Buffer] = {}
        apart = double | (alone & {b.name for b in mine})
        floor = 0
        for buffer in sorted(mine, key=lambda b: (b.name not in apart, b.name not in double, -self.size(b))):
            slots, at = 2 if buffer.name in double else 1, floor
            need = self.size(buffer) * slots
            if buffer.name in apart:
                floor = at + need
            else:
                near = [done[name] for name in self.together[buffer.name] if name in done]
                for other in sorted((o for o in near if o.name not in apart), key=lambda o: o.address):
                    if at + need <= other.address:
                        break
                    at = max(at, other.address + self.size(other))
            if at + need > capacity:
                return None
            done[buffer.name] = replace(buffer, slots=slots, address=at)
        return list(done.values())

    @cached_property
    def together(self) -> dict[str, list[str]]:
        """The buffers of its memory that are alive together with each."""
        found: dict[str, list[str]] = {b.name: [] for b in self.accesses.root.buffers}
        alive: list[Buffer] = []
        used = [b for b in self.accesses.root.buffers if self.accesses.of[b.name]]
        for buffer in sorted(used, key=lambda b: self.accesses.live(b.name)):
            alive = [b for b in alive if self.accesses.live(b.name)[1] >= self.accesses.live(buffer.name)[0]]
            for other in alive:
                if tile_type(other).space is tile_type(buffer).space:
                    found[buffer.name].append(other.name)
                    found[other.name].append(buffer.name)
            alive.append(buffer)
        return found

    def overflow(self, space: Space, capacity: int, mine: list[Buffer]) -> CapacityError:
        """The error that shows what is alive where most is."""
        clocks = sorted({self.accesses.live(b.name)[0] for b in mine})
        alive = [[b for b in mine if self.accesses.live(b.name)[0] <= t <= self.accesses.live(b.name)[1]]
                 for t in clocks]
        peak = max(alive, key=lambda bs: sum(map(self.size, bs)))
        lines = [f"      {self.size(b):>9,} bytes  {b.name}: {b.type}" for b in peak]
        total = sum(map(self.size, peak))
        largest = max(peak, key=self.size)
        locs = self.accesses.of[largest.name][0].node.locs
        message = (f"the tiles do not fit {space.value} of {self.target.name}: {total:,} bytes are needed at once, "
                   f"there are {capacity:,}\n" + "\n".join(lines))
        return CapacityError(message, loc=locs[0] if locs else None, hint=self.advice(largest, peak, capacity))

    def advice(self, largest: Buffer, peak: list[Buffer], capacity: int) -> str:
        """Smaller tiles that fit, where the other tiles shrink with the largest one along the extents they share."""
        start = rows, cols = tile_type(largest).rows, tile_type(largest).cols

        def scaled(buffer: Buffer, tall: int, wide: int) -> float:
            type = tile_type(buffer)
            down = tall / rows if type.rows == rows else wide / cols if type.rows == cols else 1.0
            across = wide / cols if type.cols == cols else tall / rows if type.cols == rows else 1.0
            return self.size(buffer) * down * across

        def fits(extents: tuple[int, ...]) -> bool:
            return sum(scaled(b, *extents) for b in peak) <= capacity

        found = [" x ".join(map(str, extents)) for extents in smaller(start, fits)]
        return f"tiles of {' or '.join(found)} instead of {start[0]} x {start[1]} would fit" if found else ""


class _Slots(Rewriter):
    """Gives the loops that own two-slot buffers a parity, and those buffers their offsets."""

    def __init__(self, accesses: Accesses, buffers: tuple[Buffer, ...], size: dict[str, int]) -> None:
        self.size = size
        self.owner = {b.name: accesses.home(b.name)[-1] for b in buffers if b.slots > 1}
        self.parity: dict[int, Val] = {}

    def rule(self, graph: Graph, node: Node, inputs: list[Any]) -> Made | None:
        if node.op is FOR and node.body in self.owner.values():
            return self.owning(node, graph, inputs)
        if "tiles" not in node.op.attrs:
            return None
        assert node.op.instr is not None
        names = iter(node["tiles"])
        kinds = [o.kind for o in node.op.instr.operands if o.kind in (Kind.TILE, Kind.INDEX)]
        with_offsets = [self.offset(graph, next(names)) if kind is Kind.TILE else value
                        for kind, value in zip(kinds, inputs, strict=True)]
        return graph.op(node.op, *with_offsets, locs=node.locs, **dict(node.attrs))

    def offset(self, graph: Graph, name: str) -> Val | int:
        if name not in self.owner:
            return 0
        return graph.index("mul", self.parity[id(self.owner[name])], self.size[name])

    def owning(self, node: Node, new: Graph, inputs: list[Any]) -> Made:
        """A loop with one more carried value, the last: 0, 1, 0, ..."""
        body = node.body
        assert body is not None
        inits = [v if isinstance(v, Val) else Val(new, new.use(v)) for v in self.carried(node, inputs)]

        def copy(inner: Graph, counter: Val, carried: list[Val]) -> list[Any]:
            self.parity[id(body)] = carried[-1]
            env = self.enter(node, [counter, *carried[:-1]], inputs)
            self.block(body, inner, env)
            return [*(env[k] for k in body.outputs), inner.index("xor", carried[-1], 1)]

        return new.loop(inputs[:LOOP_BOUNDS], [*inits, Val(new, new.use(0))], copy, node.locs,
                        **{**dict(node.attrs), "parity": 1})[:-1]


def allocate(graph: Graph, target: Target, limit: int | None = None) -> Graph:
    """Place every buffer of an Execution graph, with two slots where that lets pipes overlap."""
    accesses = Accesses(graph)
    allocator = Allocator(accesses, target)
    buffers = allocator.run(limit)
    sizes = {b.name: tile_type(b).nbytes for b in buffers}
    new = _Slots(accesses, buffers, sizes).run(graph)
    new.buffers = buffers
    return new


