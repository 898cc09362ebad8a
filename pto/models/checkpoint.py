"""A model on disk, whichever format: its configuration, its tensors by kind, and what its tokenizer is made of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pto.core.errors import MemoryLimitError, ModelError, PtoFormatError, UsageError
from pto.isa.words import printable, shown
from pto.models import gguf, hugging_face
from pto.models.config import LlamaConfig
from pto.models.gguf_llama import FREQUENCIES, read_config, read_vocabulary
from pto.models.stored import Mapped, Stamp, StoredTensor
from pto.models.tensors import KINDS, stored
from pto.models.vocabulary import Vocabulary

IGNORED = re.compile(rf"{re.escape(FREQUENCIES)}|.*rotary_emb\.inv_freq")  # what the configuration says too


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model whose file or folder has been checked, and nothing of which has been read into memory.

    Attributes:
        path: a .gguf file, or a folder with config.json and safetensors.
        config: its shapes and constants.
        tensors: for each kind of weight the stored tensors, one a layer where there is one in each layer.
        turned: the rows of queries and keys are in the order of interleaved rotation (as GGUF has them).
        vocabulary: what the tokenizer is built from; None: the file has none.
    """

    path: Path
    config: LlamaConfig
    tensors: Mapping[str, tuple[StoredTensor, ...]]
    turned: bool
    vocabulary: Vocabulary | None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for group in self.tensors.values() for tensor in group)

    @property
    def file_bytes(self) -> int:
        """Bytes of the weights as stored."""
        return sum(tensor.nbytes for group in self.tensors.values() for tensor in group)

    def stamps(self) -> tuple[Stamp, ...] | None:
        """The files that hold the weights, as they were opened; None where these are not of files."""
        held = {id(tensor.data): tensor.data for group in self.tensors.values() for tensor in group}.values()
        found = tuple(data.stamp for data in held if isinstance(data, Mapped))
        return found if len(found) == len(held) else None

    def memory(self, context: int | None = None, itemsize: int = 4, cached: int = 4, scale: int = 0) -> int:
        """Bytes of the weights in memory, and of a cache for one text of `context` positions.

        Args:
            itemsize, cached: bytes of a weight, and of an element of the cache.
            scale: bytes of the scale that a position has in each head of the cache, for keys and for values.
        """
        c = self.config
        cache = 2 * c.layers * c.kv_heads * min(context or c.context, c.context) * (c.head_dim * cached + scale)
        return self.parameters * itemsize + cache

    def require_room(self, limit: int | None = None, context: int | None = None, itemsize: int = 4,
                     cached: int = 4, scale: int = 0) -> None:
        """Refuse a model that does not fit.

        Args:
            limit: bytes that it may take; None: the memory that this machine has available now.
            context, itemsize, cached, scale: as of `memory`.

        Raises:
            MemoryLimitError: it needs more; the message says how much.
        """
        needed, room = self.memory(context, itemsize, cached, scale), available_memory() if limit is None else limit
        if needed > room:
            raise MemoryLimitError(
                f"{printable(str(self.path))} needs {needed / 2**30:.1f} GiB of memory, "
                f"and may take {room / 2**30:.1f} GiB",
                hint="a shorter context or a smaller model needs less")


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The model at a path: a GGUF file, or a folder with config.json and safetensors.

    Raises:
        UsageError: there is nothing at the path.
        PtoFormatError: a file is not what it claims to be.
        ModelError: it is no Llama, or has something that this version does not run.
    """
    place = Path(path)
    if place.is_dir():
        return _folder(place)
    if not place.exists():
        raise UsageError(f"there is no model {printable(str(path))}", hint="pto model list shows those it knows")
    return from_gguf(gguf.load(place))


def available_memory() -> int:
    """Bytes that a process may take now: what the system and the control group leave."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = Path("/proc/meminfo").read_text()
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        free = int(found[1]) * 1024 if found else free
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip()
        if most.isdigit():
            free = min(free, int(most) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # not Linux, or no control group: what is known stands
    return max(free, 0)


def from_gguf(file: gguf.GgufFile) -> Checkpoint:
    """The model that a sound GGUF file holds; errors as of `open_checkpoint`."""
    path = Path(file.path)
    with _of_file(path):
        config = read_config(file)
        names = {kind.name: f"{kind.gguf}.weight" for kind in KINDS}
        return Checkpoint(path, config, _by_kind(config, names, file.tensors), True, read_vocabulary(file, config))


def _folder(path: Path) -> Checkpoint:
    config = hugging_face.read_config(path)
    tensors = hugging_face.read_tensors(path)
    with _of_file(path):
        names = {kind.name: f"{kind.hf}.weight" for kind in KINDS}
        return Checkpoint(path, config, _by_kind(config, names, tensors), False,
                          hugging_face.read_vocabulary(path, config))


class _of_file:
    """Puts the name of a file before the message of an error that leaves the block."""

    def __init__(self, path: Path) -> None:
        self.name = printable(str(path))

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, PtoFormatError | ModelError) and not err.message.startswith(self.name):
            raise type(err)(f"{self.name}: {err.message}", hint=err.hint) from None


def _by_kind(config: LlamaConfig, names: Mapping[str, str],
             tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[StoredTensor, ...]]:
    """Every tensor of the model, each of the right shape; the file may have no other."""
    left = {name: tensor for name, tensor in tensors.items() if not IGNORED.fullmatch(name)}
    found = {}
    for kind in stored(config):
        layers = range(config.layers) if kind.per_layer else range(1)
        group = [left.pop(names[kind.name].format(layer), None) for layer in layers]
        for layer, tensor in enumerate(group):
            name = names[kind.name].format(layer)
            if tensor is None:
                raise PtoFormatError(f"tensor {name}: is missing")
            if tensor.shape != kind.extents(config):
                raise PtoFormatError(f"byte {tensor.offset}: tensor {name}: is {_shape(tensor.shape)}, "
                                     f"the model has {_shape(kind.extents(config))}")
        found[kind.name] = tuple(tensor for tensor in group if tensor is not None)
    if config.tied:
        left.pop(names["head"], None)  # some files repeat the embedding
    if left:
        raise ModelError(f"tensor {shown(min(left))}: is of no kind that a Llama here has")
    return found


def _shape(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))
