"""`pto asm`: assembly text to a program file."""

from __future__ import annotations

from pathlib import Path

import click

from pto.cli.sources import place, programs
from pto.isa.check import require_legal
from pto.isa.file import save


@click.command()
@click.argument("file", metavar="FILE.ptoas")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .pto file to write.")
def command(file: str, output: Path) -> None:
    """Assemble text to a .pto program file.

    \b
    Example:
      pto asm kernel.ptoas -o kernel.pto
    """
    [program] = programs(place(file))
    require_legal(program)
    save(program, output)
    click.echo(f"{output}: {len(program.code)} instructions for {program.target}", err=True)
