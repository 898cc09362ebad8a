"""A model with one token for each byte, as a GGUF file that other programs read too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.files import write_whole
from pto.models.config import LlamaConfig
from pto.models.gguf_writer import TensorBytes, dumps
from pto.models.stored import narrowed
from pto.models.tensors import Kind, stored
from pto.models.tokenizer import CONTROL, NORMAL, byte_alphabet
from pto.models.weights import turned
from pto.quant.blocks import BY_NAME
from pto.quant.schemes import find
from pto.quant.tensor import Quantised, to_records

END = "<|end|>"  # the one token that is no byte


def save_gguf(path: Path, config: LlamaConfig, weights: Mapping[str, NDArray[Any] | Quantised], storage: str = "F32",
              name: str = "tiny") -> None:
    """Write a model whose tokens are the 256 bytes and `END`.

    Norms stay float32; matrices get the storage. Those whose codes fit 4 bits already keep them, in blocks of Q4_0.

    Raises:
        UsageError: the storage cannot be written, or the channels are no multiple of its blocks.
    """
    tensors = [tensor for kind in stored(config) for tensor in _tensors(config, kind, weights[kind.name], storage)]
    data = dumps(_fields(config, name), tensors)
    write_whole(path, data)


def _tensors(config: LlamaConfig, kind: Kind, values: NDArray[Any] | Quantised, storage: str) -> list[TensorBytes]:
    kept = isinstance(values, Quantised)
    row = BY_NAME["Q4_0" if kept else "F32" if kind.is_norm else storage]
    rows = to_records(values, find("q4_0")) if isinstance(values, Quantised) else values
    found = []
    for layer, one in enumerate(rows if kind.per_layer else [rows]):
        ordered = turned(one, kind.turned(config)) if kind.turned else one
        data = ordered.tobytes() if kept else narrowed(np.asarray(ordered, np.float32), row)
        found.append(TensorBytes(f"{kind.gguf.format(layer)}.weight", row, kind.extents(config), data))
    return found


def _fields(c: LlamaConfig, name: str) -> dict[str, Any]:
    alphabet = sorted(byte_alphabet().items(), key=lambda pair: pair[1])
    return {
        "general.architecture": "llama", "general.name": name, "general.license": "apache-2.0",
        "llama.block_count": c.layers, "llama.context_length": c.context, "llama.embedding_length": c.embed,
        "llama.feed_forward_length": c.ffn, "llama.attention.head_count": c.heads,
        "llama.attention.head_count_kv": c.kv_heads, "llama.attention.key_length": c.head_dim,
        "llama.attention.value_length": c.head_dim, "llama.rope.dimension_count": c.head_dim,
        "llama.rope.freq_base": float(c.rope_base), "llama.attention.layer_norm_rms_epsilon": float(c.eps),
        "llama.vocab_size": c.vocab, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [character for character, _ in alphabet] + [END],
        "tokenizer.ggml.token_type": [NORMAL] * len(alphabet) + [CONTROL],
        "tokenizer.ggml.bos_token_id": len(alphabet), "tokenizer.ggml.eos_token_id": len(alphabet),
        "tokenizer.ggml.add_bos_token": True,
    }
