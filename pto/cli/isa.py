"""`pto isa`: the manual."""

from __future__ import annotations

from difflib import get_close_matches

import click

from pto.core.errors import UsageError
from pto.isa.manual import entry, manual
from pto.isa.table import BY_MNEMONIC


@click.command()
@click.argument("mnemonic", required=False)
def command(mnemonic: str | None) -> None:
    """Show the instruction set, or one instruction.

    \b
    Example:
      pto isa tmatmul
    """
    if mnemonic is None:
        return click.echo(manual(), nl=False)
    if mnemonic not in BY_MNEMONIC:
        close = get_close_matches(mnemonic, BY_MNEMONIC, n=1)
        raise UsageError(f"no instruction is called {mnemonic}", hint=f"did you mean {close[0]}?" if close else "")
    return click.echo(entry(mnemonic), nl=False)
