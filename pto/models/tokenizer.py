"""Text to token ids and back. Pairs are merged by the package `tokenizers`, which is loaded when first needed."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pto.core.errors import MissingPackageError, ModelError, PtoFormatError
from pto.isa.words import printable, shown
from pto.models.config import LlamaConfig
from pto.models.vocabulary import Vocabulary

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6  # GGUF's types of tokens
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = frozenset({_LLAMA3, _GPT2, r"\p{N}", r"\p{N}{1,3}", " {2,}"})  # that a tokenizer.json may split texts by


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a byte-level vocabulary splits texts before it merges pairs.

    Attributes:
        digits: each digit stands alone.
        pattern: what GPT-2's pattern is replaced by.
        whole: a word that is a token is not merged from its parts.
        add_bos: texts begin with the first token unless the file says otherwise.
    """

    digits: bool = False
    pattern: str = ""
    whole: bool = False
    add_bos: bool = False


SPLITTINGS = {
    "gpt-2": Splitting(), "gpt2": Splitting(), "smollm": Splitting(digits=True),
    "llama-bpe": Splitting(pattern=_LLAMA3, whole=True, add_bos=True),
    "llama3": Splitting(pattern=_LLAMA3, whole=True, add_bos=True),
    "llama-v3": Splitting(pattern=_LLAMA3, whole=True, add_bos=True),
}


class Special(str):
    """A token that is a command, as part of a prompt. Plain text never becomes one."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Encodes and decodes; made by `build`.

    Attributes:
        pieces: the bytes of each token id.
        specials: ids of tokens that stand for themselves and are no text, by their name.
        merge: the ids of a text without special tokens.
        first: ids that begin each text.
        drop_space: decoding leaves out the space that encoding puts before a text.
    """

    pieces: tuple[bytes, ...]
    specials: Mapping[str, int]
    merge: Callable[[str], list[int]]
    first: tuple[int, ...] = ()
    drop_space: bool = False

    def encode(self, text: str, *, special: bool = False, begin: bool = True) -> list[int]:
        """The ids of a text.

        Args:
            special: names of special tokens in the text become those tokens; else they are spelled out.
            begin: put the model's first token before the text, if it wants one.
        """
        return self.encode_parts(self._parts(text) if special else [text], begin=begin)

    def encode_parts(self, parts: Iterable[str], *, begin: bool = True) -> list[int]:
        """The ids of a prompt of plain texts and `Special` tokens.

        Raises:
            ModelError: the model has no such special token.
        """
        ids = list(self.first) if begin else []
        for part in _joined(parts):
            if not isinstance(part, Special):
                ids += self.merge(part)
            elif part in self.specials:
                ids.append(self.specials[part])
            else:
                raise ModelError(f"the model has no token {shown(str(part))}")
        return ids

    def decode(self, ids: Iterable[int], *, special: bool = True) -> str:
        """The text of ids; bytes that are no UTF-8 become replacement characters.

        Args:
            special: show the names of special tokens.
        """
        stream = self.stream(special=special, begin=True)
        return "".join([*map(stream.push, ids), stream.finish()])

    def stream(self, *, special: bool = True, begin: bool = False) -> TextStream:
        """Decodes ids one by one.

        Args:
            special: show the names of special tokens.
            begin: the ids begin a text; else they continue one, and a first space counts.
        """
        hidden = frozenset() if special else frozenset(self.specials.values())
        return TextStream(self.pieces, hidden, self.drop_space and begin)

    def _parts(self, text: str) -> list[str]:
        if not self.specials:
            return [text]
        names = sorted(self.specials, key=len, reverse=True)
        found = re.split(f"({'|'.join(map(re.escape, names))})", text)
        return [Special(part) if number % 2 else part for number, part in enumerate(found) if part]


class TextStream:
    """The text of ids that come one by one. What it gives never ends within a character."""

    def __init__(self, pieces: tuple[bytes, ...], hidden: frozenset[int] = frozenset(),
                 drop_space: bool = False) -> None:
        self._pieces, self._hidden, self._drop_space = pieces, hidden, drop_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that this token completes."""
        if token in self._hidden:
            return ""
        text = self._decoder.decode(self._pieces[token])
        if self._drop_space and text:
            self._drop_space, text = False, text.removeprefix(" ")
        return text

    def finish(self) -> str:
        """What is left: a replacement character if the last one is incomplete."""
        return self._decoder.decode(b"", final=True)


def build(vocabulary: Vocabulary, config: LlamaConfig) -> Tokenizer:
    """The tokenizer of a model.

    Raises:
        ModelError: it is of a kind that this version does not have.
        PtoFormatError: its tables contradict one another.
        MissingPackageError: it needs the package `tokenizers`.
    """
    builders = {"gpt2": _byte_level, "llama": _sentence_piece, "json": _document}
    if vocabulary.model not in builders:
        raise ModelError(f"the tokenizer is {shown(vocabulary.model)}; those that run here are {', '.join(builders)}")
    return builders[vocabulary.model](vocabulary, config)


def byte_alphabet() -> dict[str, int]:
    """The 256 printable characters that stand for bytes in byte-level vocabularies (GPT-2's table)."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


_ALPHABET = byte_alphabet()
_CHARACTER_OF = {byte: character for character, byte in _ALPHABET.items()}


def _joined(parts: Iterable[str]) -> list[str]:
    """Neighbouring plain texts as one: merges do not stop where a template's text ends."""
    found: list[str] = []
    for part in parts:
        if found and not isinstance(part, Special) and not isinstance(found[-1], Special):
            found[-1] += part
        elif part:
            found.append(part)
    return found


def _package() -> Any:
    try:
        return import_module("tokenizers")
    except ImportError:
        raise MissingPackageError("this model's tokenizer needs the package tokenizers",
                                  hint="pip install 'pto[models]'") from None


def _built(make: Callable[[], Any]) -> Callable[[str], list[int]]:
    """The encoder that `tokenizers` makes of tables from a file; its own complaints become ours."""
    with _complaints():
        encoder = make()

    def merge(text: str) -> list[int]:
        with _complaints():
            found: list[int] = encoder.encode(text, add_special_tokens=False).ids
        return found

    return merge


@contextmanager
def _complaints() -> Iterator[None]:
    """Whatever `tokenizers` raises on tables that make no sense leaves the block as an error of the file."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError, MissingPackageError):
        raise
    except BaseException as err:  # a panic of the package is no Exception
        raise PtoFormatError(f"tokenizer: {printable(str(err))[:200]}") from None


def _byte_level(v: Vocabulary, config: LlamaConfig) -> Tokenizer:
    if v.merges and v.pre not in SPLITTINGS:
        raise ModelError(f"tokenizer.ggml.pre: is {shown(v.pre)}; those that run here are {', '.join(SPLITTINGS)}")
    ids = {token: number for number, token in enumerate(v.tokens)}
    splitting = SPLITTINGS.get(v.pre, Splitting())
    merge = _built(lambda: _pairs(ids, v.merges, splitting)) if v.merges else _bytes(ids)
    pieces = tuple(_text_piece(t) if k in (CONTROL, USER, UNKNOWN) else _alphabet_piece(t)
                   for t, k in zip(v.tokens, v.kinds, strict=True))
    return Tokenizer(pieces, _specials(v), merge, _first(v, config, splitting.add_bos))


def _pairs(ids: Mapping[str, int], merges: tuple[str, ...], splitting: Splitting) -> Any:
    package = _package()
    split = package.pre_tokenizers
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    encoder = package.Tokenizer(package.models.BPE(
        vocab=dict(ids), merges=pairs, fuse_unk=False, byte_fallback=False, ignore_merges=splitting.whole))
    steps = [split.Digits(individual_digits=True)] if splitting.digits else []
    if splitting.pattern:
        steps.append(split.Split(package.Regex(splitting.pattern), "isolated"))
    steps.append(split.ByteLevel(add_prefix_space=False, use_regex=not splitting.pattern))
    encoder.pre_tokenizer = split.Sequence(steps)
    return encoder


def _bytes(ids: Mapping[str, int]) -> Callable[[str], list[int]]:
    """A vocabulary without merges: each byte is a token."""
    table = [ids.get(_CHARACTER_OF[byte], -1) for byte in range(256)]

    def merge(text: str) -> list[int]:
        return [table[byte] for byte in text.encode(errors="replace") if table[byte] >= 0]

    return merge


def _sentence_piece(v: Vocabulary, config: LlamaConfig) -> Tokenizer:
    if len(v.scores) != len(v.tokens):
        raise PtoFormatError(f"tokenizer.ggml.scores: has {len(v.scores)} elements, not {len(v.tokens)}")
    ids = {token: number for number, token in enumerate(v.tokens)}
    pieces = tuple(_sentence_piece_bytes(t) if k in (NORMAL, BYTE) else _text_piece(t)
                   for t, k in zip(v.tokens, v.kinds, strict=True))
    merge = _built(lambda: _scored_pairs(v, ids))
    return Tokenizer(pieces, _specials(v), merge, _first(v, config, True), drop_space=v.add_space)


def _scored_pairs(v: Vocabulary, ids: dict[str, int]) -> Any:
    """SentencePiece merges the neighbours whose joint token has the best score: pairs, ranked by that score."""
    package = _package()
    encoder = package.Tokenizer(package.models.BPE(
        vocab=ids, merges=ranked_pairs(v), unk_token=_unknown(v), fuse_unk=True, byte_fallback=True))
    normal = package.normalizers
    steps = [normal.Prepend(SPACE)] if v.add_space else []
    encoder.normalizer = normal.Sequence([*steps, normal.Replace(" ", SPACE)])
    return encoder


def ranked_pairs(v: Vocabulary) -> list[tuple[str, str]]:
    """The pairs of tokens that make another one, the best score first."""
    usable = {t: n for n, (t, k) in enumerate(zip(v.tokens, v.kinds, strict=True)) if k in (NORMAL, USER)}
    found = [(-v.scores[number], usable[token[:cut]], usable[token[cut:]])
             for token, number in usable.items()
             for cut in range(1, len(token)) if token[:cut] in usable and token[cut:] in usable]
    return [(v.tokens[left], v.tokens[right]) for _, left, right in sorted(found)]


def _unknown(v: Vocabulary) -> str | None:
    return next((t for t, k in zip(v.tokens, v.kinds, strict=True) if k == UNKNOWN), None)


def _specials(v: Vocabulary) -> dict[str, int]:
    return {t: n for n, (t, k) in enumerate(zip(v.tokens, v.kinds, strict=True)) if k in (CONTROL, USER) and t}


def _first(v: Vocabulary, config: LlamaConfig, default: bool) -> tuple[int, ...]:
    wanted = default if v.add_bos is None else v.add_bos
    return (config.bos,) if wanted and config.bos is not None else ()


def _alphabet_piece(token: str) -> bytes:
    try:
        return bytes(_ALPHABET[character] for character in token)
    except KeyError:  # unused or added: it stands for its own text
        return _text_piece(token)


def _sentence_piece_bytes(token: str) -> bytes:
    found = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else _text_piece(token.replace(SPACE, " "))


def _text_piece(token: str) -> bytes:
    return token.encode(errors="replace")


def _document(v: Vocabulary, config: LlamaConfig) -> Tokenizer:
    """A tokenizer.json: its added tokens and its first token are ours to apply, all else is the package's."""
    added, model, decoder = (v.document.get(key) for key in ("added_tokens", "model", "decoder"))
    table = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(table, dict) or not isinstance(added, list | None):
        raise PtoFormatError("tokenizer.json: has no vocabulary of pairs")
    specials = dict(map(_added, added or []))
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if isinstance(model, dict) and model.get(name):  # the package fails hard on lengths that do not fit
            raise ModelError(f"tokenizer.json: model.{name}: no Llama's tokens have one")
    style = json.dumps(decoder)
    if "ByteLevel" not in style and "ByteFallback" not in style:
        raise ModelError("tokenizer.json: its decoder is neither of bytes nor with a fallback to bytes")
    piece = _alphabet_piece if "ByteLevel" in style else _sentence_piece_bytes
    _require_known_patterns(v.document)
    pieces = _numbered(table, specials, piece, v.size)
    plain = json.dumps({**v.document, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None})
    merge = _built(lambda: _package().Tokenizer.from_str(plain))
    begins = _first_of_processor(v.document.get("post_processor"), specials)
    return Tokenizer(pieces, specials, merge, begins, drop_space="Strip" in style)


def _require_known_patterns(part: object) -> None:
    """Refuse patterns that are not those of known models: one that is made for it can take a lifetime to match."""
    if isinstance(part, dict) and isinstance(part.get("Regex"), str) and part["Regex"] not in PATTERNS:
        raise ModelError(f"tokenizer.json: the pattern {shown(part['Regex'])} is none that this version knows")
    parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for inner in parts:
        if isinstance(inner, dict | list):
            _require_known_patterns(inner)


def _added(row: object) -> tuple[str, int]:
    content, number = (row.get("content"), row.get("id")) if isinstance(row, dict) else (None, None)
    if not isinstance(content, str) or not content or type(number) is not int:
        raise PtoFormatError("tokenizer.json: added_tokens: an entry has no content and id")
    return content, number


def _numbered(table: Mapping[str, Any], specials: Mapping[str, int], piece: Callable[[str], bytes],
              size: int) -> tuple[bytes, ...]:
    """The bytes of each id; ids that no token has stand for nothing."""
    found = [b""] * size
    for token, number in (*table.items(), *specials.items()):
        if type(number) is not int or not 0 <= number < size:
            raise PtoFormatError(f"tokenizer.json: {shown(token)}: its id {shown(number)} is not below {size}")
        found[number] = _text_piece(token) if token in specials else piece(token)
    return tuple(found)


def _first_of_processor(processor: object, specials: Mapping[str, int]) -> tuple[int, ...]:
    """The token that a tokenizer.json puts before each text."""
    if not isinstance(processor, dict):
        return ()
    steps = processor.get("processors", [processor])
    for step in steps if isinstance(steps, list) else []:
        single = step.get("single") if isinstance(step, dict) else None
        begin = single[0] if isinstance(single, list) and single else None
        token = begin.get("SpecialToken") if isinstance(begin, dict) else None
        name = token.get("id") if isinstance(token, dict) else None
        if isinstance(name, str) and name in specials:
            return (specials[name],)
    return ()
