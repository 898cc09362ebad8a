"""Barriers: of all cores where cores need each other's stores, else of one core's pipes; and none that is idle."""
# ruff: noqa: F821, UP037 (extents in quotes)

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.isa.program import Inst, Program, Reg
from pto.isa.table import scalar, sync
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap, TrapKind

SYNC, DRAIN = sync.SYNC_ALL, sync.PIPE_BARRIER
SHORT, LONG = 24, 900  # columns of one block, and rows of several


@pt.tile_kernel
def one_block(x: pt.f32[1, SHORT], y: pt.f32[1, SHORT]):
    y[:] = x * 2.0
    x[:] = y + 1.0


@pt.tile_kernel
def several_blocks(x: pt.f32["n", SHORT], y: pt.f32["n", SHORT]):
    y[:] = x * 2.0
    x[:] = x + y.narrow(0, 0, 1)


@pt.tile_kernel
def both(x: pt.f32[1, SHORT], y: pt.f32["n", SHORT]):
    x[:] = x * 2.0
    x[:] = x + 1.0
    y[:] = y * x
    x[:] = x * x + y.narrow(0, 0, 1)


@pt.tile_kernel
def in_a_loop(x: pt.f32[1, SHORT], y: pt.f32["n", SHORT]):
    for _ in pt.range(5):
        x[:] = x * 0.5
        x[:] = x + 1.0
        y[:] = y + x


def reference(kernel, x, y):
    if kernel is both:
        x = x * np.float32(2) + np.float32(1)
        y = y * x
        return x * x + y[:1], y
    if kernel is in_a_loop:
        for _ in range(5):
            x = x * np.float32(0.5) + np.float32(1)
            y = y + x
        return x, y
    y = x * np.float32(2)
    return (x + y[:1] if kernel is several_blocks else y + np.float32(1)), y


CASES = {  # rows of either argument, and how many barriers of each kind
    one_block: (1, 1, {DRAIN: 1}),
    several_blocks: (LONG, LONG, {SYNC: 1}),
    both: (1, LONG, {DRAIN: 1, SYNC: 2}),
    in_a_loop: (1, LONG, {DRAIN: 1, SYNC: 2}),
}


def arrays(kernel):
    rng = np.random.default_rng(0)
    rows, others, _ = CASES[kernel]
    return [rng.standard_normal((n, SHORT)).astype(np.float32) for n in (rows, others)]


def program_of(kernel) -> Program:
    kernel(*arrays(kernel))
    return kernel.compiled().program


def run(program: Program, kernel, cores: int, check: str = ""):
    x, y = arrays(kernel)
    values = [y.shape[0]] * len(program.parameters)
    scratch = [np.zeros(decl.dims, np.float32) for decl in program.tensors[2:]]
    Machine(program, cores=cores, threads=cores, check=check).run([x, y, *scratch], values)
    return x, y


@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.__name__)
def test_cores_wait_for_each_other_only_where_they_must(kernel):
    program = program_of(kernel)
    found = Counter(inst.spec for inst in program.code if inst.spec in (SYNC, DRAIN))
    assert found == CASES[kernel][2]
    for cores, check in ((1, ""), (2, ""), (3, "all")):
        got, want = run(program, kernel, cores, check), reference(kernel, *arrays(kernel))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.__name__)
def test_with_a_weaker_barrier_there_is_a_race(kernel):
    program = program_of(kernel)
    for pc, inst in enumerate(program.code):
        if inst.spec in (SYNC, DRAIN):  # pipes instead of cores, nothing instead of pipes
            weaker = Inst(DRAIN if inst.spec is SYNC else scalar.MOV, () if inst.spec is SYNC else (Reg(30), 0))
            with pytest.raises(MachineTrap) as found:
                run(replace(program, code=(*program.code[:pc], weaker, *program.code[pc + 1:])), kernel, 3, "all")
            assert found.value.kind is TrapKind.RACE
