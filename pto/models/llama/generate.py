"""Texts, token by token."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pto.core.errors import ModelError, UsageError
from pto.models.chat import Message
from pto.models.llama.model import Llama, Session
from pto.models.sampling import GREEDY, Sampling, choose

POOL = 256  # tokens to draw among, unless top_k says another number: what lies below them is next to nothing


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token.

    Attributes:
        id: the token.
        text: what it adds to the text; empty while a character is incomplete.
        stop: it ends the text.
    """

    id: int
    text: str
    stop: bool = False


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
    model = session.model
    ends = model.config.stop if stop is None else tuple(stop)
    words = model.tokenizer.stream(special=False) if model.tokenizer else None
    seen, among = list(prompt), pool(model, sampling)
    values, ids = session.best(prompt, among)
    room = model.context - session.length + 1
    count = room if limit is None else min(limit, room)
    for step in range(count):
        token = choose(values, ids, sampling, seen=seen, step=step)
        seen.append(token)
        over = token in ends
        text = words.push(token) if words and not over else ""
        if over or step + 1 == count:
            text += words.finish() if words else ""
        yield Piece(token, text, over)
        if over or step + 1 == count:
            return
        values, ids = session.best([token], among)


def generate(model: Llama, prompt: str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]], *,
             limit: int = 128, sampling: Sampling = GREEDY) -> str | list[str]:
    """The continuation of a prompt, or of each prompt of a list.

    Args:
        prompt: text or token ids, or a list of either.

    Raises:
        UsageError: a prompt does not fit the context.
        ModelError: text is given and the model has no tokenizer.
    """
    if not isinstance(prompt, str) and prompt and not isinstance(prompt[0], int):
        return [str(generate(model, one, limit=limit, sampling=sampling)) for one in prompt]  # type: ignore[arg-type]
    ids = encode(model, prompt) if isinstance(prompt, str) else [int(i) for i in prompt]  # type: ignore[arg-type]
    return "".join(piece.text for piece in stream(model.session(), ids, limit=limit, sampling=sampling))


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
        raise ModelError("the model has no chat template", hint="use pto generate")
    return model.tokenizer.encode_parts(model.chat.prompt(messages))
