"""The decoder on the machine, on the small model that comes along: against NumPy, in one piece and token by token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.core.errors import UsageError
from pto.isa.file import dumps, loads
from pto.models.catalog import find
from pto.models.checkpoint import open_checkpoint
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import decode_kernel, prefill_kernel
from pto.models.llama.generate import TOGETHER, encode, generate, stream, together
from pto.models.llama.model import Batch, Llama
from pto.models.reference import Reference
from pto.models.sampling import Sampling
from pto.models.tensors import KINDS
from pto.runtime.launch import run_program
from tests.models.files import random_weights, save_folder

TINY = find("tiny")
TEXT = "The old man took the small boat, and the "


@pytest.fixture(scope="module")
def tiny() -> Llama:
    return Llama.load(TINY, context=96, precision="f32")


def random(config: LlamaConfig) -> Llama:
    rng = np.random.default_rng(0)
    weights = {k.name: rng.standard_normal(k.shape(config), dtype=np.float32) / 8 + k.is_norm for k in KINDS}
    return Llama(config, weights, config.context)


BASE = LlamaConfig(layers=2, embed=24, ffn=40, heads=2, kv_heads=1, head_dim=8, vocab=50, context=40, rope_base=1e4,
                   eps=1e-5, tied=False)


@pytest.mark.parametrize("config", [
    BASE, replace(BASE, heads=4, kv_heads=4), replace(BASE, heads=6, kv_heads=2, head_dim=16),
    replace(BASE, layers=1, embed=7, ffn=300, vocab=5), replace(BASE, heads=1, head_dim=2),
], ids=["grouped", "plain", "wider", "odd", "small"])
def test_any_shape_agrees_with_numpy(config):
    model, reference = random(config), None
    ids = np.random.default_rng(1).integers(0, config.vocab, 20).tolist()
    reference = Reference(config, model.weights)
    session = model.session()
    for part in (ids[:7], ids[7:8], ids[8:9], ids[9:]):
        want = reference(part)
        assert np.allclose(session.feed(part), want[-1], atol=1e-4)


SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}


@pytest.mark.parametrize(("config", "extra"), [
    (BASE, {}), (replace(BASE, tied=True, heads=4, kv_heads=2), {}),
    (replace(BASE, rope_base=5e5, heads=6, kv_heads=2, head_dim=16), {"rope_scaling": SCALED}),
    (BASE, {"rope_scaling": {"type": "linear", "factor": 4.0}}),
], ids=["own head", "tied head", "Llama 3", "linear scaling"])
def test_folders_of_every_shape_run_as_in_numpy(config, extra, tmp_path):
    weights = {name: array / 8 for name, array in random_weights(config).items()}
    if config.tied:
        weights["head"] = weights["embed"]
    model = Llama.load(save_folder(tmp_path, config, weights, shards=2, **extra), precision="f32")
    assert (model.config.scaling is not None) == bool(extra)
    reference, plain = Reference(model.config, model.weights), Reference(config, weights)
    ids = list(range(3, 33))
    want, session = reference(ids), model.session()
    assert np.allclose(session.score(ids[:20]), want[:20], atol=1e-4)
    assert np.allclose([session.feed([i]) for i in ids[20:]], want[20:], atol=1e-4)
    assert np.allclose(plain(ids), want, atol=1e-4) == (not extra)  # the scaling matters


def test_results_have_the_names_of_the_kernel(tiny):
    written = [[t.name for t in kernel.program().tensors if t.written and not t.scratch] for kernel in (
        decode_kernel(tiny.config, 96), decode_kernel(tiny.config, 96, best=4), prefill_kernel(tiny.config, 96))]
    assert written == [["keys", "values", "logits"], ["keys", "values", "candidates", "ids"],
                       ["keys", "values", "logits"]]


def test_tokens_one_by_one_and_a_whole_prompt_agree(tiny):
    ids = encode(tiny, TEXT)
    want = Reference(tiny.config, tiny.weights)(ids)
    one, whole, parts = tiny.session(), tiny.session(), tiny.session()
    singly = np.stack([one.feed([i]) for i in ids])
    assert np.allclose(singly, want, atol=1e-4)
    assert np.allclose(whole.score(ids), want, atol=1e-4)
    assert np.allclose(np.concatenate([parts.score(ids[:5]), parts.score(ids[5:])]), want, atol=1e-4)
    assert one.length == whole.length == parts.length == len(ids)


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_weights_of_half_the_bytes(precision):
    """The model that NumPy runs on the same rounded weights, in one piece and token by token."""
    model = Llama.load(TINY, context=96, precision=precision)
    rounded = {name: array.astype(np.float32) for name, array in model.weights.items()}
    assert {a.itemsize for a in model.weights.values()} == {2}
    ids = encode(model, TEXT)
    want, one = Reference(model.config, rounded)(ids), model.session()
    assert np.allclose(model.session().score(ids), want, atol=1e-3)
    assert np.allclose(np.stack([one.feed([i]) for i in ids]), want, atol=1e-3)
    with pytest.raises(UsageError, match="there is no precision 'f8'"):
        Llama.load(TINY, precision="f8")


def test_a_cache_of_half_the_bytes(tiny):
    model = Llama.load(TINY, context=96, precision="f32", kv="f16")
    ids = encode(model, TEXT)
    want, whole, one = tiny.session().score(ids), model.session(), model.session()
    assert {array.dtype.name for array in whole.cache} == {"float16"}
    assert np.allclose(whole.score(ids), want, atol=0.05)
    assert np.allclose(np.stack([one.feed([i]) for i in ids]), want, atol=0.05)
    assert np.abs(one.feed([65]) - tiny.session().feed([*ids, 65])).max() > 0  # it was rounded
    with pytest.raises(UsageError, match="there is no type of keys and values 'bf16'"):
        Llama.load(TINY, kv="bf16")


PROMPTS = ("The old man took", "A dog", "Once upon a time, in a small house by the sea, there lived a", "The cat")


def test_a_cache_of_a_quarter_of_the_bytes(tiny):
    """And a scale for each position and head; what is forgotten is written anew, with its scales."""
    model = Llama.load(TINY, context=96, precision="f32", kv="s8")
    ids = encode(model, TEXT)
    want, whole, one = tiny.session().score(ids), model.session(), model.session()
    codes, scales = whole.cache[:2], whole.cache[2:]
    assert 4 * sum(array.nbytes for array in codes) == sum(array.nbytes for array in tiny.cache())
    assert {array.dtype.name for array in codes} == {"int8"} and sum(a.size for a in scales) * tiny.config.head_dim == (
        sum(a.size for a in codes))
    got = whole.score(ids)
    assert 0 < np.abs(got - want).max() < 0.5
    np.testing.assert_allclose(np.stack([one.feed([i]) for i in ids]), got, atol=0.02)
    assert np.abs(codes[0][:, :, :len(ids)]).max(-1).min() == 127  # the largest of each position and head
    whole.rewind(3)
    assert np.abs(whole.feed([60, 61, 62]) - tiny.session().feed([*ids[:3], 60, 61, 62])).max() < 0.5


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.9, seed=5, repetition_penalty=1.1)],
                         ids=["greedy", "drawn"])
@pytest.mark.parametrize("kv", ["f32", "f16", "s8"])
def test_texts_together_are_those_alone(kv, sampling):
    """Of unequal prompts, up to the end of the context: the shorter ones go on when the longest is full."""
    model = Llama.load(TINY, context=80, precision="f32", kv=kv)
    ids = [encode(model, prompt) for prompt in PROMPTS]
    found = [[] for _ in ids]
    for number, piece in together(model, ids, sampling=sampling):
        found[number].append(piece)
    assert found == [list(stream(model.session(), one, sampling=sampling)) for one in ids]
    assert {pieces[-1].end for pieces in found} <= {"context", "stop"}


def test_more_texts_than_go_at_once(tiny):
    prompts = [TEXT[:n] for n in range(3, 3 + TOGETHER + 2)]
    assert generate(tiny, prompts, limit=4) == [generate(tiny, one, limit=4) for one in prompts]


def test_a_batch_names_what_does_not_fit(tiny):
    with pytest.raises(UsageError, match="the context is 96 tokens"):
        next(together(tiny, [[1], [1] * 97]))
    full, _ = Batch.of(tiny, [[1] * 96], 2)
    with pytest.raises(UsageError, match="a text fills it"):
        full.best([1], 2)


def test_threads_change_no_bit(tiny):
    ids = encode(tiny, TEXT)
    found = []
    try:
        for count in (1, 2):
            pt.set_num_threads(count)
            session = tiny.session()
            found.append([session.feed(ids), session.feed([65])])
    finally:
        pt.set_num_threads(1)
    assert np.array_equal(found[0], found[1])


def test_programs_are_as_long_for_many_layers():
    lengths = {(make, n): len(make(replace(BASE, layers=n), 40).program().code)
               for make in (decode_kernel, prefill_kernel) for n in (2, 30)}
    for make in (decode_kernel, prefill_kernel):
        assert lengths[make, 2] == lengths[make, 30]


def test_nothing_is_compiled_twice(tiny):
    decode, prefill = (make(tiny.config, tiny.context) for make in (decode_kernel, prefill_kernel))
    for kernel, firsts in ((decode, [3, 5, 7]), (prefill, [[1, 2], [3] * 9, [4] * 80])):
        cache = tiny.cache()
        for first in firsts:
            given = first if kernel is decode else np.array(first, np.int32)
            kernel(given, np.size(given), *tiny.arguments, *cache)
        assert sum(map(len, kernel.variants.values())) == 1


def test_generated_text_is_greedy_and_ends(tiny):
    ids = encode(tiny, TEXT)
    pieces = list(stream(tiny.session(), ids, limit=40))
    text = "".join(p.text for p in pieces)
    assert generate(tiny, TEXT, limit=40) == generate(tiny, ids, limit=40) == text
    reference, known = Reference(tiny.config, tiny.weights), list(ids)
    logits = reference(ids)[-1]
    for piece in pieces:
        assert piece.id == logits.argmax()
        known.append(piece.id)
        logits = reference([piece.id])[-1]
    assert generate(tiny, [TEXT, "A dog "], limit=8) == [generate(tiny, t, limit=8) for t in (TEXT, "A dog ")]


def test_sampling_follows_its_seed(tiny):
    def made(seed: int) -> str:
        return str(generate(tiny, TEXT, limit=30, sampling=Sampling(temperature=1.0, seed=seed)))

    assert made(1) == made(1)
    assert len({made(seed) for seed in range(4)}) > 1


def test_a_stop_token_ends_and_the_context_is_a_limit(tiny):
    ids = encode(tiny, TEXT)
    first = next(stream(tiny.session(), ids)).id
    assert [p.end for p in stream(tiny.session(), ids, stop=[first])] == ["stop"]
    endless = list(stream(tiny.session(), ids, stop=[]))
    assert len(endless) == tiny.context - len(ids) + 1
    session = tiny.session()
    with pytest.raises(UsageError, match="the context is 96 tokens"):
        session.feed([1] * 97)
    session.feed([1] * 96)
    with pytest.raises(UsageError, match="do not fit"):
        session.feed([1])
    session.rewind(90)
    session.feed([1] * 6)
    with pytest.raises(UsageError, match="not in a vocabulary"):
        tiny.session().feed([tiny.config.vocab])
    with pytest.raises(UsageError, match="no token"):
        tiny.session().feed([])


def test_the_best_tokens_that_there_are_not(tiny):
    vocab = tiny.config.vocab
    for count in (0, -1, vocab + 1):
        with pytest.raises(UsageError, match=f"the best {count} tokens of a vocabulary of {vocab}"):
            tiny.session().best([1], count)
    batch, _ = Batch.of(tiny, [[1, 2], [3]], 2)
    for ids, count, said in (([1, vocab], 2, "not in a vocabulary"), ([1, 2], 0, "the best 0 tokens"),
                             ([1], 2, "1 tokens for 2 texts")):
        with pytest.raises(UsageError, match=said):
            batch.best(ids, count)
    assert batch.lengths.tolist() == [2, 1]


def test_the_exported_step_runs_on_raw_buffers(tiny):
    """As `pto compile` writes it and `pto run` reads it: a program file and arrays, no model."""
    program = loads(dumps(decode_kernel(tiny.config, tiny.context).program()), "step.pto")
    session = tiny.session()
    ids = encode(tiny, TEXT)
    names = [t.name for t in program.tensors]
    arrays = dict(zip(names, (*tiny.arguments, *map(np.zeros_like, session.cache)),
                      strict=False))
    for at, token in enumerate(ids[:6]):
        results, _ = run_program(program, arrays, {"token": token, "length": at + 1})
        arrays |= {name: results[name] for name in ("keys", "values")}
        [logits] = [results[n] for n in results if n not in ("keys", "values")]
        assert np.array_equal(logits[0], session.feed([token]))


def test_the_checkpoint_is_not_held_in_memory_twice(tiny):
    assert open_checkpoint(TINY).config.tied
    assert tiny.weights["head"] is tiny.weights["embed"]
