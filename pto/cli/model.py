"""`pto model`: the commands that fetch models and show what they are."""

from __future__ import annotations

import click

from pto.cli.lazy import Commands

COMMANDS = {
    "list": ("pto.cli.model_list", "Show the models that have a name, and which are here."),
    "pull": ("pto.cli.model_pull", "Fetch a model into the cache."),
    "info": ("pto.cli.model_info", "Show what a model file is, without loading it."),
    "export": ("pto.cli.model_export", "Write a model as program files and arrays, to be run without it."),
}
EXAMPLES = """\b
Examples:
  pto model pull smollm2-135m
  pto model info tiny
"""


@click.group(cls=Commands, rows=COMMANDS, epilog=EXAMPLES)
def command() -> None:
    """Fetch models, and show what they are. Any Llama in a .gguf file or a safetensors folder works by its path."""
