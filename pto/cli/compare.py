"""`pto compare`: two precisions of a model side by side."""

from __future__ import annotations

from typing import Any

import click

from pto.cli.lazy import late
from pto.models.llama.precision import AUTO, BY_NAME


@click.command()
@click.argument("models", metavar="[MODEL [OTHER]]", nargs=-1)
@click.option("--precision", nargs=2, default=("f32", AUTO), show_default=True, metavar="A B",
              help=f"What weights are kept in, in the first and the second: {', '.join(BY_NAME)}, {AUTO}.")
@click.option("--kv", nargs=2, default=("f32", "f32"), show_default=True, metavar="A B",
              help="What the kept keys and values are rounded to.")
@click.option("--text", metavar="TEXT", help="What they read.  [default: a short story]")
@click.option("--file", type=click.File(encoding="utf-8"), metavar="FILE",
              help="Read this file instead; - is the standard input.")
@click.option("--context", type=click.IntRange(min=1), metavar="N",
              help="Cut longer texts into texts of so many tokens.  [default: 2048, or what the model has]")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Host threads; no number depends on it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(models: tuple[str, ...], precision: tuple[str, str], kv: tuple[str, str], **settings: Any) -> None:
    """Compare two precisions of a model, on the virtual accelerator.

    Both read the same text. A line for what comes out of each layer, and for the logits, gives the cosine of the angle
    between the two, the power of the first over that of the difference (SQNR), and the largest difference; then follow
    the perplexities of the text. With OTHER the second precision is that model's, which has the same shape.

    \b
    Examples:
      pto compare tiny --precision f32 w8a8
      pto compare smollm2-135m --precision f32 w4a14 --file story.txt --json
      pto compare tiny tiny-ternary --precision f32 ternary
    """
    late("pto.cli.comparing").run(models, precision, kv, **settings)
