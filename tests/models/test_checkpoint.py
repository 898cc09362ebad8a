"""Models on disk: the same model from both formats, and what is refused before anything is read."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import MemoryLimitError, ModelError, PtoError, PtoFormatError, UsageError
from pto.models import checkpoint as module
from pto.models.checkpoint import available_memory, open_checkpoint
from pto.models.config import RopeScaling
from pto.models.export import save_gguf
from pto.models.gguf import load
from pto.models.gguf_writer import TensorBytes, Typed, dumps
from pto.models.llama.model import Llama
from pto.models.reference import Reference
from pto.models.weights import load_weights, turned, unturned
from pto.quant.blocks import BY_NAME
from pto.quant.schemes import find
from pto.quant.tensor import quantise
from tests.models.files import OWN_HEAD, SMALL, random_weights, save_folder

BYTES = replace(SMALL, vocab=257, bos=256, stop=(256,))
CONFIGS = pytest.mark.parametrize("config", [SMALL, OWN_HEAD], ids=["tied", "own head"])


def gguf_file(path, config=BYTES, fields=None, without=(), extra=(), shapes=None):
    """A file of random weights, with fields and tensors changed."""
    save_gguf(path, config, random_weights(config))
    file = load(path)
    kept = {key: field.value for key, field in file.fields.items()}
    kept = {key: Typed(file.fields[key].kind, value) if isinstance(value, int | float) and not isinstance(value, bool)
            else [Typed("i32", int(v)) for v in value] if isinstance(value, np.ndarray)
            else list(value) if not isinstance(value, bool | str) else value for key, value in kept.items()}
    kept = {key: value for key, value in (kept | (fields or {})).items() if value is not None}
    rows = [TensorBytes(t.name, t.storage, (shapes or {}).get(t.name, t.shape),
                        bytes(t.data[t.offset:t.offset + t.nbytes])) for t in file.tensors.values()
            if t.name not in without]
    path.write_bytes(dumps(kept, [*rows, *extra]))
    return path


@CONFIGS
@pytest.mark.parametrize(("storage", "shards"), [("F32", 1), ("F32", 3), ("F16", 1)])
def test_a_folder_gives_the_weights_that_were_saved(config, storage, shards, tmp_path):
    weights = random_weights(config)
    found = open_checkpoint(save_folder(tmp_path, config, weights, storage=storage, shards=shards))
    assert found.config == config and found.vocabulary is None
    for name, array in load_weights(found).items():
        expected = weights[name].astype(np.float16).astype(np.float32) if storage == "F16" else weights[name]
        np.testing.assert_array_equal(array, expected)


def test_both_formats_give_the_same_model(tmp_path):
    weights = random_weights(BYTES)
    save_gguf(tmp_path / "m.gguf", BYTES, weights)
    one = open_checkpoint(tmp_path / "m.gguf")
    other = open_checkpoint(save_folder(tmp_path, BYTES, weights))
    assert replace(one.config, eps=BYTES.eps) == other.config == BYTES
    assert one.parameters == other.parameters == sum(t.size for n, t in weights.items() if n != "head")
    read = load_weights(one)
    for name, array in load_weights(other).items():
        np.testing.assert_array_equal(array, read[name])
    assert read["head"] is read["embed"]


def test_ternary_weights_are_kept_as_their_codes(tmp_path):
    """What training exports; rows of queries and keys keep their order. Scales become float16."""
    weights, scheme = random_weights(BYTES), find("ternary_absmean_channel")
    ternary = {name: quantise(array, scheme) for name, array in weights.items() if array.ndim == 3}
    save_gguf(tmp_path / "m.gguf", BYTES, weights | ternary, storage="Q8_0")
    checkpoint = open_checkpoint(tmp_path / "m.gguf")
    found = load_weights(checkpoint)
    for name, one in ternary.items():
        scale = one.scale.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(found[name], one.codes * scale)
        assert {tensor.storage.name for tensor in checkpoint.tensors[name]} == {"Q4_0"}
    assert checkpoint.tensors["embed"][0].storage.name == "Q8_0" and len(ternary) == 7


@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 6))
def test_turning_rows_has_an_inverse(heads, half, width):
    rows = np.arange(heads * 2 * half * width).reshape(-1, width)
    np.testing.assert_array_equal(turned(unturned(rows, heads), heads), rows)
    for head in range(heads):
        for i in range(half):
            for j in range(2):
                np.testing.assert_array_equal(unturned(rows, heads)[head * 2 * half + half * j + i],
                                              rows[head * 2 * half + 2 * i + j])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_weights_of_other_types_are_rounded_once(dtype, tmp_path):
    weights = random_weights(BYTES)
    save_gguf(tmp_path / "m.gguf", BYTES, weights)
    for name, array in load_weights(open_checkpoint(tmp_path / "m.gguf"), dtype).items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, weights[name].astype(dtype))


def test_progress_ends_with_everything(tmp_path):
    said = []
    found = open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL)))
    load_weights(found, progress=lambda done, total: said.append((done, total)))
    assert said[-1] == (found.parameters, found.parameters) and said == sorted(said)


def i32(value):
    return Typed("i32", value)


SCALED = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
REFUSED = {  # fields, other changes, and what the message says
    "another architecture": ({"general.architecture": "qwen2"}, {}, r"byte \d+: general.architecture: is 'qwen2'; o"),
    "no architecture": ({"general.architecture": None}, {}, "general.architecture: is missing"),
    "architecture as number": ({"general.architecture": 3}, {}, "general.architecture: is of type u32, not a string"),
    "no layers": ({"llama.block_count": None}, {}, "llama.block_count: is missing"),
    "2,000 layers": ({"llama.block_count": 2000}, {}, "layers: is 2000, not between 1 and 1024"),
    "-1 layers": ({"llama.block_count": i32(-1)}, {}, r"byte \d+: llama.block_count: is -1, not between 1"),
    "2^63 channels": ({"llama.embedding_length": Typed("u64", 2**63)}, {}, r"byte \d+: llama.embedding_length: is 922"),
    "layers as text": ({"llama.block_count": "3"}, {}, r"byte \d+: llama.block_count: is of type string"),
    "layers as list": ({"llama.attention.head_count_kv": [1, 2]}, {}, "head_count_kv: is of type array of u32"),
    "heads that do not share": ({"llama.attention.head_count_kv": 3}, {}, "4 query heads cannot share 3"),
    "eps 0": ({"llama.attention.layer_norm_rms_epsilon": 0.0}, {}, "eps: is 0.0, not a positive number"),
    "eps NaN": ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, {}, "eps: is nan"),
    "part of a head turned": ({"llama.rope.dimension_count": 4}, {}, r"dimension_count: is 4, the heads have 8"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, {}, "is 'yarn'; linear scaling"),
    "scaling by 0": (SCALED | {"llama.rope.scaling.factor": 0.0}, {}, "rope scaling: a divisor is no positive"),
    "frequencies with a divisor of nothing": ({}, {"extra": [
        TensorBytes("rope_freqs.weight", BY_NAME["F32"], (4,), bytes(16))]}, "rope scaling: a divisor is no positive"),
    "odd heads": ({"llama.attention.key_length": 7, "llama.attention.value_length": 7, "llama.rope.dimension_count": 7},
                  {}, "head_dim: 7 is odd"),
    "no tokens": ({"tokenizer.ggml.tokens": None}, {}, r"byte \d+: tokenizer.ggml.model: has no tokens"),
    "experts": ({"llama.expert_count": 8}, {}, "mixtures of experts do not run here"),
    "tokens too few": ({"tokenizer.ggml.tokens": ["a"]}, {}, r"byte \d+: tokenizer.ggml.tokens: has 1 elements, not"),
    "types too few": ({"tokenizer.ggml.token_type": [i32(1)]}, {}, "token_type: has 1 elements, not 257"),
    "scores shorter than tokens": ({"tokenizer.ggml.scores": [1.0]}, {}, "scores: has 1 elements, not 257"),
    "merges of numbers": ({"tokenizer.ggml.merges": [1]}, {}, "merges: is of type array of u32, not an array of str"),
    "a last token beyond the vocabulary": ({"tokenizer.ggml.eos_token_id": 257}, {}, "token id: 257 is not in a"),
    "last token -1": ({"tokenizer.ggml.eos_token_id": i32(-1)}, {}, r"byte \d+: tokenizer.ggml.eos_token_id: is -"),
    "no embedding": ({}, {"without": {"token_embd.weight"}}, "tensor token_embd.weight: is missing"),
    "a missing tensor": ({}, {"without": {"blk.1.ffn_up.weight"}}, "tensor blk.1.ffn_up.weight: is missing"),
    "a tensor of another shape": ({}, {"shapes": {"blk.0.ffn_up.weight": (32, 64)}},
                                  r"byte \d+: tensor blk.0.ffn_up.weight: is 32 x 64, the model has 64 x 32"),
    "a bias": ({}, {"extra": [TensorBytes("blk.0.attn_q.bias", BY_NAME["F32"], (32,), bytes(128))]},
               "tensor 'blk.0.attn_q.bias': is of no kind"),
    "frequencies of another size": ({}, {"extra": [TensorBytes("rope_freqs.weight", BY_NAME["F32"], (5,), bytes(20))]},
                                    "rope_freqs.weight: is not of 4 frequencies"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_run_is_refused_by_name(name, tmp_path):
    fields, changes, words = REFUSED[name]
    path = gguf_file(tmp_path / "m.gguf", fields=fields, **changes)
    with pytest.raises((ModelError, PtoFormatError), match=words) as caught:
        open_checkpoint(path)
    assert str(path) in caught.value.message and caught.value.exit_code == 3


JSON_REFUSED = {
    "mistral": ({"model_type": "mistral"}, "model_type: is 'mistral'; only llama runs here"),
    "no type": ({"model_type": None}, "model_type: is None, not a text"),
    "biases": ({"attention_bias": True}, "attention_bias: projections with a bias"),
    "gelu": ({"hidden_act": "gelu"}, "hidden_act: is 'gelu'; only silu"),
    "yarn": ({"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "rope_scaling.rope_type: is 'yarn'"),
    "scaling without a factor": ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor: is missing"),
    "scaling by a list": ({"rope_scaling": [1]}, "rope_scaling: is .* not an object"),
    "llama3 without order": ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                                               "high_freq_factor": 1, "original_max_position_embeddings": 32}},
                             "in order"),
    "layers as text": ({"num_hidden_layers": "3"}, "num_hidden_layers: is '3', not a positive integer"),
    "layers true": ({"num_hidden_layers": True}, "num_hidden_layers: is True"),
    "layers 10^30": ({"num_hidden_layers": 10**30}, "num_hidden_layers: is 1000"),
    "no size": ({"hidden_size": None}, "hidden_size: is missing"),
    "eps too large": ({"rms_norm_eps": 10**400}, "rms_norm_eps: is out of range"),
    "heads that do not share": ({"num_key_value_heads": 3}, "config.json: kv_heads: 4 query heads cannot share 3"),
    "tied as text": ({"tie_word_embeddings": "yes"}, "tie_word_embeddings: is 'yes', not true or false"),
    "base as text": ({"rope_theta": "10000"}, "rope_theta: is '10000', not a number"),
    "ids as text": ({"eos_token_id": "2"}, "eos_token_id: is '2', not a token id"),
    "another vocabulary": ({"vocab_size": 49}, "model.embed_tokens.weight: is 48 x 32, the model has 49 x 32"),
}


@pytest.mark.parametrize("name", JSON_REFUSED)
def test_folders_that_do_not_run_are_refused_by_name(name, tmp_path):
    change, words = JSON_REFUSED[name]
    with pytest.raises((ModelError, PtoFormatError), match=words):
        open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL), **change))


def test_scaling_is_read_alike_from_both_formats(tmp_path):
    rule = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}
    folder = open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL), rope_scaling=rule)).config.scaling
    factors = np.array(folder.divisors, np.float32)
    extra = [TensorBytes("rope_freqs.weight", BY_NAME["F32"], (4,), factors.tobytes())]
    stored = open_checkpoint(gguf_file(tmp_path / "m.gguf", extra=extra)).config.scaling
    assert folder.kind == "llama3" and stored.kind == "factors"
    assert stored.divisors == pytest.approx(folder.divisors, rel=1e-6)
    linear = open_checkpoint(gguf_file(tmp_path / "l.gguf", fields=SCALED)).config.scaling
    assert linear == RopeScaling("linear", (4.0,))


def test_a_file_without_a_tokenizer_has_none(tmp_path):
    assert open_checkpoint(gguf_file(tmp_path / "m.gguf", fields={"tokenizer.ggml.model": None})).vocabulary is None


TEMPLATE = "<|im_start|>{{ x }}<|im_end|>"


@pytest.mark.parametrize(("files", "expected"), [
    ({}, ""), ({"chat_template.jinja": TEMPLATE}, TEMPLATE),
    ({"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE})}, TEMPLATE),
    ({"tokenizer_config.json": json.dumps({"chat_template": [{"name": "default"}]})}, ""),
    ({"tokenizer_config.json": "{}"}, ""),
])
def test_templates_are_found_where_they_are_kept(files, expected, tmp_path):
    save_folder(tmp_path, SMALL, random_weights(SMALL))
    for name, text in ({"tokenizer.json": '{"model": {}}'} | files).items():
        (tmp_path / name).write_text(text)
    vocabulary = open_checkpoint(tmp_path).vocabulary
    assert vocabulary.template == expected and vocabulary.document == {"model": {}}


def test_a_template_that_is_no_text_is_refused(tmp_path):
    save_folder(tmp_path, SMALL, random_weights(SMALL))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(PtoFormatError, match=r"chat_template\.jinja: cannot be read"):
        open_checkpoint(tmp_path)


def test_divisors_must_fit_the_heads():
    found = replace(SMALL, scaling=RopeScaling("factors", (1.0, 2.0))).faults()
    assert found == ["rope scaling: has 2 divisors for 4 frequencies"]


def test_newer_configurations_keep_rope_in_a_table(tmp_path):
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": None}
    assert open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL), **rope)).config.rope_base == 5e5


def test_a_model_that_is_too_large_is_refused_with_its_size(tmp_path):
    found = open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL)))
    needed = found.parameters * 4 + 2 * 3 * 2 * 8 * 64 * 4
    assert found.memory() == needed
    found.require_room(needed)
    with pytest.raises(MemoryLimitError, match=r"needs 0.0 GiB of memory") as caught:
        found.require_room(needed - 1)
    assert caught.value.exit_code == 8
    with pytest.raises(MemoryLimitError):
        load_weights(found, memory_limit=found.parameters * 4 - 1)


def test_the_scales_of_a_cache_in_int8_are_counted(tmp_path):
    found = open_checkpoint(save_folder(tmp_path, SMALL, random_weights(SMALL)))
    model = Llama.load(tmp_path, precision="f32", kv="s8")
    needed = found.parameters * 4 + sum(array.nbytes for array in model.cache())
    Llama.load(tmp_path, precision="f32", kv="s8", memory_limit=needed)
    with pytest.raises(MemoryLimitError):
        Llama.load(tmp_path, precision="f32", kv="s8", memory_limit=needed - 1)


def test_available_memory_heeds_the_control_group(monkeypatch):
    texts = {"meminfo": "MemTotal: 9 kB\nMemAvailable: 4096 kB\n", "memory.max": "3000000\n",
             "memory.current": "1000000\n"}
    monkeypatch.setattr(module.Path, "read_text", lambda path: texts[path.name])
    assert available_memory() == 2_000_000
    texts["memory.max"] = "max\n"
    assert available_memory() == 4096 * 1024
    monkeypatch.setattr(module.Path, "read_text", lambda path: (_ for _ in ()).throw(OSError))
    assert available_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(UsageError, match="there is no model"):
        open_checkpoint(tmp_path / "none.gguf")
    (tmp_path / "folder").mkdir()
    with pytest.raises(PtoError, match=r"config\.json"):
        open_checkpoint(tmp_path / "folder")


def test_own_heads_are_used(tmp_path):
    weights = random_weights(OWN_HEAD)
    logits = Reference(OWN_HEAD, weights)([1, 2, 3])
    weights["head"] = weights["head"] * 2
    np.testing.assert_allclose(Reference(OWN_HEAD, weights)([1, 2, 3]), 2 * logits, rtol=1e-5)
