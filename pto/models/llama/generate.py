"""Texts, token by token."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import ModelError, UsageError
from pto.models.chat import Message
from pto.models.llama.model import Batch, Llama, Session
from pto.models.sampling import GREEDY, Sampling, choose

TOGETHER = 8  # texts that go on at once; each has a cache of its own
POOL = 256  # tokens to draw among, unless top_k says another number: what lies below them is next to nothing


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token.

    Attributes:
        id: the token.
        text: what it adds to the text; empty while a character is incomplete.
        end: why the text ends with it: ``stop`` (the model says so), ``limit`` or ``context`` (it is full); or empty.
    """

    id: int
    text: str
    end: str = ""


def pool(model: Llama, sampling: Sampling) -> int:
    """Among how many of the best tokens the next one is chosen; the machine finds them."""
    plain = sampling.temperature == 0 and sampling.repetition_penalty == 1
    return min(model.config.vocab, 2 if plain else max(2, sampling.top_k) if sampling.top_k else POOL)


def stream(session: Session, prompt: Sequence[int], *, limit: int | None = None, sampling: Sampling = GREEDY,
           stop: Sequence[int] | None = None) -> Generator[Piece, None, None]:
    """Continue a text: the prompt is taken first, then one token at a time is made.

    Args:
        session: what was said before; it holds the whole text afterwards, but the last token.
        prompt: ids of the next part of the text, one at least.
        limit: most tokens to make; None: up to the end of the context.
        stop: ids that end the text; None: those of the model.

    Raises:
        UsageError: the prompt does not fit the context.
    """
    among = pool(session.model, sampling)
    values, ids = session.best(prompt, among)
    text = Text(session.model, prompt, limit, sampling, stop, session.length)
    while not text.over:
        piece = text.take(values, ids)
        yield piece
        if not text.over:
            values, ids = session.best([piece.id], among)


def together(model: Llama, prompts: Sequence[Sequence[int]], *, limit: int | None = None, sampling: Sampling = GREEDY,
             stop: Sequence[int] | None = None) -> Iterator[tuple[int, Piece]]:
    """Continue several texts at once; gives each token with the number of its text.

    The texts are those that `stream` makes of each alone. So many at a time take turns; when one ends the others go on.

    Args:
        prompts: ids of each text's beginning, one at least.
        limit, sampling, stop: as of `stream`.

    Raises:
        UsageError: a prompt does not fit the context.
    """
    for prompt in prompts:
        model.require(prompt)
    for first in range(0, len(prompts), TOGETHER):
        group = prompts[first:first + TOGETHER]
        texts = [Text(model, prompt, limit, sampling, stop, len(prompt)) for prompt in group]
        for row, piece in _turns(model, group, texts, pool(model, sampling)):
            yield first + row, piece


def _turns(model: Llama, prompts: Sequence[Sequence[int]], texts: Sequence[Text],
           among: int) -> Iterator[tuple[int, Piece]]:
    """The tokens of the texts of one batch, those at one step in order."""
    batch, found = Batch.of(model, prompts, among)
    active = [*range(len(texts))]
    while active:
        last = []
        for number, (values, ids) in zip(active, found, strict=True):
            piece = texts[number].take(values, ids)
            last.append(piece.id)
            yield number, piece
        rows = [row for row, number in enumerate(active) if not texts[number].over]
        if rows and len(rows) < len(active):
            batch = batch.only(rows)
        active = [active[row] for row in rows]
        found = batch.best([last[row] for row in rows], among) if rows else []


class Text:
    """A text that is being made: what was said, and whether it is over.

    Args:
        length: positions that it takes already.
    """

    def __init__(self, model: Llama, prompt: Sequence[int], limit: int | None, sampling: Sampling,
                 stop: Sequence[int] | None, length: int) -> None:
        self.seen, self.sampling, self.step = list(prompt), sampling, 0
        self.ends = model.config.stop if stop is None else tuple(stop)
        self.words = model.tokenizer.stream(special=False) if model.tokenizer else None
        room = model.context - length + 1
        self.count, self.last = (room, "context") if limit is None or limit > room else (limit, "limit")
        self.over = self.count == 0

    def take(self, values: NDArray[np.float32], ids: NDArray[np.int32]) -> Piece:
        """The next token, of the best ones."""
        token = choose(values, ids, self.sampling, seen=self.seen, step=self.step)
        self.seen.append(token)
        self.step += 1
        end = "stop" if token in self.ends else self.last if self.step == self.count else ""
        self.over = bool(end)
        text = self.words.push(token) if self.words and end != "stop" else ""
        if self.over:
            text += self.words.finish() if self.words else ""
        return Piece(token, text, end)


def generate(model: Llama, prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]], *,
             limit: int = 128, sampling: Sampling = GREEDY) -> str | list[str]:
    """The continuation of a prompt, or of each prompt of a list, which are made together.

    Args:
        prompt: text or token ids, or a list of either.

    Raises:
        UsageError: a prompt does not fit the context.
        ModelError: text is given and the model has no tokenizer.
    """
    if not isinstance(prompt, str) and prompt and not isinstance(prompt[0], int):
        texts = [""] * len(prompt)
        for number, piece in together(model, [tokens(model, one) for one in prompt], limit=limit, sampling=sampling):
            texts[number] += piece.text
        return texts
    pieces = stream(model.session(), tokens(model, prompt), limit=limit, sampling=sampling)
    return "".join(piece.text for piece in pieces)


def tokens(model: Llama, prompt: Any) -> list[int]:
    """The ids of a text, or of what are ids already."""
    return encode(model, prompt) if isinstance(prompt, str) else [int(i) for i in prompt]


def encode(model: Llama, text: str) -> list[int]:
    """The ids of a text.

    Raises:
        ModelError: the model has no tokenizer.
        UsageError: the text is empty, and the model has no token to begin with.
    """
    if model.tokenizer is None:
        raise ModelError("the model has no tokenizer", hint="give token ids instead of text")
    ids = model.tokenizer.encode(text)
    if not ids:
        raise UsageError("the prompt is empty")
    return ids


def conversation(model: Llama, messages: Sequence[Message]) -> list[int]:
    """The ids of a conversation, up to where the answer begins.

    Raises:
        ModelError: the model is not one to talk to.
    """
    if model.tokenizer is None or model.chat is None:
        raise ModelError("the model has no chat template", hint="it continues texts: pto generate; "
                         "pto model pull smollm2-135m fetches one to talk to")
    return model.tokenizer.encode_parts(model.chat.prompt(messages))
