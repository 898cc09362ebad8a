"""Groups of commands: each is a file, whose imports are paid for only when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Commands(click.Group):
    """Subcommands by name, loaded when used; `rows` gives for each name the module and what it does."""

    def __init__(self, *, rows: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self.rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.rows)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.rows:
            return None
        command: click.Command = import_module(self.rows[name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; where the reader of its output went away, end as other filters do."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()  # else the interpreter's end would notice, and say so
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, doc) for name, (_, doc) in self.rows.items()])


def late(module: str) -> Any:
    """A module that only the work of a command needs, not its help."""
    return import_module(module)
