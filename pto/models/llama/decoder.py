"""A Llama decoder in tile kernels (Touvron et al., 2023): one program for a token, one for a prompt.

Either serves every position and length. The layers are a loop of the program, over weights stacked by kind; so it is
as long for 2 layers as for 30. The cache of keys is [layers, kv_heads, context, head_dim]; that of values
[layers, kv_heads, head_dim, context], so that a token streams both in the order in which they lie.
"""

from typing import Any

import pto as pt
from pto.models.config import LlamaConfig


def decode_kernel(c: LlamaConfig, context: int) -> Any:
    """The kernel that takes one token and gives the logits of the next, [1, vocab].

    `length` is how many positions are known with this one: the token stands at position length - 1.
    """
    layers, channels, hidden, dim = c.layers, c.embed, c.ffn, c.head_dim
    wide, narrow = c.heads * dim, c.kv_heads * dim

    @pt.tile_kernel
    def decode(
        token: pt.index, length: pt.index, embed: pt.f32[c.vocab, channels],
        attn_norm: pt.f32[layers, channels], query: pt.f32[layers, wide, channels],
        key: pt.f32[layers, narrow, channels], value: pt.f32[layers, narrow, channels],
        output: pt.f32[layers, channels, wide], ffn_norm: pt.f32[layers, channels],
        gate: pt.f32[layers, hidden, channels], up: pt.f32[layers, hidden, channels],
        down: pt.f32[layers, channels, hidden], norm: pt.f32[channels], head: pt.f32[c.vocab, channels],
        cos: pt.f32[context, dim // 2], sin: pt.f32[context, dim // 2],
        keys: pt.f32[layers, c.kv_heads, context, dim], values: pt.f32[layers, c.kv_heads, dim, context],
    ) -> Any:
        at = length - 1
        x = embed[token].view(1, channels)
        for layer in pt.range(layers):
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q = pt.rope(pt.matmul(h, query[layer].T).view(c.heads, dim), cos[at], sin[at])
            keys[layer, :, at] = pt.rope(pt.matmul(h, key[layer].T).view(c.kv_heads, dim), cos[at], sin[at])
            values[layer, :, :, at] = pt.matmul(h, value[layer].T).view(c.kv_heads, dim)
            scores = pt.matmul(q.view(c.kv_heads, c.group, 1, dim), keys[layer, :, :length].unsqueeze(1).T)
            mixed = pt.matmul(pt.softmax(scores * dim**-0.5), values[layer, :, :, :length].unsqueeze(1).T)
            x = x + pt.matmul(mixed.view(1, wide), output[layer].T)
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + pt.matmul(pt.silu(pt.matmul(h, gate[layer].T)) * pt.matmul(h, up[layer].T), down[layer].T)
        return pt.matmul(pt.rms_norm(x, norm, c.eps), head.T)

    return decode


def prefill_kernel(c: LlamaConfig, context: int, *, every: bool = False) -> Any:
    """The kernel that takes the tokens of a text, and gives the logits after the last one, [1, vocab].

    `length` is how many positions are known with these: the tokens stand at positions length - count to length - 1.

    Args:
        every: give the logits after every token, [count, vocab].
    """
    layers, channels, hidden, dim = c.layers, c.embed, c.ffn, c.head_dim
    wide, narrow = c.heads * dim, c.kv_heads * dim

    @pt.tile_kernel
    def prefill(
        tokens: pt.s32["count"], length: pt.index, embed: pt.f32[c.vocab, channels],  # noqa: F821
        attn_norm: pt.f32[layers, channels], query: pt.f32[layers, wide, channels],
        key: pt.f32[layers, narrow, channels], value: pt.f32[layers, narrow, channels],
        output: pt.f32[layers, channels, wide], ffn_norm: pt.f32[layers, channels],
        gate: pt.f32[layers, hidden, channels], up: pt.f32[layers, hidden, channels],
        down: pt.f32[layers, channels, hidden], norm: pt.f32[channels], head: pt.f32[c.vocab, channels],
        cos: pt.f32[context, dim // 2], sin: pt.f32[context, dim // 2],
        keys: pt.f32[layers, c.kv_heads, context, dim], values: pt.f32[layers, c.kv_heads, dim, context],
    ) -> Any:
        count = tokens.shape[0]
        start = length - count
        turn = cos.narrow(0, start, count).unsqueeze(1), sin.narrow(0, start, count).unsqueeze(1)
        x = pt.embedding(tokens, embed)
        for layer in pt.range(layers):
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q = pt.rope(pt.matmul(h, query[layer].T).view(count, c.heads, dim), *turn)
            k = pt.rope(pt.matmul(h, key[layer].T).view(count, c.kv_heads, dim), *turn)
            keys[layer, :, start:length] = k.transpose(0, 1)
            values[layer, :, :, start:length] = pt.matmul(h, value[layer].T).view(count, c.kv_heads, dim).permute(1, 2, 0)
            mixed = pt.attention(q.transpose(0, 1), keys[layer, :, :length], values[layer, :, :, :length].transpose(1, 2),
                                 causal=True, start=start)
            x = x + pt.matmul(mixed.transpose(0, 1).contiguous().view(count, wide), output[layer].T)
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + pt.matmul(pt.silu(pt.matmul(h, gate[layer].T)) * pt.matmul(h, up[layer].T), down[layer].T)
        if not every:
            x = x.narrow(0, count - 1, 1)
        return pt.matmul(pt.rms_norm(x, norm, c.eps), head.T)

    return prefill
