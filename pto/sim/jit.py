"""Addresses of compiled functions: loaded from the object cache, compiled by Numba where it has none.

Object code, not pickles, is kept, and llvmlite alone loads it: a warm start does not import Numba.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import threading
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from pto.core import cache as kept
from pto.core.cache import FileCache

if TYPE_CHECKING:
    from pto.sim.loader import Host, Loader

# Whatever is compiled, or decides how.
SOURCES = (
    "core/types.py", "core/dtypes.py", "isa/spec.py", "isa/exact_*.py", "isa/table/*.py", "sim/layout.py",
    "sim/names.py", "sim/loader.py", "sim/traps.py", "sim/access.py", "sim/vec.py", "sim/dots.py", "sim/blocks.py",
    "sim/elements.py", "sim/exponential.py", "sim/fast_functions.py", "sim/floats.py", "sim/formats.py",
    "sim/formulas.py", "sim/lanes.py", "sim/operations.py", "sim/atomic.py", "sim/between.py", "sim/engine.py",
    "sim/compile.py", "sim/records.py", "sim/kernels/*.py", "sim/watch/*.py", "core/packed.py",
)
_lock = threading.Lock()
_loaded: dict[str, int] = {}


def sources_digest() -> str:
    """Names the sources that are compiled, as they are now."""
    return kept.sources_digest(SOURCES)


_imported = sources_digest()  # what this process runs: some of them are imported by now, others when first needed


def build_key(host: Host) -> str:
    """Names everything that object code depends on, apart from the function."""
    words = (_imported, version("numba"), version("llvmlite"), host.cpu, host.features)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


@functools.cache
def _tools() -> tuple[Host, Loader, FileCache]:
    loader = importlib.import_module("pto.sim.loader")  # llvmlite is for what runs: graphs are shown without it
    host = loader.Host.here()
    return host, loader.Loader(host), FileCache(build_key(host))


def addresses(names: Iterable[str]) -> dict[str, int]:
    """Addresses of compiled functions by name, each loaded or compiled when first asked for."""
    with _lock:
        return {name: _loaded.get(name) or _load(name) for name in names}


def _load(name: str) -> int:
    _, loader, cache = _tools()
    entry = f"pto_{name}"
    code = cache.get(name)
    if code is None:
        compiler = importlib.import_module("pto.sim.compile")
        code = compiler.object_code(name, entry, loader.machine)
        if sources_digest() == _imported:  # else code of other sources would have the name of these
            cache.put(name, code)
    _loaded[name] = loader.load(code, entry)
    return _loaded[name]
