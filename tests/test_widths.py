"""Every kernel of the examples at all widths from 1 to 257, where widths apply: one program serves them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
WIDTHS = range(1, 258)
FEW = 4  # programs: extents of 1 broadcast, and have some of their own


@cache
def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def into(kernel: Any, *arguments: np.ndarray, like: np.ndarray) -> np.ndarray:
    """What a kernel writes to its last argument."""
    out = np.full_like(like, np.nan)
    kernel(*arguments, out)
    return out


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attended(n: int) -> tuple[Any, Any]:
    arguments = some(5, 64), some(n, 64), some(n, 64) + 1
    return arguments, example("05_flash_attention").reference(*arguments)


def layered(n: int) -> tuple[Any, Any]:
    arguments = some(2, 5, 16), some(2, n, 16), some(2, n, 16) + 1
    return arguments, example("attention_layer").reference(*arguments)


CASES: dict[str, tuple[str, Callable[[Any, int], tuple[Any, Any]]]] = {
    "add": ("01_vector_add", lambda k, n: (k(some(n), some(n) + 1), some(n) + (some(n) + 1))),
    "add_by_hand": ("01_vector_add", lambda k, n: (into(k, some(n), some(n), like=some(n)), some(n) * 2)),
    "softmax": ("02_softmax", lambda k, n: (k(some(3, n)), softmax(some(3, n)))),
    "softmax_by_hand": ("02_softmax", lambda k, n: (into(k, some(17, n), like=some(17, n)), softmax(some(17, n)))),
    "matmul": ("03_matmul", lambda k, n: (k(some(9, n), some(n, 5)), some(9, n) @ some(n, 5))),
    "matmul_by_hand": ("03_matmul", lambda k, n: (k(some(n, 5), some(5, n)), some(n, 5) @ some(5, n))),
    "flash_attention": ("05_flash_attention", lambda k, n: (k(*attended(n)[0]), attended(n)[1])),
    "attention_layer": ("attention_layer", lambda k, n: (k(*layered(n)[0]), layered(n)[1])),
}


@pytest.mark.parametrize("name", CASES)
def test_every_width(name):
    file, run = CASES[name]
    kernel = getattr(example(file), name)
    for width in WIDTHS:
        got, want = run(kernel, width)
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=f"width {width}")
    assert sum(map(len, kernel.variants.values())) <= FEW


def test_layer_norm_at_every_height():
    kernel, w = example("04_layer_norm").layer_norm, some(768)
    for height in (*range(1, 40), 255, 256, 257):
        x = some(height, 768)
        want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + w
        np.testing.assert_allclose(kernel(x, w, w), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 2), (8, 8, 16), (17, 33, 3), (9, 2, 257)])
def test_convolutions_of_any_image(size):
    module, (height, width, channels) = example("08_convolution"), size
    arguments = some(height, width, channels), some(3, 3, channels, 7), some(7)
    np.testing.assert_allclose(module.block(*arguments), module.reference(*arguments), rtol=1e-3, atol=2e-4)
