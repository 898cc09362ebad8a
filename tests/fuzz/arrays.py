"""Text of random kernels that store to parts of a few arrays, again and again: in loops and branches, from parts of the
same arrays, through views, in kernels that they call.

What a store reads and where it stores are found among the same arrays, so their parts overlap in every way; NumPy's
views say what is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.fuzz.generate import TILES, Info, Shape, Writer
from tests.fuzz.meaning import Value
from tests.fuzz.operations import BINARY, UNARY, Row

Part = tuple[str, Shape]  # text and extents
LARGEST = 8  # extent of a window
TRIES = 8
SHARES = (0.35, 0.6)  # of the axes of a place: whole, and one position
OFFSETS = (-2, -1, -1, 0, 0, 0, 1, 1, 2)


@dataclass(frozen=True)
class Counter:
    """The counter of a loop: its first and its last value."""

    name: str
    first: int
    last: int


class ArrayWriter(Writer):
    """One kernel under construction."""

    def __init__(self, seed: int, tiles: Sequence[int] = TILES) -> None:
        super().__init__(seed, tiles)
        self.sizes = [max(n, 2) for n in self.sizes[:2]]
        self.counters: list[Counter] = []  # of the loops around
        self.near: list[Part] = []  # names that are bound here
        self.values: set[str] = set()  # those that are no views: they may be bound again
        self.parameters: list[Part] = []  # of the kernel that is written to be called
        self.tensors_alone = False  # for a statement whose operands are names
        self.said: list[tuple[Shape, bool, str]] = []  # expressions that may be said again
        self.few = {self.one(rows).name for rows in (UNARY, UNARY, BINARY, BINARY)}  # operations that most are

    # parts of arrays

    def arrays(self) -> list[Part]:
        """What may be stored to."""
        there = [n for n in self.info if n in self.arguments or n in self.rooms]
        found = [(n, self.space[n].shape) for n in there if isinstance(self.space[n], Value) and self.space[n].ndim]
        return self.parameters or found

    def array(self, rank: int = 1) -> Part:
        """An array of so many axes at least; one that is there more often than a new one."""
        there = [part for part in self.arrays() if len(part[1]) >= rank]
        if there and (self.parameters or self.chance(0.85)):
            return there[int(self.rng.integers(len(there)))]
        shape = tuple(self.size() for _ in range(max(rank, int(self.one((1, 2, 2, 2, 3))))))
        shape = (*(min(n, 3) for n in shape[:-2]), *shape[-2:])
        return self.argument(*shape), shape

    def position(self, count: int) -> str:
        """A number below `count`: a constant, an integer of the call, or one that a counter says."""
        near = [f"{c.name} {'+-'[d < 0]} {abs(d)}" if d else c.name for c in self.counters for d in OFFSETS
                if c.first + d >= 0 and c.last + d < count]
        near += [f"{count - 1} - {c.name}" for c in self.counters if c.last < count]
        if near and self.chance(0.8):
            return str(self.one(near))
        at = int(self.rng.integers(count))
        return self.integer(at) if self.chance(0.2) and not self.parameters else str(at)

    def piece(self, part: Part, shape: Shape) -> str:
        """A tensor of these extents in another; nothing, where none was found."""
        text, have = part
        if len(have) < len(shape):
            return ""
        single = set(self.rng.choice(len(have), len(have) - len(shape), replace=False).tolist())
        left = [n for axis, n in enumerate(have) if axis not in single]
        turned = len(shape) > 1 and self.chance(0.2)
        want = (*shape[:-2], shape[-1], shape[-2]) if turned else shape
        if any(n < m for n, m in zip(left, want, strict=True)):
            return ""
        if single:
            text += f"[{', '.join(self.position(n) if axis in single else ':' for axis, n in enumerate(have))}]"
        for axis, (n, m) in enumerate(zip(left, want, strict=True)):
            text += f".narrow({axis}, {self.position(n - m + 1)}, {m})" * (n > m)
        return text + ".T" * turned

    def leaf(self, shape: Shape) -> str:
        """A part of an array, or a name that is bound here."""
        if self.tensors_alone:
            return super().leaf(shape)
        for _ in range(TRIES):
            there = [*self.near, *self.near, *self.arrays()]
            found = self.piece(there[int(self.rng.integers(len(there)))], shape) if there else ""
            if found:
                return found
        return self.argument(*shape)

    def narrower(self, shape: Shape) -> str:
        """A part of an array that broadcasts to a shape."""
        if self.tensors_alone:
            return super().narrower(shape)
        less = tuple(1 if self.chance(0.5) else n for n in shape)
        return self.leaf(less[int(len(less) > 1 and self.chance(0.4)):])

    def windowed(self, sizes: Shape) -> tuple[str, str]:
        """A tile of these extents, and how to store to it: of an array whose extents the text says, by its subscripts;
        of another one, which may be smaller in another call, by an offset.
        """
        for _ in range(TRIES):
            name, shape = self.array(len(sizes))
            lead, last = shape[:-len(sizes)], shape[-len(sizes):]
            if any(n < m for n, m in zip(last, sizes, strict=True)):
                continue
            if self.info[name].static:
                text = f"{name}[{', '.join([*map(self.position, lead), *map(self.span, last, sizes)])}]"
                return text, f"{text} {self.one(('=', '=', '+='))} {{}}"
            if not lead:
                at = "".join(f"{self.position(n - m + 1)}, " for n, m in zip(last, sizes, strict=True))
                return f"pt.load({name}, ({at}), {sizes})", f"pt.store({name}, ({at}), {{}})"
        text = f"{self.argument(*sizes, static=True)}[{', '.join(f'0:{n}' for n in sizes)}]"
        return text, f"{text} = {{}}"

    def window(self, sizes: Shape) -> str:
        return self.windowed(sizes)[0]

    def span(self, extent: int, size: int) -> str:
        """A slice of so many elements."""
        start = self.position(extent - size + 1)
        return f"{start}:{int(start) + size}" if start.isdigit() else f"{start}:{start} + {size}"

    def place(self, part: Part) -> Part:
        """A part to store to; no extents: an element."""
        name, have = part
        where, shape = list[str](), list[int]()
        for extent in have:
            kind = self.rng.random()
            size = extent if kind < SHARES[0] else int(self.rng.integers(1, extent + 1))
            single = SHARES[0] <= kind < SHARES[1]
            where.append(self.position(extent) if single else ":" if size == extent else self.span(extent, size))
            shape += [] if single else [size]
        return f"{name}[{', '.join(where)}]", tuple(shape)

    def row(self, rows: Sequence[Row]) -> Row:
        """An operation, often one of a few: what is written twice may be computed once."""
        few = [row for row in rows if row.name in self.few and (row.whole if self.exact else not row.exact)]
        return super().row(few if few and self.chance(0.6) else rows)

    def expression(self, shape: Shape, depth: int, leaf: Callable[[Shape], str] | None = None,
                   tiles: bool = False) -> str:
        """An expression, at times one that is there."""
        said = [text for size, tile, text in self.said if (size, tile) == (shape, tiles)]
        if said and depth > 0 and self.chance(0.3):
            return str(self.one(said))
        text = super().expression(shape, depth, leaf, tiles)
        self.said.append((shape, tiles, text))
        return text

    def element(self, depth: int) -> str:
        """An expression of single elements."""
        if depth <= 0:
            name, shape = self.array()
            return f"{name}[{', '.join(map(self.position, shape))}]"
        if self.chance(0.5):
            return self.row(UNARY).text.format(a=self.element(depth - 1))
        return self.row(BINARY).text.format(a=self.element(depth - 1), b=self.element(0))

    def depth(self) -> int:
        return int(self.one((0, 1, 1, 1, 2, 2, 3)))

    # statements: lines, none where it does not fit

    def stored_part(self, depth: int) -> list[str]:
        """A tensor or an element stored to a part of an array."""
        place, shape = self.place(self.array())
        value = self.expression(shape, self.depth()) if shape else self.element(self.depth())
        how = str(self.one(("=", "+=") if ":" not in place.replace(":,", "").replace(":]", "") else ("=",)))
        self.used.append(f"store {how} to {'a part' if shape else 'an element'}")
        return [f"{place} {how} {value}"]

    def stored_tile(self, depth: int) -> list[str]:
        """A tile stored to a window."""
        _, shape = self.array()
        sizes = tuple(int(self.rng.integers(1, min(n, LARGEST) + 1)) for n in shape[-2:])
        value = self.expression(sizes, self.depth(), self.window, tiles=True)
        self.used.append("store to a window")
        return [self.windowed(sizes)[1].format(value)]

    def stored_twice(self, depth: int) -> list[str]:
        """A part stored to, between two readings of the same operand."""
        array = self.array()
        place, shape = self.place(array)
        operand = self.piece(array, shape) if shape else ""
        if not operand:
            return []
        before, text = self.fresh("t"), self.row(UNARY).text
        self.used.append("an operand before and after a store" + " in a loop" * bool(self.counters))
        return [f"{before} = {text.format(a=operand)}", f"{place} = {self.expression(shape, self.depth())}",
                f"{place} = {text.format(a=before)} + {text.format(a=operand)}"]

    def bound(self, depth: int) -> list[str]:
        """A tensor under a name."""
        shape, name = self.any_shape(), self.fresh("t")
        line = f"{name} = {self.expression(shape, 1 + self.depth())}"
        self.near.append((name, shape))
        self.values.add(name)
        return [line]

    def bound_again(self, depth: int) -> list[str]:
        """Another tensor under the same name: a loop or branch carries it."""
        there = [part for part in self.near if part[0] in self.values]
        if not there:
            return []
        name, shape = there[int(self.rng.integers(len(there)))]
        self.used.append("a tensor is bound again" + " in a loop" * bool(self.counters))
        return [f"{name} = {self.expression(shape, 1 + self.depth())}"]

    def any_shape(self) -> Shape:
        """The extents of some part of an array."""
        return self.place(self.array())[1] or (self.size(),)

    def look_at(self, depth: int) -> list[str]:
        """A view under a name, often one of another view."""
        shape, name = self.any_shape(), self.fresh("w")
        text = self.leaf(shape)
        self.near.append((name, shape))
        self.used.append("view" + " of a view" * text.startswith("w") + " in a loop" * bool(self.counters))
        return [f"{name} = {text}"]

    def room(self, depth: int) -> list[str]:
        """A tensor of the kernel's own, to be stored to."""
        if self.counters or self.parameters:
            return []
        shape, name = (self.size(), self.size())[int(self.chance(0.3)):], self.fresh("r")
        lines = [f"{name} = pt.empty({shape})", f"{name}[:] = {self.expression(shape, self.depth())}"]
        self.near.append((name, shape))
        self.rooms.add(name)
        return lines

    def report(self, depth: int) -> list[str]:
        """A value printed, or asserted to be no large number."""
        shape = self.any_shape()[-2:]
        self.used.append("print or assert" + " in a loop" * bool(self.counters))
        if self.chance(0.5):
            return [f"pt.print('here', {self.leaf(shape)})"]
        return [f"pt.assert_(pt.abs({self.leaf(shape)}) < 8388608.0, 'large')"]

    def loop(self, depth: int) -> list[str]:
        """A loop of the program over statements."""
        if depth <= 0:
            return []
        first, trips, step = int(self.rng.integers(3)), int(self.one((0, 1, 2, 3, 3, 4))), int(self.one((1, 1, 1, 2)))
        counter = Counter(self.fresh("i"), first, first + max(trips - 1, 0) * step)
        stop = str(first + trips * step)
        stop = self.integer(int(stop)) if self.chance(0.3) and not self.parameters else stop
        self.counters.append(counter)
        body = self.block(depth - 1)
        head = [f"for {counter.name} in {self.one(('pt.range', 'pt.range', 'range'))}({first}, {stop}, {step}):"]
        if self.chance(0.15):
            head = [f"{counter.name} = {first}", f"while {counter.name} < {stop}:"]
            body.append(f"    {counter.name} += {step}")
        elif self.chance(0.2):
            at = int(self.rng.integers(len(body) + 1))
            while at < len(body) and body[at].startswith("     "):
                at += 1
            test = f"    if {counter.name} {self.one(('==', '>='))} {first + int(self.rng.integers(3))}:"
            body[at:at] = [test, f"        {self.one(('break', 'continue'))}"]
            self.used.append("break or continue")
        self.counters.pop()
        self.used.append("loop in a loop" if self.counters else "loop")
        return [*head, *body]

    def branch(self, depth: int) -> list[str]:
        """Statements on a condition of the program."""
        if depth <= 0:
            return []
        left = self.counters[-1].name if self.counters else "" if self.parameters else self.integer(self.size())
        test = f"{left or 'a.shape[0]'} {self.one(('<', '>=', '=='))} {self.rng.integers(4)}"
        self.used.append("branch" + " in a loop" * bool(self.counters))
        return [f"if {test}:", *self.block(depth - 1),
                *(["else:", *self.block(depth - 1)] if self.chance(0.4) else [])]

    def block(self, depth: int) -> list[str]:
        """Some statements, which see what is bound around them, indented."""
        known, said, lines = len(self.near), len(self.said), list[str]()
        for _ in range(int(self.one((1, 1, 2, 2, 3)))):
            lines += self.step(INNER)(self, depth)
        del self.near[known:], self.said[said:]
        return [f"    {line}" for line in lines or ["pass"]]

    def step(self, rows: Sequence[tuple[Step, int]]) -> Step:
        weights = np.array([weight for _, weight in rows])
        return rows[int(self.rng.choice(len(rows), p=weights / weights.sum()))][0]

    def called_to_store(self, depth: int) -> list[str]:
        """A kernel that stores to its arguments, which may be one array."""
        (x, one), (y, other), f = self.array(), self.array(), self.fresh("f")
        outside, self.near, self.parameters = (self.near, self.said), [], [("a", one), ("b", other)]
        self.said = []
        self.info |= {"a": Info(self.info[x].static), "b": Info(self.info[y].static)}
        body = self.block(1)
        del self.info["a"], self.info["b"]
        (self.near, self.said), self.parameters = outside, []
        text = "\n".join((f"def {f}(a, b):", *body))
        if re.search(r"\b[xnrvtw]\d", re.sub(r"\b[tw]\d+\b", "", text)):
            return []
        exec(text, self.space)
        self.helpers.append(f"@pt.tile_kernel\n{text}\n\n\n")
        self.used.append("a kernel in a kernel stores" + " to one array twice" * (x == y))
        return [f"{f}({x}, {y})"]

    def statement(self) -> bool:
        self.tensors_alone = False
        if not self.lines and not self.kept(self.one((ArrayWriter.stored_part, ArrayWriter.bound))):
            return False  # a kernel has a result, or stores to an argument
        self.tensors_alone = self.chance(0.1)
        return super().statement() if self.tensors_alone else self.kept(self.step(OUTER))

    def kept(self, step: Step) -> bool:
        """A statement of the kernel, if it has a meaning."""
        known, said, helpers = len(self.near), len(self.said), len(self.helpers)
        lines = step(self, 2)
        made = {name: Info(name in self.rooms) for name, _ in self.near[known:]}
        if lines and self.put(lines, **made):
            return True
        del self.near[known:], self.said[said:], self.helpers[helpers:]
        return False


Step = Callable[[ArrayWriter, int], list[str]]
INNER: tuple[tuple[Step, int], ...] = (  # and how often, relative to the others
    (ArrayWriter.stored_part, 8), (ArrayWriter.stored_tile, 4), (ArrayWriter.stored_twice, 2), (ArrayWriter.bound, 2),
    (ArrayWriter.bound_again, 2), (ArrayWriter.look_at, 2), (ArrayWriter.report, 1), (ArrayWriter.loop, 2),
    (ArrayWriter.branch, 2))
OUTER: tuple[tuple[Step, int], ...] = (
    (ArrayWriter.stored_part, 3), (ArrayWriter.stored_tile, 1), (ArrayWriter.stored_twice, 2), (ArrayWriter.bound, 2),
    (ArrayWriter.look_at, 3), (ArrayWriter.report, 1), (ArrayWriter.room, 1), (ArrayWriter.loop, 9),
    (ArrayWriter.branch, 1), (ArrayWriter.called_to_store, 2))
