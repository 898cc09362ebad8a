"""The weights of a model in a precision, read some rows at a time: no matrix is held in float32 as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype, room
from pto.models.checkpoint import Checkpoint
from pto.models.config import LlamaConfig
from pto.models.llama import keep
from pto.models.llama.precision import FAST, Precision
from pto.models.tensors import BY_NAME, KINDS, LAYER, Kind
from pto.models.weights import Progress, counting, head_rows, in_turns, load_weights, read_into, read_records
from pto.quant.forms import PANEL, Packed, form_of
from pto.quant.schemes import Scheme, find
from pto.quant.tensor import Quantised, from_records, quantise

Weights = dict[str, NDArray[Any] | Packed]
Job = Callable[[], int]
AT_ONCE = 2**16  # weights that are packed at a time: larger arrays go back to the system each time, page by page


def read(checkpoint: Checkpoint, precision: Precision, *, memory_limit: int | None = None,
         progress: Progress | None = None) -> Weights:
    """The weights of a model by kind: arrays, and quantised ones where the precision says so.

    Quantised models are kept packed on disk; to read plain ones from there would take as long as to read the file.

    Raises:
        MemoryLimitError: the model does not fit; nothing was allocated.
        PtoFormatError: the file has become shorter since it was opened.
        UsageError: the extents of a matrix do not suit its scheme.
    """
    if not precision.activation:
        return {**load_weights(checkpoint, numpy_dtype(precision.plain), memory_limit=memory_limit, progress=progress)}
    checkpoint.require_room(memory_limit, context=1, itemsize=2)
    count = counting(checkpoint, progress)
    found = {kind.name: _room(checkpoint.config, kind, precision) for kind in KINDS}
    places = [array.reshape(-1).view(np.uint8).data for weights in found.values() for array in _arrays(weights)]
    if keep.fetch(checkpoint, precision, places):
        count(checkpoint.parameters)
        return found
    in_turns([job for kind in KINDS for job in _jobs(checkpoint, kind, precision, found[kind.name])], count)
    keep.put(checkpoint, precision, places)
    return found


def fastest(checkpoint: Checkpoint) -> Precision:
    """The first of `FAST` in whose schemes the file has all matrices of layers, or the last.

    Fewer than 8 bits keep a model only where it was made of so many.
    """
    def has(row: Precision) -> bool:
        return all(tensor.storage.name in [find(name).storage for name in row.schemes(kind)]
                   for kind in LAYER if not kind.is_norm for tensor in checkpoint.tensors[kind.name])
    return next(filter(has, FAST), FAST[-1])


def _room(config: LlamaConfig, kind: Kind, precision: Precision) -> NDArray[Any] | Packed:
    """Room for all layers of a kind."""
    shape, scheme = kind.shape(config), precision.scheme(kind)
    if not scheme:
        return room(shape, numpy_dtype(precision.dtype(kind)))
    activation = precision.activation_of(kind)
    form = form_of(find(scheme), shape, activation, "" if kind.name == "head" else precision.form)
    return Packed.empty(form, activation, shape)


def _arrays(weights: NDArray[Any] | Packed) -> tuple[NDArray[Any], ...]:
    return weights.parts if isinstance(weights, Packed) else (weights,)


def _jobs(checkpoint: Checkpoint, kind: Kind, precision: Precision, weights: NDArray[Any] | Packed) -> Iterator[Job]:
    """What fills the room of a kind, in pieces."""
    for layer in range(checkpoint.config.layers if kind.per_layer else 1):
        if not isinstance(weights, Packed):
            yield partial(_read, checkpoint, kind, layer, weights[layer] if kind.per_layer else weights)
            continue
        rows, width = weights.shape[-2:]
        whole = lcm(PANEL, head_rows(checkpoint, kind) or 1)
        step = max(AT_ONCE // width // whole, 1) * whole
        for first in range(0, rows, step):
            yield partial(_pack, checkpoint, kind, layer, slice(first, min(first + step, rows)),
                          precision, weights)


def _read(checkpoint: Checkpoint, kind: Kind, layer: int, out: NDArray[Any]) -> int:
    read_into(out, checkpoint, kind, layer)
    return out.size


def _pack(checkpoint: Checkpoint, kind: Kind, layer: int, rows: slice, precision: Precision, packed: Packed) -> int:
    """Some rows of a layer; a tied head is the embedding's matrix, and none of the file's."""
    tied = checkpoint.config.tied and kind.name == "head"
    schemes = [find(name) for name in precision.schemes(kind)]
    made = _quantised(checkpoint, BY_NAME["embed"] if tied else kind, layer, rows, schemes)
    packed.put(made, rows.start, *((layer,) if kind.per_layer else ()))
    return 0 if tied else made.codes.size


def _quantised(checkpoint: Checkpoint, kind: Kind, layer: int, rows: slice, schemes: list[Scheme]) -> Quantised:
    """Rows of one matrix in the first of some schemes: blocks of a file that already are in one stay what they are."""
    tensor = checkpoint.tensors[kind.name][layer]
    for scheme in schemes:
        if tensor.storage.name == scheme.storage:
            return from_records(read_records(checkpoint, kind, layer, rows), scheme)
    some: NDArray[np.float32] = np.empty((rows.stop - rows.start, tensor.shape[-1]), np.float32)
    read_into(some, checkpoint, kind, layer, rows.start)
    return quantise(some, schemes[0])
