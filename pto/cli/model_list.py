"""`pto model list`: the catalogue."""

from __future__ import annotations

import json

import click

from pto.models.catalog import CATALOG


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(as_json: bool) -> None:
    """Show the models that have a name, and which are here.

    \b
    Example:
      pto model list
    """
    if as_json:
        rows = [{"name": m.name, "title": m.title, "licence": m.licence, "bytes": m.size, "present": m.present,
                 "path": str(m.path)} for m in CATALOG]
        return click.echo(json.dumps({"version": 1, "models": rows}, indent=2))
    for model in CATALOG:
        state = "here" if model.present else "pto model pull"
        click.echo(f"{model.name:14} {model.size / 1e6:7.1f} MB  {state:14}  {model.title} ({model.licence})")
    return None
