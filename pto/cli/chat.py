"""`pto chat`: a conversation with a model."""

from __future__ import annotations

from typing import Any

import click

from pto.cli.decoding import decoding_options
from pto.cli.lazy import late


@click.command()
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--system", default="", metavar="TEXT", help="What the model is told before the conversation.")
@click.option("-m", "--message", "messages", multiple=True, metavar="TEXT",
              help="Say this, and end after the answer; several times for several.")
@decoding_options
def command(model: str | None, system: str, messages: tuple[str, ...], **settings: Any) -> None:
    """Talk with a model, which runs on the virtual accelerator.

    MODEL is a name of `pto model list`, a .gguf file, or a folder with safetensors; without one, the best that is here.
    Each line is a message; /reset begins anew, /quit or Ctrl-D ends. Ctrl-C ends an answer, or else the conversation.

    \b
    Examples:
      pto chat
      pto chat smollm2-135m --message "What is gravity?" --limit 60
    """
    late("pto.cli.texts").chat(model, system, messages, **settings)
