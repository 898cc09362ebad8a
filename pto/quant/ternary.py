"""Ternary codes: which weights are -1, 0 and 1, and the magnitude that a block of them shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.quant.schemes import Floats

Rule = Callable[[Floats], tuple[NDArray[np.int8], Floats]]
THRESHOLD = np.float32(0.7)  # times the mean magnitude (Li and Liu, 2016)


def _means(total: Floats, count: NDArray[Any]) -> Floats:
    return np.asarray(np.divide(total, count, out=np.zeros_like(total), where=count > 0), np.float32)


def mean(parts: Floats) -> tuple[NDArray[np.int8], Floats]:
    """What is above 0.7 times the mean magnitude counts; the scale is the mean of what does. Blocks are [..., n]."""
    size = np.abs(parts)
    counts = size > THRESHOLD * size.mean(-1, keepdims=True)
    scale = _means(np.where(counts, size, 0).sum(-1), counts.sum(-1))
    return (np.sign(parts) * counts).astype(np.int8), scale


def absmean(parts: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Rounded multiples of the mean magnitude, cut at -1 and 1; that is the scale."""
    scale = np.asarray(np.abs(parts).mean(-1), np.float32)
    grid = np.divide(parts, scale[..., None], out=np.zeros_like(parts), where=scale[..., None] > 0)
    return np.clip(np.rint(grid), -1, 1).astype(np.int8), scale


def optimal(parts: Floats) -> tuple[NDArray[np.int8], Floats]:
    """The least mean square error: the m largest magnitudes count, where (their sum)^2 / m is largest."""
    size = np.abs(parts)
    order = np.argsort(-size, axis=-1, kind="stable")
    sums = np.cumsum(np.take_along_axis(size, order, -1).astype(np.float64), -1)
    count = 1 + np.argmax(sums**2 / np.arange(1, size.shape[-1] + 1), -1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(size.shape[-1]), order.shape), -1)
    counts = rank < count[..., None]
    scale = np.take_along_axis(sums, count[..., None] - 1, -1)[..., 0] / count
    return (np.sign(parts) * counts).astype(np.int8), scale.astype(np.float32)


RULES: dict[str, Rule] = {"mean": mean, "absmean": absmean, "optimal": optimal}
