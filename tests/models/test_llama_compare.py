"""Two precisions of a model on one text: what is compared is what the programs compute."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from pto.core.errors import UsageError
from pto.models import reference
from pto.models.catalog import find
from pto.models.llama import compare as module
from pto.models.llama.compare import compare, perplexity, surprise
from pto.models.llama.generate import encode
from pto.models.llama.model import Llama
from pto.models.llama.precision import PRECISIONS
from tests.models.files import SMALL, random_weights
from tests.models.golden import needs_smollm2, texts

TEXT = "Once upon a time, Emma rode to the busy mill. There she met a clever owl."


def load(precision: str = "f32", name: str = "tiny", context: int = 96) -> Llama:
    return Llama.load(find(name), context=context, precision=precision)


@pytest.fixture(scope="module")
def tiny() -> Llama:
    return load()


@pytest.mark.parametrize("precision", [row.name for row in PRECISIONS])
def test_hidden_states_are_those_behind_the_logits(precision):
    """The program that stores them gives the bits of the one that does not, after a known beginning too."""
    model = load(precision)
    ids = encode(model, TEXT)
    whole, parts = model.session(), model.session()
    states, logits = whole.hidden(ids)
    assert states.shape == (model.config.layers + 1, len(ids), model.config.embed)
    np.testing.assert_array_equal(logits, model.session().score(ids))
    first, rest = parts.hidden(ids[:5]), parts.hidden(ids[5:])
    np.testing.assert_allclose(np.concatenate((first[0], rest[0]), 1), states, atol=0.5 if "a8" in precision else 2e-3)


def test_hidden_states_are_near_those_of_numpy(tiny, monkeypatch):
    ids, seen, original = encode(tiny, TEXT), [], reference.rms_norm

    def noted(x, weight, eps):
        seen.append(x)
        return original(x, weight, eps)

    monkeypatch.setattr(reference, "rms_norm", noted)  # before attention, before the products, and at the end
    wanted = reference.Reference(tiny.config, tiny.weights)(ids)
    states, logits = tiny.session().hidden(ids)
    np.testing.assert_allclose(states, np.stack(seen[::2]), atol=1e-3)
    np.testing.assert_allclose(logits, wanted, atol=1e-3)


def test_a_model_is_itself(tiny):
    found = compare(tiny, load(), encode(tiny, TEXT))
    assert [row.name for row in found.rows] == ["embedding", "layer 0", "layer 1", "layer 2", "layer 3", "logits"]
    assert {(row.cosine, row.sqnr, row.largest) for row in found.rows} == {(1.0, math.inf, 0.0)}
    assert found.same == 1.0 and found.perplexities[0] == found.perplexities[1] == perplexity(tiny, encode(tiny, TEXT))


def test_fewer_bits_are_farther_away(tiny):
    ids = encode(tiny, TEXT)
    worse = [compare(tiny, load(name), ids).rows for name in ("f16", "w8a14", "w8a8", "w4a14", "ternary")]
    for near, far in pairwise(worse):
        for a, b in zip(near[1:], far[1:], strict=True):  # all have the embedding in float16
            assert a.sqnr > b.sqnr and a.cosine > b.cosine and a.largest < b.largest


def test_parts_of_a_text_are_added_up(tiny, monkeypatch):
    """Texts longer than the context are cut; the sums are those of the whole arrays."""
    ours, ids = load("w8a8", context=32), encode(tiny, TEXT)
    assert len(ids) > 64
    pairs = [(a.session().hidden(part), b.session().hidden(part)) for a, b in [(tiny, ours)]
             for part in (ids[:32], ids[32:64], ids[64:])]
    monkeypatch.setattr(module, "PART", 7)
    found = compare(tiny, ours, ids)
    a, b = (np.concatenate([pair[side][1] for pair in pairs]).astype(np.float64) for side in (0, 1))
    logits = found.rows[-1]
    assert logits.cosine == pytest.approx((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()), rel=1e-3)
    assert logits.sqnr == pytest.approx(10 * math.log10((a * a).sum() / ((a - b) ** 2).sum()), rel=0.1)
    assert found.tokens == len(ids)
    assert found.perplexities[1] == pytest.approx(perplexity(ours, ids), rel=1e-9)


def test_a_perplexity_is_that_of_the_probabilities(tiny):
    ids = encode(tiny, "A dog")
    logits = tiny.session().score(ids).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    likely = chances[range(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(surprise(logits[:-1].astype(np.float32), ids[1:]), -np.log(likely), atol=1e-5)
    assert perplexity(tiny, ids) == pytest.approx(likely.prod() ** (-1 / len(likely)), rel=1e-5)
    assert math.isnan(compare(tiny, tiny, ids[:1]).perplexities[0])


def test_what_cannot_be_compared(tiny):
    with pytest.raises(UsageError, match="different models: layers is 4 and 3"):
        compare(tiny, Llama(SMALL, random_weights(SMALL), SMALL.context), [1, 2])
    with pytest.raises(UsageError, match="no token to compare after"):
        compare(tiny, tiny, [])
    with pytest.raises(UsageError, match="not in a vocabulary of 257"):
        compare(tiny, tiny, [1, 257])
    for ids in ([], [1]):
        with pytest.raises(UsageError, match="two tokens or more"):
            perplexity(tiny, ids)


@needs_smollm2
def test_the_fetched_model_in_8_bits():
    exact, ours = (Llama.load(find("smollm2-135m"), context=640, precision=name) for name in ("f32", "w8a16"))
    found = compare(exact, ours, texts()["text_ids"])
    assert len(found.rows) == 32 and found.rows[-1].cosine > 0.999 and found.same > 0.95
    assert found.perplexities[0] == pytest.approx(20.747, abs=0.01)
