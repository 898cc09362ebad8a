"""Text of every level parses back to an equal graph; mistakes in text are named with their place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.core.errors import GraphTextError
from pto.core.target import DEFAULT
from pto.ir.parse import parse
from pto.ir.text import same, text
from pto.ir.verify import faults
from pto.passes.allocate import allocate
from pto.passes.bufferize import bufferize
from pto.passes.emit import emit
from pto.passes.insert_flags import insert_flags
from pto.passes.tile_to_block import tile_to_block
from tests.kernels import CASES, NAMES, bind, gemm_loop, on_graph


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_text_of_every_stage_parses_back(case):
    arguments = case.arguments()
    bound = bind(case.kernel, arguments)
    for stage in case.kernel.compiled().compiled.stages:
        again = parse(text(stage.graph))
        assert text(again) == text(stage.graph), stage.name
        assert same(again, stage.graph)
        assert not faults(again)
        if stage.name not in ("bufferize", "allocate"):
            for wanted, got in zip(case.wanted(arguments), on_graph(again, bound), strict=True):
                wanted.check(got)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_parsed_graph_lowers_to_the_same_program(case):
    arguments = case.arguments()
    bound = bind(case.kernel, arguments)
    variant = case.kernel._variant(arguments, [n for a in arguments for n in a.shape])
    stages = {s.name: s.graph for s in variant.compiled.stages}
    tile = parse(text(stages["tensor-to-tile"], spans=False))
    block = tile_to_block(tile, DEFAULT)
    assert text(block, spans=False) == text(stages["tile-to-block"], spans=False)
    lowered = list(stages)[list(stages).index("bufferize") - 1]
    buffers = bufferize(parse(text(stages[lowered], spans=False)))
    found = [text(allocate(buffers, DEFAULT, limit), spans=False) for limit in (None, 2, 1, 0)]
    assert text(stages["allocate"], spans=False) in found
    flags = insert_flags(parse(text(stages["insert-barriers"], spans=False)), DEFAULT.flags)
    assert text(flags, spans=False) == text(stages["insert-flags"], spans=False)
    program = emit(parse(text(flags)), DEFAULT)
    assert program.code == bound.program.code
    named = tuple(replace(t, name=b.name) for t, b in zip(program.tensors, bound.program.tensors, strict=True))
    assert replace(program, spans=(), lines=(), tensors=named) == replace(bound.program, spans=(), lines=())


@pytest.mark.parametrize("names", [("x", "x0"), ("x", "xx"), ("tensor", "f32"), ("index", "tile")])
def test_any_name_of_an_argument_survives_text(names, tmp_path, monkeypatch):
    a, b = names
    file = tmp_path / "named.py"
    file.write_text(f"import pto as pt\n@pt.tile_kernel\ndef k({a}, {b}):\n    return {a} + {b} * 2.0\n")
    space: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    x = np.ones((3, 5), np.float32)
    bound = bind(space["k"], [x, x])
    for level in ("tensor", "tile", "block", "execution"):
        graph = space["k"].graph(level)
        again = parse(text(graph))
        assert text(again) == text(graph)
        assert not faults(again)
        assert (on_graph(again, bound)[0] == 3).all()


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e-30, 3.0, -0.0, 1 / 3, float("nan"), 2])
def test_constants_survive_text(value):
    @pt.tile_kernel
    def scaled(x):
        return x * value

    x = np.full((2, 3), 3, np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(scaled(x), x * np.float32(value))
        for level in ("tensor", "tile", "block", "execution"):
            graph = scaled.graph(level)
            assert text(parse(text(graph))) == text(graph)


TEXT = """tile k(%N: index in 1 .. 100, %x: tensor<N x N x f32>) {
  %2 = for %0 in 0 .. %N by 16 carry (%1 = %x) {
    %3 = tile.load %1, %0, 0, 16, 16 : tile<16x16xf32>
    %4 = tile.exp %3 : tile<16x16xf32>
    %5 = tile.store %1, %4, %0, 0, 16, 16 : tensor<N x N x f32>
    yield %5
  }
  return %2
}
"""


def test_hand_written_text_is_a_graph():
    assert text(parse(TEXT)) == TEXT
    assert not faults(parse(TEXT))


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("tile k", "tilex k", 1, "no level"),
    ("tile.exp", "tile.expp", 4, "no operation tile.expp"),
    ("tile.exp %3", "tile.exp %33", 4, "not defined"),
    ("tile<16x16xf32>", "tile<16xf32>", 3, "not a type"),
    ("tile<16x16xf32>", "tile<16x16xf33>", 3, "not a type"),
    ("yield %5", "yield %5 %6", 6, "not a line"),
    ("%2 = for", "for", 2, "carries 1 values"),
    ("}\n  return", "  return", 8, "not a line"),
    ("N x N x f32", "N x N x q8", 1, "not a type"),
])
def test_a_mistake_in_text_is_named_with_its_line(old, new, line, message):
    with pytest.raises(GraphTextError, match=message) as caught:
        parse(TEXT.replace(old, new, 1))
    assert caught.value.loc.line == line


@pytest.mark.parametrize("cut", range(0, len(TEXT) - 3, 7))
def test_text_that_ends_early_is_refused(cut):
    with pytest.raises(GraphTextError):
        parse(TEXT[:cut])


def test_deep_nesting_is_refused_and_does_not_crash():
    loops = "".join(f"for %i{n} in 0 .. 2 by 1 {{\n" for n in range(300))
    with pytest.raises(GraphTextError, match="deeper"):
        parse(f"tile k() {{\n{loops}{'}' + chr(10)}" + "}\n" * 300)


def test_an_edited_tile_size_gives_another_program_and_the_same_result():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((70, 37), (37, 100)))
    bound = bind(gemm_loop, [a, b])
    edited = text(gemm_loop.graph("tile"), spans=False).replace("48", "64")
    graph = parse(edited)
    assert not faults(graph)
    program = emit(insert_flags(allocate(bufferize(tile_to_block(graph, DEFAULT)), DEFAULT), 8), DEFAULT)
    assert program.code != bound.program.code
    np.testing.assert_allclose(on_graph(graph, bound)[0], a @ b, atol=1e-4)
