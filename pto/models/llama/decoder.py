"""A Llama decoder as a tile kernel: one program for a token at any position. See Touvron et al., 2023.

The layers are a loop of the program, over weights stacked by kind; so it is as long for 2 layers as for 30.
"""

from typing import Any

import pto as pt
from pto.models.config import LlamaConfig


def attend(q: Any, keys: Any, values: Any, scale: float) -> Any:
    """Attention of one position to all that are cached.

    Args:
        q: [kv_heads, group, 1, head_dim].
        keys, values: [kv_heads, 1, length, head_dim].
    """
    weights = pt.softmax(pt.matmul(q, keys.T) * scale)
    return pt.matmul(weights, values)


def decode_kernel(c: LlamaConfig, context: int) -> Any:
    """The kernel that takes one token; it gives the logits of the next, [1, vocab].

    `length` is how many positions are known with this one: the token stands at position length - 1. `keys` and
    `values` are the cache, [layers, kv_heads, context, head_dim] and [layers, kv_heads, head_dim, context].
    """
    layers, channels, hidden, half = c.layers, c.embed, c.ffn, c.head_dim // 2
    wide, narrow = c.heads * c.head_dim, c.kv_heads * c.head_dim

    @pt.tile_kernel
    def decode(
        token: pt.index, length: pt.index, embed: pt.f32[c.vocab, channels],
        attn_norm: pt.f32[layers, channels], query: pt.f32[layers, wide, channels],
        key: pt.f32[layers, narrow, channels], value: pt.f32[layers, narrow, channels],
        output: pt.f32[layers, channels, wide], ffn_norm: pt.f32[layers, channels],
        gate: pt.f32[layers, hidden, channels], up: pt.f32[layers, hidden, channels],
        down: pt.f32[layers, channels, hidden], norm: pt.f32[channels], head: pt.f32[c.vocab, channels],
        cos: pt.f32[context, half], sin: pt.f32[context, half],
        keys: pt.f32[layers, c.kv_heads, context, c.head_dim], values: pt.f32[layers, c.kv_heads, c.head_dim, context],
    ) -> Any:
        at = length - 1
        x = embed[token].view(1, channels)
        for layer in pt.range(layers):
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q = pt.rope(pt.matmul(h, query[layer].T).view(c.heads, c.head_dim), cos[at], sin[at])
            keys[layer, :, at] = pt.rope(pt.matmul(h, key[layer].T).view(c.kv_heads, c.head_dim), cos[at], sin[at])
            values[layer, :, :, at] = pt.matmul(h, value[layer].T).view(c.kv_heads, c.head_dim)
            mixed = attend(q.view(c.kv_heads, c.group, 1, c.head_dim), keys[layer, :, :length].unsqueeze(1),
                           values[layer, :, :, :length].unsqueeze(1).T, c.head_dim**-0.5)
            x = x + pt.matmul(mixed.view(1, wide), output[layer].T)
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + pt.matmul(pt.silu(pt.matmul(h, gate[layer].T)) * pt.matmul(h, up[layer].T), down[layer].T)
        return pt.matmul(pt.rms_norm(x, norm, c.eps), head.T)

    return decode
