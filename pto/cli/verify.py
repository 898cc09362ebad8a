"""`pto verify`: which pass first changed a value."""

from __future__ import annotations

import sys

import click
import numpy as np

from pto.cli.sources import argument_types, kernels, place, typed
from pto.core.errors import UsageError

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
    failed = False
    for name, found in kernels(place(kernel)).items():
        arguments = typed(found, specs).source.declared()
        sizes = dict(_pair(p) for p in parameters)
        axes = [d for a in arguments for d in a.type.dims]
        symbols = dict.fromkeys(d for d in (*axes, *found.source.counts) if isinstance(d, str))
        sizes = {s: sizes.get(s, SIZES[i % len(SIZES)]) for i, s in enumerate(symbols)}
        random = np.random.default_rng(seed)
        shapes = [[sizes[d] if isinstance(d, str) else d for d in a.type.dims] for a in arguments]
        arrays = [random.standard_normal(shape, dtype=np.float32) for shape in shapes]
        named = {a.name: array for a, array in zip(arguments, arrays, strict=True)}
        given = [named[p] if p in named else sizes[p] for p in found.source.parameters]
        verdict = found.verify(*given, tolerance=tolerance)
        click.echo(f"{name} with {', '.join(f'{k} = {v}' for k, v in sizes.items())}, seed {seed}\n{verdict}\n")
        failed |= not verdict
    if failed:
        sys.exit(1)


def _pair(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not (name and value.isdigit() and int(value) > 0):
        raise UsageError(f"{text} is not of the form NAME=N")
    return name, int(value)
