"""`pto model info`: what a model file is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from pto.core.errors import ModelError
from pto.isa.words import printable
from pto.models.catalog import find
from pto.models.chat import recognise
from pto.models.checkpoint import Checkpoint, open_checkpoint


@click.command()
@click.argument("model", metavar="NAME | FILE.gguf | FOLDER")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(model: str, as_json: bool) -> None:
    """Show what a model file is, without loading it.

    \b
    Examples:
      pto model info tiny
      pto model info SmolLM2-135M-Instruct.Q4_1.gguf --json
    """
    found = facts(open_checkpoint(find(model)))
    if as_json:
        return click.echo(json.dumps({"schema": 1, **found}, indent=2))
    width = max(map(len, found))
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {_text(value)}")
    return None


def facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is known of a model before it is loaded; bytes are of float32 weights and of a cache for its context."""
    storages = Counter(t.storage.name for group in checkpoint.tensors.values() for t in group)
    config, vocabulary = checkpoint.config, checkpoint.vocabulary
    return {
        "path": printable(str(checkpoint.path)),
        **asdict(config),
        "parameters": checkpoint.parameters, "file_bytes": checkpoint.file_bytes, "storages": dict(storages),
        "weight_bytes": checkpoint.parameters * 4, "cache_bytes": checkpoint.memory() - checkpoint.parameters * 4,
        "tokenizer": printable(f"{vocabulary.model} {vocabulary.pre}".strip()) if vocabulary else None,
        "chat": _chat(checkpoint),
    }


def _chat(checkpoint: Checkpoint) -> str | None:
    try:
        return recognise(checkpoint.vocabulary.template if checkpoint.vocabulary else "").format.name
    except ModelError:
        return None


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
