"""Arrays of random numbers that a test draws: the same ones whichever tests ran before it in the process."""

from __future__ import annotations

from zlib import crc32

import numpy as np

_NUMBERS = np.random.default_rng(0)


def start(name: str) -> None:
    """Draw, from here on, what belongs to a name."""
    _NUMBERS.bit_generator.state = np.random.default_rng(crc32(name.encode())).bit_generator.state


def some(*shape: int) -> np.ndarray:
    """Normal numbers in float32, others at each call."""
    return _NUMBERS.standard_normal(shape, dtype=np.float32)


def fixed(seed: int, *shape: int) -> np.ndarray:
    """The same for what is made when a file is imported, in whatever order."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
