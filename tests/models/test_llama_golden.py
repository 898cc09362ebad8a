"""The real model against the golden data: logits, tokens, perplexity. Skipped where it has not been fetched."""

from __future__ import annotations

import numpy as np
import pytest

from pto.models.catalog import find
from pto.models.llama.compare import perplexity, surprise
from pto.models.llama.model import Llama
from tests.models.golden import logits, needs_smollm2, texts

pytestmark = needs_smollm2
CLOSE = 1e-3  # of the golden logits; below this gap between the two best either token is right


@pytest.fixture(scope="module")
def model() -> Llama:
    return Llama.load(find("smollm2-135m"), context=640, precision="f32")


@pytest.mark.parametrize("name", ["capital", "story", "chat_gravity"])
def test_logits_and_greedy_tokens_are_the_golden_ones(model, name):
    prompt, session = texts()["prompts"][name], model.session()
    row = session.feed(prompt["ids"])
    assert np.abs(row[logits()["columns"]] - logits()[f"last_{name}"]).max() < CLOSE
    wanted = prompt["greedy64_fp32"]
    for token, gap in zip(wanted, prompt["top2_gap_fp32"], strict=True):
        assert row.argmax() == token or gap <= CLOSE
        row = session.feed([token])


@pytest.mark.parametrize(("precision", "kv"), [("f16", "f32"), ("bf16", "f32"), ("f32", "f16")])
def test_the_perplexity_with_halves(precision, kv):
    model = Llama.load(find("smollm2-135m"), context=640, precision=precision, kv=kv)
    assert abs(perplexity(model, texts()["text_ids"]) - 20.747) < 0.05


def test_the_perplexity_of_the_fixed_text(model):
    ids = texts()["text_ids"]
    rows = model.session().score(ids)
    nll = surprise(rows[:-1], ids[1:])
    assert abs(np.exp(nll.mean()) - 20.747) < 0.01
    assert np.abs(nll - logits()["text_nll"]).max() < CLOSE
    best = np.take_along_axis(rows, logits()["text_top8_ids"].astype(np.int64), -1)
    assert np.abs(best - logits()["text_top8_logits"]).max() < CLOSE
    assert (rows.argmax(-1) == logits()["text_argmax"]).mean() > 0.99
