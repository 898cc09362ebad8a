"""The options that `pto generate` and `pto chat` share; imports nothing that decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pto.models.llama.precision import AUTO, BY_NAME

OPTIONS = (
    click.option("-n", "--limit", type=click.IntRange(min=1), default=128, show_default=True,
                 help="Most tokens to make."),
    click.option("--temperature", default=0.0, show_default=True, help="Draw, the freer the higher. 0: take the best."),
    click.option("--top-k", default=0, show_default=True, help="Draw among so many tokens. 0: among the best 256."),
    click.option("--top-p", default=1.0, show_default=True, help="Draw among those that make up this probability."),
    click.option("--repetition-penalty", default=1.0, show_default=True,
                 help="Above 1: what was said becomes less likely."),
    click.option("--seed", default=0, show_default=True, help="Equal seeds draw equal texts."),
    click.option("--context", type=click.IntRange(min=1), metavar="N",
                 help="Tokens that a text may have.  [default: 2048, or what the model has]"),
    click.option("--precision", default=AUTO, show_default=True, metavar="NAME",
                 help=f"What weights are kept in: {', '.join(BY_NAME)}; or {AUTO}: what is fastest, as good as f32."),
    click.option("--kv", default="f32", show_default=True, metavar="TYPE",
                 help="What the kept keys and values are rounded to: f32, f16, s8."),
    click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True,
                 help="Host threads; the text does not depend on it."),
    click.option("--json", "as_json", is_flag=True, help="One JSON document at the end, nothing before."),
)


def decoding_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them by name."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
