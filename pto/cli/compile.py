"""`pto compile`: a kernel to a program file."""

from __future__ import annotations

from pathlib import Path

import click

from pto.cli.sources import argument_types, kernels, place
from pto.core.errors import UsageError
from pto.isa.file import save


@click.command()
@click.argument("kernel", metavar="FILE.py[:KERNEL]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .pto file to write.")
@argument_types
def command(kernel: str, output: Path, specs: tuple[str, ...]) -> None:
    """Compile a kernel to a .pto program file.

    \b
    Example:
      pto compile examples/03_matmul.py:matmul -o matmul.pto
    """
    found = kernels(place(kernel), specs)
    if len(found) > 1:
        raise UsageError(f"{kernel} has several kernels: {', '.join(found)}", hint="name one: FILE.py:KERNEL")
    program = next(iter(found.values())).program()
    save(program, output)
    click.echo(f"{output}: {len(program.code)} instructions for {program.target}", err=True)
