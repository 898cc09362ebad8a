"""Kernels' operands: every place that a row allows has a kernel, which finds it as the slow machine does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

from pto.core.dtypes import DTYPES, F32
from pto.core.errors import CompilerBug, TrapError
from pto.core.target import BY_NAME, V2
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Inst, Parameter, Program, Reg, TensorDecl, TileDecl, TileRef
from pto.isa.spec import MEMORY_OPERANDS, WHOLE, Instr, Kind, Pipe
from pto.isa.table import BY_MNEMONIC, TABLE, move, vector
from pto.isa.table.gather import MGATHER
from pto.isa.table.scalar import TVIEW
from pto.sim.compile import entry_module  # whose module imports every module of kernels
from pto.sim.kernels.operands import Form, find_all_rows, find_panels, find_window_out
from pto.sim.kernels.registry import FORMS
from pto.sim.machine import Machine
from pto.sim.names import handler_name, type_part
from pto.sim.slow import SlowMachine
from pto.sim.vec import inline, set_word


def names(row: Instr) -> set[str]:
    """The functions that programs with this instruction may need."""
    found = set()
    for route in row.routes:
        layouts = [layout for (_, layout), i in zip(route.places, row.memory, strict=True)
                   if row.operands[i].kind is Kind.TILE]
        for dtypes in row.dtypes:
            all_types = tuple(DTYPES[name] for name in dtypes * (len(row.memory) // len(dtypes)))
            found.add(handler_name(row, tuple(layouts), type_part(row, all_types)))
    return found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.mnemonic)
def test_every_route_and_type_has_a_kernel(row: Instr) -> None:
    assert names(row) <= set(FORMS)
    assert len(row.memory) <= MEMORY_OPERANDS


def test_no_kernel_is_for_what_no_row_allows() -> None:
    legal = set().union(*map(names, TABLE)) | {handler_name(TVIEW, ())}
    assert {name.removesuffix("_loan") for name in FORMS} == legal


def test_lines_of_a_tile_in_columns_are_its_columns() -> None:
    rows, cols = (-1 - 0, -1 - 0, 2, 3), (-1 - 0, -1 - 0, 3, 2)
    for layout, other in ((Layout.ROW, rows), (Layout.COL, cols)):
        dst, src = Form(move.TMOV, (layout, Layout.PANEL), (F32, F32)).places
        assert (dst.line, dst.start, dst.lines, dst.length) == other
        assert (src.line, src.start, src.lines, src.length) == rows
        assert src.find is find_panels


def test_windows_and_vectors_are_found_as_the_row_says() -> None:
    dst, src = Form(move.TSTORE, (Layout.ROW,), (F32, F32)).places
    assert dst.find is find_window_out
    assert (dst.line, dst.start, dst.lines, dst.length) == (2, 3, 4, 5)
    assert src.slot == src.position == 1
    _, rows, _ = Form(MGATHER, (Layout.ROW, Layout.COL), (F32, F32, F32)).places
    assert rows.operand.rows == WHOLE
    assert rows.find is find_all_rows
    result, source = Form(vector.TROWSUM, (Layout.COL, Layout.ROW), (F32, F32)).places
    assert (result.lines, result.length) == (-1 - 1, source.lines)
    assert not source.is_like(result)


def test_a_function_is_compiled_once_for_all_constants() -> None:
    @inline
    def add(x: int, y: int) -> int:
        return x + y

    def use(ctx: int, ops: int, st: int) -> None:
        set_word(ctx, 0, add(ops, 1) + add(ops, 2) + add(3, st))

    with global_compiler_lock:
        assert "entry" in entry_module(use, "entry")
    assert len(add.overloads) == 1  # type: ignore[attr-defined]


def refusal(machine: Machine | SlowMachine, parameters: list[int], *arrays: np.ndarray) -> str:
    """What the trap says, or nothing."""
    try:
        machine.run(list(arrays), parameters)
    except TrapError as err:
        return str(err)
    return ""


@pytest.mark.parametrize("align", [32, 64, 128])
@pytest.mark.parametrize("check", ["", "uninitialised"])
def test_a_target_has_its_own_alignment(monkeypatch: pytest.MonkeyPatch, align: int, check: str) -> None:
    monkeypatch.setitem(BY_NAME, "odd", replace(V2, name="odd", align=align))
    tiles = tuple(TileDecl(name, TileType(F32, 1, 64, Space.UB), 0x400 * n) for n, name in enumerate("ab"))
    tensors = (TensorDecl("x", F32, (1, 96)),)
    code = (Inst(move.TLOAD, (TileRef(0), 0, 0, 0, 1, 64)),
            Inst(move.TMOV, (TileRef(1), TileRef(0, Reg(2)), 1, 16)), Inst(BY_MNEMONIC["halt"], ()))
    program = Program("p", "odd", (Parameter("at", 0, 256),), tensors, tiles, code)
    x = np.zeros((1, 96), np.float32)
    for offset in (0, 32, 64, 96, 128, 192, 224):
        told = [refusal(machine, [offset], x) for machine in (Machine(program, check=check), SlowMachine(program))]
        assert told[0] == told[1]
        assert ("offset is not aligned" in told[0]) == bool(offset % align)


@pytest.mark.parametrize("ids", [3, 8])
@pytest.mark.parametrize("mnemonic", ["set_flag", "event_set"])
def test_a_target_has_its_own_numbers_of_flags_and_events(monkeypatch: pytest.MonkeyPatch, ids: int, mnemonic: str
                                                          ) -> None:
    monkeypatch.setitem(BY_NAME, "odd", replace(V2, name="odd", flags=ids, events=ids))
    pairs = {"set_flag": ("wait_flag", (Pipe.MTE2, Pipe.V), (Pipe.MTE2, Pipe.V)),
             "event_set": ("event_wait", (Pipe.V, 0), (0,))}
    other, sent, awaited = pairs[mnemonic]
    code = (Inst(BY_MNEMONIC[mnemonic], (*sent, Reg(2))), Inst(BY_MNEMONIC[other], (*awaited, Reg(2))),
            Inst(BY_MNEMONIC["halt"], ()))
    program = Program("p", "odd", (Parameter("id", 0, 9),), (), (), code)
    for number in range(10):
        told = [refusal(machine, [number]) for machine in (Machine(program), SlowMachine(program))]
        assert told[0] == told[1]
        assert bool(told[0]) == (number >= ids)


def test_a_target_that_no_machine_has_room_for_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ({"flags": 9}, {"events": 9}, {"align": 48}):
        monkeypatch.setitem(BY_NAME, "odd", replace(V2, name="odd", **change))
        with pytest.raises(CompilerBug, match="odd"):
            Machine(Program("p", "odd", (), (), (), (Inst(BY_MNEMONIC["halt"], ()),)))
