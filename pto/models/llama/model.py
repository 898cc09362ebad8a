"""A Llama that is ready to run: its weights, its two programs, and the texts that it is in the middle of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.dtypes import F16, F32, S8, DType
from pto.core.errors import UsageError, require_known
from pto.models.chat import Chat, recognise
from pto.models.checkpoint import open_checkpoint
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import batch_kernel, decode_kernel, prefill_kernel
from pto.models.llama.precision import AUTO, EXACT, Precision, find
from pto.models.llama.read import fastest, read
from pto.models.rope import rope_tables
from pto.models.tensors import KINDS
from pto.models.tokenizer import Tokenizer, build
from pto.models.weights import Progress
from pto.quant.forms import Packed

CONTEXT = 2048  # positions of a cache, where nothing else is asked for and the model has them
AT_ONCE = 512  # tokens of a prompt that go through the layers together
CACHES = {row.name: row for row in (F32, F16, S8)}  # what keys and values can be rounded to

Floats = NDArray[np.float32]
Cache = tuple[NDArray[Any], ...]  # keys, values, and perhaps the scales of either
Best = tuple[Floats, NDArray[np.int32]]
_decoder, _prefiller, _batcher = cache(decode_kernel), cache(prefill_kernel), cache(batch_kernel)


@dataclass(frozen=True)
class Llama:
    """A model in memory.

    Attributes:
        config: shapes and constants.
        weights: arrays by kind, [layers, out, in] for the matrices of layers (`pto.models.tensors`), or quantised ones.
        context: positions that a text may have.
        precision: what the weights are kept in.
        tokenizer, chat: how texts become tokens, where the file tells.
        kv: element type of keys and values.
    """

    config: LlamaConfig
    weights: Mapping[str, NDArray[Any] | Packed]
    context: int
    precision: Precision = EXACT
    tokenizer: Tokenizer | None = None
    chat: Chat | None = None
    kv: DType = F32

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, context: int | None = None, precision: str = AUTO,
             kv: str = "f32", memory_limit: int | None = None, progress: Progress | None = None) -> Llama:
        """Read a .gguf file, or a folder with config.json and safetensors.

        Args:
            context: positions that a text may have.
            precision: what the weights are kept in: "f32", "f16", "bf16", or another of `pto.models.llama.precision`;
                "auto": the fastest that is within 1 % of float32's perplexity, 4-bit blocks where the file has these,
                else 8 bits.
            kv: what keys and values are kept in: "f32", "f16", or "s8" with a scale for each position and head.
            memory_limit: bytes that the model may take; None: what is available.

        Raises:
            PtoFormatError, ModelError: the file is damaged, or holds something else than a Llama.
            MemoryLimitError: the model does not fit; nothing was allocated.
            UsageError: the context is longer than the model's, or there is no such precision.
        """
        chosen = find(precision)
        require_known(CACHES, kv, "type of keys and values")
        checkpoint = open_checkpoint(path)
        config, row = checkpoint.config, chosen or fastest(checkpoint)
        wanted = min(CONTEXT, config.context) if context is None else context
        if not 1 <= wanted <= config.context:
            raise UsageError(f"a context has 1 to {config.context} positions in this model, not {wanted}")
        cache = CACHES[kv]
        checkpoint.require_room(memory_limit, wanted, row.itemsize, cache.size, F32.size if cache is S8 else 0)
        weights = read(checkpoint, row, memory_limit=memory_limit, progress=progress)
        words = checkpoint.vocabulary
        tokenizer = build(words, config) if words is not None else None
        chat = recognise(words.template) if words is not None and words.template else None
        return cls(config, weights, wanted, row, tokenizer, chat, cache)

    @cached_property
    def tables(self) -> tuple[Floats, Floats]:
        """Cosines and sines of rotary embedding, [context, head_dim / 2] each."""
        return rope_tables(self.config, self.context)

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """What every launch of either program takes before the cache."""
        return (*(self.weights[kind.name] for kind in KINDS), *self.tables)

    @cached_property
    def _decoders(self) -> dict[int, Any]:
        return {}

    def decoder(self, best: int) -> Any:
        """The program of one token, by how many candidates it gives: all that models of equal shapes share is found by
        hashing these, once.
        """
        found = self._decoders.get(best)
        if found is None:
            found = self._decoders[best] = _decoder(self.config, self.context, self.precision, self.kv, best=best)
        return found

    def require(self, ids: Sequence[int], length: int = 0) -> None:
        """Can these tokens be taken, after so many?

        Raises:
            UsageError: there are none, one is not in the vocabulary, or the context is full.
        """
        if not ids:
            raise UsageError("there is no token to go on from")
        if len(ids) > self.context - length:
            raise UsageError(f"the context is {self.context} tokens: {length} are there, {len(ids)} more do not fit",
                             hint="start a new session, or load with a longer context")
        self.require_tokens(ids)

    def require_tokens(self, ids: Sequence[int], best: int = 1) -> None:
        """Are these in the vocabulary, and has that so many to be the best?

        Raises:
            UsageError: one is not, or it has not.
        """
        size = self.config.vocab
        for token in ids:
            if not 0 <= token < size:
                raise UsageError(f"token {token} is not in a vocabulary of {size}")
        if not 1 <= best <= size:
            raise UsageError(f"the best {best} tokens of a vocabulary of {size}", hint=f"ask for 1 to {size}")

    def session(self) -> Session:
        """An empty text."""
        return Session(self, self.cache())

    def cache(self, *texts: int) -> Cache:
        """Room for keys and values, and for their scales where they have such; axes as in `decoder`.

        Args:
            texts: how many, an axis after that of layers; none: of one text.
        """
        c, dtype = self.config, numpy_dtype(self.kv)
        lead = c.layers, *texts, c.kv_heads
        scales = [np.zeros((*lead, self.context), np.float32) for _ in range(2 * (self.kv is S8))]
        return *(np.zeros((*lead, self.context, c.head_dim), dtype) for _ in range(2)), *scales


class Session:
    """A text under way: the keys and values of its tokens are kept."""

    def __init__(self, model: Llama, cache: Cache) -> None:
        self.model, self.cache = model, cache
        self.length = 0

    def feed(self, ids: Sequence[int]) -> Floats:
        """Take the next tokens; gives the logits of the one after them, [vocab].

        Raises:
            UsageError: there are none, one is not in the vocabulary, or the context is full.
        """
        self.model.require(ids, self.length)
        logits: Floats = self._all(ids, 0)[0]
        return logits

    def best(self, ids: Sequence[int], count: int) -> tuple[Floats, NDArray[np.int32]]:
        """Take the next tokens; gives the best logits of the one after them, and their tokens.

        Args:
            count: how many; 1 to the size of the vocabulary.

        Raises:
            UsageError: as `feed`; or there are not so many.
        """
        self.require(ids)
        self.model.require_tokens((), count)
        values, tokens = self._all(ids, count)
        return values[0], tokens[0]

    def score(self, ids: Sequence[int]) -> Floats:
        """Take the next tokens; gives the logits after each of them, [len(ids), vocab]."""
        self.require(ids)
        found = [self._prefill(ids[at:at + AT_ONCE], every=True) for at in range(0, len(ids), AT_ONCE)]
        return np.concatenate(found)

    def hidden(self, ids: Sequence[int]) -> tuple[Floats, Floats]:
        """Take the next tokens; gives what the layers make of them, and the logits after each of them.

        Returns:
            What goes into each layer and comes out of the last one, [layers + 1, len(ids), embed]; [len(ids), vocab].
        """
        self.require(ids)
        found = [self._prefill(ids[at:at + AT_ONCE], every=True, hidden=True) for at in range(0, len(ids), AT_ONCE)]
        logits, states = zip(*found, strict=True)
        return np.concatenate(states, 1), np.concatenate(logits)

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
        self.model.require(ids, self.length)

    def _all(self, ids: Sequence[int], best: int) -> Any:
        """What the programs give after the last token: logits, or the best of them with their tokens."""
        last = (len(ids) - 1) // AT_ONCE * AT_ONCE
        for at in range(0, last, AT_ONCE):
            self._prefill(ids[at:at + AT_ONCE])
        if len(ids) - last > 1:
            return self._prefill(ids[last:], best=best)
        model, length = self.model, self.length + 1
        found = model.decoder(best)(int(ids[last]), length, *model.arguments, *self.cache)
        self.length = length
        return found

    def _prefill(self, ids: Sequence[int], **form: Any) -> Any:
        model, length = self.model, self.length + len(ids)
        prefill = _prefiller(model.config, model.context, model.precision, model.kv, **form)
        found = prefill(np.asarray(ids, np.int32), length, *model.arguments, *self.cache)
        self.length = length
        return found


class Batch:
    """Texts that go on together: each weight is read once for the next tokens of all of them.

    The texts end at the same column of the cache, so the shorter ones begin later in it.
    """

    def __init__(self, model: Llama, count: int) -> None:
        self.model = model
        self.cache = model.cache(count)
        self.lengths = np.zeros(count, np.int32)
        self.columns = 0

    @classmethod
    def of(cls, model: Llama, prompts: Sequence[Sequence[int]], best: int) -> tuple[Batch, list[Best]]:
        """Take the beginnings of texts; gives also the best logits after each, and their tokens.

        Raises:
            UsageError: as `Session.feed`.
        """
        for prompt in prompts:
            model.require(prompt)
        made, alone, found = cls(model, len(prompts)), model.session(), []
        made.columns = max(map(len, prompts))
        for row, prompt in enumerate(prompts):
            alone.rewind(0)
            found.append(alone.best(prompt, best))
            made._put(row, len(prompt), alone.cache, len(prompt))
        return made, found

    def best(self, ids: Sequence[int], count: int) -> list[Best]:
        """Take the next token of each text; gives the best logits of the one after it, and their tokens.

        Raises:
            UsageError: the longest text fills the context, there is not a token for each text, one is not in the
                vocabulary, or that has not so many.
        """
        model = self.model
        model.require_tokens(ids, count)
        if len(ids) != len(self.lengths):
            raise UsageError(f"{len(ids)} tokens for {len(self.lengths)} texts")
        if self.columns == model.context:
            raise UsageError(f"the context is {model.context} tokens, and a text fills it")
        known = np.arange(model.context) >= (self.columns - self.lengths)[:, None]
        mask = np.where(known, np.float32(0), np.float32(-np.inf))
        step = _batcher(model.config, model.context, model.precision, model.kv, best=count)
        values, tokens = step(np.asarray(ids, np.int32), self.lengths, mask, self.columns + 1, *model.arguments,
                              *self.cache)
        self.lengths, self.columns = self.lengths + np.int32(1), self.columns + 1
        return list(zip(values, tokens, strict=True))

    def only(self, rows: Sequence[int]) -> Batch:
        """The batch of some of the texts."""
        made = Batch(self.model, len(rows))
        made.columns = int(self.lengths[list(rows)].max())
        for to, row in enumerate(rows):
            made._put(to, int(self.lengths[row]), [array[:, row] for array in self.cache], self.columns)
        return made

    def _put(self, row: int, length: int, cache: Sequence[NDArray[Any]], end: int) -> None:
        """The cache of a text that ends at a column of other arrays."""
        here, there = slice(self.columns - length, self.columns), slice(end - length, end)
        for mine, array in zip(self.cache, cache, strict=True):
            mine[:, row, :, here] = array[:, :, there]
        self.lengths[row] = length
