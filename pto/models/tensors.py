"""The tensors of a Llama as rows: their name here, in GGUF and in Hugging Face files, and their shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pto.models.config import LlamaConfig


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of weight.

    Attributes:
        name: its key among the stacked weights.
        gguf, hf: its name in files, with ``{}`` for the number of the layer if there is one in each layer.
        extents: the shape in one layer; matrices are [out, in].
        turned: number of heads whose rows GGUF keeps in the order of interleaved rotation; None: rows as they are.
        is_norm: a vector of factors, near one.
    """

    name: str
    gguf: str
    hf: str
    extents: Callable[[LlamaConfig], tuple[int, ...]]
    turned: Callable[[LlamaConfig], int] | None = None
    is_norm: bool = False

    @property
    def per_layer(self) -> bool:
        return "{}" in self.gguf

    def shape(self, config: LlamaConfig) -> tuple[int, ...]:
        """The shape of the stacked array: [layers, ...] for what each layer has."""
        extents = self.extents(config)
        return (config.layers, *extents) if self.per_layer else extents


def _query(c: LlamaConfig) -> tuple[int, ...]:
    return c.heads * c.head_dim, c.embed


def _key(c: LlamaConfig) -> tuple[int, ...]:
    return c.kv_heads * c.head_dim, c.embed


def _norm(c: LlamaConfig) -> tuple[int, ...]:
    return (c.embed,)


def _up(c: LlamaConfig) -> tuple[int, ...]:
    return c.ffn, c.embed


def _tokens(c: LlamaConfig) -> tuple[int, ...]:
    return c.vocab, c.embed


def _heads(c: LlamaConfig) -> int:
    return c.heads


def _kv_heads(c: LlamaConfig) -> int:
    return c.kv_heads


_LAYER = "model.layers.{}"
KINDS = (
    Kind("embed", "token_embd", "model.embed_tokens", _tokens),
    Kind("attn_norm", "blk.{}.attn_norm", f"{_LAYER}.input_layernorm", _norm, is_norm=True),
    Kind("query", "blk.{}.attn_q", f"{_LAYER}.self_attn.q_proj", _query, turned=_heads),
    Kind("key", "blk.{}.attn_k", f"{_LAYER}.self_attn.k_proj", _key, turned=_kv_heads),
    Kind("value", "blk.{}.attn_v", f"{_LAYER}.self_attn.v_proj", _key),
    Kind("output", "blk.{}.attn_output", f"{_LAYER}.self_attn.o_proj", lambda c: (c.embed, c.heads * c.head_dim)),
    Kind("ffn_norm", "blk.{}.ffn_norm", f"{_LAYER}.post_attention_layernorm", _norm, is_norm=True),
    Kind("gate", "blk.{}.ffn_gate", f"{_LAYER}.mlp.gate_proj", _up),
    Kind("up", "blk.{}.ffn_up", f"{_LAYER}.mlp.up_proj", _up),
    Kind("down", "blk.{}.ffn_down", f"{_LAYER}.mlp.down_proj", lambda c: (c.embed, c.ffn)),
    Kind("norm", "output_norm", "model.norm", _norm, is_norm=True),
    Kind("head", "output", "lm_head", _tokens),
)
BY_NAME = {kind.name: kind for kind in KINDS}
LAYER = tuple(kind for kind in KINDS if kind.per_layer)


def stored(config: LlamaConfig) -> tuple[Kind, ...]:
    """The kinds that a file of this model holds: a tied head is none of its own."""
    return tuple(kind for kind in KINDS if not (config.tied and kind.name == "head"))
