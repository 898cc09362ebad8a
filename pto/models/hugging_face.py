"""A Llama as a Hugging Face folder describes it: config.json, safetensors, tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pto.core.errors import ModelError, PtoFormatError
from pto.isa.words import printable, shown
from pto.models import safetensors
from pto.models.config import LlamaConfig, RopeScaling
from pto.models.rope import llama3_scaling
from pto.models.safetensors import read_json
from pto.models.stored import StoredTensor
from pto.models.vocabulary import Vocabulary

CONFIG, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
MODEL_TYPE = "llama"
TEMPLATE_BYTES = 2**20


class _Json:
    """Typed access to a JSON object; a value of the wrong type is refused with file and field."""

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str = "") -> None:
        self.path, self.values, self.prefix = path, values, prefix

    def refuse(self, name: str, reason: str) -> ModelError:
        return ModelError(f"{printable(str(self.path))}: {self.prefix}{name}: {reason}")

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.values.get(name)
        value = default if value is None else value
        if type(value) is not int or not 1 <= value < 2**32:
            raise self.refuse(name, "is missing" if value is None else f"is {shown(value)}, not a positive integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(name, "is missing" if value is None else f"is {shown(value)}, not a number")
        try:
            return float(value)
        except OverflowError:
            raise self.refuse(name, "is out of range") from None

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.refuse(name, f"is {shown(value)}, not a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise self.refuse(name, f"is {shown(value)}, not true or false")
        return value

    def table(self, name: str) -> _Json | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name, f"is {shown(value)}, not an object")
        return None if value is None else _Json(self.path, value, f"{self.prefix}{name}.")

    def ids(self, name: str) -> tuple[int, ...]:
        value = self.values.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(one) is int and 0 <= one < 2**32 for one in values) or len(values) > 64:
            raise self.refuse(name, f"is {shown(value)}, not a token id or a few")
        return tuple(values)


def read_config(folder: Path) -> LlamaConfig:
    """The configuration in a folder.

    Raises:
        PtoFormatError: there is no readable config.json.
        ModelError: it is of another architecture, or has what this version does not run.
    """
    path = folder / CONFIG
    read = _Json(path, read_json(path))
    _require_llama(read)
    heads, embed = read.integer("num_attention_heads"), read.integer("hidden_size")
    head_dim = read.integer("head_dim", max(1, embed // heads))
    rope = read.table("rope_parameters") or read.table("rope_scaling")
    base = rope.values.get("rope_theta") if rope else None
    rope_base = rope.number("rope_theta") if rope and base is not None else read.number("rope_theta", 10000.0)
    bos = read.ids("bos_token_id")
    config = LlamaConfig(
        layers=read.integer("num_hidden_layers"), embed=embed, ffn=read.integer("intermediate_size"), heads=heads,
        kv_heads=read.integer("num_key_value_heads", heads), head_dim=head_dim, vocab=read.integer("vocab_size"),
        context=read.integer("max_position_embeddings", 2048), rope_base=rope_base,
        eps=read.number("rms_norm_eps", 1e-6), tied=read.flag("tie_word_embeddings", False),
        scaling=_scaling(rope, head_dim, rope_base), bos=bos[0] if bos else None, stop=read.ids("eos_token_id"),
    )
    faults = config.faults()
    if faults:
        raise ModelError(f"{printable(str(path))}: {faults[0]}")
    return config


def read_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of a folder by their Hugging Face names."""
    return safetensors.load_folder(folder)


def read_vocabulary(folder: Path, config: LlamaConfig) -> Vocabulary | None:
    """What the tokenizer of a folder is made of, if it has one."""
    if not (folder / TOKENIZER).exists():
        return None
    template: Any = ""
    if (folder / TEMPLATE).exists():
        template = _template(folder / TEMPLATE)
    elif (folder / TOKENIZER_CONFIG).exists():
        template = read_json(folder / TOKENIZER_CONFIG).get("chat_template", "")
    return Vocabulary(
        model="json", document=read_json(folder / TOKENIZER), template=template if isinstance(template, str) else "",
        size=config.vocab)


def _template(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(TEMPLATE_BYTES)
    except (OSError, UnicodeDecodeError) as err:
        raise PtoFormatError(f"{printable(str(path))}: cannot be read: {printable(str(err))}") from None


def _require_llama(read: _Json) -> None:
    found = read.text("model_type", "none")
    if found != MODEL_TYPE:
        raise read.refuse("model_type", f"is {shown(found)}; only {MODEL_TYPE} runs here")
    for name in ("attention_bias", "mlp_bias"):
        if read.flag(name, False):
            raise read.refuse(name, "projections with a bias do not run here")
    if read.text("hidden_act", "silu") != "silu":
        raise read.refuse("hidden_act", f"is {shown(read.values['hidden_act'])}; only silu runs here")


def _scaling(rope: _Json | None, head_dim: int, rope_base: float) -> RopeScaling | None:
    if rope is None:
        return None
    kind = rope.text("rope_type", rope.text("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", (rope.number("factor"),))
    if kind != "llama3":
        raise rope.refuse("rope_type", f"is {shown(kind)}; linear and llama3 scaling run here")
    factor, low, high = (rope.number(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    if not (factor > 0 and high > low > 0 and rope_base > 0):
        raise rope.refuse("factor", "the factors of llama3 scaling are not positive and in order")
    context = rope.integer("original_max_position_embeddings")
    return llama3_scaling(head_dim, rope_base, factor, low, high, context)
