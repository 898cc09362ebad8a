"""The judge of synchronisation: every planted mistake is found, and nothing else."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pto.core.dtypes import F32
from pto.core.types import Layout, Space
from pto.isa.program import Program, TensorDecl, TileRef
from pto.isa.spec import Pipe
from pto.isa.table import cube, move, scalar, vector
from pto.sim.happens_before import flag_races, races, relations, remove, traced, without
from tests.sim.programs import FIX, MTE1, MTE2, MTE3, SET, WAIT, Listing, M, R, S, V, gemm, tile

SIZES = (40, 40, 40)
TENSORS = [np.ones((40, 40), np.float32) for _ in range(3)]
X = (TensorDecl("x", F32, (20, 40), written=True),)
ZERO = [np.zeros((20, 40), np.float32)]
TILES = (
    tile("u", Space.UB, 16, 32, slots=2), tile("v", Space.UB, 16, 32, address=1024),
    tile("q", Space.UB, 8, 16, layout=Layout.COL), tile("p", Space.L0C, 16, 32, layout=Layout.PANEL),
    tile("l", Space.L0A, 16, 16), tile("r", Space.L0B, 16, 32, layout=Layout.PANEL),
)
U, VV, Q, C, A, B = map(TileRef, range(6))


def listing(*code: tuple) -> Program:
    out = Listing()
    for row, *args in code:
        out(row, *args)
    out(scalar.HALT)
    return out.program(tiles=TILES, tensors=X)


def flag(row: object, src: Pipe, dst: Pipe, number: int = 0) -> tuple:
    return row, int(src), int(dst), number


LOAD, ADD = (move.TLOAD, U, 0, 0, 0, 4, 32), (vector.TADDS, U, U, 1.0, 4, 32)
STORE = (move.TSTORE, 0, U, 0, 0, 4, 32)
THERE = [flag(SET, MTE2, V), flag(WAIT, MTE2, V)]
BACK = [flag(SET, V, MTE3), flag(WAIT, V, MTE3)]


def test_gemm_has_no_race() -> None:
    for cores in (1, 3):
        assert races(gemm(), TENSORS, SIZES, cores) == []
        assert flag_races(gemm(), TENSORS, SIZES, cores) == []


def test_relations_of_gemm() -> None:
    found = [(r.src, r.dst, sorted(r.ids), len(r.pcs)) for r in relations(gemm(), TENSORS, SIZES)]
    assert found == [
        (FIX, M, [0], 4), (M, MTE1, [0], 4), (MTE1, MTE2, [0, 1], 6), (MTE2, MTE1, [0, 1], 2), (MTE1, M, [0], 2),
        (M, FIX, [0], 2),
    ]


def test_removing_any_relation_is_found() -> None:
    for relation in relations(gemm(), TENSORS, SIZES):
        found = races(remove(gemm(), relation), TENSORS, SIZES)
        assert {(r.first.pipe, r.second.pipe) for r in found} & {(relation.src, relation.dst)}, str(relation)


def test_removing_keeps_labels_on_their_instructions() -> None:
    program, relation = gemm(), relations(gemm(), TENSORS, SIZES)[3]
    smaller = remove(program, relation)
    assert len(smaller.code) == len(smaller.lines) == len(program.code) - 2
    for pc, inst in enumerate(smaller.code):
        if inst.spec in (scalar.BLT, scalar.BGE):
            old = int(str(smaller.span(pc)).split(":")[1]) - 1
            was, now = program.code[old].args[2], inst.args[2]
            assert program.span(was) == smaller.span(now)
    out = np.zeros((40, 40), np.float32)
    traced(smaller, [*TENSORS[:2], out], SIZES, 1)


def test_a_label_on_a_removed_instruction_names_what_follows() -> None:
    program = listing((scalar.JMP, 1), (scalar.MOV, R[5], 1), (scalar.JMP, 3))
    assert [inst.args for inst in without(program, [1]).code] == [(1,), (2,), ()]


def test_a_chain_of_flags_orders() -> None:
    assert races(listing(LOAD, *THERE, ADD, *BACK, STORE), ZERO) == []


def test_a_missing_flag_is_found_and_said() -> None:
    [race] = races(listing(LOAD, ADD, *BACK, STORE), ZERO)[:1]
    assert (race.first.mnemonic, race.second.mnemonic) == ("tload", "tadds")
    assert (race.first.pc, race.second.pc, race.first.start, race.first.stop) == (0, 1, 0, 512)
    assert str(race) == (
        "race on ub: no flag orders MTE2 -> V\n"
        "  tload at pc 0 (MTE2, core 0) writes bytes 0 to 512 (k.py:1:5)\n        line 1\n        ^^^^\n"
        "  tadds at pc 1 (V, core 0) reads bytes 0 to 512 (k.py:2:5)\n        line 2\n        ^^^^"
    )


def test_a_wait_after_its_consumer_is_found() -> None:
    late = listing(LOAD, THERE[0], ADD, THERE[1], *BACK, STORE)
    assert [(r.first.pc, r.second.pc) for r in races(late, ZERO)] == [(0, 2)]


def test_a_set_before_its_producer_is_found() -> None:
    early = listing(THERE[0], LOAD, THERE[1], ADD, *BACK, STORE)
    assert (1, 3) in [(r.first.pc, r.second.pc) for r in races(early, ZERO)]


@pytest.mark.parametrize(("src", "dst"), [(MTE2, MTE3), (MTE1, V), (V, MTE2)])
def test_a_swapped_pipe_is_found(src: Pipe, dst: Pipe) -> None:
    wrong = listing(LOAD, flag(SET, src, dst), flag(WAIT, src, dst), ADD, *BACK, STORE)
    assert (0, 3) in [(r.first.pc, r.second.pc) for r in races(wrong, ZERO)]


def test_the_scalar_unit_orders_what_it_issues_later() -> None:
    through = [flag(SET, MTE2, S), flag(WAIT, MTE2, S)]
    assert races(listing(LOAD, *through, ADD, *BACK, STORE), ZERO) == []
    assert races(listing(LOAD, ADD, *through, *BACK, STORE), ZERO) != []


def test_windows_of_a_tensor_are_told_apart_exactly() -> None:
    def pair(row: int, col: int) -> Program:
        return listing((move.TSTORE, 0, U, 0, 0, 4, 8), (move.TSTORE, 0, C, row, col, 4, 8))
    assert races(pair(0, 8), ZERO) == races(pair(4, 0), ZERO) == []
    [race] = races(pair(3, 7), ZERO)
    assert race.first.place == "tensor x" and (race.first.start, race.first.stop) == (508, 512)


def test_regions_of_tiles_are_told_apart_by_runs() -> None:
    def pair(rows: int, cols: int) -> list[object]:
        load = (move.TLOAD, U, 0, 0, 0, 16, 8)  # eight columns: bytes 0 to 32 of each 128
        return races(listing(load, (vector.TEXPANDS, Q, 1.0, rows, cols)), ZERO)
    assert len(pair(8, 1)) == 1  # a column of 8 rows is bytes 0 to 32
    late = (move.TLOAD, TileRef(0, 64), 0, 0, 0, 16, 16)  # bytes 64 to 128 of each 128
    assert races(listing((move.TLOAD, U, 0, 0, 0, 16, 16), (vector.TEXPANDS, TileRef(0, 64), 1.0, 8, 16)), ZERO) == []
    assert len(races(listing(late, (vector.TEXPANDS, Q, 1.0, 8, 3)), ZERO)) == 1
    assert races(listing(late, (vector.TEXPANDS, Q, 1.0, 8, 2)), ZERO) == []


def test_tiles_that_share_addresses_race() -> None:
    assert len(races(listing((move.TLOAD, U, 0, 0, 0, 9, 1), (vector.TEXPANDS, VV, 1.0, 1, 1)), ZERO)) == 1
    assert races(listing((move.TLOAD, U, 0, 0, 0, 8, 32), (vector.TEXPANDS, VV, 1.0, 1, 1)), ZERO) == []


def test_an_accumulator_is_read_only_when_it_accumulates() -> None:
    def reads(acc: int) -> int:
        [event] = traced(listing((cube.TMATMUL, C, A, B, 1, 1, 1, acc)), ZERO, (), 1)
        return len(event.reads)
    assert (reads(0), reads(1)) == (2, 3)


def test_empty_regions_touch_nothing() -> None:
    assert races(listing((move.TLOAD, U, 0, 0, 0, 0, 8), ADD), ZERO) == []


def test_cores_are_not_ordered() -> None:
    program = listing((vector.TEXPANDS, U, 1.0, 4, 32), *BACK, STORE)
    assert races(program, ZERO) == []
    [race] = races(program, ZERO, cores=2)
    assert "nothing orders core 0 and core 1" in str(race)


def test_a_flag_that_could_be_set_twice_is_found() -> None:
    twice = listing(*THERE, *THERE)
    [race] = flag_races(twice, ZERO)
    assert (race.first.pc, race.second.pc) == (1, 2)
    assert flag_races(listing(*THERE, flag(SET, V, MTE2), flag(WAIT, V, MTE2), *THERE), ZERO) == []


def test_tensors_are_left_alone_and_pairs_are_counted() -> None:
    x = np.arange(800, dtype=np.float32).reshape(20, 40)
    looped = listing((scalar.MOV, R[9], 0), LOAD, STORE, (scalar.ADD, R[9], R[9], 1), (scalar.BLT, R[9], 5, 1))
    found = races(looped, [x])
    assert x[3, 3] == 123
    assert sum(race.count for race in found if race.first.place == "ub") == 25


def test_thousands_of_events_take_seconds() -> None:
    start = time.process_time()
    sizes = (160, 160, 160)
    assert races(gemm(), [np.ones((160, 160), np.float32)] * 3, sizes) == []
    assert time.process_time() - start < 5
    assert MTE3 not in {event.pipe for event in traced(gemm(), TENSORS, SIZES, 1)}
