"""Kernels over rows: the first tile of a row is kept, later ones are computed again; the rewrites change no value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pto as pt
from pto.core.errors import CompilerBug, PtoError
from pto.core.target import DEFAULT
from pto.isa.program import Program
from pto.passes import expression, trips
from pto.passes import tile_to_block as lowering
from pto.passes.pipeline import Options, compile_graph
from pto.sim.happens_before import races
from tests import reference as ref
from tests.kernels import bind, on_fast, on_graph, on_slow
from tests.reference import Bounded

ROWS = st.sampled_from([1, 2, 15, 16, 17, 33, 50])
COLS = st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 1023, 1024, 1025, 1281, 2100]))


@pt.tile_kernel
def softmax(x):
    return pt.softmax(x)


@pt.tile_kernel
def by_column(x):
    """Both operands of a power in every form: one value, a column, itself."""
    top = pt.max(x, keepdims=True)
    near = x - top
    return pt.exp(near) + near, pt.exp(x - x), pt.exp(top - pt.max(x, keepdims=True)) + x * 0.0


@pt.tile_kernel
def layer_norm(x, w, b):
    return pt.layer_norm(x, w, b)


@pt.tile_kernel
def rms_norm(x, w):
    return pt.rms_norm(x, w)


@pt.tile_kernel
def sums_of_sums(x):
    found = x
    for _ in pt.static_range(5):
        found = pt.sum(found * x, keepdims=True) * 0.125
    return found + x


def root(x: Bounded) -> Bounded:
    value = np.sqrt(x.value)
    return x._new(value, x.error / np.maximum(value, 1e-30))


def normal(x: Bounded) -> Bounded:
    scale = 1.0 / x.value.shape[-1]
    return x * (ref.lift(1.0) / root(ref.total(x * x) * scale + 1e-5))


def mean_of(x: Bounded) -> Bounded:
    return ref.total(x) * (1.0 / x.value.shape[-1])


def deep(x: Bounded) -> Bounded:
    found = x
    for _ in range(5):
        found = ref.total(found * x) * 0.125
    return found + x


def powers(x: Bounded) -> tuple[Bounded, ...]:
    top = ref.largest(x)
    near = x - top
    return ref.exp(near) + near, ref.exp(x - x), ref.exp(top - top) + x * 0.0


MEANING: dict[Any, Any] = {
    softmax: ref.softmax, by_column: powers, sums_of_sums: deep, rms_norm: lambda x, w: normal(x) * w,
    layer_norm: lambda x, w, b: normal(x - mean_of(x)) * w + b,
}


def check(kernel: Any, arguments: list[np.ndarray], *, every_level: bool) -> None:
    wanted = MEANING[kernel](*map(Bounded.exact, arguments))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    bound = bind(kernel, arguments)
    results = [on_fast(bound), on_fast(bound, exact=False)]
    if every_level:
        results += [on_slow(bound, cores=3, order="random:1")]
        results += [on_graph(stage.graph, bound) for stage in kernel.compiled().compiled.stages
                    if stage.name in ("trace", "materialise", "tensor-to-tile", "tile-to-block", "insert-flags")]
        assert not races(bound.program, bound.tensors, bound.parameters)
    for found in results:
        for want, got in zip(wanted, found, strict=True):
            want.check(got)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(MEANING)), ROWS, COLS, st.integers(0, 9))
@example(softmax, 50, 40, 0)
@example(sums_of_sums, 33, 1281, 0)
@example(by_column, 17, 1, 0)
def test_rows_of_any_length(kernel, rows, cols, seed):
    rng = np.random.default_rng(seed)
    shapes = [(rows, cols), (cols,), (cols,)][:len(kernel.source.tensors)]
    arguments = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]
    check(kernel, arguments, every_level=rows * cols <= 1200)


def mnemonics(program: Program) -> list[str]:
    return [inst.spec.mnemonic for inst in program.code]


def annotated(cols: int) -> Any:
    @pt.tile_kernel
    def kernel(x):
        return pt.softmax(x)

    kernel.declare("x", pt.f32["M", cols])
    return kernel


@pytest.mark.parametrize("cols", [1, 16, 1000, 1024, 4096, 16384])
def test_a_row_of_constant_extent_is_loaded_once(cols):
    """The instructions of a hand-written softmax, and no loop but the one over rows."""
    found = mnemonics(bind(annotated(cols), [np.ones((3, cols), np.float32)]).program)
    assert found.count("tload") == found.count("tstore") == 1
    assert sum(name.startswith("b") for name in found) <= 2
    assert "trowexpandsub" not in found or cols == 1


def test_a_row_too_long_for_a_tile_has_loops():
    found = mnemonics(bind(annotated(20000), [np.ones((3, 20000), np.float32)]).program)
    assert found.count("tload") > 1


def test_a_result_is_stored_right_after_it_is_made():
    """Nothing but flags is between, so that the machine need not copy it."""
    code = bind(annotated(1024), [np.ones((40, 1024), np.float32)]).program.code
    at = next(pc for pc, inst in enumerate(code) if inst.spec.mnemonic == "tstore")
    before = next(inst for inst in reversed(code[:at]) if inst.spec.mnemonic not in ("set_flag", "wait_flag"))
    assert before.spec.mnemonic == "trowexpandmul"


def test_what_does_not_depend_on_the_column_is_outside_of_the_loops():
    """A root of a sum is taken once for a row, not for each of its tiles."""
    @pt.tile_kernel
    def kernel(x, w):
        return x / pt.sqrt(pt.sum(x * x, keepdims=True) + 1.0) * w

    kernel.declare("x", pt.f32["M", "N"])
    kernel.declare("w", pt.f32["N"])
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((20, 3000), dtype=np.float32), rng.standard_normal(3000, dtype=np.float32)
    assert mnemonics(bind(kernel, [x, w]).program).count("tsqrt") == 1


def test_a_division_is_a_division():
    """A quotient that is written as one keeps its bits."""
    @pt.tile_kernel
    def kernel(x, c):
        return x / c

    x = np.random.default_rng(0).uniform(1, 2, (40, 60)).astype(np.float32)
    c = np.ascontiguousarray(x[:, :1] * np.float32(3))
    kernel.declare("c", pt.f32["M", 1])
    kernel.declare("x", pt.f32["M", "N"])
    np.testing.assert_array_equal(kernel(x, c), x / c)


# defects that these tests find


def wrong(monkeypatch: pytest.MonkeyPatch, kernel: Any, cols: int) -> bool:
    """Does the check fail of a kernel that is compiled with a defect planted?"""
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    kernel.variants.clear()
    try:
        check(kernel, [np.random.default_rng(0).uniform(-1, 1, (50, cols)).astype(np.float32)], every_level=True)
    except (AssertionError, PtoError, CompilerBug):
        return True
    finally:
        monkeypatch.undo()
        kernel.variants.clear()
    return False


def test_planted_a_column_taken_for_one_of_every_tile(monkeypatch):
    """What depends on the column is made once for all tiles of a row."""
    monkeypatch.setattr(expression.Expression, "for_row", lambda self, at, row: at.i in (0, row.at.i))
    assert wrong(monkeypatch, softmax, 1281)


def test_planted_a_power_of_every_difference(monkeypatch):
    """A difference that something else uses too is taken for part of a power."""
    def always(self, old, key, node):
        return node.op is lowering.SUB and any(user.op is lowering.EXP for _, user in old.users(key))

    monkeypatch.setattr(lowering.ToBlock, "in_power", always)
    with pytest.raises(Exception):  # noqa: B017, PT011  # no value to add
        compile_graph(by_column.graph("tensor"), Options(DEFAULT))


def test_planted_flags_tried_with_loops_that_run(monkeypatch):
    """A flag is dropped because a loop orders what it does, and the loop is empty."""
    monkeypatch.setattr(trips.Trips, "at_least_once", lambda self, graph, node: True)
    assert wrong(monkeypatch, softmax, 40)


def test_planted_one_tile_for_all_rows(monkeypatch):
    """A row is taken to be no wider than its first tile."""
    monkeypatch.setattr(expression.Expression, "widths", lambda self, extent: (self.wide, 0))
    assert wrong(monkeypatch, softmax, 1281)

