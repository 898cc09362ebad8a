"""Arrays that a kernel reads from outside of it: globals, names of functions around it, attributes of objects.

Each is an implicit argument: found by the path that leads to it, looked up again at each call, and known by its
element type and number of axes. It is never a constant of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from pto.lang.trace import Argument

DEPTH, MOST = 5, 20_000  # how many steps from a name to an array, and how many objects are looked at
PLAIN = (str, bytes, int, float, complex, bool, type, FunctionType, type(None))


@dataclass(frozen=True)
class Captured:
    """An implicit argument.

    Attributes:
        argument: its name and type in the program.
        dtype: the array's own element type, in its words.
        root: gives the object that the path starts from.
        path: attributes (names), and keys and positions of containers.
    """

    argument: Argument
    dtype: str
    root: Callable[[], Any]
    path: tuple[tuple[str, Any], ...]

    def fetch(self) -> Any:
        """The array that is there now, if it still is one of this type."""
        try:
            found = self.root()
            for kind, key in self.path:
                found = getattr(found, key) if kind == "attribute" else found[key]
        except (AttributeError, LookupError, TypeError, ValueError):  # ValueError: an empty cell
            return None
        same = is_array(found) and str(found.dtype) == self.dtype and len(found.shape) == self.argument.type.rank
        return found if same else None


def is_array(value: object) -> bool:
    """Is it an array of somebody else's, with axes? Numbers are constants."""
    kind = type(value)
    return (hasattr(kind, "__array_interface__") or hasattr(kind, "__dlpack__")) and bool(getattr(value, "shape", ()))


Root = Callable[[], Any]
Path = tuple[tuple[str, Any], ...]


def roots(function: FunctionType, bound: Sequence[Any], names: frozenset[str]) -> Iterator[tuple[str, Root]]:
    """The names that a kernel sees around it, each with what gives its present value."""
    if bound:
        yield "", lambda: bound[0]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, partial(getattr, cell, "cell_contents")
    for name in sorted(names & function.__globals__.keys()):
        yield name, partial(function.__globals__.__getitem__, name)


def find(value: object, function: FunctionType, bound: Sequence[Any],
         names: frozenset[str]) -> tuple[str, Root, Path] | None:
    """The name, the root and the path of an array, the shortest first; None where nothing that is named leads to it."""
    level: list[tuple[str, Root, Path, Any]] = []
    for name, root in roots(function, bound, names):
        try:
            level.append((name, root, (), root()))
        except ValueError:  # a cell that is still empty
            continue
    seen: set[int] = set()
    for _ in range(DEPTH):
        further = []
        for name, root, path, here in level:
            if here is value:
                return name, root, path
            if id(here) in seen or len(seen) > MOST:
                continue
            seen.add(id(here))
            further += [(said or name, root, (*path, step), inner) for said, step, inner in _children(here, names)]
        level = further
    return None


def _children(value: Any, names: frozenset[str]) -> Iterator[tuple[str, tuple[str, Any], Any]]:
    """What an object leads to by one step: a name for it, the step, and the object."""
    if isinstance(value, PLAIN) or is_array(value):
        return
    if isinstance(value, Mapping):
        yield from (("", ("item", key), inner) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from (("", ("item", n), inner) for n, inner in enumerate(value))
    kept = vars(value) if isinstance(value, ModuleType) or hasattr(value, "__dict__") else {}
    slots = {n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())}
    for name in sorted(names & (kept.keys() | slots | vars(type(value)).keys())):
        try:
            yield name, ("attribute", name), getattr(value, name)
        except Exception:  # a property of the author's that fails, or does not apply here
            continue
