"""`pto compile`: a kernel to a program file."""

from __future__ import annotations

from pathlib import Path

import click

from pto.cli.sources import argument_types, kernels, place
from pto.core.errors import UsageError
from pto.isa.file import save


@click.command()
@click.argument("kernel", metavar="FILE.py[:KERNEL]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The .pto file to write.")
@click.option("--explain", is_flag=True, help="Show what each memory holds, what overlaps, and why the rest does not.")
@argument_types
def command(kernel: str, output: Path | None, explain: bool, specs: tuple[str, ...]) -> None:
    """Compile a kernel to a .pto program file.

    \b
    Examples:
      pto compile examples/03_matmul.py:matmul -o matmul.pto
      pto compile examples/03_matmul.py:matmul --explain
    """
    if output is None and not explain:
        raise UsageError("nothing is asked for", hint="write the program with -o FILE.pto, or ask for --explain")
    found = kernels(place(kernel), specs)
    if output is not None and len(found) > 1:
        raise UsageError(f"{kernel} has several kernels: {', '.join(found)}", hint="name one: FILE.py:KERNEL")
    if explain:
        click.echo("\n\n".join(k.explain() for k in found.values()))
    if output is not None:
        program = next(iter(found.values())).program()
        save(program, output)
        click.echo(f"{output}: {len(program.code)} instructions for {program.target}", err=True)
