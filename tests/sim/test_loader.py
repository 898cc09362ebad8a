"""What a host is asked about itself."""

from __future__ import annotations

import platform

import pytest

from pto.sim.loader import Host

ON_X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.mark.parametrize(("cpu", "asks"), [("znver4", False), ("generic", False), ("graniterapids", ON_X86)])
def test_which_hosts_are_asked_for_lines_far_ahead(cpu: str, asks: bool) -> None:
    assert Host(cpu, "").asks_far_ahead is asks


@pytest.mark.parametrize(("features", "has"), [
    ("", False), ("+avx2,+fma", False), ("-avx512f", False), ("+avx512fp16", False), ("+avx2,+avx512f", True),
])
def test_which_hosts_have_wide_registers(features: str, has: bool) -> None:
    assert Host("x86-64", features).has_wide_registers is has


def test_one_instruction_for_pairs_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", "cascadelake")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx512f,+avx512vnni")
    assert Host.here().features.endswith(",+fast-dpwssd")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+avx512f")
    assert Host.here().features == "+avx512f"
