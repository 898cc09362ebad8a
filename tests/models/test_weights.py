"""Loading holds the weights, and little else."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from pto.core.errors import PtoFormatError
from pto.models import weights
from pto.models.checkpoint import open_checkpoint
from pto.models.export import save_gguf
from pto.models.weights import load_weights
from tests.models.files import SMALL, random_weights, save_folder

LARGE = replace(SMALL, layers=2, embed=512, ffn=2048, heads=8, kv_heads=4, head_dim=64, vocab=257, bos=256, stop=())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("storage", ["F32", "Q8_0"])
def test_memory_beside_the_weights_is_bounded(dtype, storage, tmp_path):
    save_gguf(tmp_path / "m.gguf", LARGE, random_weights(LARGE), storage)
    found = open_checkpoint(tmp_path / "m.gguf")
    tracemalloc.start()
    weights = load_weights(found, dtype)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(array.nbytes for name, array in weights.items() if name != "head")
    assert held == found.parameters * np.dtype(dtype).itemsize
    assert peak < held + 4 * 2**20
    assert all(array.flags.c_contiguous for array in weights.values())


def test_what_fails_in_one_tensor_ends_the_loading(tmp_path, monkeypatch):
    found = open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL)))
    count = 0

    def failing(*_):
        nonlocal count
        count += 1
        raise PtoFormatError("the file was truncated while in use")
    monkeypatch.setattr(weights, "read_into", failing)
    with pytest.raises(PtoFormatError, match="truncated"):
        weights.load_weights(found)
    assert 1 <= count <= 3 + 9 * SMALL.layers
