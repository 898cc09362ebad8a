"""`pto disasm`: a program as assembly."""

from __future__ import annotations

import click

from pto.cli.sources import argument_types, place, programs
from pto.isa.disasm import disassemble


@click.command()
@click.argument("file", metavar="FILE.pto | FILE.py[:KERNEL]")
@argument_types
def command(file: str, specs: tuple[str, ...]) -> None:
    """Show a program as assembly, with the Python line beside each instruction.

    \b
    Examples:
      pto disasm examples/03_matmul.py:matmul
      pto disasm matmul.pto
    """
    click.echo("\n".join(disassemble(p) for p in programs(place(file), specs)), nl=False)
