"""Addresses of compiled functions: loaded from the object cache, compiled by Numba where it has none.

Object code, not pickles, is kept, and llvmlite alone loads it: a warm start does not import Numba.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import threading
from collections.abc import Collection, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from pto.core import cache as kept
from pto.core.cache import FileCache
from pto.sim import beside

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
_log = logging.getLogger(__name__)
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
    host = loader.host()
    return host, loader.Loader(host), FileCache(build_key(host))


def addresses(names: Collection[str]) -> dict[str, int]:
    """Addresses of compiled functions by name, each loaded or compiled when first asked for.

    What must be compiled is logged before, for it takes seconds.
    """
    with _lock:
        new = [name for name in names if name not in _loaded]
        if new:
            _load(new)
        return {name: _loaded[name] for name in names}


def _load(names: Sequence[str]) -> None:
    _, loader, cache = _tools()
    codes = {name: cache.get(name) for name in names}
    missing = [name for name, code in codes.items() if code is None]
    if missing:
        _log.info("compiling %d function%s of the machine for this processor, once", len(missing),
                  "s" * (len(missing) > 1))
        codes |= _compiled(missing)
    for name, code in codes.items():
        assert code is not None
        _loaded[name] = loader.load(code, _entry(name))


def _compiled(names: Sequence[str]) -> dict[str, bytes]:
    """Code of functions, most of it made by other processes where there are many."""
    cache = _tools()[2]
    mine, *others = beside.shares(names) if cache.usable else [names]
    with beside.compiled(others):
        codes = compile_here(mine)
    codes |= {name: code for share in others for name in share if (code := cache.get(name)) is not None}
    return codes | compile_here([name for name in names if name not in codes])


def compile_here(names: Sequence[str]) -> dict[str, bytes]:
    """Object code of functions, made by this process and kept."""
    _, loader, cache = _tools()
    codes: dict[str, bytes] = {}
    for name in names:
        code = importlib.import_module("pto.sim.compile").object_code(name, _entry(name), loader.machine)
        if sources_digest() == _imported:  # else code of other sources would have the name of these
            cache.put(name, code)
        codes[name] = code
    return codes


def _entry(name: str) -> str:
    return f"pto_{name}"
