"""Packed weights on disk: a second process reads them as they are, instead of quantising and packing the file again.

An entry is the bytes of the arrays in their order, and nothing else: what arrays there are, and of what extents,
follows from the model's file, which has been checked, and the precision. So nothing is allocated on an entry's word,
and its bytes go, hashed on their way, to where packing would put them (docs/decisions/0008).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from functools import cache

import numpy as np

from pto.core.cache import FileCache, sources_digest
from pto.models.checkpoint import Checkpoint
from pto.models.llama.precision import Precision
from pto.models.tensors import KINDS

# Whatever decides about the bytes.
SOURCES = ("core/arrays.py", "core/dtypes.py", "core/packed.py", "core/packing.py", "quant/*.py", "models/*.py",
           "models/llama/keep.py", "models/llama/precision.py", "models/llama/read.py")
_imported = sources_digest(SOURCES)  # what this process runs


@cache
def store() -> FileCache:
    """The weights that this version packs, on this kind of machine."""
    words = _imported, np.__version__, sys.byteorder
    return FileCache(hashlib.sha256("\0".join(words).encode()).hexdigest(), kind="weights")


def fetch(checkpoint: Checkpoint, precision: Precision, places: Sequence[memoryview]) -> bool:
    """Fill the bytes of all arrays with what is kept for a model. If False, they hold nothing of use."""
    name = _name(checkpoint, precision)
    return name is not None and store().fill(name, places)


def put(checkpoint: Checkpoint, precision: Precision, places: Sequence[memoryview]) -> None:
    """Keep the bytes of all arrays, unless the files or the sources have changed since they were read."""
    name, stamps = _name(checkpoint, precision), checkpoint.stamps() or ()
    if name is not None and all(stamp.still() for stamp in stamps) and sources_digest(SOURCES) == _imported:
        store().put(name, *places)


def _name(checkpoint: Checkpoint, precision: Precision) -> str | None:
    """What the weights of a model are kept under: its files' state, its shapes, and where its tensors lie.

    Precisions that differ in the activations alone share an entry.
    """
    stamps = checkpoint.stamps()
    if stamps is None or os.environ.get("PTO_DISABLE_CACHE"):
        return None
    table = [(t.name, t.storage.name, t.shape, t.offset) for group in checkpoint.tensors.values() for t in group]
    bits = precision.form, [precision.scheme(kind) or precision.dtype(kind).name for kind in KINDS]
    parts = bits, [stamp.state for stamp in stamps], checkpoint.config, checkpoint.turned, table
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()
