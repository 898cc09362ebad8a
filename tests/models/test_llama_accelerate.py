"""A Llama of transformers whose layers run on the machine: where that package is installed."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from pto.core.errors import MissingPackageError, ModelError
from pto.models.llama import accelerate as module
from pto.models.llama.accelerate import accelerate

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 60, "max_position_embeddings": 64, "bos_token_id": 1,
         "eos_token_id": 2, "pad_token_id": 0}


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pto\[hugging-face\]"):
        accelerate(object())


def test_other_models_are_refused(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: importlib.util.find_spec("json"))
    config = {"model_type": "llama", "hidden_act": "silu"}
    for change, message in (({"model_type": "gpt2"}, "gpt2"), ({"attention_bias": True}, "biases"),
                            ({"hidden_act": "gelu"}, "gelu")):
        with pytest.raises(ModelError, match=message):
            accelerate(SimpleNamespace(config=SimpleNamespace(**(config | change))))


@pytest.fixture
def models():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).eval()
    ours = transformers.LlamaForCausalLM(plain.config).eval()
    ours.load_state_dict(plain.state_dict())
    return torch, plain, accelerate(ours)


def test_logits_and_generated_tokens_are_those_of_transformers(models):
    torch, plain, ours = models
    ids = torch.randint(3, 60, (2, 7))
    with torch.no_grad():
        assert torch.allclose(ours(ids).logits, plain(ids).logits, atol=1e-4)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    assert torch.equal(ours.generate(ids, **options), plain.generate(ids, **options))


def test_a_padded_batch_agrees_too(models):
    torch, plain, ours = models
    ids = torch.randint(3, 60, (2, 7))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": mask, "eos_token_id": None}
    assert torch.equal(ours.generate(ids, **options), plain.generate(ids, **options))


def test_half_precision_is_refused(models):
    torch, plain, _ = models
    with pytest.raises(ModelError, match="bfloat16"):
        accelerate(plain.to(torch.bfloat16))
