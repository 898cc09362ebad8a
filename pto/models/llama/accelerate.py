"""The layers of a Hugging Face Llama run on the machine, inside that model and its own `generate()`.

PyTorch is not imported here: the model that is given brings it along.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import MissingPackageError, ModelError
from pto.isa.words import shown
from pto.models.config import LlamaConfig
from pto.models.llama.layer import LlamaDecoderLayer
from pto.models.tensors import LAYER

_PREFIX = "model.layers.{}."
_WEIGHTS = {kind.name: kind.hf.removeprefix(_PREFIX) for kind in LAYER}


def accelerate(model: Any) -> Any:
    """Let the decoder layers of a `transformers.LlamaForCausalLM` run on the machine. The same model, changed.

    Weights are used where they lie, in float32 on the processor. Embedding, head and the cache stay PyTorch's.
    Nothing is differentiated.

    Raises:
        MissingPackageError: transformers is not installed.
        ModelError: the model is no Llama, or has what a Llama here has not: another element type, biases.
    """
    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingPackageError("accelerate changes a model of transformers, which is not installed",
                                  hint="pip install 'pto[hugging-face]'")
    config = _config(model)
    operation = LlamaDecoderLayer(config)
    for index, layer in enumerate(model.model.layers):
        layer.forward = partial(_forward, operation, _weights(layer), index)
    return model


def _config(model: Any) -> LlamaConfig:
    """The shapes of a model of transformers."""
    c: Any = getattr(model, "config", None)
    if getattr(c, "model_type", None) != "llama":
        raise ModelError(f"a model of type {shown(getattr(c, 'model_type', type(model).__name__))} is no Llama",
                         hint="accelerate takes a transformers.LlamaForCausalLM")
    if getattr(c, "attention_bias", False) or getattr(c, "mlp_bias", False):
        raise ModelError("the model has biases, which a Llama here has not")
    if c.hidden_act != "silu":
        raise ModelError(f"the activation is {shown(c.hidden_act)}, not silu")
    width = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    return LlamaConfig(layers=c.num_hidden_layers, embed=c.hidden_size, ffn=c.intermediate_size,
                       heads=c.num_attention_heads, kv_heads=c.num_key_value_heads, head_dim=width, vocab=c.vocab_size,
                       context=c.max_position_embeddings, rope_base=1.0, eps=float(c.rms_norm_eps), tied=False)


def _weights(layer: Any) -> dict[str, NDArray[np.float32]]:
    """The weights of a layer, sharing memory with it."""
    parameters = dict(layer.named_parameters())
    found = {}
    for name, path in _WEIGHTS.items():
        tensor = parameters.get(f"{path}.weight")
        if tensor is None:
            raise ModelError(f"the layer has no {path}")
        if str(tensor.dtype) != "torch.float32" or tensor.device.type != "cpu":
            raise ModelError(f"{path} is {tensor.dtype} on {tensor.device.type}", hint="model.float().cpu()")
        found[name] = tensor.detach().numpy()
    return found


def _forward(operation: LlamaDecoderLayer, weights: dict[str, NDArray[np.float32]], index: int, hidden_states: Any,
             attention_mask: Any = None, position_ids: Any = None, past_key_values: Any = None, *,
             position_embeddings: tuple[Any, Any], **_: Any) -> Any:
    """What a layer of transformers does, as its model calls it; the angles come in, positions are theirs already."""
    hidden = hidden_states.detach().numpy()
    count = hidden.shape[1]
    half = operation.config.head_dim // 2
    past = _past(past_key_values, index)
    out, keys, values = [], [], []
    for row in range(len(hidden)):
        cos, sin = (np.ascontiguousarray(_row(table, row)[:, :half]) for table in position_embeddings)
        given = {"hidden": hidden[row:row + 1], **weights, "cos": cos, "sin": sin,
                 "positions": np.arange(count)[None], "mask": _mask(attention_mask, row),
                 **{name: array[row:row + 1] for name, array in past.items()}}
        made = operation.execute(given)
        out.append(made["hidden"])
        keys.append(made["key"][:, :, -count:])
        values.append(made["value"][:, :, -count:])
    if past_key_values is not None:
        past_key_values.update(*(hidden_states.new_tensor(np.concatenate(new)) for new in (keys, values)), index)
    return hidden_states.new_tensor(np.concatenate(out))


def _past(cache: Any, index: int) -> dict[str, NDArray[np.float32]]:
    """The keys and values that the cache of transformers holds for a layer."""
    if cache is None or not cache.get_seq_length(index):
        return {}
    layer = cache.layers[index]
    return {"past_key": layer.keys.detach().numpy(), "past_value": layer.values.detach().numpy()}


def _row(table: Any, row: int) -> NDArray[np.float32]:
    """A text's angles, [count, head_dim]; texts of equal positions share one."""
    array: NDArray[np.float32] = table.detach().numpy()
    found: NDArray[np.float32] = array[row % len(array)]
    return found


def _mask(mask: Any, row: int) -> NDArray[np.float32] | None:
    """What is added to the scores of a text, [1, count, known]; None: later positions are hidden, nothing else."""
    if mask is None:
        return None
    array = mask.detach().numpy()
    one = array[row % len(array), 0][None]
    added: NDArray[Any] = np.where(one, 0, np.finfo(np.float32).min) if one.dtype == bool else one
    return np.asarray(added, np.float32)
