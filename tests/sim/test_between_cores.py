"""Barriers and events of several cores, alike on both machines, at any number of host threads, in any legal order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.errors import FuelError, PtoError
from pto.core.types import Space
from pto.isa.check import check
from pto.isa.program import Program, TensorDecl, TileRef
from pto.isa.table import move, scalar, sync, vector
from pto.sim.happens_before import flag_races, races, without
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind
from tests.sim.programs import MTE2, MTE3, SET, WAIT, Listing, R, S, V, tile

SYNC, BARRIER, SEND, TAKE = sync.SYNC_ALL, sync.PIPE_BARRIER, sync.EVENT_SET, sync.EVENT_WAIT
U = TileRef(0)
WIDE = 16


def program(build: Callable[[Listing], None]) -> Program:
    out = Listing()
    build(out)
    out(scalar.HALT)
    tensors = (TensorDecl("x", F32, (64, WIDE), written=True),)
    result = out.program(tiles=(tile("u", Space.UB, 1, WIDE),), tensors=tensors)
    assert check(result) == []
    return result


def load_add_store(out: Listing, source: object, to: object) -> None:
    """Row `to` of x = row `source` + 1, each step behind the one before."""
    out(move.TLOAD, U, 0, source, 0, 1, WIDE)
    out.flag(SET, MTE2, V)
    out.flag(WAIT, MTE2, V)
    out(vector.TADDS, U, U, 1.0, 1, WIDE)
    out.flag(SET, V, MTE3)
    out.flag(WAIT, V, MTE3)
    out(move.TSTORE, 0, U, to, 0, 1, WIDE)


def phases(out: Listing) -> None:
    """Each core makes its own row from its neighbour's, five times, with barriers between."""
    out(scalar.MOV, R[5], 0)
    out.label("phase")
    out(scalar.ADD, R[6], R[0], 1)
    out(scalar.MOD, R[6], R[6], R[1])
    out(scalar.MADD, R[6], R[5], R[1], R[6])
    out(scalar.ADD, R[5], R[5], 1)
    out(scalar.MADD, R[7], R[5], R[1], R[0])
    load_add_store(out, R[6], R[7])
    out(SYNC)
    out(scalar.BLT, R[5], 5, "phase")


def relay(out: Listing) -> None:
    """Core 0 starts, and each core goes on from the row of the one before when that has set its event."""
    out(scalar.BGE, 0, R[0], "first")
    out(scalar.SUB, R[5], R[0], 1)
    out(TAKE, R[5], 2)
    out.label("first")
    out(scalar.ADD, R[6], R[0], 1)
    load_add_store(out, R[0], R[6])
    out(scalar.BGE, R[6], R[1], "last")
    out(SEND, int(MTE3), R[6], 2)
    out.label("last")


def counted(out: Listing) -> None:
    """Core 0 writes three rows and tells core 1 of each; core 1 counts, and adds them up."""
    out(scalar.BGE, R[0], 1, "consumer")
    for row in range(3):
        out(vector.TEXPANDS, U, float(row + 1), 1, WIDE)
        out(BARRIER)
        out(move.TSTORE, 0, U, row, 0, 1, WIDE)
        out(BARRIER)
        out(SEND, int(S), 1, 0)
    out(scalar.JMP, "end")
    out.label("consumer")
    for row in range(3):
        out(TAKE, 0, 0)
        load_add_store(out, row, 8 + row)
        out(BARRIER)
    out.label("end")


def rows() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((64, WIDE)).astype(np.float32)


@pytest.mark.parametrize(("build", "cores"), [(phases, 1), (phases, 3), (phases, 8), (relay, 5), (counted, 2)])
def test_machines_threads_and_orders_agree(build: Callable[[Listing], None], cores: int) -> None:
    p, want = program(build), rows()
    SlowMachine(p, cores=cores).run([want])
    assert (want != rows()).any()
    for threads in (1, 2, 3):
        machine = Machine(p, cores=cores, threads=threads, exact=True)
        for _ in range(3):
            x = rows()
            machine.run([x])
            assert (x == want).all()
    for seed in range(8):
        x = rows()
        SlowMachine(p, cores=cores, order=f"random:{seed}").run([x])
        assert (x == want).all()
    assert races(p, [rows()], cores=cores) == flag_races(p, [rows()], cores=cores) == []


def test_what_a_barrier_and_an_event_order() -> None:
    """Without its barrier or event each program races, and is said to."""
    for build, rows_gone, cores in ((phases, {SYNC}, 3), (relay, {SEND, TAKE}, 3), (counted, {SEND, TAKE}, 2)):
        p = program(build)
        broken = without(p, [pc for pc, inst in enumerate(p.code) if inst.spec in rows_gone])
        assert races(broken, [rows()], cores=cores), build.__name__
    p = program(counted)
    broken = without(p, [pc for pc, inst in enumerate(p.code) if inst.spec is BARRIER])
    assert races(broken, [rows()], cores=2)


def both(p: Program, cores: int) -> MachineTrap:
    """What all machines, threads and orders report."""
    found: dict[str, MachineTrap] = {}
    machines: list[Machine | SlowMachine] = [Machine(p, cores=cores, threads=n) for n in (1, 2, 3)]
    machines += [SlowMachine(p, cores=cores, order=order) for order in ("program", "random:1", "random:2")]
    for machine in machines:
        with pytest.raises(MachineTrap) as caught:
            machine.run([rows()])
        found[str(caught.value)] = caught.value
    assert len(found) == 1, found
    return next(iter(found.values()))


def crossed(out: Listing) -> None:
    out(scalar.XOR, R[5], R[0], 1)
    out(TAKE, R[5], 3)
    out(SEND, int(S), R[5], 3)


def some_sync(out: Listing) -> None:
    out(scalar.BGE, R[0], 2, "end")
    out(SYNC)
    out.label("end")


def mixed(out: Listing) -> None:
    out(scalar.BGE, R[0], 1, "sync")
    out(TAKE, 2, 7)
    out(SEND, int(S), 0, 0)
    out.label("sync")
    out(SYNC)


def test_a_deadlock_names_its_cycle() -> None:
    assert both(program(crossed), 2).message.endswith(
        "core 0 at pc 1 waits for event 3 from core 1; core 1 at pc 1 waits for event 3 from core 0; "
        "core 0 is named already")
    assert both(program(some_sync), 3).message.endswith(
        "core 0 at pc 1 waits for sync_all, to which core 2 has not come; core 2 has halted at pc 2")
    trap = both(program(mixed), 3)
    assert trap.kind is TrapKind.DEADLOCK and trap.core == 0 and trap.pc == 1
    assert trap.message.endswith("core 0 at pc 1 waits for event 7 from core 2; core 2 at pc 3 waits for sync_all, "
                                 "to which core 0 has not come; core 0 is named already")


def lost(out: Listing) -> None:
    out(SEND, int(V), 1, R[0])
    out(SEND, int(V), 1, R[0])
    out(scalar.BGE, 0, R[0], "end")
    out(TAKE, 0, 0)
    out.label("end")


def test_events_that_nobody_takes() -> None:
    trap = both(program(lost), 2)
    assert (trap.kind, trap.core, trap.pc) == (TrapKind.EVENT_LEFT_SET, 0, 4)
    assert trap.message.endswith("event core 0 -> core 1, id 0, event core 1 -> core 1, id 1")


@pytest.mark.parametrize("args", [(SEND, 4, 2, 0), (SEND, 4, -1, 0), (SEND, 4, 0, 8), (TAKE, 2, 0), (TAKE, 1, -1)])
def test_events_that_do_not_exist(args: tuple) -> None:
    def build(out: Listing) -> None:
        row, *rest = args
        for i in range(2):
            out(scalar.MOV, R[8 + i], rest[i - 2])
        out(row, *rest[:-2], R[8], R[9])
        out(SEND, int(S), 0, 0)
        out(TAKE, 0, 0)
    assert both(program(build), 2).kind is TrapKind.BAD_EVENT


def failing(out: Listing) -> None:
    """Core 2 traps; core 0 waits for it, and core 1 for core 3, after which it traps too."""
    out(scalar.BLT, R[0], 1, "waits")
    out(scalar.BLT, R[0], 2, "late")
    out(scalar.BLT, R[0], 3, "trap")
    out(SEND, int(S), 1, 0)
    out(scalar.JMP, "end")
    out.label("late")
    out(TAKE, 3, 0)
    out.label("trap")
    out(scalar.DIV, R[9], 1, R[60])
    out.label("waits")
    out(TAKE, 2, 0)
    out.label("end")


def test_of_cores_that_fail_the_lowest_is_reported() -> None:
    trap = both(program(failing), 4)
    assert (trap.kind, trap.core) == (TrapKind.DIVIDE_BY_ZERO, 1)


def endless(out: Listing) -> None:
    out(scalar.BGE, R[0], 1, "wait")
    out.label("loop")
    out(scalar.BLT, R[9], 1, "loop")
    out.label("wait")
    out(SYNC)


def test_lack_of_fuel_is_told_of_the_core_that_lacks_it() -> None:
    p = program(endless)
    messages = set()
    for threads in (1, 2):
        with pytest.raises(FuelError, match="core 0 did not finish within 1000 units") as caught:
            Machine(p, cores=2, threads=threads).run([rows()], fuel=1000)
        messages.add(str(caught.value))
    assert len(messages) == 1
    with pytest.raises(FuelError, match="core 0"):
        SlowMachine(p, cores=2).run([rows()], fuel=1000)


def test_waiting_costs_no_fuel() -> None:
    p, needed = program(relay), set()
    for cores, threads in ((4, 1), (4, 2), (4, 3)):
        low, high = 0, 10_000
        while low < high:
            fuel = (low + high) // 2
            try:
                Machine(p, cores=cores, threads=threads).run([rows()], fuel=fuel)
                high = fuel
            except PtoError:
                low = fuel + 1
        needed.add(low)
    assert len(needed) == 1


@pytest.mark.parametrize(("lines", "message"), [
    ((SEND, int(V), 0, 8), "operand id: 8 is outside 0 to 7"), ((SEND, int(V), 32, 0), "core: 32 is outside 0 to 31"),
    ((TAKE, 0, 0), "event_wait without any event_set"), ((SEND, int(V), 0, 0), "event_set without any event_wait"),
])
def test_static_rules(lines: tuple, message: str) -> None:
    out = Listing()
    out(*lines)
    out(scalar.HALT)
    faults = check(out.program())
    assert message in str(faults[0])
