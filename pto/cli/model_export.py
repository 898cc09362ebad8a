"""`pto model export`: a model as program files and arrays."""

from __future__ import annotations

from pathlib import Path

import click

from pto.cli.lazy import late
from pto.core.errors import UsageError
from pto.isa.words import printable
from pto.models.catalog import find


@click.command()
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--context", type=click.IntRange(min=1), metavar="N",
              help="Tokens that a text may have.  [default: 2048, or what the model has]")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
def command(model: str, folder: Path, context: int | None, force: bool) -> None:
    """Write a model as program files and arrays, to be run without the model or any Python of it.

    decode.pto takes one token, prefill.pto the tokens of a text; each argument is an array NAME.npy: the weights in
    float32, the tables of rotary embedding, and an empty cache of keys and values.

    \b
    Example:
      pto model export tiny step --context 96
      pto run step/decode.pto --arrays step --param token=65 --param length=1
    """
    if folder.exists() and not (folder.is_dir() and (force or not any(folder.iterdir()))):
        raise UsageError(f"{printable(str(folder))} is there already", hint="name a new folder, or add --force")
    loaded = late("pto.models.llama.model").Llama.load(find(model), context=context, precision="f32")
    late("pto.models.llama.export").export(loaded, folder)
    click.echo(folder)
