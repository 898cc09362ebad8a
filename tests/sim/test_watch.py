"""What checked runs find: the same as brute force, no more and no less, and said in words that help."""

from __future__ import annotations

import numpy as np
import pytest

from pto.isa.program import Program
from pto.sim.happens_before import Race, flag_races, races
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap, TrapKind
from tests.sim.soup import arrays, soup


def found(program: Program, tensors: list[np.ndarray], parameters: tuple[int, ...], cores: int,
          check: str) -> MachineTrap | None:
    """The trap of a checked run."""
    try:
        Machine(program, cores=cores, check=check).run([x.copy() for x in tensors], parameters)
    except MachineTrap as err:
        return err
    return None


def pair(race: Race) -> tuple[object, ...]:
    """What two reports of one race have in common: cores may run in another order."""
    sides = sorted((a.core, a.pc, a.pipe) for a in (race.first, race.second))
    return race.first.place, *sides


def same_verdict(program: Program, tensors: list[np.ndarray], parameters: tuple[int, ...] = (), cores: int = 1) -> bool:
    """Whether there is a race, on which the fast machine and brute force must agree."""
    known = races(program, tensors, parameters, cores) + flag_races(program, tensors, parameters, cores)
    trap = found(program, tensors, parameters, cores, "races")
    assert (trap is not None) == bool(known), (trap, known)
    if trap is None:
        return False
    assert trap.kind is TrapKind.RACE and trap.race
    assert pair(trap.race) in {pair(race) for race in known}, (trap.race, known)
    return True


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_races_are_those_that_brute_force_finds(cores: int) -> None:
    verdicts = [same_verdict(soup(seed, cores), arrays(), cores=cores) for seed in range(150)]
    assert 20 < sum(verdicts) < 148
