"""Which instruction of an Execution graph touches which buffer, on which pipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce

from pto.core.types import TensorType, TileType
from pto.ir.graph import Buffer, Graph, Node
from pto.ir.ops import ARG, FOR
from pto.ir.views import viewed_slots
from pto.isa.spec import Kind, Pipe, Role, Trait

Chain = tuple[Graph, ...]  # bodies from the root inwards


@dataclass(frozen=True, slots=True)
class Access:
    """One instruction's use of buffers."""

    chain: Chain
    key: int
    clock: int
    pipe: Pipe
    reads: frozenset[str]
    writes: frozenset[str]
    node: Node

    @property
    def touched(self) -> frozenset[str]:
        return self.reads | self.writes


def slot_name(slot: int) -> str:
    """What a slot of global memory is called beside buffers; no buffer has such a name."""
    return f"${slot}"


def span(buffer: Buffer) -> tuple[int, int]:
    """First byte of a placed buffer, and the first after it."""
    assert isinstance(buffer.type, TileType)
    return buffer.address, buffer.address + buffer.type.nbytes * buffer.slots


def meet(a: Buffer, b: Buffer) -> bool:
    """Do two placed buffers share bytes?"""
    assert isinstance(a.type, TileType) and isinstance(b.type, TileType)
    (low, high), (other_low, other_high) = span(a), span(b)
    return a.type.space is b.type.space and low < other_high and other_low < high


def common(a: Chain, b: Chain) -> Chain:
    """The bodies that two chains share."""
    return tuple(x for x, y in zip(a, b, strict=False) if x is y)


@dataclass(frozen=True)
class Accesses:
    """All accesses of a graph, in program order, with the facts that allocation and flags ask for."""

    root: Graph

    @cached_property
    def buffers(self) -> dict[str, Buffer]:
        return {b.name: b for b in self.root.buffers}

    @cached_property
    def tensors(self) -> dict[int, TensorType]:
        found = {n["slot"]: n.type for _, n in self.root.items() if n.op is ARG}
        return {slot: t for slot, t in found.items() if isinstance(t, TensorType)}

    @cached_property
    def views(self) -> dict[int, int]:
        """The argument slot of each view."""
        return viewed_slots(self.root)

    def slot(self, number: int) -> int:
        """The argument slot that a tensor operand's number means."""
        return self.views.get(number, number)

    @cached_property
    def shared(self) -> frozenset[int]:
        """Argument slots that the program both reads and writes: their order matters between pipes, too.

        Not of logs: one pipe writes them, and each core a row of its own.
        """
        found: dict[Role, set[int]] = {Role.IN: set(), Role.OUT: set()}
        for _, _, node in self.root.walk():
            row = node.op.instr
            if row is not None and "tiles" in node.op.attrs and Trait.REPORTS not in row.traits:
                for operand in row.operands:
                    if operand.kind is Kind.TENSOR:
                        found[operand.role].add(self.slot(node[operand.name]))
        return frozenset(found[Role.IN] & found[Role.OUT])

    @cached_property
    def all(self) -> tuple[Access, ...]:
        return tuple(self._walk(self.root, (self.root,), iter(range(1 << 30))))

    def _walk(self, graph: Graph, chain: Chain, clock: Iterator[int]) -> Iterator[Access]:
        for key, node in graph.items():
            if node.op is FOR:
                assert node.body is not None
                next(clock)
                yield from self._walk(node.body, (*chain, node.body), clock)
            elif "tiles" in node.op.attrs:
                yield self.access(chain, key, node, next(clock))

    @cached_property
    def inside(self) -> dict[int, list[tuple[int, Access]]]:
        """The accesses in each body, by its identity, with the body's place in their chains."""
        found: dict[int, list[tuple[int, Access]]] = {}
        for access in self.all:
            for depth, body in enumerate(access.chain):
                found.setdefault(id(body), []).append((depth, access))
        return found

    def access(self, chain: Chain, key: int, node: Node, clock: int) -> Access:
        """What one instruction touches."""
        row, names = node.op.instr, node["tiles"]
        assert row is not None
        roles = [o.role for o in row.operands if o.kind is Kind.TILE]
        slots = [(o.role, self.slot(node[o.name])) for o in row.operands if o.kind is Kind.TENSOR]
        touched = [*zip(roles, names, strict=True), *((r, slot_name(s)) for r, s in slots if s in self.shared)]
        reads = frozenset(n for r, n in touched if Role.IN in r)
        writes = frozenset(n for r, n in touched if Role.OUT in r)
        return Access(chain, key, clock, self.pipe(node), reads, writes, node)

    def pipe(self, node: Node) -> Pipe:
        """The pipe an instruction runs on."""
        row = node.op.instr
        assert row is not None
        names = iter(dict(node.attrs).get("tiles", ()))
        types: list[TileType | TensorType] = []
        for position in row.memory:
            operand = row.operands[position]
            found = self.buffers[next(names)].type if operand.kind is Kind.TILE else (
                self.tensors[self.slot(node[operand.name])])
            assert isinstance(found, TileType | TensorType)
            types.append(found)
        return row.route(tuple(types)).pipe

    @cached_property
    def of(self) -> dict[str, list[Access]]:
        """Accesses of each buffer."""
        found: dict[str, list[Access]] = {name: [] for name in (*self.buffers, *map(slot_name, self.shared))}
        for access in self.all:
            for name in sorted(access.touched):
                found[name].append(access)
        return found

    def home(self, name: str) -> Chain:
        """The innermost body that sees every access of a buffer."""
        return self._homes[name]

    @cached_property
    def _homes(self) -> dict[str, Chain]:
        return {name: reduce(common, (a.chain for a in found)) for name, found in self.of.items() if found}

    def live(self, name: str) -> tuple[int, int]:
        """First and last clock of a buffer, stretched over the loops of its home that touch it."""
        return self._lives[name]

    @cached_property
    def _lives(self) -> dict[str, tuple[int, int]]:
        return {name: self._live(name) for name in self._homes}

    def _live(self, name: str) -> tuple[int, int]:
        depth = len(self.home(name))
        first, last = self.of[name][0], self.of[name][-1]
        low = self._span(first.chain[depth])[0] if len(first.chain) > depth else first.clock
        high = self._span(last.chain[depth])[1] if len(last.chain) > depth else last.clock
        return low, high

    def _span(self, body: Graph) -> tuple[int, int]:
        return self._spans[id(body)]

    @cached_property
    def _spans(self) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for access in self.all:
            for body in access.chain:
                low, _ = found.get(id(body), (access.clock, access.clock))
                found[id(body)] = low, access.clock
        return found

    def written_first(self, name: str) -> bool:
        """Is a buffer's content made anew by its first access? An accumulation starts by overwriting."""
        first = self.of[name][0]
        row = first.node.op.instr
        assert row is not None
        return name in first.writes and (name not in first.reads or bool(row.traits & Trait.ACCUMULATES))
