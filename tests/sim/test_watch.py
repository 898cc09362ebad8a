"""What checked runs find: the same as brute force, no more and no less, and said in words that help."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.errors import UsageError
from pto.core.types import Space
from pto.isa.program import Inst, Program, TensorDecl, TileRef
from pto.isa.table import cube, move, scalar, sync, vector
from pto.sim.access import Race
from pto.sim.happens_before import flag_races, races, traced, without
from pto.sim.machine import Machine
from pto.sim.regions import Region
from pto.sim.traps import MachineTrap, TrapKind
from tests.sim.programs import MTE2, Listing, R, tile
from tests.sim.soup import TENSORS, TILES, VIEWS, arrays, soup


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


def first_unwritten(program: Program, tensors: list[np.ndarray], cores: int) -> set[tuple[int, int]]:
    """Core and pc of each core's first read of a byte of its memories that nothing has written, by brute force."""
    written: dict[tuple[int, object], set[int]] = defaultdict(set)
    first: dict[int, int] = {}

    def bytes_of(region: Region) -> set[int]:
        return {byte for start, stop in region.runs() for byte in range(start, stop)}

    for event in traced(program, tensors, (), cores):
        for region in event.reads:
            if region.space and not bytes_of(region) <= written[event.core, region.space]:
                first.setdefault(event.core, event.pc)
        for region in event.writes:
            if region.space:
                written[event.core, region.space] |= bytes_of(region)
    return set(first.items())


@pytest.mark.parametrize("cores", [1, 2])
def test_reads_of_what_nothing_wrote_are_those_that_brute_force_finds(cores: int) -> None:
    trapped = 0
    for seed in range(40):
        program = initialised(soup(seed, cores), seed)
        known = first_unwritten(program, arrays(), cores)
        trap = found(program, arrays(), (), cores, "uninitialised")
        assert (trap is not None) == bool(known)
        if trap:
            trapped += 1
            assert trap.kind is TrapKind.UNINITIALISED and (trap.core, trap.pc) in known
    assert 5 < trapped < 40


def initialised(program: Program, seed: int) -> Program:
    """The program after loads of most of its tiles, so that it is the last that nothing has written."""
    rng = np.random.default_rng(seed)
    before = [
        Inst(move.TLOAD, (TileRef(0, 640 * i), 0, 0, 0, 8, 20)) for i in range(2)
    ] + [Inst(move.TLOAD, (TileRef(1), 0, 0, 0, 16, 16)), Inst(move.TLOAD, (TileRef(3), 1, 0, 0, 16, 30)),
         Inst(move.TEXTRACT, (TileRef(4), TileRef(3), 0, 0, 16, 20)), Inst(move.TLOAD, (TileRef(2), 0, 0, 0, 16, 1)),
         Inst(move.TEXTRACT, (TileRef(5), TileRef(3), 0, 0, 16, 30)),
         Inst(cube.TMATMUL, (TileRef(6), TileRef(4), TileRef(5), 16, 30, 16, 0))]
    kept = [inst for inst in before if rng.random() < 0.93]
    return replace(program, code=(*kept, *program.code), lines=())


def uninitialised(*code: tuple) -> str:
    """The message of a listing's trap."""
    out = Listing()
    for row, *args in code:
        out(row, *args)
    out(scalar.HALT)
    program = out.program(tiles=TILES, tensors=TENSORS, views=VIEWS)
    trap = found(program, arrays(), (), 1, "uninitialised")
    assert trap and trap.kind is TrapKind.UNINITIALISED
    assert trap.loc == program.span(trap.pc)
    return trap.message


def test_a_read_of_what_nothing_wrote_names_tile_and_element() -> None:
    u, v, q, c = TileRef(0, 640), TileRef(1), TileRef(2), TileRef(6)
    assert uninitialised((move.TLOAD, u, 0, 0, 0, 8, 10), (vector.TADDS, u, u, 1.0, 3, 11)).endswith(
        "a = tile u (tile<ub, 8x20xf32>, 2 slots): tadds at pc 1, pipe V, core 0: "
        "ub byte 0x2a8, slot 1, row 0, column 10")
    assert "slot 0, row 5, column 0" in uninitialised(
        (move.TLOAD, q, 0, 0, 0, 5, 1), (vector.TROWEXPANDADD, v, TileRef(0), q, 0, 3), (move.TSTORE, 0, q, 0, 0, 6, 1))
    assert "slot 0, row 2, column 16" in uninitialised(
        (move.TLOAD, TileRef(3), 0, 0, 0, 16, 30), (move.TEXTRACT, TileRef(4), TileRef(3), 0, 0, 16, 20),
        (move.TEXTRACT, TileRef(5), TileRef(3), 0, 0, 16, 30),
        (cube.TMATMUL, c, TileRef(4), TileRef(5), 16, 16, 16, 0),
        (cube.TMATMUL, c, TileRef(4), TileRef(5), 2, 30, 16, 0),
        (cube.TMATMUL, c, TileRef(4), TileRef(5), 3, 30, 16, 1))


def test_a_race_names_both_accesses_and_what_is_missing() -> None:
    out = Listing()
    out(move.TLOAD, TileRef(1), 0, 0, 0, 16, 16)
    out(vector.TADDS, TileRef(1), TileRef(1), 1.0, 3, 5)
    out(scalar.HALT)
    program = out.program(tiles=TILES, tensors=TENSORS, views=VIEWS)
    trap = found(program, arrays(), (), 1, "all")
    assert trap and trap.race and (trap.pc, trap.core) == (1, 0)
    assert (trap.race.first.start, trap.race.first.stop) == (512, 532)
    assert "no flag orders MTE2 -> V" in trap.message
    assert "tload at pc 0 (MTE2, core 0) writes bytes 512 to 532 (k.py:1:5)" in trap.message
    assert "tadds at pc 1 (V, core 0) reads bytes 512 to 532 (k.py:2:5)" in trap.message


def test_checks_are_chosen_by_name() -> None:
    program = soup(0, 1)
    for check in ("races", "races,uninitialised", ("races",), {"uninitialised"}, "all"):
        assert Machine(program, check=check).check
    assert not Machine(program).check
    with pytest.raises(UsageError, match="there is no check 'rases'") as caught:
        Machine(program, check="rases")
    assert "races, uninitialised" in str(caught.value)


def test_many_small_regions_find_room() -> None:
    """Every granule cut in its own way: the pools of the watch grow under way."""
    out = Listing()
    out(scalar.MOV, R[5], 0)
    out.label("rows")
    for cols in (3, 7, 30):
        out(move.TLOAD, TileRef(3), 0, R[5], 0, 1, cols)
        out(sync.PIPE_BARRIER)
        out(move.TSTORE, 1, TileRef(0), R[5], 0, 1, 5)
    out(sync.EVENT_SET, int(MTE2), 0, 0)
    out(scalar.ADD, R[5], R[5], 1)
    out(scalar.BLT, R[5], 4000, "rows")
    out(scalar.MOV, R[5], 0)
    out.label("take")
    out(sync.EVENT_WAIT, 0, 0)
    out(scalar.ADD, R[5], R[5], 1)
    out(scalar.BLT, R[5], 4000, "take")
    out(scalar.HALT)
    tensors = tuple(TensorDecl(name, F32, (4000, 30), written=True) for name in "xy")
    program = out.program(tiles=TILES, tensors=tensors)
    arguments = [np.ones((4000, 30), np.float32) for _ in tensors]
    assert found(program, arguments, (), 1, "races") is None
    trap = found(racing(program), arguments, (), 1, "races")
    assert trap and trap.race and trap.race.first.place == "tensor x"


def test_one_region_can_need_more_room_than_there_is() -> None:
    """A region of many rows that is known as a whole, until one row of it is stored."""
    def stored_row(*between: object) -> MachineTrap | None:
        out = Listing()
        out(move.TLOAD, TileRef(0), 0, 0, 0, 1500, 16)
        for row in between:
            out(row)
        out(move.TSTORE, 1, TileRef(0), 7, 0, 1, 16)
        out(scalar.HALT)
        tensors = tuple(TensorDecl(name, F32, (1500, 16), written=True) for name in "xy")
        program = out.program(tiles=(tile("t", Space.UB, 1500, 32),), tensors=tensors)
        return found(program, [np.ones((1500, 16), np.float32) for _ in tensors], (), 1, "races")
    assert stored_row(sync.PIPE_BARRIER) is None
    trap = stored_row()
    assert trap and trap.race and (trap.race.first.start, trap.race.first.stop) == (0, 64)


def racing(program: Program) -> Program:
    """The program without its barriers, storing to what it loads from."""
    gone = [pc for pc, inst in enumerate(program.code) if inst.spec is sync.PIPE_BARRIER]
    code = [replace(i, args=(0, *i.args[1:])) if i.spec is move.TSTORE else i for i in program.code]
    return without(replace(program, code=tuple(code)), gone)
