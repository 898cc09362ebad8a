"""A layer as an operation: chained, it is the model; batches, masks and a past change nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pto.core.errors import PtoError
from pto.models.config import LlamaConfig
from pto.models.llama.layer import INPUTS, OPTIONAL, WEIGHTS, LlamaDecoderLayer
from pto.models.reference import Reference
from pto.models.rope import rope_tables
from pto.models.tensors import KINDS

BASE = LlamaConfig(layers=2, embed=24, ffn=40, heads=4, kv_heads=2, head_dim=8, vocab=50, context=40, rope_base=1e4,
                   eps=1e-5, tied=False)


def weights(config: LlamaConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k.name: rng.standard_normal(k.shape(config), dtype=np.float32) / 8 + k.is_norm for k in KINDS}


def inputs(config, kinds, layer, hidden, start, past=None, mask=None):
    cos, sin = rope_tables(config, config.context)
    batch, count = hidden.shape[:2]
    positions = np.broadcast_to(np.arange(start, start + count), (batch, count))
    found = {"hidden": hidden, **{n: kinds[n][layer] for n in WEIGHTS}, "positions": positions, "cos": cos, "sin": sin}
    return found | ({"past_key": past[0], "past_value": past[1]} if past else {}) | ({"mask": mask} if mask is not None
                                                                                     else {})


def logits(config, kinds, hidden):
    scale = 1 / np.sqrt((hidden**2).mean(-1, keepdims=True) + np.float32(config.eps))
    return hidden * scale * kinds["norm"] @ kinds["head"].T


@pytest.mark.parametrize("config", [BASE, replace(BASE, kv_heads=4), replace(BASE, embed=7, ffn=9, heads=1,
                                                                             kv_heads=1)],
                         ids=["grouped", "plain", "odd"])
def test_layers_in_a_row_are_the_model(config):
    kinds, operation = weights(config), LlamaDecoderLayer(config)
    ids = np.random.default_rng(1).integers(0, config.vocab, (2, 9))
    want = np.stack([Reference(config, kinds)(row.tolist()) for row in ids])
    pasts: list = [None] * config.layers
    got = []
    for part in (slice(0, 5), slice(5, 6), slice(6, 9)):
        hidden = kinds["embed"][ids[:, part]]
        for layer in range(config.layers):
            out = operation.execute(inputs(config, kinds, layer, hidden, part.start, pasts[layer]))
            hidden, pasts[layer] = out["hidden"], (out["key"], out["value"])
        got.append(logits(config, kinds, hidden))
    assert np.allclose(np.concatenate(got, 1), want, atol=1e-4)
    assert pasts[0][0].shape == (2, config.kv_heads, 9, config.head_dim)


def test_a_mask_hides_what_pads_a_batch():
    kinds, operation = weights(BASE), LlamaDecoderLayer(BASE)
    rng = np.random.default_rng(2)
    short = rng.standard_normal((1, 3, BASE.embed), dtype=np.float32)
    padded = np.concatenate([rng.standard_normal((1, 2, BASE.embed), dtype=np.float32), short], 1)
    mask = np.triu(np.full((1, 5, 5), -np.inf, np.float32), 1)
    mask[0, 2:, :2] = -np.inf
    given = inputs(BASE, kinds, 0, padded, 0, mask=mask)
    given["positions"] = np.array([[0, 0, 0, 1, 2]])
    want = operation.execute(inputs(BASE, kinds, 0, short, 0))["hidden"]
    assert np.allclose(operation.execute(given)["hidden"][:, 2:], want, atol=1e-5)


@pytest.mark.parametrize(("change", "message"), [
    ({"hidden": None}, "needs the input hidden"), ({"extra": 1}, "no input extra"),
    ({"positions": np.full((1, 3), 40)}, "not within the tables of 40 rows"),
    ({"positions": np.zeros((1, 2), int)}, "positions are"), ({"hidden": np.zeros((3, 24), np.float32)}, "3|2 axes"),
    ({"query": np.zeros((5, 24), np.float32)}, "query"), ({"mask": np.zeros((1, 3, 9), np.float32)}, "9"),
    ({"past_key": np.zeros((1, 2, 4, 8), np.float32)}, "different shapes"),
])
def test_inputs_that_do_not_fit_are_refused(change, message):
    given = inputs(BASE, weights(BASE), 0, np.zeros((1, 3, BASE.embed), np.float32), 0) | change
    with pytest.raises(PtoError, match=message):
        LlamaDecoderLayer(BASE).execute(given)


def test_the_names_of_inputs_are_known():
    assert set(OPTIONAL) < set(INPUTS)
