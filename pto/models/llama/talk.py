"""A conversation: what was said stays in the cache, so that a turn costs only what is new."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import takewhile

from pto.core.errors import UsageError
from pto.models.chat import Message
from pto.models.llama.generate import Piece, conversation, stream
from pto.models.llama.model import Llama
from pto.models.sampling import GREEDY, Sampling


class Conversation:
    """Messages so far, and the text under way that holds them.

    Raises:
        ModelError: the model is not one to talk to.
    """

    def __init__(self, model: Llama, system: str = "") -> None:
        self.session = model.session()
        self.messages: list[Message] = [Message("system", system)] if system else []
        self.known: list[int] = []  # the tokens that the session holds
        conversation(model, [Message("user", "")])

    def ask(self, text: str, *, limit: int | None = None, sampling: Sampling = GREEDY) -> Generator[Piece, None, None]:
        """Say something; gives the answer as it is made. One that is not taken to its end stays as far as it went.

        Raises:
            UsageError: the conversation has become longer than the context; the message was not said.
        """
        model = self.session.model
        said = [*self.messages, Message("user", text)]
        ids = conversation(model, said)
        if len(ids) > model.context:
            raise UsageError(f"the context is {model.context} tokens, and the conversation is {len(ids)} with this",
                             hint="begin a new one, or load with a longer context")
        kept = min(shared(self.known, ids), len(ids) - 1)
        self.session.rewind(kept)
        answer: list[Piece] = []
        try:
            for piece in stream(self.session, ids[kept:], limit=limit, sampling=sampling):
                answer.append(piece)
                yield piece
        finally:
            self.known = [*ids, *(piece.id for piece in answer)][:self.session.length]
            self.messages = [*said, Message("assistant", "".join(piece.text for piece in answer))]


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many elements two sequences begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
