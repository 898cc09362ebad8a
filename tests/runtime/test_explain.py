"""The compiler says what overlaps, and why the rest does not."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.target import DEFAULT
from pto.passes.overlap import overlaps
from pto.passes.pipeline import Options, compile_graph

X = np.ones((64, 64), np.float32)


def rows(kernel, *arguments):
    """What was decided for each buffer, by its name."""
    kernel(*arguments)
    compiled = kernel.compiled().compiled
    return {o.buffer.name: o for o in overlaps(compiled.stages, kernel.target, compiled.slots)}


@pt.tile_kernel(tile_m=64, tile_n=64, tile_k=32)
def small(A, B):
    return pt.matmul(A, B)


@pt.tile_kernel(tile_m=256, tile_n=256, tile_k=64)
def large(A, B):
    return pt.matmul(A, B)


def test_two_slots_name_the_pipes_that_overlap():
    found = rows(small, X, X)
    assert {n: o.buffer.slots for n, o in found.items()} == dict.fromkeys(("A_l1", "B_l1", "A_l0a", "B_l0b", "acc"), 2)
    assert found["A_l1"].reason == "MTE2 fills one slot while MTE1 still needs the other"
    assert found["acc"].reason == "M fills one slot while FIX still needs the other"
    assert small.explain().splitlines()[-1] == "every tile that gains by a second slot has one"


def test_a_full_memory_is_named_with_its_bytes_and_smaller_tiles_help():
    found = rows(large, X, X)
    assert [n for n, o in found.items() if o.lost] == ["A_l0a", "B_l0b", "acc"]
    assert found["acc"].reason == ("l0c is full: a second slot takes 262,144 bytes, and 262,144 of 262,144 are taken: "
                                   "smaller tiles leave room")
    said = large.explain()
    assert "acc has one slot, and two would let pipes overlap: l0c is full" in said
    assert "return pt.matmul(A, B)\n               ^^^^^^^^^^^^^^^" in said


@pt.tile_kernel(tile_m=16)
def once(X, out):
    whole = X[0:16, 0:64]
    for i in pt.range(0, X.shape[0], tile_m):
        out[i:i + tile_m, 0:64] = X[i:i + tile_m, 0:64] + whole


def test_what_is_made_outside_of_loops_or_by_one_pipe_has_nothing_to_overlap_with():
    found = rows(once, X, X.copy())
    assert {o.reason for o in found.values() if o.buffer.slots == 1} == {
        "it is made once, outside of every loop: there is no next one"}
    found = rows(pt.tile_kernel(lambda X: pt.softmax(X)), X)
    assert any(o.reason == "V alone touches it, and a pipe works in order" for o in found.values())


CARRIED = """
execution running(%core: index, %cores: index, %N: index, %X: tensor<N x 64 x f32>, %out: tensor<N x 64 x f32>) {
  buffer @x : tile<ub, 16x64xf32> slots=1 at=-1
  buffer @total : tile<ub, 16x64xf32> slots=1 at=-1
  for %i in 0 .. %N by 16 {
    tload @x, 0, %i, 0, 16, 64
    tadd @total, @total, @x, 16, 64
    tstore 1, @total, %i, 0, 16, 64
  }
}
"""


def test_a_value_that_a_loop_carries_waits_for_its_turn():
    compiled = compile_graph(pt.parse(CARRIED), Options())
    found = {o.buffer.name: o for o in overlaps(compiled.stages, DEFAULT, None)}
    assert found["x"].buffer.slots == 2
    assert not found["total"].lost
    assert found["total"].reason == "a loop carries it: each turn goes on with what the turn before it left"


def test_a_tile_that_is_not_aligned_is_named():
    @pt.tile_kernel
    def columns(X, out):
        for i in pt.range(0, X.shape[0], 8):
            out[i:i + 8, 0:1] = X[i:i + 8, 0:1]

    found = rows(columns, np.ones((64, 1), np.float32), np.ones((64, 1), np.float32))
    assert [o.reason for o in found.values()] == [
        "its 32 bytes are no multiple of 64, so that a second slot would not be aligned"]


def test_flags_that_ran_out_are_named():
    @pt.tile_kernel
    def many(X, out):
        for i in pt.range(0, X.shape[0], 16):
            total = X[i:i + 16, 0:16]
            for part in pt.static_range(1, 6):
                total = total + X[i:i + 16, part:part + 16]
            out[i:i + 16, 0:16] = total

    found = rows(many, X, X.copy())
    assert any(o.lost and "more than 8 flags" in o.reason for o in found.values())
    assert "more than 8 flags" in many.explain()


@pytest.mark.parametrize("kernel", [small, large])
def test_the_memories_are_listed_with_what_they_hold(kernel):
    kernel(X, X)
    said = kernel.explain()
    for tile in kernel.program().tiles:
        assert f"  {tile.name} " in said
        assert str(tile.type) in said
