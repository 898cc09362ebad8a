"""Rotary position embedding: frequencies, their scaling, and the tables that kernels read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pto.models.config import LlamaConfig, RopeScaling


def frequencies(config: LlamaConfig) -> NDArray[np.float64]:
    """Radians a position for each pair of channels (i, i + head_dim / 2), [head_dim / 2]."""
    half = config.head_dim // 2
    plain = config.rope_base ** -(np.arange(half, dtype=np.float64) / half)
    return plain if config.scaling is None else plain / np.array(config.scaling.divisors, np.float64)


def rope_tables(config: LlamaConfig, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines for positions 0 to length - 1, each [length, head_dim / 2], computed in float64."""
    angles = np.outer(np.arange(length, dtype=np.float64), frequencies(config))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def llama3_scaling(head_dim: int, rope_base: float, factor: float, low: float, high: float,
                   original_context: int) -> RopeScaling:
    """The rule of Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, a smooth step between.

    Args:
        low, high: wavelengths above ``original_context / low`` are stretched, below ``original_context / high`` kept.
    """
    half = head_dim // 2
    wavelengths = 2 * math.pi * rope_base ** (np.arange(half, dtype=np.float64) / half)
    kept = np.clip((original_context / wavelengths - low) / (high - low), 0.0, 1.0)
    with np.errstate(all="ignore"):  # of constants that make no sense: what comes out is refused as a divisor
        return RopeScaling("llama3", tuple((1 / ((1 - kept) / factor + kept)).tolist()))
