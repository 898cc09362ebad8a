"""Quantised models: the NumPy reference of the same codes, the perplexity of the real model, what they weigh."""

from __future__ import annotations

import numpy as np
import pytest

from pto.models.catalog import find
from pto.models.llama.generate import encode
from pto.models.llama.model import Llama
from pto.models.llama.precision import PRECISIONS
from pto.models.reference import Reference
from pto.quant.forms import Packed
from tests.models.golden import needs_smollm2, texts

TINY = find("tiny")
TEXT = "The old man took the small boat, and the "
QUANTISED = [row.name for row in PRECISIONS if row.activation]
LIMITS = {"w8a16": 20.96, "w8a14": 20.96, "w8a8": 21.6, "w4a14": 20.757, "ternary3": 20.757}


def plain(weights):
    """Weights as float32 arrays."""
    return {name: (w.dequantise() if isinstance(w, Packed) else w.astype(np.float32)) for name, w in weights.items()}


@pytest.mark.parametrize("precision", QUANTISED)
def test_a_quantised_model_is_near_numpy_on_its_weights(precision):
    """Exact but for the rounding of activations; in one piece and token by token."""
    model = Llama.load(TINY, context=96, precision=precision)
    ids = encode(model, TEXT)
    want, one = Reference(model.config, plain(model.weights))(ids), model.session()
    allowed = {"a16": 1e-3, "a14": 2e-2, "a8": 1.0}[model.precision.activation]
    whole = model.session().score(ids)
    singly = np.stack([one.feed([i]) for i in ids])
    assert np.abs(whole - want).max() < allowed
    assert np.abs(singly - want).max() < allowed
    assert np.abs(singly - want).mean() < allowed / 4


@pytest.mark.parametrize("precision", QUANTISED)
def test_matrices_are_in_fewer_bits(precision):
    exact, model = (Llama.load(TINY, context=8, precision=name) for name in ("f32", precision))
    for name, weights in model.weights.items():
        if isinstance(weights, Packed):
            assert weights.nbytes < 0.35 * exact.weights[name].nbytes
            wrong = weights.dequantise() - exact.weights[name]
            four = name != "head" and model.precision.layers == "q4_1"
            assert np.linalg.norm(wrong) < (0.12 if four else 0.02) * np.linalg.norm(exact.weights[name])
    arrays = {n for n, w in model.weights.items() if not isinstance(w, Packed)}
    assert arrays == {"embed", "attn_norm", "ffn_norm", "norm"}


@needs_smollm2
@pytest.mark.parametrize("precision", LIMITS)
def test_the_perplexity_of_the_fixed_text(precision):
    model, ids = Llama.load(find("smollm2-135m"), context=640, precision=precision), texts()["text_ids"]
    rows = model.session().score(ids)[:-1].astype(np.float64)
    rows -= rows.max(-1, keepdims=True)
    nll = np.log(np.exp(rows).sum(-1)) - rows[np.arange(len(rows)), ids[1:]]
    assert np.exp(nll.mean()) <= LIMITS[precision]
