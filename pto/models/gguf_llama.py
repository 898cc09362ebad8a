"""A Llama as GGUF metadata describes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from pto.core.errors import ModelError
from pto.isa.words import shown
from pto.models.config import LlamaConfig, RopeScaling
from pto.models.gguf import Field, GgufFile
from pto.models.vocabulary import Vocabulary

ARCHITECTURE, FREQUENCIES, EMBEDDING = "llama", "rope_freqs.weight", "token_embd.weight"
CONTROL = 3  # the type of tokens that are commands, not text


class _Reader:
    """Fields by their name under ``llama.``."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file

    def get(self, name: str) -> Field | None:
        return self.file.fields.get(f"{ARCHITECTURE}.{name}")

    def need(self, name: str) -> Field:
        field = self.get(name)
        if field is None:
            raise ModelError(f"field {ARCHITECTURE}.{name}: is missing")
        return field

    def integer(self, name: str, default: int | None = None) -> int:
        field = self.get(name) if default is not None else self.need(name)
        return default if field is None and default is not None else self.need(name).integer(1)


def read_config(file: GgufFile) -> LlamaConfig:
    """The configuration of a file.

    Raises:
        PtoFormatError: a field is of the wrong type or out of range; the message has its offset.
        ModelError: the file is of another architecture, or has what this version does not run.
    """
    _require_llama(file)
    read = _Reader(file)
    heads, embed = read.integer("attention.head_count"), read.integer("embedding_length")
    head_dim = read.integer("attention.key_length", max(1, embed // heads))
    _require_plain(read, head_dim)
    base = read.get("rope.freq_base")
    config = LlamaConfig(
        layers=read.integer("block_count"), embed=embed, ffn=read.integer("feed_forward_length"), heads=heads,
        kv_heads=read.integer("attention.head_count_kv", heads), head_dim=head_dim, vocab=_vocabulary_size(file),
        context=read.integer("context_length"), rope_base=10000.0 if base is None else base.number(),
        eps=read.need("attention.layer_norm_rms_epsilon").number(), tied="output.weight" not in file.tensors,
        scaling=_scaling(read, head_dim), **_special(file),
    )
    faults = config.faults()
    if faults:
        raise ModelError(faults[0])
    return config


def read_vocabulary(file: GgufFile, config: LlamaConfig) -> Vocabulary | None:
    """What the tokenizer of a file is made of, if it has one.

    Raises:
        PtoFormatError: a list is of the wrong type or length; the message has its offset.
    """
    model = _tokenizer(file, "ggml.model")
    if model is None:
        return None
    tokens = file.fields.get("tokenizer.ggml.tokens")
    if tokens is None:
        model.refuse("has no tokens")
    kinds, scores = _tokenizer(file, "ggml.token_type"), _tokenizer(file, "ggml.scores")
    merges, pre = _tokenizer(file, "ggml.merges"), _tokenizer(file, "ggml.pre")
    begins, spaces = _tokenizer(file, "ggml.add_bos_token"), _tokenizer(file, "ggml.add_space_prefix")
    template = _tokenizer(file, "chat_template")
    return Vocabulary(
        model=model.text(), pre=pre.text() if pre else "", tokens=tuple(tokens.texts(config.vocab)),
        kinds=tuple(kinds.numbers(config.vocab).tolist()) if kinds else (1,) * config.vocab,
        scores=tuple(scores.numbers(config.vocab).tolist()) if scores else (),
        merges=tuple(merges.texts()) if merges else (),
        add_bos=begins.flag() if begins else None, add_space=spaces.flag() if spaces else True,
        template=template.text() if template else "",
    )


def _require_llama(file: GgufFile) -> None:
    field = file.fields.get("general.architecture")
    if field is None:
        raise ModelError("field general.architecture: is missing")
    if field.text() != ARCHITECTURE:
        raise ModelError(f"byte {field.offset}: general.architecture: is {shown(field.text())}; "
                         f"only {ARCHITECTURE} runs here")


def _require_plain(read: _Reader, head_dim: int) -> None:
    """Refuse values and rotations of part of a head, and mixtures of experts."""
    for name in ("rope.dimension_count", "attention.value_length"):
        field = read.get(name)
        if field is not None and field.integer(1) != head_dim:
            field.refuse(f"is {field.value}, the heads have {head_dim} channels")
    experts = read.get("expert_count")
    if experts is not None and experts.integer():
        raise ModelError(f"byte {experts.offset}: {experts.key}: mixtures of experts do not run here")


def _vocabulary_size(file: GgufFile) -> int:
    tensor = file.tensors.get(EMBEDDING)
    if tensor is None:
        raise ModelError(f"tensor {EMBEDDING}: is missing")
    return tensor.shape[0]


def _scaling(read: _Reader, head_dim: int) -> RopeScaling | None:
    tensor = read.file.tensors.get(FREQUENCIES)
    if tensor is not None:
        if tensor.shape != (head_dim // 2,):
            raise ModelError(f"byte {tensor.offset}: tensor {FREQUENCIES}: is not of {head_dim // 2} frequencies")
        values = np.empty(tensor.shape, np.float32)
        tensor.read(values)
        return RopeScaling("factors", tuple(values.tolist()))
    field = read.get("rope.scaling.type")
    if field is None or field.text() == "none":
        return None
    if field.text() != "linear":
        raise ModelError(f"byte {field.offset}: {field.key}: is {shown(field.text())}; "
                         "linear scaling and stored factors run here")
    return RopeScaling("linear", (read.need("rope.scaling.factor").number(),))


def _special(file: GgufFile) -> dict[str, Any]:
    """Ids that begin and end a text."""
    begin = _tokenizer(file, "ggml.bos_token_id")
    ends = [_tokenizer(file, f"ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    return {
        "bos": None if begin is None else begin.integer(),
        "stop": tuple(dict.fromkeys(field.integer() for field in ends if field is not None)),
    }


def _tokenizer(file: GgufFile, name: str) -> Field | None:
    return file.fields.get(f"tokenizer.{name}")
