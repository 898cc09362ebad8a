"""One kernel at every level, on both machines, in other legal orders: what differs from its meaning."""

from __future__ import annotations

import contextlib
import io
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pto.core.errors import CapacityError, PtoError, ShapeError, UnsupportedError
from pto.runtime.interpret import interpret
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind
from tests.fuzz.case import Case
from tests.fuzz.meaning import Value
from tests.kernels import empty

RUNS = ("trace", "simplify", "elide-copies", "materialise", "tensor-to-tile", "tile-to-block", "combine", "hoist",
        "insert-flags")  # stages whose graphs run
LARGE = 20_000  # instructions and beyond: left to the fast machine
CORES = 2
OTHERS = 3  # of so many kernels one is called with other extents, too
# Extents that are equal in a call, and that nothing in the text says are: the compiler asks for an annotation.
TOLD_APART = (
    ("valid regions differ", "pt.tile_matmul"), ("before the loop and", "for "), ("before the loop and", "if "),
    ("before the loop and", "while "), ("windows of tensors whose extents differ", "["),
    ("another extent than the tile's", "["),
)


@dataclass(frozen=True)
class Verdict:
    """What was found: no `kind` where all agree; `levels` that ran. A refusal is what the compiler says it lacks."""

    kind: str = ""
    said: str = ""
    levels: tuple[str, ...] = ()
    exact: bool = False
    refused: bool = False


class Wrong(Exception):
    """A level's result is not the meaning."""

    def __init__(self, level: str, said: str) -> None:
        super().__init__(f"{level}: {said}")
        self.level = level


class Senseless(Exception):
    """A text without a meaning: it reads what nothing wrote, or NumPy refuses it."""


def meaning(case: Case) -> tuple[list[Value], dict[str, Value]]:
    """What a case computes.

    Raises:
        Senseless: nothing that can be compared.
    """
    try:
        results, arguments = case.meaning()
    except Exception as err:
        raise Senseless(str(err)) from err
    for value in (*results, *arguments.values()):
        if not isinstance(value, Value):
            raise Senseless("a result is no tensor")
        clear = value.error <= 0.02 * (1 + np.abs(value.value))  # not so where nobody knows the error
        if not np.isfinite(value.value).all() or not clear.all():
            raise Senseless("a result is nothing that f32 can be held to")
    return results, arguments


def compared(level: str, wanted: list[Value], found: list[np.ndarray]) -> None:
    """Are results within the bounds of the meaning?"""
    if len(wanted) != len(found):
        raise Wrong(level, f"{len(found)} results for {len(wanted)}")
    for number, (want, got) in enumerate(zip(wanted, found, strict=True)):
        if got.shape != want.shape:
            raise Wrong(level, f"result {number} is {got.shape}, not {want.shape}")
        wrong = ~(np.abs(got - want.value) <= want.error)
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise Wrong(level, f"result {number}{list(at)} is {got[at]}, not {want.value[at]} +- {want.error[at]:.2g} "
                               f"({wrong.sum()} of {wrong.size} are wrong)")


def same(level: str, wanted: list[np.ndarray], found: list[np.ndarray]) -> None:
    """Are results equal to the last bit?"""
    for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
        if a.tobytes() != b.tobytes():
            at = np.argwhere(a.view(np.uint32) != b.view(np.uint32))[0].tolist()
            raise Wrong(level, f"result {number}{at} has other bits: {b[tuple(at)]} for {a[tuple(at)]}")


class Judge:
    """Runs one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.levels: list[str] = []
        results, arguments = meaning(case)
        self.results, self.arguments = results, arguments
        self.kernel, self.file = case.kernel()

    def run(self) -> None:
        """All levels, the cheapest first.

        Raises:
            Wrong, PtoError: what is found.
        """
        loose = self.called()
        self.bound()
        more = self.machine(f"fast machine, fast, {CORES} cores", cores=CORES)
        same(self.levels[-1], loose, more)
        exact = self.machine("fast machine, exact", exact=True)
        checked = self.machine(f"fast machine, exact, checked, {CORES} cores", exact=True, cores=CORES, check="all")
        same(self.levels[-1], exact, checked)
        if len(self.variant.program.code) < LARGE:
            for found in self.slow():
                same(self.levels[-1], exact, found)
            self.graphs()
        if self.case.seed % OTHERS == 1:
            self.again()

    def called(self) -> list[np.ndarray]:
        """As a user calls it (one core, fast mode): arguments that it stores to change in place."""
        given = self.case.fresh()
        return self.check("call", self.launched(given), given)

    def launched(self, given: list[Any]) -> list[np.ndarray]:
        """The results of a call; what it prints is nobody's."""
        with contextlib.redirect_stdout(io.StringIO()):
            found = self.kernel(*given)
        return list(found) if isinstance(found, tuple) else [] if found is None else [found]

    def again(self) -> None:
        """The same kernel with other extents: right, or refused."""
        sizes = sorted({n for what in self.case.arguments.values() if not isinstance(what, int) for n in what[1:]})
        for size in dict.fromkeys((*sizes[:1], *sizes[-2:])):
            for other in {1, size + 1} - {size}:
                changed = {n: a if isinstance(a, int) else (a[0], *(other if e == size else e for e in a[1:]))
                           for n, a in self.case.arguments.items()}
                try:
                    self.results, self.arguments = meaning(case := self.case.with_(arguments=changed))
                except Senseless:
                    continue
                self.other(case, f"call, extents of {other} for {size}")

    def other(self, case: Case, level: str) -> None:
        given = case.fresh()
        try:
            found = self.launched(given)
        except (ShapeError, UnsupportedError, CapacityError) as err:
            if takes(case):
                raise Wrong(level, f"a kernel that was not called before takes what this one refuses: {err}") from None
            return
        except MachineTrap as err:
            if err.kind in (TrapKind.OUT_OF_BOUNDS, TrapKind.BAD_REGION):  # a position that was inside before
                return
            raise
        self.case = case
        self.check(level, found, given)

    def check(self, level: str, results: list[np.ndarray], given: list[Any]) -> list[np.ndarray]:
        """Results and arguments against the meaning; gives both."""
        self.levels.append(level)
        compared(level, self.results, results)
        arrays = dict(zip(self.case.arrays, given, strict=False))
        after = [arrays[n] for n in self.arguments]
        compared(f"{level}, arguments", list(self.arguments.values()), after)
        return [*results, *after]

    def bound(self) -> None:
        """The program, and its parameters in this call."""
        arrays = [a for a in self.case.arrays.values() if isinstance(a, np.ndarray)]
        numbers = [a for a in self.case.arrays.values() if isinstance(a, int)]
        extents = [n for a in arrays for n in a.shape] + numbers
        self.variant = self.kernel._variant(arrays, extents)
        self.extents = {name: extents[at] for name, at in self.variant.first.items()}
        self.parameters = [self.extents[p.name] for p in self.variant.program.parameters]
        self.arrays = arrays

    def room(self) -> list[np.ndarray]:
        """Copies of the arguments, and not-a-number for the rest."""
        made = [a.copy() for a in self.arrays]
        for decl in self.variant.program.tensors[len(made):]:
            shape = [self.extents[d] if isinstance(d, str) else d for d in decl.dims]
            made.append(empty(shape, decl))
        return made

    def judged(self, level: str, tensors: list[np.ndarray],
               results: list[np.ndarray] | None = None) -> list[np.ndarray]:
        """Compare what a level left in the tensors."""
        count = abs(self.variant.traced.returned)
        found = [tensors[slot] for slot in self.variant.outputs[:count]] if results is None else results[:count]
        names = [n for n, a in self.case.arrays.items() if isinstance(a, np.ndarray)]
        after = dict(zip(names, tensors, strict=False))
        return self.check(level, found, [after.get(n, a) for n, a in self.case.arrays.items()])

    def machine(self, level: str, *, cores: int = 1, exact: bool = False, check: str = "") -> list[np.ndarray]:
        tensors = self.room()
        Machine(self.variant.program, cores=cores, exact=exact, check=check or ()).run(tensors, self.parameters)
        return self.judged(level, tensors)

    def slow(self) -> Iterator[list[np.ndarray]]:
        """In program order on one core, or in another legal order on two: of each two kernels one so, one so."""
        first, other = (1, "program"), (CORES, f"random:{self.case.seed}")
        for cores, order in ((first,) if self.case.seed // 2 % 2 else (other,)):
            tensors = self.room()
            SlowMachine(self.variant.program, cores=cores, order=order).run(tensors, self.parameters)
            yield self.judged(f"slow machine, {order.split(':')[0]} order, {cores} cores", tensors)

    def graphs(self) -> None:
        """Every level, on one core or in another legal order on two."""
        cores = 1 + self.case.seed // 2 % CORES
        for stage in self.variant.compiled.stages:
            if stage.name in RUNS:
                tensors = self.room()
                found = interpret(stage.graph, tensors, self.extents, cores=cores,
                                  order="program" if cores == 1 else f"random:{self.case.seed}")
                self.judged(f"{stage.graph.level} graph after {stage.name}", tensors,
                            found if stage.graph.level == "tensor" else None)


def takes(case: Case) -> bool:
    """Does a kernel work in its first call?"""
    kernel, file = case.kernel()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            kernel(*case.fresh())
    except PtoError:
        return False
    finally:
        linecache.cache.pop(file, None)
    return True


def judge(case: Case) -> Verdict:
    """What is wrong with what becomes of a case.

    Raises:
        Senseless: it has no meaning.
    """
    found = Judge(case)
    exact = all(not v.error.any() for v in found.results)
    try:
        found.run()
    except (UnsupportedError, CapacityError, ShapeError) as err:
        refused = not isinstance(err, ShapeError) or any(
            said in err.message and part in case.body for said, part in TOLD_APART)
        said = err.message.splitlines()[0]
        return Verdict("" if refused else "ShapeError", said, tuple(found.levels), exact, refused)
    except Wrong as err:
        return Verdict(f"wrong: {err.level}", str(err), tuple(found.levels), exact)
    except Exception as err:
        return Verdict(type(err).__name__ + getattr(err, "code", ""), str(err), tuple(found.levels), exact)
    finally:
        linecache.cache.pop(found.file, None)
    return Verdict(levels=tuple(found.levels), exact=exact)
