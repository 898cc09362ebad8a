"""Weights in memory: all layers of a kind in one array, as the rolled loop over layers reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pto.core.arrays import room
from pto.core.processors import available
from pto.models.checkpoint import Checkpoint
from pto.models.stored import AT_ONCE, StoredTensor
from pto.models.tensors import Kind, stored
from pto.quant.blocks import Floats, Records

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
    found: Weights = {kind.name: room(kind.shape(config), dtype) for kind in stored(config)}

    def one(kind: Kind, layer: int) -> int:
        out = found[kind.name][layer] if kind.per_layer else found[kind.name]
        read_into(out, checkpoint, kind, layer)
        return out.size

    in_turns([partial(one, kind, layer) for kind in stored(config)
              for layer in range(config.layers if kind.per_layer else 1)], count)
    if config.tied:
        found["head"] = found["embed"]
    return found


def in_turns(jobs: Sequence[Callable[[], int]], count: Callable[[int], None]) -> None:
    """Do jobs, each of which gives how many weights it read, in several threads; one that fails ends them all."""
    with ThreadPoolExecutor(min(available(), READERS)) as pool:
        try:
            for size in pool.map(lambda job: job(), jobs):
                count(size)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def counting(checkpoint: Checkpoint, progress: Progress | None) -> Callable[[int], None]:
    """What is called with the number of weights that were read, and tells `progress`."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, checkpoint.parameters)
    return count


def read_records(checkpoint: Checkpoint, kind: Kind, layer: int, rows: slice = slice(None)) -> Records:
    """Blocks of one tensor as the file has them, [out, in / elements of a block], rows ordered as by `read_into`.

    Args:
        rows: which; whole heads, where heads have an order.

    Raises:
        PtoFormatError: the file has become shorter since it was opened.
    """
    tensor, together = checkpoint.tensors[kind.name][layer], head_rows(checkpoint, kind)
    table = tensor.records().reshape(tensor.shape[0], -1)[rows]
    return unturned(table, len(table) // together) if together else table


def read_into(out: NDArray[Any], checkpoint: Checkpoint, kind: Kind, layer: int, first: int = 0) -> None:
    """One tensor of a model, or rows of it, into an array of their shape, in the order of half-split rotation.

    Args:
        first: the row to begin with; that of a head, where heads have an order.

    Raises:
        PtoFormatError: the file has become shorter since it was opened.
    """
    _fill(out, checkpoint.tensors[kind.name][layer], head_rows(checkpoint, kind), first)


def head_rows(checkpoint: Checkpoint, kind: Kind) -> int:
    """How many rows change places with each other; 0: rows are in the order that is wanted."""
    return checkpoint.config.head_dim if kind.turned and checkpoint.turned else 0


def unturned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of queries or keys in the order of half-split rotation (pairs i, i + half), from GGUF's interleaved one.

    Within each head row ``2 i + j`` moves to row ``half j + i``. `rows` is [heads * head_dim, in].
    """
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def turned(rows: NDArray[Any], heads: int) -> NDArray[Any]:
    """The inverse of `unturned`, for writing GGUF."""
    return rows.reshape(heads, 2, -1, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def _fill(out: NDArray[Any], tensor: StoredTensor, together: int, first: int) -> None:
    """Read rows of a tensor into their place, some at a time where they must be moved or rounded."""
    width = out.shape[-1]
    if not together and out.dtype == np.float32:
        return tensor.read(out, first * width)
    table = out.reshape(-1, width)
    step = together or max(1, AT_ONCE // width)
    scratch: Floats = np.empty((min(step, len(table)), width), np.float32)
    for row in range(0, len(table), step):
        part = scratch[:len(table) - row]
        tensor.read(part, (first + row) * width)
        table[row:row + step] = unturned(part, 1) if together else part
    return None
