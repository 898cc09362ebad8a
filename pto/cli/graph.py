"""`pto graph`: a kernel's graph at one of its levels."""

from __future__ import annotations

import click

from pto.cli.sources import argument_types, kernels, place
from pto.ir.levels import LEVELS
from pto.ir.text import text


@click.command()
@click.argument("kernel", metavar="FILE.py[:KERNEL]")
@click.option("--level", type=click.Choice([*LEVELS, "all"]), default="tile", show_default=True)
@click.option("--spans/--no-spans", default=True, help="The source span beside each operation.")
@argument_types
def command(kernel: str, level: str, spans: bool, specs: tuple[str, ...]) -> None:
    """Show a kernel's graph at one of its four levels.

    \b
    Examples:
      pto graph examples/03_matmul.py:matmul --level tensor
      pto graph examples/03_matmul.py:matmul --level all
    """
    levels = list(LEVELS) if level == "all" else [level]
    found = kernels(place(kernel), specs).values()
    click.echo("\n".join(text(k.graph(name), spans=spans) for k in found for name in levels), nl=False)
