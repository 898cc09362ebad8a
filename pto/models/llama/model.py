"""A Llama that is ready to run: its weights, its two programs, and the texts that it is in the middle of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError
from pto.models.chat import Chat, recognise
from pto.models.checkpoint import open_checkpoint
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import decode_kernel, prefill_kernel
from pto.models.llama.precision import EXACT, Precision, find
from pto.models.llama.read import read
from pto.models.rope import rope_tables
from pto.models.tensors import KINDS
from pto.models.tokenizer import Tokenizer, build
from pto.models.weights import Progress
from pto.quant.forms import Packed

CONTEXT = 2048  # positions of a cache, where nothing else is asked for and the model has them
AT_ONCE = 512  # tokens of a prompt that go through the layers together

Floats = NDArray[np.float32]
_decoder, _prefiller = cache(decode_kernel), cache(prefill_kernel)


@dataclass(frozen=True)
class Llama:
    """A model in memory.

    Attributes:
        config: shapes and constants.
        weights: arrays by kind, [layers, out, in] for the matrices of layers (`pto.models.tensors`), or quantised ones.
        context: positions that a text may have.
        precision: what the weights are kept in.
        tokenizer, chat: how texts become tokens, where the file tells.
    """

    config: LlamaConfig
    weights: Mapping[str, NDArray[Any] | Packed]
    context: int
    precision: Precision = EXACT
    tokenizer: Tokenizer | None = None
    chat: Chat | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, context: int | None = None, precision: str = "f32",
             memory_limit: int | None = None, progress: Progress | None = None) -> Llama:
        """Read a .gguf file, or a folder with config.json and safetensors.

        Args:
            context: positions that a text may have.
            precision: what the weights are kept in: "f32", "f16", "bf16", or one of `pto.models.llama.precision`.
            memory_limit: bytes that the model may take; None: what is available.

        Raises:
            PtoFormatError, ModelError: the file is damaged, or holds something else than a Llama.
            MemoryLimitError: the model does not fit; nothing was allocated.
            UsageError: the context is longer than the model's, or there is no such precision.
        """
        row = find(precision)
        checkpoint = open_checkpoint(path)
        config = checkpoint.config
        wanted = min(CONTEXT, config.context) if context is None else context
        if not 1 <= wanted <= config.context:
            raise UsageError(f"a context has 1 to {config.context} positions in this model, not {wanted}")
        weights = read(checkpoint, row, memory_limit=memory_limit, progress=progress)
        words = checkpoint.vocabulary
        tokenizer = build(words, config) if words is not None else None
        chat = recognise(words.template) if words is not None and words.template else None
        return cls(config, weights, wanted, row, tokenizer, chat)

    @cached_property
    def tables(self) -> tuple[Floats, Floats]:
        """Cosines and sines of rotary embedding, [context, head_dim / 2] each."""
        return rope_tables(self.config, self.context)

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """What every launch of either program takes before the cache."""
        return (*(self.weights[kind.name] for kind in KINDS), *self.tables)

    def session(self) -> Session:
        """An empty text."""
        c = self.config
        return Session(self, np.zeros((c.layers, c.kv_heads, self.context, c.head_dim), np.float32),
                       np.zeros((c.layers, c.kv_heads, c.head_dim, self.context), np.float32))


class Session:
    """A text under way: the keys and values of its tokens are kept."""

    def __init__(self, model: Llama, keys: Floats, values: Floats) -> None:
        self.model, self.keys, self.values = model, keys, values
        self.length = 0

    def feed(self, ids: Sequence[int]) -> Floats:
        """Take the next tokens; gives the logits of the one after them, [vocab].

        Raises:
            UsageError: there are none, one is not in the vocabulary, or the context is full.
        """
        self.require(ids)
        logits: Floats = self._all(ids, 0)[0]
        return logits

    def best(self, ids: Sequence[int], count: int) -> tuple[Floats, NDArray[np.int32]]:
        """Take the next tokens; gives the best logits of the one after them, and their tokens.

        Args:
            count: how many; 2 to the size of the vocabulary.

        Raises:
            UsageError: as `feed`.
        """
        self.require(ids)
        values, tokens = self._all(ids, count)
        return values[0], tokens[0]

    def score(self, ids: Sequence[int]) -> Floats:
        """Take the next tokens; gives the logits after each of them, [len(ids), vocab]."""
        self.require(ids)
        found = [self._prefill(ids[at:at + AT_ONCE], every=True) for at in range(0, len(ids), AT_ONCE)]
        return np.concatenate(found)

    def rewind(self, length: int) -> None:
        """Forget all but the first tokens."""
        if not 0 <= length <= self.length:
            raise UsageError(f"a text of {self.length} tokens has no first {length}")
        self.length = length

    def require(self, ids: Sequence[int]) -> None:
        """Can these tokens be taken next?

        Raises:
            UsageError: as `feed`.
        """
        room, vocab = self.model.context - self.length, self.model.config.vocab
        if not ids:
            raise UsageError("there is no token to go on from")
        if len(ids) > room:
            raise UsageError(f"the context is {self.model.context} tokens: {self.length} are there, "
                             f"{len(ids)} more do not fit", hint="start a new session, or load with a longer context")
        for token in ids:
            if not 0 <= token < vocab:
                raise UsageError(f"token {token} is not in a vocabulary of {vocab}")

    def _all(self, ids: Sequence[int], best: int) -> Any:
        """What the programs give after the last token: logits, or the best of them with their tokens."""
        last = (len(ids) - 1) // AT_ONCE * AT_ONCE
        for at in range(0, last, AT_ONCE):
            self._prefill(ids[at:at + AT_ONCE])
        if len(ids) - last > 1:
            return self._prefill(ids[last:], best=best)
        model, length = self.model, self.length + 1
        decode = _decoder(model.config, model.context, model.precision, best=best)
        found = decode(int(ids[last]), length, *model.arguments, self.keys, self.values)
        self.length = length
        return found

    def _prefill(self, ids: Sequence[int], **form: Any) -> Any:
        model, length = self.model, self.length + len(ids)
        prefill = _prefiller(model.config, model.context, model.precision, **form)
        found = prefill(np.asarray(ids, np.int32), length, *model.arguments, self.keys, self.values)
        self.length = length
        return found
