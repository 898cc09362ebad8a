"""Planted deadlocks between cores: each is found, and who waits for whom is told as it was planted.

Cores first do what ends: work, messages that are sent before they are awaited, barriers of all. Then some wait for each
other in a circle, some for one that waits, some for one that has halted, some at a barrier to which one never comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pto.core.errors import PtoError
from pto.core.types import Space
from pto.isa.check import check
from pto.isa.program import Program
from pto.isa.table import scalar, sync, vector
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap, TrapKind
from tests.campaigns.children import in_children
from tests.campaigns.report import Report, main
from tests.sim.programs import Listing, R, S, V, tile
from tests.sim.test_between_cores import WIDE, U

COUNT, MOST_CORES, MESSAGES, SYNCS = 200, 8, 12, 3


@dataclass
class Plan:
    """What cores do: lines of a core, and what it then waits for: an event of a core, or None for a barrier."""

    cores: int
    lines: list[list[tuple]] = field(default_factory=list)
    waits: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    pcs: dict[int, int] = field(default_factory=dict)  # where each core then is, by its number


def planned(rng: np.random.Generator) -> Plan:
    """A random plan."""
    cores = int(rng.integers(2, MOST_CORES + 1))
    plan = Plan(cores, [[] for _ in range(cores)])
    for _ in range(int(rng.integers(SYNCS + 1))):
        for _ in range(int(rng.integers(MESSAGES // SYNCS + 1))):
            _message(plan, rng)
        for lines in plan.lines:
            lines.append((sync.SYNC_ALL,))
    order = rng.permutation(cores).tolist()
    circle = order[:int(rng.integers(1, cores + 1))]
    if rng.random() < 0.25 and len(circle) > 1:
        _barrier(plan, circle, rng)
    elif rng.random() < 0.2 and len(order) > len(circle):
        plan.waits[circle[0]] = order[-1], int(rng.integers(8))  # which has halted
    else:
        for core, other in zip(circle, [*circle[1:], circle[0]], strict=True):
            plan.waits[core] = other, int(rng.integers(8))
    for core in order:
        if core not in plan.waits and rng.random() < 0.4 and core != order[-1]:
            plan.waits[core] = int(rng.choice(sorted(plan.waits))), int(rng.integers(8))
    return plan


def _barrier(plan: Plan, circle: list[int], rng: np.random.Generator) -> None:
    """One core waits for another, which is at a barrier to which the first never comes."""
    plan.waits[circle[0]] = circle[1], int(rng.integers(8))
    plan.waits |= dict.fromkeys(circle[1:])


def _message(plan: Plan, rng: np.random.Generator) -> None:
    """One core works and tells another, which then works too."""
    one, other = rng.choice(plan.cores, 2).tolist()
    number = int(rng.integers(8))
    pipe = V if one % 2 else S  # two pipes of a core that set one event would race
    plan.lines[one] += [(vector.TEXPANDS, U, 1.0, 1, WIDE), (sync.EVENT_SET, int(pipe), other, number)]
    plan.lines[other] += [(sync.EVENT_WAIT, one, number), (vector.TEXPANDS, U, 2.0, 1, WIDE)]


def program(plan: Plan) -> Program:
    """The plan as a program, which every static rule allows."""
    out = Listing()
    for core in range(plan.cores):
        out(scalar.BLT, R[0], core + 1, f"core {core}")
    for core, lines in enumerate(plan.lines):
        out.label(f"core {core}")
        for row, *args in lines:
            out(row, *args)
        plan.pcs[core] = len(out.code)
        if core in plan.waits:
            waited = plan.waits[core]
            out(sync.SYNC_ALL) if waited is None else out(sync.EVENT_WAIT, *waited)
            for other, wait in plan.waits.items():  # in vain
                if wait and wait[0] == core:
                    out(sync.EVENT_SET, int(S), other, wait[1])
        out(scalar.HALT)
    out(sync.EVENT_SET, int(S), 0, 0)  # nobody comes here; a program that waits sets somewhere
    out(sync.EVENT_WAIT, 0, 0)
    out(scalar.HALT)
    return out.program(tiles=(tile("u", Space.UB, 1, WIDE),))


def told(plan: Plan) -> str:
    """How the deadlock must be told: from the lowest core that waits to the first that is named already, or ended."""
    core, seen, words = min(plan.waits), [], []
    while core in plan.waits and core not in seen:
        seen.append(core)
        wait = plan.waits[core]
        other = _missing(plan) if wait is None else wait[0]
        what = f"sync_all, to which core {other} has not come" if wait is None else f"event {wait[1]} from core {other}"
        words.append(f"core {core} at pc {plan.pcs[core]} waits for {what}")
        core = other
    words.append(f"core {core} is named already" if core in seen else f"core {core} has halted at pc {plan.pcs[core]}")
    return "; ".join(words)


def _missing(plan: Plan) -> int:
    """The lowest core that comes to no further barrier."""
    return min(core for core in range(plan.cores) if plan.waits.get(core, ()) is not None)


def run(count: int, seed: int) -> Report:
    """Plant `count` deadlocks."""
    Machine(program(planned(np.random.default_rng(0))), check="all")
    return in_children(lambda number, report: _one(report, np.random.default_rng([seed, number, 8]), number), count)


def _one(report: Report, rng: np.random.Generator, number: int) -> None:
    plan = planned(rng)
    made = program(plan)
    if check(made):
        report.fail(f"plan {number} is not legal: {check(made)[0]}")
        return
    want = told(plan)
    report.saw("planted, a circle" if want.endswith("already") else "planted, a wait for a core that has halted")
    machines: dict[str, Machine | SlowMachine] = {
        f"{n} threads": Machine(made, cores=plan.cores, threads=n) for n in (1, 2)
    }
    machines["watched"] = Machine(made, cores=plan.cores, check="all")
    machines |= {order: SlowMachine(made, cores=plan.cores, order=order) for order in ("program", "random:1")}
    for name, machine in machines.items():
        found = _found(machine)
        report.saw(f"told right: {name}", found == want)
        if found != want:
            report.fail(f"plan {number}, {name}: {found!r}, not {want!r}")


def _found(machine: Machine | SlowMachine) -> str:
    """What a machine tells of the deadlock; or what it does instead."""
    try:
        machine.run([], ())
    except MachineTrap as err:
        if err.kind is TrapKind.DEADLOCK and err.exit_code == 7:
            return str(err.message).split("core ", 1)[1].partition(": ")[2]
        return f"{err.kind.name}: {err.message}"
    except PtoError as err:
        return str(err)
    return "no trap"


if __name__ == "__main__":
    main("deadlocks", run, COUNT)
