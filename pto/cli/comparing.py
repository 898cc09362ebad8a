"""What `pto compare` does: load two models, let both read a text, and show how near they are."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TextIO

import click

from pto.cli.texts import content
from pto.core.errors import UsageError
from pto.isa.words import printable
from pto.models.catalog import best, find
from pto.models.llama.compare import Comparison, compare
from pto.models.llama.generate import encode
from pto.models.llama.model import Llama
from pto.quant.calibrate import table
from pto.runtime.threads import set_num_threads

SCHEMA = 1
STORY = ("Once upon a time, Henry wandered to the green village. There he met a curious swan. One swan was singing on "
         "the bench. \"I am going home,\" whispered Henry. Henry thanked the swan and left the garden.")


def run(models: Sequence[str], precision: tuple[str, str], kv: tuple[str, str], *, text: str | None,
        file: TextIO | None, context: int | None, threads: int, as_json: bool) -> None:
    """`pto compare`."""
    if len(models) > 2:
        raise UsageError(f"two models are compared, not {len(models)}", hint="pto compare tiny --precision f32 w8a8")
    if text is not None and file is not None:
        raise UsageError("--text and --file are both given", hint="leave one out")
    words = content(file) if file else STORY if text is None else text
    names = (*models, models[-1])[:2] if models else (best().name,) * 2
    set_num_threads(threads)
    first, second = (Llama.load(find(name), context=context, precision=row, kv=cache)
                     for name, row, cache in zip(names, precision, kv, strict=True))
    found = compare(first, second, _ids(first, second, words))
    sides = [{"model": printable(name), "precision": model.precision.name, "kv": model.kv.name,
              "perplexity": _number(perplexity)}
             for name, model, perplexity in zip(names, (first, second), found.perplexities, strict=True)]
    click.echo(json.dumps(document(found, sides), indent=2) if as_json else shown(found, sides))


def _ids(first: Llama, second: Llama, text: str) -> list[int]:
    """The tokens of the text, which must be the same for both."""
    ids = encode(first, text)
    if encode(second, text) != ids:
        raise UsageError("these are different models: the text has other tokens in the second")
    return ids


def document(found: Comparison, sides: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The comparison for programs; an infinite SQNR (there is no difference) is null."""
    rows = [{"name": row.name, "cosine": _number(row.cosine), "sqnr_db": _number(row.sqnr),
             "largest": _number(row.largest)} for row in found.rows]
    return {"schema": SCHEMA, "first": sides[0], "second": sides[1], "tokens": found.tokens, "layers": rows,
            "same_best_token": found.same}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def shown(found: Comparison, sides: Sequence[dict[str, Any]]) -> str:
    """The comparison for people."""
    first, second = (f"{side['model']} {side['precision']}" + (f" kv {side['kv']}" if side["kv"] != "f32" else "")
                     for side in sides)
    lines = [f"{second} against {first}, {found.tokens} tokens", table(found.rows)]
    a, b = found.perplexities
    if math.isfinite(a):
        lines.append(f"perplexity  {a:.4f}, then {b:.4f}: {100 * (b / a - 1):+.2f} %")
    lines.append(f"the same best token after {100 * found.same:.1f} % of the tokens")
    return "\n".join(lines)
