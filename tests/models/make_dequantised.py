"""Writes tests/data/dequantised.npz with the package gguf: `python -m tests.models.make_dequantised`."""

from pathlib import Path

import gguf
import numpy as np

from pto.quant.blocks import STORAGES

BLOCKS = 96


def main() -> None:
    rng, found = np.random.default_rng(2026), {}
    for row in STORAGES:
        raw = rng.integers(0, 256, (BLOCKS, row.record.itemsize), np.uint8)
        raw[0] = 0xFF  # scales that are no number
        with np.errstate(all="ignore"):
            values = gguf.dequantize(raw.reshape(1, -1), gguf.GGMLQuantizationType[row.name])
        found[f"{row.name}_raw"], found[f"{row.name}_values"] = raw, values.reshape(-1).view(np.uint32)
    np.savez_compressed(Path(__file__).parents[1] / "data" / "dequantised.npz", **found)


if __name__ == "__main__":
    main()
