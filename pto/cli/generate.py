"""`pto generate`: texts that a model continues."""

from __future__ import annotations

from typing import Any

import click

from pto.cli.decoding import decoding_options
from pto.cli.lazy import late


@click.command()
@click.argument("words", metavar="[MODEL] PROMPT...", nargs=-1)
@click.option("--prompts", "file", type=click.File(encoding="utf-8"), metavar="FILE",
              help="Continue each line of a file, too, but empty ones; - is the standard input.")
@decoding_options
def command(words: tuple[str, ...], file: Any, **settings: Any) -> None:
    """Continue a text, or several, on the virtual accelerator.

    MODEL is a name of `pto model list`, a .gguf file, or a folder with safetensors. A PROMPT alone goes to the best
    model that is here: the fetched one, else the small one that ships. The text appears as it is made; Ctrl-C ends it.

    \b
    Examples:
      pto generate "Once upon a time"
      pto generate smollm2-135m "The capital of France is" --limit 20
      pto generate tiny "The cat" "A dog" --temperature 0.8 --seed 7
    """
    late("pto.cli.texts").generate(words, file, **settings)
