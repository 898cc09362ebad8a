"""Two precisions of a model on one text: how near the second is to the first, layer by layer, and what it costs.

Both run on the machine. Hidden states are stored by the very program that makes the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError
from pto.models.llama.model import Floats, Llama
from pto.quant.calibrate import Fidelity, Sums

PART = 128  # tokens at a time: with many layers and a large vocabulary, what is compared takes room
ALIKE = ("layers", "embed", "vocab")  # what models must have in common


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near a model is to another one on a text.

    Attributes:
        rows: the embedding, what comes out of each layer, and the logits.
        tokens: of the text.
        same: the part of the tokens after which both have the same best next one.
        perplexities: of the first and the second; nan for a text of one token.
    """

    rows: tuple[Fidelity, ...]
    tokens: int
    same: float
    perplexities: tuple[float, float]


def compare(exact: Llama, ours: Llama, ids: Sequence[int]) -> Comparison:
    """How near the second model is to the first.

    Args:
        ids: a text. What is longer than the shorter context is cut into texts of so many tokens.

    Raises:
        UsageError: the models have different shapes, the text is empty, or a token is not in the vocabulary.
    """
    for name in ALIKE:
        a, b = getattr(exact.config, name), getattr(ours.config, name)
        if a != b:
            raise UsageError(f"these are different models: {name} is {a} and {b}",
                             hint="compare precisions of one model, or models of one shape")
    if not ids:
        raise UsageError("there is no token to compare after")
    layers = exact.config.layers
    names = ("embedding", *(f"layer {n}" for n in range(layers)), "logits")
    sums, same, nll = [Sums()] * len(names), 0, np.zeros(2)
    for (a, x), (b, y), following in _both(exact, ours, ids):
        sums = [*map(add, sums, map(Sums.of, (*a, x), (*b, y)))]
        same += int((x.argmax(-1) == y.argmax(-1)).sum())
        nll += [surprise(logits[:len(following)], following).sum() for logits in (x, y)]
    count = len(ids) - len(range(0, len(ids), min(exact.context, ours.context)))
    first, second = (math.exp(total / count) if count else math.nan for total in nll)
    rows = tuple(total.fidelity(name) for total, name in zip(sums, names, strict=True))
    return Comparison(rows, len(ids), same / len(ids), (first, second))


def perplexity(model: Llama, ids: Sequence[int]) -> float:
    """e to the mean of -log of the probability that a model gives to each next token of a text.

    Args:
        ids: two at least. What is longer than the context is cut into texts of so many tokens.

    Raises:
        UsageError: there are fewer, or one is not in the vocabulary.
    """
    found: list[NDArray[np.float64]] = []
    for text in _texts(ids, model.context):
        session = model.session()
        found += [surprise(session.score(part)[:len(following)], following) for part, following in _parts(text)]
    wrong = np.concatenate(found) if found else np.empty(0)
    if not wrong.size:
        raise UsageError("a text of two tokens or more has a perplexity", hint="give a longer one")
    return math.exp(wrong.mean())


def surprise(logits: Floats, following: Sequence[int]) -> NDArray[np.float64]:
    """-log of the probability that logits [n, vocab] give to the tokens that follow, [n]."""
    rows = logits.astype(np.float64)
    rows -= rows.max(-1, keepdims=True)
    chosen = rows[np.arange(len(rows)), np.asarray(following, np.int64)]
    return np.asarray(np.log(np.exp(rows).sum(-1)) - chosen)


def _both(exact: Llama, ours: Llama, ids: Sequence[int]) -> Iterator[tuple[
        tuple[Floats, Floats], tuple[Floats, Floats], Sequence[int]]]:
    """Hidden states and logits of both after some tokens at a time, and the tokens that follow them."""
    for text in _texts(ids, min(exact.context, ours.context)):
        first, second = exact.session(), ours.session()
        for part, following in _parts(text):
            yield first.hidden(part), second.hidden(part), following


def _texts(ids: Sequence[int], context: int) -> Iterator[Sequence[int]]:
    return (ids[at:at + context] for at in range(0, len(ids), context))


def _parts(text: Sequence[int]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Some tokens at a time, and those that follow each of them: one fewer at the end of the text."""
    return ((text[at:at + PART], text[at + 1:at + PART + 1]) for at in range(0, len(text), PART))
