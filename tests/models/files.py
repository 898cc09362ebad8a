"""Small models as files: what the tests of loaders read, and what campaigns mutate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from struct import pack

import numpy as np

from pto.models.config import LlamaConfig
from pto.models.gguf import ALIGNMENT, ALIGNMENT_KEY, GgufFile, Strings
from pto.models.gguf_writer import TensorBytes, Typed, dumps
from pto.models.stored import StoredTensor
from pto.models.tensors import stored
from pto.quant.blocks import STORAGES

SMALL = LlamaConfig(
    layers=3, embed=32, ffn=64, heads=4, kv_heads=2, head_dim=8, vocab=48, context=64, rope_base=10000.0,
    eps=1e-5, tied=True, bos=1, stop=(2,),
)
OWN_HEAD = replace(SMALL, tied=False)


def random_weights(config: LlamaConfig, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {kind.name: rng.standard_normal(kind.shape(config), np.float32) for kind in stored(config)}
    return found | ({"head": found["embed"]} if config.tied else {})


def seed_file(alignment: int = 32, seed: int = 0) -> bytes:
    """A GGUF file with every type of field and every storage."""
    rng = np.random.default_rng(seed)
    fields = {
        "general.architecture": "llama", "a.u8": Typed("u8", 7), "a.i64": Typed("i64", -9), "a.f64": Typed("f64", 0.5),
        "a.flag": True, "a.texts": ["one", "zwei", "три", ""], "a.numbers": [1.0, 2.0], "a.flags": [True, False],
        "a.small": [Typed("i8", n) for n in (-1, 0, 1)], "a.none": [], "llama.block_count": 3,
    }
    tensors = [TensorBytes(f"t.{row.name}", row, (2, 64), rng.bytes(row.nbytes(128))) for row in STORAGES]
    return dumps(fields, tensors, alignment)


def rewritten(file: GgufFile) -> bytes | None:
    """A file of the same content, as our own writer writes it; None: it has arrays of arrays."""
    kinds = {key: field.kind for key, field in file.fields.items()}
    if "array of array" in kinds.values():
        return None
    fields = {key: field.value if isinstance(field.value, bool | str) else Typed(kinds[key], field.value)
              for key, field in file.fields.items()}
    alignment = fields.pop(ALIGNMENT_KEY).value if ALIGNMENT_KEY in fields else ALIGNMENT
    return dumps(fields, [TensorBytes(t.name, t.storage, t.shape, stored_bytes(t)) for t in file.tensors.values()],
                 alignment)


def stored_bytes(tensor: StoredTensor) -> bytes:
    return bytes(tensor.data[tensor.offset:tensor.offset + tensor.nbytes])


def content(file: GgufFile) -> object:
    """What two files have in common that say the same; numbers that are none are equal to one another."""
    fields = {key: (field.kind if key != ALIGNMENT_KEY else "", repr(list(field.value) if isinstance(
        field.value, Strings | np.ndarray) else field.value)) for key, field in file.fields.items()}
    default = (("", repr(ALIGNMENT)), None)
    if fields.get(ALIGNMENT_KEY) in default:
        fields.pop(ALIGNMENT_KEY, None)
    return fields, {t.name: (t.storage, t.shape, stored_bytes(t)) for t in file.tensors.values()}


def safetensors_bytes(tensors: dict[str, np.ndarray], *, metadata: dict[str, str] | None = None,
                      storage: str = "F32") -> bytes:
    """A safetensors file of float32 arrays, stored as F32, F16 or BF16 (the upper halves)."""
    header, body = {"__metadata__": metadata} if metadata else {}, b""
    for name, array in tensors.items():
        data = array.astype("<f2" if storage == "F16" else "<f4")
        raw = (data.view("<u4") >> 16).astype("<u2").tobytes() if storage == "BF16" else data.tobytes()
        header[name] = {"dtype": storage, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    return pack("<Q", len(text)) + text + body


def save_folder(folder: Path, config: LlamaConfig, weights: dict[str, np.ndarray], *, storage: str = "F32",
                shards: int = 1, **extra: object) -> Path:
    """A model as Hugging Face keeps it."""
    named = {}
    for kind in stored(config):
        for layer, array in enumerate(weights[kind.name] if kind.per_layer else [weights[kind.name]]):
            named[f"{kind.hf.format(layer)}.weight"] = array
    (folder / "config.json").write_text(json.dumps(described(config) | extra))
    parts = [dict(list(named.items())[n::shards]) for n in range(shards)]
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(named, storage=storage))
        return folder
    places = {}
    for number, part in enumerate(parts):
        file = f"model-{number}.safetensors"
        (folder / file).write_bytes(safetensors_bytes(part, storage=storage))
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def described(c: LlamaConfig) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": c.embed,
        "intermediate_size": c.ffn, "num_hidden_layers": c.layers, "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim, "vocab_size": c.vocab,
        "max_position_embeddings": c.context, "rope_theta": c.rope_base, "rms_norm_eps": c.eps,
        "tie_word_embeddings": c.tied, "bos_token_id": c.bos, "eos_token_id": list(c.stop), "hidden_act": "silu",
    }
