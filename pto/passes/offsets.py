"""Indices as sums of products, which tell how far apart places in a tensor are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

from pto.ir.graph import Graph, origin
from pto.ir.ops import DIM, INDEX_OPS

Value = tuple[int, int]  # the identity of the graph that makes a value, and its key there
Product = tuple[Value, ...]
MOST_TERMS, MOST_FACTORS = 16, 8  # of a sum that is told apart


@dataclass(frozen=True, slots=True)
class Sum:
    """Products of values of a program, each with the number of times that it counts; of no value: the constant."""

    terms: tuple[tuple[Product, int], ...] = ()

    @classmethod
    def of(cls, terms: Counter[Product]) -> Sum:
        return cls(tuple(sorted((product, times) for product, times in terms.items() if times)))

    @classmethod
    def number(cls, value: int) -> Sum:
        return cls.of(Counter({(): value}))

    @property
    def constant(self) -> int:
        return dict(self.terms).get((), 0)

    @property
    def values(self) -> set[Value]:
        """The values that it is made of."""
        return {value for product, _ in self.terms for value in product}

    def __add__(self, other: Sum) -> Sum:
        found = Counter(dict(self.terms))
        found.update(dict(other.terms))
        return self.of(found)

    def __sub__(self, other: Sum) -> Sum:
        return self + other * Sum.number(-1)

    def __mul__(self, other: Sum) -> Sum:
        found = Counter[Product]()
        for product, times in self.terms:
            for factor, more in other.terms:
                found[tuple(sorted((*product, *factor)))] += times * more
        return self.of(found)

    def by(self, value: Value) -> tuple[Sum, Sum]:
        """(a, b) where it is a * value + b."""
        a, b = Counter[Product](), Counter[Product]()
        for product, times in self.terms:
            if value in product:
                at = product.index(value)
                a[(*product[:at], *product[at + 1:])] += times
            else:
                b[product] += times
        return self.of(a), self.of(b)

    def modulo(self, size: Sum) -> Sum:
        """It without what is a multiple of a product."""
        if len(size.terms) != 1:
            return self
        [(whole, count)] = size.terms
        return Sum(tuple((product, times) for product, times in self.terms
                         if times % count or Counter(whole) - Counter(product)))

    @property
    def is_small(self) -> bool:
        return len(self.terms) <= MOST_TERMS and all(len(product) <= MOST_FACTORS for product, _ in self.terms)


_MEANING: dict[str, Callable[..., Sum]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "madd": lambda a, b, c: a * b + c,
}
assert _MEANING.keys() <= INDEX_OPS.keys()


class Offsets:
    """The indices of a program, as sums."""

    def __init__(self) -> None:
        self.known: dict[Value, Sum] = {}
        self.extents: set[Value] = set()  # values that are not negative

    def of(self, graph: Graph, key: int) -> Sum:
        """What an index is, as far as it is made of sums and products."""
        graph, key = origin(graph, key)
        value = id(graph), key
        if value not in self.known:
            self.known[value] = self._made(graph, key)
            if graph[key].op is DIM:
                self.extents.add(value)
        return self.known[value]

    def _made(self, graph: Graph, key: int) -> Sum:
        number, node = graph.constant(key), graph[key]
        if number is not None:
            return Sum.number(number)
        if node.op.name in _MEANING:
            found = _MEANING[node.op.name](*(self.of(graph, i) for i in node.inputs))
            if found.is_small:
                return found
        return Sum.of(Counter({((id(graph), key),): 1}))

    def extent(self, graph: Graph, dim: int | str) -> Sum:
        """What an extent of a tensor is."""
        if isinstance(dim, int):
            return Sum.number(dim)
        while graph.outer is not None:
            graph = graph.outer
        return next(self.of(graph, key) for key, node in graph.items() if node.op is DIM and node["name"] == dim)

    def is_within(self, one: Sum, other: Sum) -> bool:
        """Is one surely not above another?"""
        rest = other - one
        return rest.values <= self.extents and all(times >= 0 for _, times in rest.terms)


Axes = Sequence[tuple[Sum, Sum]]  # extents and strides


@dataclass(frozen=True, slots=True)
class Block:
    """Axes whose elements are apart, and how many places are their own: blocks whose first places are a multiple of so
    many from each other are one, or apart.
    """

    axes: tuple[tuple[Sum, Sum], ...]
    size: Sum

    @classmethod
    def of(cls, offsets: Offsets, axes: Axes) -> Block | None:
        """None: some of the elements may be one."""
        for order in permutations((extent, stride) for extent, stride in axes if extent != Sum.number(1)):
            size = Sum.number(1)
            for extent, stride in order:
                if not offsets.is_within(size, stride):
                    break
                size = extent * stride
            else:
                return cls(tuple(axes), size)
        return None
