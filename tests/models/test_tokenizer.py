"""Tokens: equal to llama.cpp's, and back to text without ever splitting a character."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import MissingPackageError, ModelError, PtoFormatError
from pto.models import tokenizer as module
from pto.models.export import END
from pto.models.tokenizer import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, Special, build, byte_alphabet, ranked_pairs
from pto.models.vocabulary import Vocabulary
from tests.models import golden
from tests.models.files import SMALL

BYTES = Vocabulary(
    "gpt2", "gpt-2", (*sorted(byte_alphabet(), key=byte_alphabet().get), END), (NORMAL,) * 256 + (CONTROL,),
    add_bos=True)
BYTE_CONFIG = replace(SMALL, vocab=257, bos=256)


def test_ids_are_those_of_llama_cpp():
    tokens = golden.tokenizer()
    wrong = [text for text, ids in golden.cases() if tokens.encode(text, special=True) != ids]
    assert not wrong and len(golden.cases()) == 1540


def test_ids_become_the_text_again():
    """But for the few bytes that the vocabulary lacks."""
    tokens = golden.tokenizer()
    missing = set(range(256)) - {byte for piece in tokens.pieces for byte in piece}
    for text, ids in golden.cases():
        if not missing & set(text.encode()):
            assert tokens.decode(ids) == text
            stream = tokens.stream()
            assert "".join(map(stream.push, ids)) + stream.finish() == text


def test_names_of_commands_in_plain_text_stay_text():
    tokens = golden.tokenizer()
    ids = tokens.encode("<|im_end|> now")
    assert not set(ids) & set(tokens.specials.values()) and tokens.decode(ids) == "<|im_end|> now"
    assert tokens.encode_parts([Special("<|im_end|>"), " now"]) == tokens.encode("<|im_end|> now", special=True)
    assert tokens.decode([2, *tokens.encode("x")], special=False) == "x"


def test_neighbouring_texts_merge_as_one():
    tokens = golden.tokenizer()
    assert tokens.encode_parts(["Hel", "lo, ", "world!"]) == tokens.encode("Hello, world!")
    with pytest.raises(ModelError, match="has no token '<nope>'"):
        tokens.encode_parts([Special("<nope>")])


def test_splittings_need_no_file():
    """Llama 3 keeps three digits together, GPT-2 all of them, SmolLM one."""
    pytest.importorskip("tokenizers")
    names = [*sorted(byte_alphabet(), key=byte_alphabet().get), "12", "123", "1234"]
    v = Vocabulary("gpt2", "", tuple(names), (NORMAL,) * 259, merges=("1 2", "12 3", "123 4"))
    config = replace(SMALL, vocab=259)
    ids = {pre: build(replace(v, pre=pre), config).encode("1234", begin=False)
           for pre in ("smollm", "llama-bpe", "gpt-2")}
    assert ids["smollm"] == [49, 50, 51, 52] and ids["llama-bpe"] == [257, 52] and ids["gpt-2"] == [258]
    assert build(replace(v, pre="llama-bpe"), config).encode("4") == [config.bos, 52]


@given(st.text(max_size=60))
def test_bytes_need_no_package(text):
    tokens = build(BYTES, BYTE_CONFIG)
    ids = tokens.encode(text)
    assert ids == [256, *text.encode(errors="replace")]
    assert tokens.decode(ids, special=False) == text.encode(errors="replace").decode()


@given(st.text(min_size=1, max_size=20), st.integers(0, 10))
def test_a_stream_never_ends_within_a_character(text, cut):
    tokens, stream = build(BYTES, BYTE_CONFIG), build(BYTES, BYTE_CONFIG).stream()
    ids = tokens.encode(text, begin=False)
    ids = ids[:max(0, len(ids) - cut)]
    said = [stream.push(token) for token in ids]
    whole = bytes(ids).decode(errors="ignore")
    assert "".join(said) == whole and "\N{REPLACEMENT CHARACTER}" not in whole
    assert "".join(said) + stream.finish() == bytes(ids).decode(errors="replace")


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(module, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(MissingPackageError) as caught:
        build(golden.vocabulary(), golden.SMOLLM2)
    assert "pip install 'pto[models]'" in str(caught.value) and caught.value.exit_code == 9


@pytest.mark.parametrize(("change", "words"), [
    ({"model": "t5"}, "tokenizer is 't5'"), ({"pre": "qwen2", "merges": ("a b",)}, "pre: is 'qwen2'"),
    ({"model": "llama"}, "scores: has 0 elements, not 257"),
])
def test_unknown_tokenizers_are_refused(change, words):
    with pytest.raises((ModelError, PtoFormatError), match=words):
        build(replace(BYTES, **change), BYTE_CONFIG)


@pytest.mark.parametrize("merges", [("a b", "nope nope"), ("ab",), ("",)])
def test_tables_that_contradict_one_another_are_refused(merges):
    pytest.importorskip("tokenizers")
    with pytest.raises(PtoFormatError, match="tokenizer: "):
        build(replace(BYTES, merges=merges), BYTE_CONFIG)


BEGIN = [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]


@pytest.mark.parametrize(("processor", "first"), [
    (None, []), ({"single": BEGIN}, [259]), ({"processors": [{"type": "ByteLevel"}, {"single": BEGIN}]}, [259]),
    ({"processors": 3}, []), ({"single": [3]}, []), ({"single": []}, []),
    ({"single": [{"SpecialToken": {"id": []}}]}, []),
    ({"single": BEGIN[1:]}, []), ({"single": [{"SpecialToken": {"id": "<t>"}}]}, []),
])
def test_the_first_token_is_what_the_processor_puts_first(processor, first):
    found = document(post_processor=processor)[1]
    tokens = build(Vocabulary("json", document=found, size=261), SMALL)
    assert tokens.encode("h") == [*first, found["model"]["vocab"]["h"]]


def test_tokens_that_are_no_bytes_stand_for_their_text():
    v = replace(BYTES, tokens=(*BYTES.tokens[:255], "\N{SNOWMAN}", END))
    tokens = build(v, BYTE_CONFIG)
    assert tokens.decode([255]) == "\N{SNOWMAN}"
    assert build(replace(v, kinds=(NORMAL,) * 257), BYTE_CONFIG).encode(END, special=True)[1:] == [*END.encode()]


def test_affixes_are_refused_before_the_package_sees_them():
    found = document()[1]
    found["model"]["continuing_subword_prefix"] = "##" * 40
    with pytest.raises(ModelError, match="continuing_subword_prefix: no Llama"):
        build(Vocabulary("json", document=found, size=261), SMALL)


def test_what_the_package_cannot_encode_is_an_error_of_the_file():
    """A tokenizer of words that has no word for the unknown."""
    found = document()[1]
    found |= {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}, "pre_tokenizer": None}
    tokens = build(Vocabulary("json", document=found, size=261), SMALL)
    with pytest.raises(PtoFormatError, match="tokenizer: "):
        tokens.encode("b")


# SentencePiece

def pieces(seed: int) -> Vocabulary:
    """A vocabulary grown as SentencePiece grows its own: each token is joined of two older ones, the best first."""
    rng = random.Random(seed)
    found = ["a", "b", "c", "é", SPACE]
    while len(found) < 40:
        joined = rng.choice(found) + rng.choice(found)
        if joined not in found and len(joined) <= 8:
            found.append(joined)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *found]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(found)]
    scores = [0.0] * 259 + [-float(n) for n in range(len(found))]
    return Vocabulary("llama", tokens=tuple(tokens), kinds=tuple(kinds), scores=tuple(scores))


def merged(v: Vocabulary, text: str) -> list[int]:
    """SentencePiece's rule, as it is told: join the neighbours whose joint token has the best score, leftmost first."""
    ids = {t: n for n, (t, k) in enumerate(zip(v.tokens, v.kinds, strict=True)) if k == NORMAL}
    parts = list(SPACE + text.replace(" ", SPACE))
    while True:
        joints = [(v.scores[ids[a + b]], -at) for at, (a, b) in enumerate(pairwise(parts))
                  if a + b in ids]
        if not joints:
            break
        at = -max(joints)[1]
        parts[at:at + 2] = [parts[at] + parts[at + 1]]
    return [i for part in parts for i in ([ids[part]] if part in ids else [3 + byte for byte in part.encode()])]


@given(st.integers(0, 20), st.text(alphabet="abcé xß\n", min_size=1, max_size=25))
def test_sentence_pieces_are_joined_best_score_first(seed, text):
    pytest.importorskip("tokenizers")
    v = pieces(seed)
    tokens = build(v, replace(SMALL, vocab=len(v.tokens)))
    assert tokens.encode(text) == [1, *merged(v, text)]
    ids = merged(v, text)
    assert tokens.decode(ids) == text
    stream = tokens.stream()
    assert "".join(map(stream.push, ids)) + stream.finish() == f" {text}"


def test_pairs_are_ranked_by_the_score_of_what_they_make():
    v = pieces(3)
    scores = dict(zip(v.tokens, v.scores, strict=True))
    made = [scores[left + right] for left, right in ranked_pairs(v)]
    assert made == sorted(made, reverse=True) and made


# tokenizer.json

def document(**change):
    """A byte-level tokenizer.json, as the package itself writes it."""
    package = pytest.importorskip("tokenizers")
    names = [*sorted(byte_alphabet(), key=byte_alphabet().get), "he", "llo", "ll"]
    made = package.Tokenizer(package.models.BPE(
        {name: n for n, name in enumerate(names)}, [("h", "e"), ("l", "l"), ("ll", "o")]))
    made.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = package.decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    made.post_processor = package.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 259)])
    return made, json.loads(made.to_str()) | change


@given(st.text(alphabet="helo wörld1\n", max_size=20), st.booleans())
def test_a_tokenizer_json_encodes_as_its_package_does(text, marked):
    made, found = document()
    text = text + "</s>" + text if marked else text
    tokens = build(Vocabulary("json", document=found, size=261), SMALL)
    assert tokens.encode(text, special=True) == made.encode(text).ids
    assert tokens.decode(tokens.encode(text), special=False) == text


@pytest.mark.parametrize(("change", "words"), [
    ({"model": None}, "has no vocabulary"), ({"added_tokens": [3]}, "an entry has no content and id"),
    ({"added_tokens": [{"content": "x", "id": 999}]}, "'x': its id 999 is not below 261"),
    ({"decoder": None}, "its decoder is neither"), ({"pre_tokenizer": {"type": "Nope"}}, "tokenizer: "),
    ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""}}, r"pattern '\(a\+\)\+b' is"),
])
def test_damaged_tokenizer_jsons_are_refused(change, words):
    with pytest.raises((ModelError, PtoFormatError), match=words):
        build(Vocabulary("json", document=document(**change)[1], size=261), SMALL)
