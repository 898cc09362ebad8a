"""Binding arrays to a program by name, for programs that come from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import DTypeError, ShapeError, UsageError
from pto.isa.program import Program, TensorDecl
from pto.isa.spec import Trait
from pto.sim.machine import Machine, RunStats


def extents(program: Program, arrays: Mapping[str, NDArray[Any]], given: Mapping[str, int]) -> dict[str, int]:
    """The value of each parameter, from the shapes of the arrays and from what is given.

    Raises:
        ShapeError: arrays do not fit the declarations, or contradict each other.
        UsageError: a parameter stays unknown, or is outside its bounds.
    """
    names = [p.name for p in program.parameters]
    for name in given:
        if name not in names:
            raise UsageError(f"the program has no parameter {name}",
                             hint=f"its parameters are {', '.join(names)}" if names else "it has none")
    found = dict(given)
    for decl in program.tensors:
        if decl.name in arrays:
            _match(decl, arrays[decl.name], found)
    for p in program.parameters:
        if p.name not in found:
            raise UsageError(f"the value of {p.name} is not known", hint=f"give it: --param {p.name}=N")
        if not p.low <= found[p.name] <= p.high:
            raise UsageError(f"{p.name} is {found[p.name]}; the program is right for {p.low} to {p.high}")
    return found


def _match(decl: TensorDecl, array: NDArray[Any], found: dict[str, int]) -> None:
    want = "x".join(map(str, decl.dims))
    if array.dtype.name != decl.dtype.numpy:
        raise DTypeError(f"{decl.name} is {array.dtype}, not {decl.dtype.title}",
                         hint=f"convert it: x.astype(numpy.{decl.dtype.numpy})")
    if array.ndim != len(decl.dims):
        raise ShapeError(f"{decl.name} has {array.ndim} axes; the program wants {want}")
    for dim, size in zip(decl.dims, array.shape, strict=True):
        expected = found.setdefault(dim, size) if isinstance(dim, str) else dim
        if expected != size:
            raise ShapeError(f"{decl.name} is {'x'.join(map(str, array.shape))}; the program wants {want} "
                             f"with {dim} = {expected}")


def run_program(program: Program, arrays: Mapping[str, NDArray[Any]], parameters: Mapping[str, int] | None = None, *,
                cores: int = 1, threads: int = 1, exact: bool = False,
                fuel: int | None = None, check: str = "") -> tuple[dict[str, NDArray[Any]], RunStats]:
    """Run a program on named arrays; gives the tensors it wrote, by name, and what ran.

    A tensor that the program only writes may be left out: it is made here. Inputs are never changed: a
    tensor that is read and written is copied first.
    """
    unknown = set(arrays) - {d.name for d in program.tensors}
    if unknown:
        raise UsageError(f"the program has no tensor {sorted(unknown)[0]}",
                         hint=f"its tensors are {', '.join(d.name for d in program.tensors)}")
    logs = {inst.args[0] for inst in program.code if Trait.REPORTS in inst.spec.traits}
    for slot, decl in enumerate(program.tensors):
        if decl.read and not decl.scratch and decl.name not in arrays and slot not in logs:
            raise UsageError(f"the program reads {decl.name}", hint=f"give it: --arg {decl.name}=FILE.npy")
    values = extents(program, arrays, parameters or {})
    bound = [_tensor(decl, arrays, values) for decl in program.tensors]
    machine = Machine(program, cores=cores, threads=threads, exact=exact, check=check)
    stats = machine.run(bound, [values[p.name] for p in program.parameters], fuel=fuel)
    results = {d.name: array for slot, (d, array) in enumerate(zip(program.tensors, bound, strict=True))
               if d.written and not d.scratch and slot not in logs}
    return results, stats


def _tensor(decl: TensorDecl, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, int]) -> NDArray[Any]:
    if decl.name in arrays:
        array = arrays[decl.name]
        return np.array(array, order="C") if decl.written else np.ascontiguousarray(array)
    shape = tuple(values[d] if isinstance(d, str) else d for d in decl.dims)
    return np.zeros(shape, numpy_dtype(decl.dtype))
