"""What a tokenizer is built from, as files hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a model and how texts become tokens. Nothing of it is trusted.

    Attributes:
        model: ``gpt2`` (byte-level pairs), ``llama`` (SentencePiece pairs), both from GGUF; or ``json``.
        pre: GGUF's name for how texts are split before pairs are merged.
        tokens, kinds, scores, merges: GGUF's lists; `kinds` are GGUF's token types.
        add_bos: whether a text begins with the model's first token; None: as `pre` has it.
        add_space: a SentencePiece text begins with a space of its own.
        template: the chat template, which is recognised, never run.
        document: the content of a tokenizer.json.
        size: number of token ids.
    """

    model: str
    pre: str = ""
    tokens: tuple[str, ...] = ()
    kinds: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    merges: tuple[str, ...] = ()
    add_bos: bool | None = None
    add_space: bool = True
    template: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
