"""A kernel's text with the arguments of one call; and what the text means in NumPy."""

from __future__ import annotations

import ast
import itertools
import linecache
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np

import pto
from tests.fuzz.meaning import ELEMENTS, PT, Typed, Value

NUMBERS = itertools.count()
Argument = tuple[Any, ...]


@dataclass(frozen=True)
class Type:
    """A type of arguments: its spelling after `pt.`, what NumPy calls it, and how its elements are drawn."""

    name: str
    numpy: Any
    indexes: bool = False

    @property
    def floats(self) -> bool:
        return np.dtype(self.numpy).kind not in "iu"

    def draw(self, rng: np.random.Generator, exact: bool, most: int, shape: tuple[int, ...]) -> np.ndarray:
        """Small integers (indices below `most`), or numbers between -1 and 1."""
        if self.indexes:
            return rng.integers(0, most, shape).astype(self.numpy)
        low = 0 if self.name == "u8" else -3
        whole = exact or not self.floats
        drawn = rng.integers(low, 4, shape) if whole else rng.uniform(-1, 1, shape)
        return drawn.astype(self.numpy)

    def seen(self, array: np.ndarray) -> Any:
        """The argument as the twin sees it."""
        if self.indexes:
            return array
        value = Value(array.astype(np.float64)).contiguous()
        return value if self.name == "f32" else Typed(value, ELEMENTS[self.name])


TYPES = {row.name: row for row in (
    Type("f32", np.float32), Type("s32", np.int32, indexes=True), Type("f16", np.float16),
    Type("bf16", ml_dtypes.bfloat16), Type("s16", np.int16), Type("s8", np.int8), Type("u8", np.uint8))}


@dataclass(frozen=True)
class Case:
    """One kernel, `k`, in the text of a module, and its arguments.

    Attributes:
        arguments: name -> an integer, or (type, extents...), or (("s32", most), extents...) of indices below `most`.
        exact: elements are small integers.
    """

    body: str
    arguments: dict[str, Any]
    exact: bool
    seed: int

    @property
    def text(self) -> str:
        """The whole file."""
        head = f"import pto as pt\n\nARGUMENTS = {self.arguments}\nEXACT, SEED = {self.exact}, {self.seed}\n\n\n"
        return head + self.body

    @classmethod
    def read(cls, text: str) -> Case:
        """A case from the text of its file."""
        tree = ast.parse(text)
        assigned = [n for n in tree.body if isinstance(n, ast.Assign)]
        (arguments, settings) = (ast.literal_eval(n.value) for n in assigned)
        lines = text.splitlines()
        first = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
        start = min([first.lineno, *(d.lineno for d in first.decorator_list)]) - 1
        return cls("\n".join(lines[start:]) + "\n", arguments, *settings)

    def with_(self, **changes: Any) -> Case:
        return replace(self, **changes)

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The arguments of the call."""
        rng = np.random.default_rng(self.seed)
        found: dict[str, Any] = {}
        for name, what in self.arguments.items():
            if isinstance(what, int):
                found[name] = what
                continue
            kind, *shape = what
            row, most = (TYPES[kind[0]], kind[1]) if isinstance(kind, tuple) else (TYPES[kind], 1)
            found[name] = row.draw(rng, self.exact, most, tuple(shape))
        return found

    def fresh(self) -> list[Any]:
        """The arguments, copied."""
        return [np.array(a) if isinstance(a, np.ndarray) else a for a in self.arrays.values()]

    def twins(self) -> dict[str, Any]:
        """The arguments as the twin has them."""
        return {n: a if isinstance(a, int) else TYPES[np_name(a)].seen(a) for n, a in self.arrays.items()}

    def meaning(self) -> tuple[list[Value], dict[str, Value]]:
        """Results, and the arguments afterwards, by NumPy."""
        space: dict[str, Any] = {"pt": PT}
        exec(compile(self.body, "<twin>", "exec"), space)
        given = self.twins()
        with np.errstate(all="ignore"):
            found = space["k"](*given.values())
        found = list(found) if isinstance(found, tuple) else [] if found is None else [found]
        return found, {n: v for n, v in given.items() if isinstance(v, Value)}

    def kernel(self, pt: ModuleType = pto) -> tuple[Any, str]:
        """The kernel, and the name of what passes for its file."""
        name = f"<random kernel {next(NUMBERS)}>"
        linecache.cache[name] = (len(self.body), None, self.body.splitlines(keepends=True), name)
        space: dict[str, Any] = {"pt": pt}
        exec(compile(self.body, name, "exec"), space)
        return space["k"], name


def np_name(array: np.ndarray) -> str:
    """The type of an array."""
    return next(row.name for row in TYPES.values() if row.numpy == array.dtype)
