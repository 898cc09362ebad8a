"""Weights in memory: all layers of a kind in one array, as the rolled loop over layers reads them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pto.models.checkpoint import Checkpoint
from pto.models.stored import AT_ONCE, StoredTensor
from pto.models.tensors import Kind, stored
from pto.quant.blocks import Floats, Records
from pto.runtime.threads import available

Weights = dict[str, NDArray[Any]]
READERS = 4  # threads that unpack tensors; NumPy leaves the interpreter free meanwhile
Progress = Callable[[int, int], None]  # weights read so far, and in all


def load_weights(checkpoint: Checkpoint, dtype: DTypeLike = np.float32, *, memory_limit: int | None = None,
                 progress: Progress | None = None) -> Weights:
    """The weights of a model by kind (`pto.models.tensors.KINDS`): [layers, out, in] for matrices of each layer.

    The head of a tied model is the embedding itself, not a copy. Besides the result, about a
    megabyte is held for each thread that reads.

    Args:
        dtype: a floating type; what the file has is rounded to it, to nearest even.
        memory_limit: bytes that the model may take; None: what is available.

    Raises:
        MemoryLimitError: the model does not fit; nothing was allocated.
        PtoFormatError: the file has become shorter since it was opened.
    """
    config, count = checkpoint.config, counting(checkpoint, progress)
    checkpoint.require_room(memory_limit, context=1, itemsize=np.dtype(dtype).itemsize)
    found: Weights = {kind.name: np.empty(kind.shape(config), dtype) for kind in stored(config)}

    def one(kind: Kind, layer: int) -> int:
        out = found[kind.name][layer] if kind.per_layer else found[kind.name]
        read_into(out, checkpoint, kind, layer)
        return out.size

    parts = [(kind, layer) for kind in stored(config) for layer in range(config.layers if kind.per_layer else 1)]
    with ThreadPoolExecutor(min(available(), READERS)) as pool:
        try:
            for size in pool.map(one, *zip(*parts, strict=True)):
                count(size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if config.tied:
        found["head"] = found["embed"]
    return found


def counting(checkpoint: Checkpoint, progress: Progress | None) -> Callable[[int], None]:
    """What is called with the number of weights that were read, and tells `progress`."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, checkpoint.parameters)
    return count


def read_records(checkpoint: Checkpoint, kind: Kind, layer: int) -> Records:
    """The blocks of one tensor as the file has them, [out, in / elements of a block], rows ordered as by `read_into`.

    Raises:
        PtoFormatError: the file has become shorter since it was opened.
    """
    tensor = checkpoint.tensors[kind.name][layer]
    table = tensor.records().reshape(tensor.shape[0], -1)
    heads = kind.turned(checkpoint.config) if kind.turned and checkpoint.turned else None
    return unturned(table, heads) if heads else table


def read_into(out: NDArray[Any], checkpoint: Checkpoint, kind: Kind, layer: int) -> None:
    """One tensor of a model into an array of its shape, rows in the order of half-split rotation.

    Raises:
        PtoFormatError: the file has become shorter since it was opened.
    """
    heads = kind.turned(checkpoint.config) if kind.turned and checkpoint.turned else None
    _fill(out, checkpoint.tensors[kind.name][layer], heads)


def unturned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of queries or keys in the order of half-split rotation (pairs i, i + half), from GGUF's interleaved one.

    Within each head row ``2 i + j`` moves to row ``half j + i``. `rows` is [heads * head_dim, in].
    """
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def turned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """The inverse of `unturned`, for writing GGUF."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def _fill(out: NDArray[Any], tensor: StoredTensor, heads: int | None) -> None:
    """Read a tensor into its place, some rows at a time where they must be moved or rounded."""
    if heads is None and out.dtype == np.float32:
        return tensor.read(out)
    width = out.shape[-1]
    table = out.reshape(-1, width)
    step = len(table) // heads if heads else max(1, AT_ONCE // width)
    scratch: Floats = np.empty((min(step, len(table)), width), np.float32)
    for row in range(0, len(table), step):
        part = scratch[:len(table) - row]
        tensor.read(part, row * width)
        table[row:row + step] = unturned(part, 1) if heads else part
    return None
