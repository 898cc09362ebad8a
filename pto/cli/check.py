"""`pto check`: the static rules."""

from __future__ import annotations

import click

from pto.cli.sources import argument_types, place, programs
from pto.isa.check import require_legal


@click.command()
@click.argument("file", metavar="FILE.pto | FILE.ptoas | FILE.py[:KERNEL]")
@argument_types
def command(file: str, specs: tuple[str, ...]) -> None:
    """Check a program against the static rules of its target.

    \b
    Example:
      pto check matmul.pto
    """
    for program in programs(place(file), specs):
        require_legal(program)
        click.echo(f"{program.name}: {len(program.code)} instructions, legal on {program.target}")
