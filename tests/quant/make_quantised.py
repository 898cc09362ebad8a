"""Writes tests/data/quantised.npz with the package gguf: `python -m tests.quant.make_quantised`."""

from pathlib import Path

import gguf
import numpy as np

from pto.quant.blocks import STORAGES

BLOCKS = 200
NAMES = tuple(row.name for row in STORAGES if row.name != "F32")


def values() -> np.ndarray:
    """Blocks of many sizes, of zeros, of one sign, of ties."""
    rng = np.random.default_rng(2026)
    found = rng.standard_normal((BLOCKS, 32)) * 10.0 ** rng.integers(-6, 4, (BLOCKS, 1))
    found[0], found[1], found[2] = 0, np.abs(found[1]), np.arange(32) / 2 - 8
    return found.astype(np.float32)


def main() -> None:
    array = values()
    made = {name: gguf.quantize(array.reshape(1, -1), gguf.GGMLQuantizationType[name]).view(np.uint8).reshape(-1)
            for name in NAMES}
    np.savez_compressed(Path(__file__).parents[1] / "data" / "quantised.npz", values=array, **made)


if __name__ == "__main__":
    main()
