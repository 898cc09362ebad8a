"""The NumPy Llama: against golden data of SmolLM2, against itself, and telling stories."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from pto.models import tokenizer
from pto.models.catalog import CATALOG, MODELS, find
from pto.models.checkpoint import open_checkpoint
from pto.models.reference import Reference
from pto.models.sampling import Sampling, choose
from pto.models.weights import load_weights
from tests.models import golden
from tests.models.files import OWN_HEAD, SMALL, random_weights
from tools.grammar import sentence_pattern, split, stories

TINY = open_checkpoint(find("tiny"))


@pytest.mark.parametrize("config", [SMALL, OWN_HEAD], ids=["tied", "own head"])
def test_prefill_and_one_by_one_agree(config):
    weights, ids = random_weights(config), [1, 7, 3, 3, 40, 9, 2]
    whole = Reference(config, weights)(ids)
    model = Reference(config, weights)
    parts = np.concatenate([model(ids[:3]), model(ids[3:4]), model(ids[4:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4)
    assert model.length == len(ids)


def test_the_future_is_not_seen():
    weights = random_weights(SMALL)
    one, other = (Reference(SMALL, weights)([5, 6, last]) for last in (7, 8))
    np.testing.assert_array_equal(one[:2], other[:2])
    assert abs(one[2] - other[2]).max() > 1e-3


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    shifted = (logits - logits.max(axis=-1, keepdims=True)).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def smollm2():
    found = open_checkpoint(find("smollm2-135m"))
    assert found.config == golden.SMOLLM2 and found.parameters == 134_515_008 and found.file_bytes == 96_576_768
    return found.config, load_weights(found)


@golden.needs_smollm2
def test_the_golden_text(smollm2):
    ids, expected = golden.texts()["text_ids"], golden.logits()
    logits = Reference(*smollm2, context=len(ids))(ids)
    np.testing.assert_allclose(np.take_along_axis(logits, expected["text_top8_ids"], 1), expected["text_top8_logits"],
                               atol=1e-3, rtol=0)
    np.testing.assert_array_equal(logits.argmax(axis=1), expected["text_argmax"])
    loss = -log_probabilities(logits)[np.arange(len(ids) - 1), ids[1:]]
    np.testing.assert_allclose(loss, expected["text_nll"], atol=1e-3)
    assert abs(np.exp(loss.mean()) - 20.747) < 0.01


@golden.needs_smollm2
@pytest.mark.parametrize("prompt", ["capital", "story", "chat_gravity"])
def test_the_golden_prompts(smollm2, prompt):
    """Logits after the prompt, and after each golden token where the two best are far enough apart."""
    found, expected = golden.texts()["prompts"][prompt], golden.logits()
    ids, told = found["ids"], found["greedy64_fp32"]
    logits = Reference(*smollm2, context=len(ids) + len(told))(ids + told[:-1])
    np.testing.assert_allclose(logits[len(ids) - 1, expected["columns"]], expected[f"last_{prompt}"], atol=1e-3, rtol=0)
    if prompt == "chat_gravity":
        np.testing.assert_allclose(logits[:len(ids):4, expected["columns"]], expected["full_chat_gravity_every4"],
                                   atol=1e-3, rtol=0)
    sure = np.array(found["top2_gap_fp32"]) > 1e-3
    np.testing.assert_array_equal(logits[len(ids) - 1:].argmax(axis=1)[sure], np.array(told)[sure])


def test_the_shipped_model_is_the_one_in_the_catalogue():
    assert MODELS["tiny"].present and MODELS["tiny"].size <= 1_500_000
    assert {model.name for model in CATALOG} == set(MODELS)
    assert TINY.config.heads > TINY.config.kv_heads and TINY.config.vocab == 257


def test_the_shipped_model_tells_stories_that_the_grammar_can_tell():
    tokens, weights, pattern = tokenizer.build(TINY.vocabulary, TINY.config), load_weights(TINY), sentence_pattern()
    said, ended = [], 0
    for seed in range(6):
        model, sampling, ids = Reference(TINY.config, weights), Sampling(0.7, seed=seed), tokens.encode("")
        logits = model(ids)[-1]
        for step in range(500):
            ids.append(choose(logits, np.arange(len(logits)), sampling, step=step))
            if ids[-1] in TINY.config.stop:
                break
            logits = model(ids[-1:])[-1]
        ended += ids[-1] in TINY.config.stop
        said += split(tokens.decode(ids, special=False))
    good = sum(pattern.fullmatch(sentence.strip()) is not None for sentence in said)
    assert len(said) >= 25 and ended == 6 and good >= 0.98 * len(said)


def test_the_shipped_model_knows_the_grammar():
    """Less than half a bit a character on stories that it has not seen."""
    tokens, weights = tokenizer.build(TINY.vocabulary, TINY.config), load_weights(TINY)
    loss, count = 0.0, 0
    for text in islice(stories(1), 8):
        ids = tokens.encode(text)
        chances = log_probabilities(Reference(TINY.config, weights)(ids))
        loss -= chances[np.arange(len(ids) - 1), ids[1:]].sum()
        count += len(ids) - 1
    assert loss / count / np.log(2) < 0.5


def test_the_grammar_recognises_itself_and_nothing_else():
    pattern = sentence_pattern()
    told = list(islice(stories(7), 200))
    assert told == list(islice(stories(7), 200)) and len(set(told)) == 200
    sentences = [sentence.strip() for story in told for sentence in split(story)]
    assert all(map(pattern.fullmatch, sentences))
    assert not any(map(pattern.fullmatch, ["There she met an friendly owl.", "Two owl were waiting on the bench.", ""]))
