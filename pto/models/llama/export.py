"""A model as program files and arrays, which run without it: `pto run decode.pto --arrays FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError
from pto.isa.file import save
from pto.isa.program import Program
from pto.isa.words import printable
from pto.models.config import LlamaConfig
from pto.models.llama.decoder import decode_kernel, prefill_kernel
from pto.models.llama.model import Llama
from pto.models.tensors import KINDS


def programs(config: LlamaConfig, context: int) -> dict[str, Program]:
    """The programs of a model by name: ``decode`` takes a token, ``prefill`` the tokens of a text."""
    kernels = decode_kernel(config, context), prefill_kernel(config, context)
    return {kernel.__name__: kernel.program() for kernel in kernels}


def buffers(model: Llama) -> dict[str, NDArray[Any]]:
    """What the programs read, by the name of the tensor; the cache is empty."""
    empty = model.session()
    names = (*(kind.name for kind in KINDS), "cos", "sin", "keys", "values")
    return dict(zip(names, (*model.arguments, *empty.cache), strict=True))


def export(model: Llama, folder: Path) -> None:
    """Write NAME.pto for each program and NAME.npy for each buffer; files of these names are replaced.

    Raises:
        UsageError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, program in programs(model.config, model.context).items():
            save(program, folder / f"{name}.pto")
        for name, array in buffers(model).items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    except OSError as err:
        raise UsageError(f"cannot write to {printable(str(folder))}: {err.strerror}") from None
