"""Quantised models: the NumPy reference of the same codes, the perplexity of the real model, what they weigh."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pto.models.catalog import find
from pto.models.checkpoint import open_checkpoint
from pto.models.llama.compare import perplexity
from pto.models.llama.decoder import decode_kernel
from pto.models.llama.generate import encode, generate
from pto.models.llama.model import Llama
from pto.models.llama.precision import PRECISIONS
from pto.models.llama.read import fastest
from pto.models.reference import Reference
from pto.quant.blocks import BY_NAME as BLOCKS
from pto.quant.forms import Packed
from tests.models.golden import needs_smollm2, texts
from tools.grammar import held_out, sentence_pattern, split

TRAINED = 1.173636  # the twin's perplexity as its training computed it, in float32; tools/train_tiny.py printed it
TEXT = "The old man took the small boat, and the "
QUANTISED = [row.name for row in PRECISIONS if row.activation]
LIMITS = {"w8a16": 20.96, "w8a14": 20.96, "w8a8": 21.6, "w4a14": 20.757, "ternary3": 20.757}


def file(precision):
    """The shipped model; for ternary weights that one which was trained with them."""
    return find("tiny-ternary" if precision == "ternary" else "tiny")


def loaded(precision, context=96):
    return Llama.load(file(precision), context=context, precision=precision)


def plain(weights):
    """Weights as float32 arrays."""
    return {name: (w.dequantise() if isinstance(w, Packed) else w.astype(np.float32)) for name, w in weights.items()}


@pytest.mark.parametrize("precision", QUANTISED)
def test_a_quantised_model_is_near_numpy_on_its_weights(precision):
    """Exact but for the rounding of activations; in one piece and token by token."""
    model = loaded(precision)
    ids = encode(model, TEXT)
    want, one = Reference(model.config, plain(model.weights))(ids), model.session()
    allowed = {"a16": 1e-3, "a14": 2e-2, "a8": 1.0}[model.precision.activation]
    whole = model.session().score(ids)
    singly = np.stack([one.feed([i]) for i in ids])
    assert np.abs(whole - want).max() < allowed
    assert np.abs(singly - want).max() < allowed
    assert np.abs(singly - want).mean() < allowed / 4


def test_what_is_chosen_follows_from_the_file():
    checkpoint = open_checkpoint(find("tiny"))
    assert Llama.load(find("tiny"), context=8).precision.name == fastest(checkpoint).name == "w8a14"
    four = {name: tuple(replace(t, storage=BLOCKS["Q4_1"]) for t in group)
            for name, group in checkpoint.tensors.items()}
    assert fastest(replace(checkpoint, tensors=four)).name == "w4a14"
    mixed = {**four, "down": checkpoint.tensors["down"]}
    assert fastest(replace(checkpoint, tensors=mixed)).name == "w8a14"
    both = {**four, "down": tuple(replace(t, storage=BLOCKS["Q4_0"]) for t in four["down"])}
    assert fastest(replace(checkpoint, tensors=both)).name == "w4a14"


@pytest.mark.parametrize("precision", ["auto", "w4a14", "ternary3"])
def test_four_bit_blocks_of_either_kind_stay_what_they_are(precision):
    """The twin's matrices are in blocks of Q4_0."""
    exact, model = (Llama.load(find("tiny-ternary"), context=8, precision=name) for name in ("f32", precision))
    assert model.precision.name == ("w4a14" if precision == "auto" else precision)
    for name in ("query", "key", "value", "output", "gate", "up", "down"):
        np.testing.assert_array_equal(model.weights[name].dequantise(), exact.weights[name])


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_best_tokens_are_those_of_the_logits(precision):
    model = loaded(precision)
    ids = encode(model, TEXT)
    for part in (ids, ids[:1]):
        logits = model.session().feed(part)
        values, tokens = model.session().best(part, 4)
        np.testing.assert_allclose(values, np.sort(logits)[::-1][:4], rtol=1e-5)
        assert tokens[0] == logits.argmax()


@pytest.mark.parametrize("precision", QUANTISED)
def test_matrices_are_in_fewer_bits(precision):
    exact, model = Llama.load(file(precision), context=8, precision="f32"), loaded(precision, 8)
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
    model = Llama.load(find("smollm2-135m"), context=640, precision=precision)
    assert perplexity(model, texts()["text_ids"]) <= LIMITS[precision]


def test_the_ternary_twin_is_as_good_as_its_training_says():
    twin, exact = loaded("ternary", 512), Llama.load(find("tiny"), context=512, precision="f32")
    found = perplexity(twin, held_out())
    assert abs(found / TRAINED - 1) < 2e-4
    assert found < 1.002 * perplexity(exact, held_out())


def test_the_ternary_twin_tells_a_story_of_the_grammar():
    said = split(f"Once upon a time{generate(loaded('ternary', 512), 'Once upon a time', limit=400)}")
    assert len(said) >= 3 and all(sentence_pattern().fullmatch(sentence.strip()) for sentence in said)


def test_a_token_of_the_ternary_twin_multiplies_no_weights_of_layers():
    """Products with weights of layers are additions and subtractions; the head's, and the two of attention, are not."""
    twin = loaded("ternary", 8)
    decode = decode_kernel(twin.config, 8, twin.precision)
    decode(0, 1, *twin.arguments, *twin.cache())
    names = [inst.spec.mnemonic for inst in decode.program().code]
    products = Counter(name for name in names if name.startswith(("tgemv", "tgemm", "tmatmul")))
    assert products == {"tgemv_t2": 7, "tgemv_stream": 1, "tgemm_stream": 1, "tgemm_stream_rows": 1}
