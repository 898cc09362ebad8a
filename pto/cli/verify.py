"""`pto verify`: which pass first changed a value."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click
import numpy as np

from pto.cli.sources import argument_types, integers, kernels, place
from pto.core.arrays import numpy_dtype
from pto.core.errors import UsageError
from pto.lang.trace import Argument
from pto.runtime.kernel import Kernel

SIZES = (37, 50, 23, 70, 5, 64)  # for extents that are not given: edges, and more than one of most things


@click.command()
@click.argument("kernel", metavar="FILE.py[:KERNEL]")
@click.option("--param", "parameters", multiple=True, metavar="NAME=N", help="An extent; others are chosen.")
@click.option("--seed", default=0, show_default=True, help="Of the random arguments.")
@click.option("--tolerance", default=1e-4, show_default=True, help="Relative to one plus the largest element.")
@argument_types
def command(kernel: str, parameters: tuple[str, ...], seed: int, tolerance: float, specs: tuple[str, ...]) -> None:
    """Run every level of a kernel on random arguments, and name the first pass that changed a value.

    \b
    Example:
      pto verify examples/03_matmul.py:matmul --param M=300
    """
    found = kernels(place(kernel), specs)
    given = integers(parameters, "--param")
    declared = {name: k.source.declared() for name, k in found.items()}
    counts = {name for k in found.values() for name in k.source.counts}
    extents = [*dict.fromkeys(d for arguments in declared.values() for d in _symbols(arguments)), *sorted(counts)]
    for name, value in given.items():
        if name not in extents or value < (name not in counts):
            wrong = "is no extent of an argument" if name not in extents else f"is at least 1, not {value}"
            raise UsageError(f"--param {name} {wrong}", hint=f"extents are {', '.join(extents) or 'numbers'}")
    failed = [name for name in found if not _verified(found[name], declared[name], given, seed, tolerance)]
    if failed:
        sys.exit(1)


def _symbols(arguments: Sequence[Argument]) -> list[str]:
    return list(dict.fromkeys(d for a in arguments for d in a.type.dims if isinstance(d, str)))


def _verified(kernel: Kernel, arguments: Sequence[Argument], given: Mapping[str, int], seed: int,
              tolerance: float) -> bool:
    """Run one kernel's levels on random arguments, and print what was found."""
    symbols = [*_symbols(arguments), *kernel.source.counts]
    sizes = {s: given.get(s, SIZES[i % len(SIZES)]) for i, s in enumerate(symbols)}
    random = np.random.default_rng(seed)
    shapes = [[sizes[d] if isinstance(d, str) else d for d in a.type.dims] for a in arguments]
    arrays = [(random.standard_normal(shape, dtype=np.float32) * (1 if a.type.dtype.kind == "f" else 10)).astype(
        numpy_dtype(a.type.dtype)) for shape, a in zip(shapes, arguments, strict=True)]
    named: dict[str, object] = {a.name: array for a, array in zip(arguments, arrays, strict=True)}
    named |= {name: sizes[name] for name in kernel.source.counts}
    verdict = kernel.verify(*(named[p] for p in kernel.source.parameters if p in named), tolerance=tolerance)
    click.echo(f"{kernel.__name__} with {', '.join(f'{k} = {v}' for k, v in sizes.items())}, seed {seed}\n{verdict}\n")
    return bool(verdict)
