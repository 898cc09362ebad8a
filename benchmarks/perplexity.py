"""The quality of each precision: perplexity of the fetched model on a fixed text, and of those that ship on stories.

`python -m benchmarks.perplexity` prints the tables of docs/low-precision.md, computed on the machine. Arguments are
names of precisions of the fetched model; without any, all are computed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pto.models.catalog import MODELS, find
from pto.models.llama.compare import perplexity
from pto.models.llama.model import Llama
from pto.models.llama.precision import EXACT, PRECISIONS
from tools.grammar import WINDOW, held_out

TEXT = Path(__file__).parents[1] / "tests/data/smollm2/golden.json"
FETCHED, CONTEXT = "smollm2-135m", 640
TERNARY = "ternary"  # of no use for models that were not trained so
SHIPPED = ("tiny", EXACT.name), ("tiny-ternary", TERNARY), ("tiny-ternary", EXACT.name), ("tiny", TERNARY)


def table(rows: Iterable[tuple[str, str]], ids: Sequence[int], context: int) -> None:
    """A line for each model in a precision; what they read is the same."""
    print("| model | precision | MB in memory | perplexity | than the first |\n| --- | --- | --- | --- | --- |")
    first = None
    for model, precision in rows:
        loaded = Llama.load(find(model), context=context, precision=precision)
        found = perplexity(loaded, ids)
        first = first or found
        size = sum({id(w): w.nbytes for w in loaded.weights.values()}.values()) / 1e6
        more = 100 * (found / first - 1)
        print(f"| {model} | `{precision}` | {size:.1f} | {found:.4f} | {more:+.2f} % |", flush=True)


def main(names: Sequence[str]) -> None:
    table(SHIPPED, held_out(), WINDOW)
    if not MODELS[FETCHED].present:
        return print(f"pto model pull {FETCHED} fetches the other model")
    rows = names or [row.name for row in PRECISIONS if row.name != TERNARY]
    return table([(FETCHED, name) for name in rows], json.loads(TEXT.read_text())["text_ids"], CONTEXT)


if __name__ == "__main__":
    main(sys.argv[1:])
