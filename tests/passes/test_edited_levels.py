"""Decisions changed in the text of each level and fed back: another program, the same results."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.core.target import DEFAULT
from pto.ir.parse import parse
from pto.ir.text import text
from pto.ir.verify import faults
from pto.passes.pipeline import Options, compile_graph
from pto.sim.happens_before import races
from tests.kernels import bind, on_fast, on_graph, on_slow

Edit = Callable[[str], str]


@pt.tile_kernel(tile_m=32, tile_n=48, tile_k=16)
def product(A, B, D):
    return pt.relu(pt.matmul(A, B) * 2.0 + D)


@pytest.fixture(scope="module")
def bound():
    rng = np.random.default_rng(0)
    return bind(product, [rng.integers(-3, 4, s).astype(np.float32) for s in ((70, 37), (37, 100), (70, 100))])


def sub(pattern: str, by: str) -> Edit:
    """The text with something else in the place of what a pattern finds."""
    def edit(text: str) -> str:
        found, count = re.subn(pattern, by, text)
        assert count
        return found
    return edit


NAME = r"(%\d+)"
LOAD_A = r"( +wait_flag MTE1, MTE2, %\d+\n +tload @A_l1.*\n +set_flag MTE2, MTE1, %\d+\n)"
LOAD_B = r"((?: +%\d+ = .*\n)+ +wait_flag MTE1, MTE2, %\d+\n +tload @B_l1.*\n +set_flag MTE2, MTE1, %\d+\n)"
EDITS: dict[str, tuple[str, Edit]] = {
    "tensor: a factor on one operand, not on the product": ("tensor", sub(
        rf"{NAME} = tensor.matmul %A, %B : (.*)\n +{NAME} = tensor.muls \1 scalar=2.0 : .*",
        r"\1 = tensor.muls %A scalar=2.0 : tensor<A0 x A1 x f32>\n  \3 = tensor.matmul \1, %B : \2")),
    "tensor: operands of halves": ("tensor", sub(
        rf"{NAME} = tensor.matmul %A, %B : ",
        r"%90 = tensor.cast %A round=rne sat=off : tensor<A0 x A1 x f16>\n"
        r"  %91 = tensor.cast %B round=rne sat=off : tensor<A1 x B1 x f16>\n  \1 = tensor.matmul %90, %91 : ")),
    "tile: wider tiles": ("tile", sub("48", "64")),
    "tile: shorter slices": ("tile", sub(r"(by|min) 16\b", r"\1 8")),
    "block: shorter slices": ("block", sub(r"(by|min) 16\b", r"\1 8")),
    "block: down the columns": ("block", lambda text: sub(
        rf"{NAME} = mod {NAME}, {NAME}\n( +){NAME} = div \2, \3",
        rf"\5 = mod \2, {rows_of(text)}\n\4\1 = div \2, {rows_of(text)}")(text)),
    "execution: another address": ("execution", sub(r"(@A_l1.*) at=\d+", r"\1 at=65536")),
    "execution: the other load first": ("execution", sub(LOAD_A + LOAD_B, r"\2\1")),
}


def rows_of(text: str) -> str:
    """The number of blocks down a column."""
    found = re.search(rf"{NAME} = mul {NAME}, {NAME}\n", text)
    assert found
    return found[2]


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_decision_changes_the_program_and_no_result(name, bound):
    level, edit = EDITS[name]
    before = text(product.graph(level), spans=False)
    after = edit(before)
    assert after != before
    graph = parse(after)
    assert not faults(graph)
    changed = replace(bound, program=compile_graph(graph, Options(DEFAULT, dict(product.options))).program)
    assert (changed.program.code, changed.program.tiles) != (bound.program.code, bound.program.tiles)
    wanted = on_fast(bound)[0].tobytes()
    assert on_graph(graph, bound)[0].tobytes() == wanted
    assert on_fast(changed, cores=2)[0].tobytes() == wanted
    assert on_slow(changed, order="random:3")[0].tobytes() == wanted
    assert not races(changed.program, changed.tensors, changed.parameters)


def test_two_decisions_of_each_level_are_edited():
    levels = [level for level, _ in EDITS.values()]
    assert all(levels.count(level) == 2 for level in ("tensor", "tile", "block", "execution"))
