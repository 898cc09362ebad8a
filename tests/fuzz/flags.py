"""Which flag relations of a program no run shows to be needed: a run without one of them is to be a race.

A flag may be needed only where a loop takes several iterations, or none, or where a branch is taken; so a program is
run with many values of its parameters, those first that go through most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pto.core.arrays import numpy_dtype
from pto.core.errors import PtoError
from pto.isa.program import Program
from pto.sim.happens_before import Relation, relations, without
from pto.sim.machine import Machine
from tests.fuzz.case import Case

Run = tuple[list[np.ndarray], list[int]]  # tensors and parameters
NUMBERS = (3, 0, 1, 2, 5, 7, 11, 15, 30)  # values of parameters that are no extents
MANY = 13
MORE = 24  # runs with values drawn at random
TRACED = 3  # runs whose ids in registers are looked at: a relation is all that shares an id in any of them


def redundant(program: Program, sizes: Sequence[int], seed: int = 0) -> tuple[int, list[str]]:
    """How many relations a program has, and those without which no run is a race.

    Args:
        sizes: values of the parameters that are extents, the largest first: it takes each loop through several
            iterations.

    Raises:
        MachineTrap: the program as it is has a race.
    """
    tried = list(runs(program, sizes, seed))
    found: dict[frozenset[int], Relation] = {}
    for tensors, parameters in tried[:TRACED]:
        for relation in relations(program, tensors, parameters):
            together = [r for pcs, r in found.items() if pcs & relation.pcs]
            for other in together:
                del found[other.pcs]
                relation = replace(relation, ids=relation.ids | other.ids, pcs=relation.pcs | other.pcs)
            found[relation.pcs] = relation
    return len(found), [str(r) for r in found.values() if not is_needed(without(program, r.pcs), tried)]


def extents(case: Case) -> list[int]:
    """Extents that take the loops of a case, if its tiles are small, through several iterations; and its own."""
    own = {n for what in case.arguments.values() if not isinstance(what, int) for n in what[1:]}
    return list(dict.fromkeys((MANY, *sorted(own), *(n + 1 for n in sorted(own)), 1, 2, 5, 9)))


def is_needed(changed: Program, tried: Sequence[Run]) -> bool:
    """Is a run of a program that lacks something a race?"""
    return any(fails(changed, cores, run) for cores in (1, 2) for run in tried)


def fails(program: Program, cores: int, run: Run) -> bool:
    tensors, parameters = run
    try:
        Machine(program, cores=cores, check="races").run([t.copy() for t in tensors], parameters)
    except PtoError:
        return True
    return False


def runs(program: Program, sizes: Sequence[int], seed: int) -> Iterator[Run]:
    """Arguments with which a program runs; positions outside of a tensor do not."""
    seen = set()
    for parameters in values(program, sizes, seed):
        if tuple(parameters) in seen:
            continue
        seen.add(tuple(parameters))
        tensors = room(program, parameters)
        try:
            Machine(program, check="races").run([t.copy() for t in tensors], parameters)
        except PtoError as err:
            if "nothing orders" in str(err):
                raise
            continue
        yield tensors, parameters


def values(program: Program, sizes: Sequence[int], seed: int) -> Iterator[list[int]]:
    """Values of the parameters, within their limits: all extents large or one; all but one so; then any."""
    rng = np.random.default_rng(seed)
    named = {dim for tensor in program.tensors for dim in tensor.dims}
    rows = program.parameters
    many = [sizes[0] if p.name in named else NUMBERS[0] for p in rows]
    few = [1 if p.name in named else 0 for p in rows]
    tried = [many, [m if p.name in named else 0 for p, m in zip(rows, many, strict=True)], few]
    tried.append([m if p.name in named else NUMBERS[-1] for p, m in zip(rows, many, strict=True)])
    for at in range(len(rows)):
        tried += [[*a[:at], b[at], *a[at + 1:]] for a, b in ((many, few), (few, many))]
    tried += [[int(rng.choice(sizes if p.name in named else NUMBERS)) for p in rows] for _ in range(MORE)]
    for found in tried:
        yield [min(max(n, p.low), p.high) for n, p in zip(found, rows, strict=True)]


def room(program: Program, parameters: Sequence[int]) -> list[np.ndarray]:
    """A tensor for each of a program: ones, and indices of the first row."""
    extent = {p.name: n for p, n in zip(program.parameters, parameters, strict=True)}
    made = []
    for tensor in program.tensors:
        dtype = numpy_dtype(tensor.dtype)
        shape = [extent[d] if isinstance(d, str) else d for d in tensor.dims]
        made.append(np.full(shape, 0 if dtype.kind in "iu" else 1, dtype))
    return made
