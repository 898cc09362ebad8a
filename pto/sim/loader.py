"""Object code for this processor, put into this process. The only file that imports llvmlite to run something."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm


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
        if "+avx512vnni" in features.split(","):
            features += ",+fast-dpwssd"  # for some processors LLVM would take one instruction apart again
        return cls(cpu or llvm.get_host_cpu_name(), features)

    @property
    def converts_halves(self) -> bool:
        """Whether it has instructions that convert f16."""
        return not self._is_x86 or "+f16c" in self.features

    @property
    def adds_products(self) -> bool:
        """Whether one instruction multiplies neighbours in 64 bytes and adds them to 16 sums (AVX-512 VNNI), and
        another looks up 64 bytes in a table of as many (VBMI).
        """
        return {"+avx512vnni", "+avx512vbmi"} <= set(self.features.split(","))

    @property
    def has_wide_registers(self) -> bool:
        """Whether it has 32 registers of 64 bytes (AVX-512)."""
        return "+avx512f" in self.features.split(",")

    @property
    def asks_far_ahead(self) -> bool:
        """Whether memory gives more to a stream that asks for lines far ahead. Measured: by a tenth to four
        fifths on a server of Intel's (2024); nothing on one of AMD's (Zen 4), which does so itself.
        """
        return self._is_x86 and not self.cpu.startswith(("znver", "generic"))

    @property
    def _is_x86(self) -> bool:
        triple: str = llvm.get_default_triple()
        return triple.startswith(("x86", "i386", "i686"))

    def machine(self) -> llvm.TargetMachine:
        """LLVM's code generator for it."""
        target = llvm.Target.from_default_triple()
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="default", codemodel="jitdefault", jit=True
        )


@cache
def host() -> Host:
    """The processor that this process compiles for, as it was when first asked for."""
    return Host.here()


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
