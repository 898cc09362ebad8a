"""Text of random kernels: statements of a table are tried until enough of them have a meaning.

Every statement is run on the NumPy twin as soon as it is written, so what its result is (extents, magnitude) is known,
not computed here a second time; one that has no meaning is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz.case import TYPES, Case
from tests.fuzz.meaning import PT, Value
from tests.fuzz.operations import AXES, BINARY, NORMS, ROWS, UNARY, Row

Shape = tuple[int, ...]
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 20)
TILES = (1, 2, 3, 4, 5, 7, 8, 16, 32)
SMALL = (1, 2, 3, 4)  # extents of tiles, many of which are in little
OPTIONS = ("tile_m", "tile_n", "tile_k")
MOST = 2.0**20  # of an element, in kernels of integers
STATEMENTS = (1, 1, 1, 2, 2, 2, 3, 4)


@dataclass(frozen=True)
class Info:
    """What is known of a name besides its value."""

    static: bool  # extents are constants of the text
    strided: bool = False
    base: str = ""  # the argument that it shares memory with


class Writer:
    """One kernel under construction."""

    def __init__(self, seed: int, tiles: Sequence[int] = TILES) -> None:
        self.rng = np.random.default_rng([seed, 17])
        self.tiles = tiles
        self.seed = seed
        self.exact = bool(seed % 2 == 0)
        self.sizes = [int(n) for n in self.rng.choice(EXTENTS, 3)]
        if self.chance(0.1):
            self.sizes[int(self.rng.integers(3))] = int(self.rng.choice((33, 64, 65, 100)))
        self.arguments: dict[str, Any] = {}
        self.styles: dict[str, str] = {}
        self.helpers: list[str] = []
        self.options: dict[str, int] = {}
        self.lines: list[str] = []
        self.info: dict[str, Info] = {}
        self.space: dict[str, Any] = {"pt": PT}
        self.used: list[str] = []
        self.stored: set[str] = set()
        self.rooms: set[str] = set()  # tensors of the kernel's own that more than one statement stores to
        self.count = 0

    # choices

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def size(self) -> int:
        return int(self.one(self.sizes))

    def fresh(self, letter: str = "v") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    # arguments

    def argument(self, *shape: int, static: bool | None = None, kind: Any = "f32") -> str:
        """A new argument."""
        name = self.fresh("x")
        style = "static" if static else self.one(("static", "none", "none", "named"))
        row = TYPES[kind[0] if isinstance(kind, tuple) else kind]
        dims = ", ".join(str(n) if style == "static" else f'"E{n}"' for n in shape)
        self.styles[name] = f"{name}: pt.{row.name}[{dims}]" if style != "none" else name
        self.arguments[name] = (kind, *shape)
        array = row.draw(self.rng, self.exact, kind[1] if isinstance(kind, tuple) else 1, shape)
        self.space[name] = row.seen(array)
        self.info[name] = Info(style == "static", base=name)
        return name

    def integer(self, value: int) -> str:
        """A new integer of the call."""
        name = self.fresh("n")
        self.styles[name], self.arguments[name], self.space[name] = f"{name}: pt.index", value, value
        return name

    def tensors(self, fit: Callable[[str, Shape], bool]) -> list[str]:
        """Names of tensors that fit."""
        return [n for n in self.info if isinstance(self.space.get(n), Value) and n not in self.stored
                and fit(n, self.space[n].shape)]

    def leaf(self, shape: Shape) -> str:
        """A tensor of this shape; one that is there more often than a new argument."""
        there = self.tensors(lambda n, s: s == shape)
        return self.one(there) if there and self.chance(0.75) else self.argument(*shape)

    def narrower(self, shape: Shape) -> str:
        """A tensor that broadcasts to a shape."""
        less = list(shape)
        for axis in range(len(less)):
            if self.chance(0.5):
                less[axis] = 1
        if len(less) > 1 and self.chance(0.4):
            less = less[1:]
        there = self.tensors(lambda n, s: 0 < len(s) <= len(shape) and all(
            a in (1, b) for a, b in zip(reversed(s), reversed(shape), strict=False)))
        again = 0.6 if len(less) < 3 else 0.3  # of three axes few are there whose first is one
        return self.one(there) if there and self.chance(again) else self.argument(*less)

    # expressions

    def expression(self, shape: Shape, depth: int, leaf: Callable[[Shape], str] | None = None,
                   tiles: bool = False) -> str:
        """Text of an expression of this shape."""
        leaf = leaf or self.any_leaf
        if depth <= 0:
            return leaf(shape)
        kind = self.rng.random()
        a = self.expression(shape, depth - 1, leaf, tiles)
        if kind < 0.4:
            row = self.row(BINARY)
            b = self.expression(shape, int(self.rng.integers(depth)), leaf, tiles)
            if not tiles and self.chance(0.4):
                b = self.narrower(shape)
            a, b = (b, a) if self.chance(0.3) else (a, b)
            return row.text.format(a=a, b=b)
        if kind < 0.75 or (tiles and kind < 0.9):
            return self.row(UNARY).text.format(a=a)
        if kind < 0.9:
            any_axis = not tiles and self.chance(0.4)
            part = self.over_axis(shape, leaf) if any_axis else self.row(ROWS).text.format(a=leaf(shape))
            return self.row(BINARY).text.format(a=a, b=part)
        return self.row(ROWS if tiles else NORMS).text.format(a=a) + f" + {leaf(shape)}"

    def over_axis(self, shape: Shape, leaf: Callable[[Shape], str]) -> str:
        """A reduction of any axis."""
        axis = int(self.rng.integers(len(shape))) - len(shape)
        if self.tiles is SMALL:  # tiles of columns are not directed, and not small
            axis = -1
        return self.row(AXES).text.format(a=leaf(shape), axis=axis)

    def any_leaf(self, shape: Shape) -> str:
        """A tensor of this shape, at times one of another type."""
        if self.chance(0.93):
            return self.leaf(shape)
        kind = str(self.one(("f16", "bf16", "s16", "s8", "u8")))
        self.used.append(f"argument of {kind}")
        return f"{self.argument(*shape, kind=kind)}.to(pt.f32)"

    def row(self, rows: Sequence[Row]) -> Row:
        """An operation, one that keeps integers whole where this kernel is of integers."""
        fit = [r for r in rows if (r.whole if self.exact else not r.exact)] or [ROWS[0]]
        found: Row = self.one(fit)
        self.used.append(f"op {found.name}")
        return found

    # statements

    def put(self, lines: Sequence[str], **made: Info) -> bool:
        """Keep lines that have a meaning; `made` are the tensors that they bind."""
        before = {n: self.space.get(n) for n in made}
        kept = {n: v.seen(np.array) for n, v in self.space.items()
                if isinstance(v, Value) and (n in self.arguments or n in self.rooms)}
        try:
            with np.errstate(all="ignore"):
                exec("\n".join(lines), self.space)
            good = all(self.good(self.space[n]) for n in [*made, *kept])
        except (ValueError, IndexError):
            good = False
        if not good:
            for name, value in kept.items():
                self.space[name].value[...], self.space[name].error = value.value, value.error
            self.space.update(before)
            return False
        self.lines += lines
        self.info.update(made)
        return True

    def good(self, value: Any) -> bool:
        """Can f32 be held to this value?"""
        if not np.isfinite(value.value).all() or np.abs(value.value).max(initial=0) > MOST:
            return False
        if self.exact and value.error.any():
            return False
        return not (value.error > 2e-3 * (1 + np.abs(value.value))).any()

    def shape(self) -> Shape:
        """Extents of a tensor; two axes mostly."""
        rank = int(self.rng.choice((1, 2, 2, 3)))
        return tuple(self.size() if axis >= rank - 2 else int(self.rng.integers(1, 4)) for axis in range(rank))

    def some(self) -> Shape:
        """The extents of a tensor that is there, or others."""
        there = self.tensors(lambda n, s: 0 < len(s) < 4)
        return self.space[self.one(there)].shape if there and self.chance(0.7) else self.shape()

    def result(self) -> tuple[str, str]:
        """What an assignment to a new name starts with, and the name."""
        name = self.fresh()
        return f"{name} = ", name

    def static(self, *names: str) -> bool:
        return all(self.info[n].static for n in names)

    def operands(self, text: str) -> list[str]:
        """The tensors that a text names."""
        return [n for n in self.info if f"{n} " in text + " " or f"{n})" in text or f"{n}," in text or f"{n}." in text]

    def value(self) -> bool:
        shape = self.some()
        text = self.expression(shape, int(self.rng.integers(1, 5)))
        start, name = self.result()
        return self.put([start + text], **{name: Info(self.static(*self.operands(text)))})

    def product(self) -> bool:
        m, k, n = self.size(), self.size(), self.size()
        if self.chance(0.3):
            m = 1
        there = self.tensors(lambda x, s: len(s) in (2, 3))
        a = self.one(there) if there and self.chance(0.6) else self.argument(*self.batch(), m, k)
        k = self.space[a].shape[-1]
        lead = self.space[a].shape[:-2] if self.chance(0.5) else ()
        if self.chance(0.4):
            b, right = self.leaf((*lead, n, k)), ".T"
        else:
            b, right = self.leaf((*lead, k, n)), ""
        left = self.row(UNARY[:6]).text.format(a=a) if self.chance(0.3) else a
        start, name = self.result()
        text = f"{start}pt.matmul({left}, {b}{right})"
        if self.exact and self.chance(0.15):
            kind, after = self.one((("f16", ""), ("bf16", ""), ("s8", ".to(pt.f32)")))
            text = f"{start}pt.matmul({left}.to(pt.{kind}), {b}{right}.to(pt.{kind})){after}"
            self.used.append(f"op matmul of {kind}")
        if self.chance(0.4):
            text = f"{start}{self.row(UNARY).text.format(a=text[len(start):])}"
        self.used.append("op matmul" + (", one row" if self.space[a].shape[-2] == 1 else ", batched" if lead else ""))
        return self.put([text], **{name: Info(self.static(a, b))})

    def batch(self) -> Shape:
        return (int(self.rng.integers(1, 4)),) if self.chance(0.2) else ()

    def look(self) -> bool:
        """A view."""
        there = self.tensors(lambda n, s: len(s) > 0)
        a = self.one(there) if there and self.chance(0.7) else self.argument(*self.shape())
        shape, info = self.space[a].shape, self.info[a]
        kind = self.one(("T", "permute", "unsqueeze", "view", "narrow", "select", "flat"))
        strided, text = True, ""
        if kind == "T" and len(shape) > 1:
            text = f"{a}.T"
        elif kind == "permute":
            text = f"{a}.permute({', '.join(map(str, self.rng.permutation(len(shape))))})"
        elif kind == "unsqueeze" and len(shape) < 3:
            text, strided = f"{a}.unsqueeze({self.rng.integers(len(shape) + 1)})", info.strided
        elif kind in ("view", "flat") and info.static:
            whole = ".contiguous()" if info.strided else ""
            dims = (int(np.prod(shape)),) if kind == "flat" else (*shape[::-1][:-1], -1)
            text, strided = f"{a}{whole}.view({', '.join(map(str, dims))})", False
        elif kind == "narrow":
            axis = int(self.rng.integers(len(shape)))
            length = int(self.rng.integers(1, shape[axis] + 1))
            start = int(self.rng.integers(0, shape[axis] - length + 1))
            begin = self.integer(start) if self.chance(0.5) else str(start)
            end = self.integer(length) if self.chance(0.3) else str(length)
            text = f"{a}.narrow({axis}, {begin}, {end})"
            info = Info(info.static and end.isdigit(), base=info.base)
        elif kind == "select" and len(shape) > 1:
            at = int(self.rng.integers(shape[0]))
            text, strided = f"{a}[{self.integer(at) if self.chance(0.5) else at}]", info.strided
        if not text:
            return False
        self.used.append(f"view {kind}")
        start, name = self.result()
        return self.put([start + text], **{name: Info(info.static, strided, info.base)})

    def joined(self) -> bool:
        rank = int(self.one((1, 2, 2, 3)))
        axis, shape = int(self.rng.integers(rank)), [*self.shape(), 3, 4][:rank]
        names = []
        for _ in range(int(self.rng.integers(1, 4))):
            shape[axis] = self.size()
            there = self.tensors(lambda n, s: s == tuple(shape) and self.info[n].static)
            names.append(self.one(there) if there and self.chance(0.7) else self.argument(*shape, static=True))
        start, name = self.result()
        self.used.append("op concat")
        return self.put([f"{start}pt.concat([{', '.join(names)}], {axis})"], **{name: Info(True)})

    def looked_up(self) -> bool:
        rows, cols = self.size(), max(self.size(), 2)
        table = self.argument(rows, cols)
        ids = self.argument(self.size(), kind=("s32", rows))
        start, name = self.result()
        self.used.append("op embedding")
        return self.put([f"{start}pt.embedding({ids}, {table}) + 1.0"], **{name: Info(self.static(table))})

    def counted(self) -> bool:
        n = self.size()
        start, name = self.result()
        x = self.argument(self.size(), n, static=True)
        self.used.append("op arange")
        first, step = int(self.rng.integers(9)), int(self.one((1, 2)))
        return self.put([f"{start}{x} + pt.arange({first}, {first + n * step}, {step})"],
                        **{name: Info(True)})

    def attended(self) -> bool:
        if self.exact:
            return False
        group, heads = (int(n) for n in self.rng.integers(1, 3, 2))
        d, e = self.one((4, 8)), self.one((3, 8))
        m, n = self.size(), self.size()
        q = self.argument(group * heads, m, d, static=True)
        k, v = self.argument(heads, n, d, static=True), self.argument(heads, n, e, static=True)
        how = f", tile_m={self.one((2, 4, 8))}, tile_n={self.one((2, 4, 8))}"
        if self.chance(0.5):
            how += f", causal=True, start={self.integer(int(self.rng.integers(0, n)))}"
        start, name = self.result()
        self.used.append("op attention")
        return self.put([f"{start}pt.attention({q}, {k}, {v}{how})"], **{name: Info(True)})

    def parts(self) -> bool:
        """Tensors stored to the parts of one."""
        rows, cols = self.size() + 1, self.size()
        cut = int(self.rng.integers(1, rows))
        across = self.chance(0.4)
        name = self.fresh()
        shapes = ((cut, cols), (rows - cut, cols)) if not across else ((cols, cut), (cols, rows - cut))
        full = (rows, cols) if not across else (cols, rows)
        lines = [f"{name} = pt.empty({full})"]
        for (low, high), shape in zip(((0, cut), (cut, rows)), shapes, strict=True):
            if not across and self.chance(0.3):
                shown = self.integer(low)
                where = f"{shown}:{shown} + {high - low}"
            else:
                where = f"{low}:{high}"
            text = self.expression(shape, int(self.rng.integers(0, 3)), self.fixed)
            lines.append(f"{name}[{':, ' * across}{where}] = {text}")
        self.used.append("parts")
        return self.put(lines, **{name: Info(True)})

    def fixed(self, shape: Shape) -> str:
        """A tensor of constant extents."""
        there = self.tensors(lambda n, s: s == shape and self.info[n].static)
        return self.one(there) if there and self.chance(0.7) else self.argument(*shape, static=True)

    def written(self) -> bool:
        """A tensor stored to an argument, or to a part of it."""
        kind = self.one(("whole", "row", "rows"))
        there = [n for n in self.tensors(lambda n, s: len(s) == 2 and n in self.arguments)]
        x = self.one(there) if there and self.chance(0.6) else self.argument(self.size(), self.size())
        rows, cols = self.space[x].shape
        if kind == "whole":
            text = self.expression((rows, cols), int(self.rng.integers(1, 3)), lambda s: self.one((x, self.leaf(s))))
            lines = [f"{x}[:] = {text}"]
        elif kind == "row":
            row = f"{x}[{self.integer(int(self.rng.integers(rows)))}]"
            text = self.expression((cols,), int(self.rng.integers(1, 3)), lambda s: self.one((row, self.leaf(s))))
            lines = [f"{row} = {text}"]
        else:
            many = int(self.rng.integers(1, rows + 1))
            at, y = self.integer(int(self.rng.integers(0, rows - many + 1))), self.argument(many, cols)
            lines = [f"{x}[{at}:{at} + {y}.shape[0]] = {y}"]
        self.used.append(f"store to an argument, {kind}")
        done = self.put(lines)
        self.stored |= {n for n, i in self.info.items() if i.base == x} if done else set()
        return done

    def repeated(self) -> bool:
        """A loop of the program that carries tensors."""
        shape = self.some()
        if len(shape) > 3:
            return False
        turns, name = int(self.rng.integers(0, 4)), self.fresh()
        stack = self.argument(max(turns, 1), *shape) if self.chance(0.5) else ""
        bound = f"{stack}.shape[0]" if stack else self.integer(turns)
        i = self.fresh("i")

        def leaf(s: Shape) -> str:
            return str(self.one((name, name, f"{stack}[{i}]" if stack else name, self.leaf(s))))

        before = self.expression(shape, 1)
        self.space[name] = Value(np.zeros(shape))
        if len(shape) == 2 and self.chance(0.3):
            step = f"pt.matmul({name}, {self.argument(shape[1], shape[1])}) * 0.5"
        else:
            step = self.expression(shape, int(self.rng.integers(1, 4)), leaf)
        lines = [f"{name} = {before}", f"for {i} in pt.range({bound}):", f"    {name} = {step}"]
        self.used.append("loop that carries a tensor")
        made = {name: Info(self.static(*self.operands(before + step + " ")))}
        if self.chance(0.3):
            other = self.fresh()
            lines[0:0] = [f"{other} = {self.expression(shape, 1)}"]
            lines[-1] = f"    {name}, {other} = {other}, {step}"
            made[other] = made[name] = Info(False)
        return self.put(self.jumping(lines, i, bound), **made)

    def jumping(self, lines: list[str], i: str, bound: str) -> list[str]:
        """A loop over `i`, the last two of the lines: as it is, with a jump, or counted by `while`."""
        how = self.rng.random()
        if how < 0.3:
            test = f"    if {i} {self.one(('==', '>='))} {self.rng.integers(3)}:"
            self.used.append("break or continue")
            return [*lines[:-1], test, f"        {self.one(('break', 'continue'))}", lines[-1]]
        if how < 0.45 and bound.isidentifier():
            self.used.append("while")
            return [*lines[:-2], f"{i} = 0", f"while {i} < {bound}:", lines[-1], f"    {i} += 1"]
        return lines

    def branched(self) -> bool:
        """A branch on a symbol."""
        shape, name = self.some(), self.fresh()
        a, b, c = (self.expression(shape, int(self.rng.integers(1, 3))) for _ in range(3))
        b, c = (self.row(BINARY).text.format(a=name, b=x) if self.chance(0.8) else x for x in (b, c))
        if self.tiles is SMALL or self.chance(0.5):  # what a branch says of an extent is no bound of its loops
            test = f"{self.integer(int(self.rng.integers(0, 5)))} < {self.rng.integers(0, 5)}"
        else:
            x = self.argument(*shape)
            test = f"{x}.shape[0] {self.one(('<', '==', '>='))} {max(shape[0] + int(self.rng.integers(-1, 2)), 1)}"
        lines = [f"{name} = {a}", f"if {test}:", f"    {name} = {b}"]
        lines += ["else:", f"    {name} = {c}"] if self.chance(0.6) else []
        self.used.append("branch")
        return self.put(lines, **{name: Info(False)})

    def called(self) -> bool:
        """A kernel called in this one."""
        shape, f = self.some(), self.fresh("f")
        body = self.expression(shape, int(self.rng.integers(1, 4)), lambda s: self.one(("a", "b")))
        if re.search(r"\b[xv]\d", body):
            return False
        exec(f"def {f}(a, b):\n    return {body}", self.space)
        a, b = self.leaf(shape), self.leaf(shape)
        start, name = self.result()
        self.used.append("kernel in a kernel")
        done = self.put([f"{start}{f}({a}, {b} * 2.0)"], **{name: Info(False)})
        if done:
            self.helpers.append(f"@pt.tile_kernel\ndef {f}(a, b):\n    return {body}\n\n\n")
        return done

    def tiled(self) -> bool:
        """A nest of loops over tiles, written out."""
        tm, tn, tk = (int(self.one(self.tiles)) for _ in range(3))
        m, n, k = self.size(), self.size(), self.size()
        kind = self.one(("map", "rows", "product", "line", "column", "two", "start", "scan"))
        out, i, j = self.fresh(), self.fresh("i"), self.fresh("j")
        x = self.leaf((m, n))
        made = getattr(self, f"tiles_{kind}")(out, i, j, x, (m, n, k), (tm, max(tn, 2), max(tk, 2)))
        self.used.append(f"tiles: {kind}")
        return self.put(made, **{out: Info(False)})

    def tiles_map(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        window = f"[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}]"
        text = self.expression((0, 0), int(self.rng.integers(1, 4)), lambda s: self.one((x, x, x)) + window, tiles=True)
        return [f"{out} = pt.empty({x}.shape)", f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):",
                f"    for {j} in pt.range(0, {x}.shape[1], {t[1]}):", f"        {out}{window} = {text}"]

    def tiles_rows(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        window = f"{x}[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}]"
        start, how = self.one((("zeros(({},1))", "{a} + pt.sum({b}, keepdims=True)"),
                               ("full(({},1), -9.0)", "pt.maximum({a}, pt.max({b}, keepdims=True))")))
        inner = self.expression((0, 0), int(self.rng.integers(0, 3)), lambda s: window, tiles=True)
        acc = self.fresh("t")
        return [f"{out} = pt.empty(({x}.shape[0], 1))", f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):",
                f"    {acc} = pt.{start.format(t[0])}", f"    for {j} in pt.range(0, {x}.shape[1], {t[1]}):",
                f"        {acc} = {how.format(a=acc, b=inner)}", f"    {out}[{i}:{i} + {t[0]}, 0:1] = {acc}"]

    def tiles_two(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        """Two carried tiles that change places."""
        window = f"{x}[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}]"
        a, b = self.fresh("t"), self.fresh("t")
        ending = self.one((a, b, f"{a} - {b}"))
        return [f"{out} = pt.empty(({x}.shape[0], 1))", f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):",
                f"    {a} = pt.zeros(({t[0]}, 1))", f"    {b} = pt.full(({t[0]}, 1), 1.0)",
                f"    for {j} in pt.range(0, {x}.shape[1], {t[1]}):",
                f"        {a}, {b} = {b}, {a} + pt.sum({window}, keepdims=True)",
                f"    {out}[{i}:{i} + {t[0]}, 0:1] = {ending}"]

    def tiles_start(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        """A tile that a loop starts with and that is read after it."""
        window = f"{x}[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}]"
        first, acc = self.fresh("t"), self.fresh("t")
        return [f"{out} = pt.empty(({x}.shape[0], 1))", f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):",
                f"    {first} = {x}[{i}:{i} + {t[0]}, 0:1] * 2.0", f"    {acc} = {first}",
                f"    for {j} in pt.range(0, {x}.shape[1], {t[1]}):",
                f"        {acc} = pt.maximum({acc}, pt.max({window}, keepdims=True))",
                f"    {out}[{i}:{i} + {t[0]}, 0:1] = {acc} - {first}"]

    def tiles_scan(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        """A carried tile that each turn stores."""
        column, acc = f"[{i}:{i} + {t[0]}, {j}:{j} + 1]", self.fresh("t")
        step = self.one((f"pt.maximum({acc}, {x}{column})", f"{acc} + {x}{column}"))
        return [f"{out} = pt.empty({x}.shape)", f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):",
                f"    {acc} = pt.zeros(({t[0]}, 1))", f"    for {j} in pt.range(0, {x}.shape[1], 1):",
                f"        {acc} = {step}", f"        {out}{column} = {acc}"]

    def tiles_column(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        """Two passes over a row of tiles, the second with what the first carried."""
        lines = self.tiles_rows(out, i, j, x, e, t)
        acc = lines[2].split()[0]
        window = f"[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}]"
        lines[0] = f"{out} = pt.empty({x}.shape)"
        text = self.row(BINARY).text.format(a=f"{x}{window}", b=acc)
        return [*lines[:-1], f"    for {j} in pt.range(0, {x}.shape[1], {t[1]}):", f"        {out}{window} = {text}"]

    def tiles_product(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        y = self.leaf((self.space[x].shape[1], e[2]))
        k, acc = self.fresh("k"), self.fresh("t")
        a, b = f"{x}[{i}:{i} + {t[0]}, {k}:{k} + {t[2]}]", f"{y}[{k}:{k} + {t[2]}, {j}:{j} + {t[1]}]"
        a = self.row(UNARY[:6]).text.format(a=a) if self.chance(0.3) else a
        ending = self.row(UNARY).text.format(a=acc) if self.chance(0.4) else acc
        start = self.one(("zeros(({}, {}))", "zeros(({}, {}))", "full(({}, {}), 2.0)")).format(t[0], t[1])
        return [f"{out} = pt.empty(({x}.shape[0], {y}.shape[1]))",
                f"for {i} in pt.range(0, {x}.shape[0], {t[0]}):", f"    for {j} in pt.range(0, {y}.shape[1], {t[1]}):",
                f"        {acc} = pt.{start}", f"        for {k} in pt.range(0, {x}.shape[1], {t[2]}):",
                f"            {acc} += pt.tile_matmul({a}, {b})",
                f"        {out}[{i}:{i} + {t[0]}, {j}:{j} + {t[1]}] = {ending}"]

    def tiles_line(self, out: str, i: str, j: str, x: str, e: Shape, t: Shape) -> list[str]:
        x = self.leaf((e[0] * 3,))
        window = f"[{i}:{i} + {t[1]}]"
        text = self.expression((0,), int(self.rng.integers(1, 4)), lambda s: x + window, tiles=True)
        return [f"{out} = pt.empty(({x}.shape[0],))", f"for {i} in pt.range(0, {x}.shape[0], {t[1]}):",
                f"    {out}{window} = {text}"]

    # the whole

    def statement(self) -> bool:
        """One more statement of the table, if it has a meaning."""
        return STATEMENT[int(self.rng.choice(len(STATEMENT), p=WEIGHTS))](self)

    def case(self) -> Case:
        for _ in range(int(self.one(STATEMENTS))):
            for _ in range(20):
                if self.statement():
                    break
        made = [n for n in self.info if n not in self.arguments and n not in self.stored]
        chosen = [made[-1]] if made else []
        chosen += [n for n in made[:-1] if self.chance(0.4)][:2]
        lines = [*self.lines, f"return {', '.join(chosen)}"] if chosen else self.lines or ["return None"]
        if self.tiles is SMALL:
            self.options = {n: int(self.one(self.tiles[1:])) for n in OPTIONS}
        elif self.chance(0.6):
            self.options = {n: int(self.one(self.tiles[1:])) for n in OPTIONS if self.chance(0.8)}
        text = "".join(f"    {line}\n" for line in lines)
        needed = [n for n in self.arguments if n in text]
        head = f"@pt.tile_kernel({', '.join(f'{k}={v}' for k, v in self.options.items())})\n"
        body = f"{''.join(self.helpers)}{head}def k({', '.join(self.styles[n] for n in needed)}):\n{text}"
        return Case(body, {n: self.arguments[n] for n in needed}, self.exact, self.seed)


STATEMENT_ROWS = (  # and how often, relative to the others
    (Writer.value, 8), (Writer.product, 5), (Writer.look, 4), (Writer.joined, 2), (Writer.looked_up, 1),
    (Writer.counted, 1), (Writer.attended, 2), (Writer.parts, 2), (Writer.written, 2), (Writer.repeated, 3),
    (Writer.branched, 2), (Writer.called, 2), (Writer.tiled, 6),
)
STATEMENT = tuple(row[0] for row in STATEMENT_ROWS)
WEIGHTS = np.array([row[1] for row in STATEMENT_ROWS]) / sum(row[1] for row in STATEMENT_ROWS)


def generate(seed: int, tiles: Sequence[int] = TILES, kind: type[Writer] = Writer) -> tuple[Case, list[str]]:
    """A kernel, and what it is made of."""
    writer = kind(seed, tiles)
    return writer.case(), writer.used
