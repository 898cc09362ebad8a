"""The weights of a model in a precision, read tensor by tensor: no more than one is held in float32."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.models.checkpoint import Checkpoint
from pto.models.llama.precision import Precision
from pto.models.tensors import BY_NAME, KINDS, Kind
from pto.models.weights import Progress, counting, load_weights, read_into, read_records
from pto.quant.forms import Packed, pack
from pto.quant.schemes import Scheme, find
from pto.quant.tensor import Quantised, from_records, quantise

Weights = dict[str, NDArray[Any] | Packed]


def read(checkpoint: Checkpoint, precision: Precision, *, memory_limit: int | None = None,
         progress: Progress | None = None) -> Weights:
    """The weights of a model by kind: arrays, and quantised ones where the precision says so.

    Raises:
        MemoryLimitError: the model does not fit; nothing was allocated.
        PtoFormatError: the file has become shorter since it was opened.
        UsageError: the extents of a matrix do not suit its scheme.
    """
    if not precision.activation:
        return {**load_weights(checkpoint, numpy_dtype(precision.plain), memory_limit=memory_limit, progress=progress)}
    config, count = checkpoint.config, counting(checkpoint, progress)
    checkpoint.require_room(memory_limit, context=1, itemsize=2)
    found: Weights = {}
    for kind in KINDS:
        quantised = precision.scheme(kind)
        found[kind.name] = _packed(checkpoint, kind, precision) if quantised else _plain(checkpoint, kind, precision)
        if not (config.tied and kind.name == "head"):
            count(prod(kind.shape(config)))
    return found


def _layers(checkpoint: Checkpoint, kind: Kind) -> int:
    return checkpoint.config.layers if kind.per_layer else 1


def _stacked(parts: list[NDArray[Any]], kind: Kind) -> NDArray[Any]:
    return np.stack(parts) if kind.per_layer else parts[0]


def _plain(checkpoint: Checkpoint, kind: Kind, precision: Precision) -> NDArray[Any]:
    """All layers of a kind in an element type."""
    found = np.empty(kind.shape(checkpoint.config), numpy_dtype(precision.dtype(kind)))
    for layer in range(_layers(checkpoint, kind)):
        read_into(found[layer] if kind.per_layer else found, checkpoint, kind, layer)
    return found


def _quantised(checkpoint: Checkpoint, kind: Kind, layer: int, scheme: Scheme) -> Quantised:
    """One matrix in a scheme: blocks of a file that already are in it stay what they are."""
    tensor = checkpoint.tensors[kind.name][layer]
    if tensor.storage.name == scheme.storage:
        return from_records(read_records(checkpoint, kind, layer), scheme)
    one: NDArray[np.float32] = np.empty(kind.extents(checkpoint.config), np.float32)
    read_into(one, checkpoint, kind, layer)
    return quantise(one, scheme)


def _packed(checkpoint: Checkpoint, kind: Kind, precision: Precision) -> Packed:
    """All layers of a kind in the scheme that a precision has for it; a tied head is the embedding's matrix."""
    config, scheme = checkpoint.config, find(precision.scheme(kind))
    source = BY_NAME["embed"] if config.tied and kind.name == "head" else kind
    form, activation = "" if kind.name == "head" else precision.form, precision.activation_of(kind)
    made = [pack(_quantised(checkpoint, source, layer, scheme), activation, form)
            for layer in range(_layers(checkpoint, kind))]
    parts = tuple(_stacked([p.parts[n] for p in made], kind) for n in range(len(made[0].parts)))
    return Packed(made[0].form, activation, kind.shape(config), parts)
