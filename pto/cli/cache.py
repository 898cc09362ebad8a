"""`pto cache`: what is kept on disk between runs."""

from __future__ import annotations

import json
from typing import Any

import click

from pto.core.cache import GIGABYTE, KINDS, Kind, clear, files
from pto.isa.words import printable


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(tuple(KINDS)), metavar="[objects | programs | weights]...")
@click.option("--clear", "cleared", is_flag=True, help="Remove it: the next run makes anew what it needs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(kinds: tuple[str, ...], cleared: bool, as_json: bool) -> None:
    """Show what is kept on disk between runs, of all kinds or of some. Fetched models are not part of it.

    \b
    Examples:
      pto cache
      pto cache weights --clear
    """
    rows = [KINDS[name] for name in kinds or KINDS]
    if cleared:
        freed = sum(clear(row.directory) for row in rows)
        return click.echo(json.dumps({"schema": 1, "freed": freed}) if as_json else f"freed {freed / 1e6:.1f} MB")
    found = [facts(row) for row in rows]
    if as_json:
        return click.echo(json.dumps({"schema": 1, "kinds": found}, indent=2))
    for row in found:
        limit = "" if row["limit"] is None else f"of {row['limit'] / GIGABYTE:g} GB"
        click.echo(f"{row['kind']:8} {row['files']:6} files {row['bytes'] / 1e6:8.1f} MB {limit:10} {row['doc']}")
        click.echo(f"{'':8} {row['path']}")
    return None


def facts(kind: Kind) -> dict[str, Any]:
    """What there is of a kind."""
    sizes = [status.st_size for _, status in files(kind.directory)]
    return {"kind": kind.name, "doc": kind.doc, "files": len(sizes), "bytes": sum(sizes), "limit": kind.limit(),
            "path": printable(str(kind.directory))}
