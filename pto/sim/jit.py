"""Addresses of compiled functions: loaded from the object cache, compiled by Numba where it has none.

Object code, not pickles, is kept, and llvmlite alone loads it: a warm start does not import Numba.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import llvmlite.binding as llvm

from pto.core.cache import FileCache

_ROOT = Path(__file__).resolve().parent.parent
# Whatever is compiled, or decides how.
SOURCES = (
    "core/types.py", "core/dtypes.py", "isa/spec.py", "isa/exact_*.py", "isa/table/*.py", "sim/layout.py",
    "sim/names.py", "sim/traps.py", "sim/access.py", "sim/vec.py", "sim/dots.py", "sim/blocks.py", "sim/elements.py",
    "sim/floats.py", "sim/formats.py", "sim/formulas.py", "sim/lanes.py", "sim/operations.py", "sim/atomic.py",
    "sim/between.py", "sim/engine.py", "sim/compile.py", "sim/kernels/*.py", "sim/watch/*.py",
)
_lock = threading.Lock()
_loaded: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Host:
    """The processor to compile for; Numba's environment variables choose another than this one."""

    cpu: str
    features: str

    @classmethod
    def here(cls) -> Host:
        cpu = os.environ.get("NUMBA_CPU_NAME") or ""
        features = os.environ.get("NUMBA_CPU_FEATURES")
        if features is None:
            features = "" if cpu == "generic" else llvm.get_host_cpu_features().flatten()
        return cls(cpu or llvm.get_host_cpu_name(), features)

    def machine(self) -> llvm.TargetMachine:
        """LLVM's code generator for it."""
        target = llvm.Target.from_default_triple()
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="default", codemodel="jitdefault", jit=True
        )


class Loader:
    """Puts object code into this process."""

    def __init__(self, host: Host) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.machine = host.machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), host.machine())

    def load(self, code: bytes, entry: str) -> int:
        """The address of an entry point of some object code."""
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        return int(self._engine.get_function_address(entry))


def build_key(host: Host) -> str:
    """Names everything that object code depends on, apart from the function."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(_ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    for word in (version("numba"), version("llvmlite"), host.cpu, host.features):
        digest.update(b"\0" + word.encode())
    return digest.hexdigest()


@functools.cache
def _tools() -> tuple[Host, Loader, FileCache]:
    host = Host.here()
    return host, Loader(host), FileCache(build_key(host))


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
        cache.put(name, code)
    _loaded[name] = loader.load(code, entry)
    return _loaded[name]
