"""A Llama decoder in tile kernels (Touvron et al., 2023): one program for a token, one for a prompt.

Either serves every position and length. The layers are a loop of the program, over weights stacked by kind; so it is
as long for 2 layers as for 30. The caches of keys and of values are [layers, kv_heads, context, head_dim].
In int8 each position and head has a scale: arrays [layers, kv_heads, context] for keys and for values follow these.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pto as pt
from pto.core.dtypes import S8, DType
from pto.models.config import LlamaConfig
from pto.models.llama.precision import EXACT, Precision
from pto.models.tensors import KINDS, LAYER
from pto.quant.forms import SMALLEST

S8_MOST = 127  # what the largest element of a position and head becomes in int8


def typed(kernel: Any, c: LlamaConfig, context: int, precision: Precision, cache: DType,
          texts: tuple[str, ...] = ()) -> Any:
    """A kernel with the types of the weights, of the tables of rotary embedding [context, half] and of the cache.

    Quantised weights bring theirs along.
    """
    for kind in KINDS:
        if not precision.scheme(kind):
            kernel.declare(kind.name, precision.dtype(kind)[kind.shape(c)])
    for name in ("cos", "sin"):
        kernel.declare(name, pt.f32[context, c.head_dim // 2])
    kernel.declare("keys", cache[c.layers, *texts, c.kv_heads, context, c.head_dim])
    kernel.declare("values", cache[c.layers, *texts, c.kv_heads, context, c.head_dim])
    if cache is S8:
        for name in ("key_scale", "value_scale"):
            kernel.declare(name, pt.f32[c.layers, *texts, c.kv_heads, context])
    return kernel


def scaled(x: Any) -> tuple[Any, Any]:
    """Rows in int8, and the scale of each, whose axis has the extent 1."""
    scale = pt.maximum(pt.max(pt.abs(x), axis=-1, keepdims=True) * (1 / S8_MOST), SMALLEST)
    return pt.cast(x / scale, S8, rounding="rne", saturate=True), scale


def product(x: Any, matrix: Any) -> Any:
    """Rows times the transpose of a matrix [out, in]."""
    return pt.matmul(x, matrix.T)


def gated(h: Any, gate: Any, up: Any, down: Any, times: Callable[[Any, Any], Any] = product) -> Any:
    """What the second half of a layer adds."""
    return times(pt.silu(times(h, gate)) * times(h, up), down)


def attended(q: Any, keys: Any, values: Any, scales: Sequence[Any] = (), hidden: Any = None) -> Any:
    """Attention of one token of each text, q [..., kv_heads, group, head_dim], to what is kept.

    Args:
        keys, values: [..., kv_heads, length, head_dim] each.
        scales: of both, [..., kv_heads, length] each, where they are in int8.
        hidden: is added to the scores.
    """
    by_key, by_value = (one.unsqueeze(-2) for one in scales) if scales else (None, None)
    scores = pt.matmul(q, keys.T) * q.shape[-1]**-0.5  # the heads of a group share keys, which are read once for all
    scores = scores if by_key is None else scores * by_key
    mixing = pt.softmax(scores if hidden is None else scores + hidden)
    return pt.matmul(mixing if by_value is None else mixing * by_value, values)


def decode_kernel(c: LlamaConfig, context: int, precision: Precision = EXACT, cache: DType = pt.f32, *,
                  best: int = 0) -> Any:
    """The kernel that takes one token and gives the logits of the next, [1, vocab].

    `length` is how many positions are known with this one: the token stands at position length - 1.

    Args:
        precision, cache: of the weights, and of keys and values; all else is float32.
        best: give the best so many logits instead, the best first, and their tokens, [1, best] each.
    """
    @pt.tile_kernel
    def decode(token: pt.index, length: pt.index, embed, attn_norm, query, key, value, output, ffn_norm, gate, up, down,
               norm, head, cos, sin, keys, values, key_scale=0, value_scale=0):
        at = length - 1
        x = embed[token].view(1, c.embed).to(pt.f32)
        for layer in pt.range(c.layers):
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q, k, v = (pt.matmul(h, w[layer].T) for w in (query, key, value))  # one after the other: no core waits
            q = pt.rope(q.view(c.heads, c.head_dim), cos[at], sin[at])
            k = pt.rope(k.view(c.kv_heads, c.head_dim), cos[at], sin[at])
            v = v.view(c.kv_heads, c.head_dim)
            if cache is S8:
                (k, wide), (v, high) = scaled(k), scaled(v)
                key_scale[layer, :, at] = wide.view(c.kv_heads)
                value_scale[layer, :, at] = high.view(c.kv_heads)
            keys[layer, :, at] = k.to(cache)
            values[layer, :, at] = v.to(cache)
            q = q.view(c.kv_heads, c.group, c.head_dim)
            scales = (key_scale[layer, :, :length], value_scale[layer, :, :length]) if cache is S8 else ()
            mixed = attended(q, keys[layer, :, :length], values[layer, :, :length], scales)
            x = x + pt.matmul(mixed.view(1, -1), output[layer].T)
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + gated(h, gate[layer], up[layer], down[layer])
        logits = pt.matmul(pt.rms_norm(x, norm, c.eps), head.T)
        if best:
            candidates, ids = pt.topk(logits, best)
            return candidates, ids
        return logits

    return typed(decode, c, context, precision, cache)


def prefill_kernel(c: LlamaConfig, context: int, precision: Precision = EXACT, cache: DType = pt.f32, *,
                   every: bool = False, hidden: bool = False, best: int = 0) -> Any:
    """The kernel that takes the tokens of a text, and gives the logits after the last one, [1, vocab].

    `length` is how many positions are known with these: the tokens stand at positions length - count to length - 1.

    Args:
        precision, cache: of the weights, and of keys and values; all else is float32.
        every: give the logits after every token, [count, vocab].
        hidden: give what goes into each layer and comes out of the last one besides, [layers + 1, count, embed].
        best: give the best so many logits after the last one, and their tokens, [1, best] each.
    """
    @pt.tile_kernel
    def prefill(tokens: pt.s32["count"], length: pt.index, embed, attn_norm, query, key, value, output, ffn_norm, gate,
                up, down, norm, head, cos, sin, keys, values, key_scale=0, value_scale=0):
        count = tokens.shape[0]
        start = length - count
        turn = cos.narrow(0, start, count).unsqueeze(1), sin.narrow(0, start, count).unsqueeze(1)
        x = pt.embedding(tokens, embed).to(pt.f32)
        states: Any = pt.empty((c.layers + 1, count, c.embed)) if hidden else 0
        for layer in pt.range(c.layers):
            if hidden:
                states[layer] = x
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q = pt.rope(pt.matmul(h, query[layer].T).view(count, c.heads, c.head_dim), *turn)
            k = pt.rope(pt.matmul(h, key[layer].T).view(count, c.kv_heads, c.head_dim), *turn)
            v = pt.matmul(h, value[layer].T).view(count, c.kv_heads, c.head_dim)
            if cache is S8:
                (k, wide), (v, high) = scaled(k), scaled(v)
                key_scale[layer, :, start:length] = wide.view(count, c.kv_heads).transpose(0, 1)
                value_scale[layer, :, start:length] = high.view(count, c.kv_heads).transpose(0, 1)
            keys[layer, :, start:length] = k.to(cache).transpose(0, 1)
            values[layer, :, start:length] = v.to(cache).transpose(0, 1)
            k, v = keys[layer, :, :length], values[layer, :, :length]
            if cache is S8:  # all queries meet the numbers, which are made once
                k = k.to(pt.f32) * key_scale[layer, :, :length].unsqueeze(2)
                v = v.to(pt.f32) * value_scale[layer, :, :length].unsqueeze(2)
            mixed = pt.attention(q.transpose(0, 1), k, v, causal=True, start=start)
            x = x + pt.matmul(mixed.transpose(0, 1).contiguous().view(count, -1), output[layer].T)
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + gated(h, gate[layer], up[layer], down[layer])
        if hidden:
            states[c.layers] = x
        if not every:
            x = x.narrow(0, count - 1, 1)
        logits = pt.matmul(pt.rms_norm(x, norm, c.eps), head.T)
        if best:
            candidates, ids = pt.topk(logits, best)
            return candidates, ids
        if hidden:
            return logits, states
        return logits

    return typed(prefill, c, context, precision, cache)


def batch_kernel(c: LlamaConfig, context: int, precision: Precision = EXACT, cache: DType = pt.f32, *,
                 best: int) -> Any:
    """The kernel that takes one token of each of several texts; each weight is read once for all of them.

    The cache has an axis of texts after that of layers. The texts end at the same column of it; `length` columns are in
    use with these tokens. `mask` [texts, context] is added to the scores, and hides what lies before a text begins.
    `positions` are where the tokens stand in their texts. Gives the best logits and their tokens, [texts, best] each.

    Args:
        precision, cache: of the weights, and of keys and values; all else is float32.
    """
    @pt.tile_kernel
    def batch(tokens: pt.s32["texts"], positions: pt.s32["texts"], mask: pt.f32["texts", context], length: pt.index,
              embed, attn_norm, query, key, value, output, ffn_norm, gate, up, down, norm, head, cos, sin, keys,
              values, key_scale=0, value_scale=0):
        texts, at = tokens.shape[0], length - 1
        turn = pt.embedding(positions, cos).unsqueeze(1), pt.embedding(positions, sin).unsqueeze(1)
        hidden = mask.view(texts, 1, 1, context)[:, :, :, :length]

        def times(h: Any, matrix: Any) -> Any:  # one text after the other meets each tile of the matrix
            return pt.matmul(h.view(texts, 1, -1), matrix.T).view(texts, -1)

        x = pt.embedding(tokens, embed).to(pt.f32)
        for layer in pt.range(c.layers):
            h = pt.rms_norm(x, attn_norm[layer], c.eps)
            q = pt.rope(times(h, query[layer]).view(texts, c.heads, c.head_dim), *turn)
            k = pt.rope(times(h, key[layer]).view(texts, c.kv_heads, c.head_dim), *turn)
            v = times(h, value[layer]).view(texts, c.kv_heads, c.head_dim)
            if cache is S8:
                (k, wide), (v, high) = scaled(k), scaled(v)
                key_scale[layer, :, :, at] = wide.view(texts, c.kv_heads)
                value_scale[layer, :, :, at] = high.view(texts, c.kv_heads)
            keys[layer, :, :, at] = k.to(cache)
            values[layer, :, :, at] = v.to(cache)
            q = q.view(texts, c.kv_heads, c.group, c.head_dim)
            scales = (key_scale[layer, :, :, :length], value_scale[layer, :, :, :length]) if cache is S8 else ()
            mixed = attended(q, keys[layer, :, :, :length], values[layer, :, :, :length], scales, hidden)
            x = x + times(mixed.view(texts, -1), output[layer])
            h = pt.rms_norm(x, ffn_norm[layer], c.eps)
            x = x + gated(h, gate[layer], up[layer], down[layer], times)
        candidates, ids = pt.topk(times(pt.rms_norm(x, norm, c.eps), head), best)
        return candidates, ids

    return typed(batch, c, context, precision, cache, ("texts",))


def layer_kernel(c: LlamaConfig) -> Any:
    """The kernel of one layer alone: it adds keys and values at the end of those known, and gives the hidden states.

    `cos` and `sin` are the rows of the tokens; `mask` is added to the scores.
    """
    @pt.tile_kernel
    def layer(hidden: pt.f32["count", c.embed], attn_norm, query, key, value, output, ffn_norm, gate, up, down,
              cos: pt.f32["count", c.head_dim // 2], sin: pt.f32["count", c.head_dim // 2],
              mask: pt.f32["count", "known"], keys: pt.f32[c.kv_heads, "known", c.head_dim],
              values: pt.f32[c.kv_heads, "known", c.head_dim]):
        count, known = mask.shape
        turn = cos.unsqueeze(1), sin.unsqueeze(1)
        h = pt.rms_norm(hidden, attn_norm, c.eps)
        q = pt.rope(pt.matmul(h, query.T).view(count, c.heads, c.head_dim), *turn)
        keys[:, known - count:known] = pt.rope(pt.matmul(h, key.T).view(count, c.kv_heads, c.head_dim),
                                               *turn).transpose(0, 1)
        values[:, known - count:known] = pt.matmul(h, value.T).view(count, c.kv_heads, c.head_dim).transpose(0, 1)
        q = q.transpose(0, 1).contiguous().view(c.kv_heads, c.group, count, c.head_dim)
        scores = pt.matmul(q, keys.unsqueeze(1).transpose(-2, -1)) * c.head_dim**-0.5 + mask
        mixed = pt.matmul(pt.softmax(scores), values.unsqueeze(1)).view(c.heads, count, c.head_dim)
        x = hidden + pt.matmul(mixed.transpose(0, 1).contiguous().view(count, -1), output.T)
        h = pt.rms_norm(x, ffn_norm, c.eps)
        return x + gated(h, gate, up, down)

    for kind in LAYER:
        layer.declare(kind.name, pt.f32[kind.extents(c)])
    return layer
