"""The golden data of SmolLM2-135M-Instruct; see tests/data/README.md."""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pto.models import gguf
from pto.models.catalog import MODELS
from pto.models.config import LlamaConfig
from pto.models.gguf_llama import read_vocabulary
from pto.models.tokenizer import Tokenizer, build

DATA = Path(__file__).parents[1] / "data" / "smollm2"
SMOLLM2 = LlamaConfig(
    layers=30, embed=576, ffn=1536, heads=9, kv_heads=3, head_dim=64, vocab=49152, context=8192, rope_base=100000.0,
    eps=9.999999747378752e-06, tied=True, bos=1, stop=(2,),
)
needs_smollm2 = pytest.mark.skipif(not MODELS["smollm2-135m"].present, reason="pto model pull smollm2-135m")


@cache
def metadata() -> gguf.GgufFile:
    return gguf.parse(lzma.decompress((DATA / "metadata.gguf.xz").read_bytes()), "metadata.gguf")


@cache
def vocabulary():
    return read_vocabulary(metadata(), SMOLLM2)


@cache
def tokenizer() -> Tokenizer:
    pytest.importorskip("tokenizers")
    return build(vocabulary(), SMOLLM2)


@cache
def cases() -> list[tuple[str, list[int]]]:
    return [(text, ids) for text, ids in json.loads(lzma.decompress((DATA / "tokenizer_cases.json.xz").read_bytes()))]


@cache
def texts() -> dict[str, Any]:
    return dict(json.loads((DATA / "golden.json").read_text()))


@cache
def logits() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "logits.npz"))
