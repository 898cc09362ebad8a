"""A Llama in plain NumPy, float32: slow, short, and what the decoder on the machine is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.models.config import LlamaConfig
from pto.models.rope import rope_tables
from pto.models.tensors import BY_NAME

Array = NDArray[Any]  # of float32


class Reference:
    """A model and the cache of one text.

    Attributes:
        length: positions in the cache.
        keys, values: [layers, kv_heads, context, head_dim]; keys are already rotated.
    """

    def __init__(self, config: LlamaConfig, weights: Mapping[str, NDArray[Any]], context: int | None = None) -> None:
        self.config, self.weights, self.length = config, weights, 0
        context = min(context or config.context, config.context)
        self.keys = np.zeros((config.layers, config.kv_heads, context, config.head_dim), np.float32)
        self.values = np.zeros_like(self.keys)
        self.cos, self.sin = rope_tables(config, context)

    def __call__(self, ids: list[int]) -> Array:
        """Logits [len(ids), vocab] after each of the ids, which follow what the cache holds."""
        x = self.weights["embed"][ids].astype(np.float32)
        for layer in range(self.config.layers):
            w = {name: array[layer] for name, array in self.weights.items() if BY_NAME[name].per_layer}
            x = x + self._attention(rms_norm(x, w["attn_norm"], self.config.eps), w, layer)
            h = rms_norm(x, w["ffn_norm"], self.config.eps)
            x = x + (silu(h @ w["gate"].T) * (h @ w["up"].T)) @ w["down"].T
        self.length += len(ids)
        logits: Array = rms_norm(x, self.weights["norm"], self.config.eps) @ self.weights["head"].T
        return logits

    def _attention(self, h: Array, w: Mapping[str, Array], layer: int) -> Array:
        c, start, stop = self.config, self.length, self.length + len(h)
        q, k, v = ((h @ w[name].T).reshape(len(h), -1, c.head_dim).swapaxes(0, 1) for name in ("query", "key", "value"))
        self.keys[layer, :, start:stop] = rotated(k, self.cos[start:stop], self.sin[start:stop])
        self.values[layer, :, start:stop] = v
        q = rotated(q, self.cos[start:stop], self.sin[start:stop]).reshape(c.kv_heads, -1, c.head_dim)
        scores = q @ self.keys[layer, :, :stop].swapaxes(1, 2) / np.float32(c.head_dim**0.5)
        seen = np.arange(stop) <= np.tile(np.arange(start, stop), c.group)[:, None]
        mixed = softmax(np.where(seen, scores, np.float32(-np.inf))) @ self.values[layer, :, :stop]
        joined: Array = mixed.reshape(c.heads, len(h), c.head_dim).swapaxes(0, 1).reshape(len(h), -1)
        return joined @ w["output"].T


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x [n, channels] scaled to a root mean square of one, times the weights."""
    scale: Array = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps))
    return x * scale * weight


def silu(x: Array) -> Array:
    """x times its logistic."""
    with np.errstate(over="ignore"):
        scaled: Array = x / (1 + np.exp(-x))
    return scaled


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def rotated(x: Array, cos: Array, sin: Array) -> Array:
    """Pairs of channels (i, i + half) of x [heads, n, head_dim] turned by the angle of their position."""
    low, high = np.split(x, 2, axis=-1)
    return np.concatenate((low * cos - high * sin, high * cos + low * sin), axis=-1)
