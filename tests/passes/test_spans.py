"""Every instruction leads back to the expressions of the author that asked for it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.errors import CompilerBug, Loc
from pto.ir.graph import Graph, Node, has_spans
from pto.ir.parse import parse
from pto.ir.rewrite import Rewriter, alive
from pto.ir.text import text
from pto.passes.base import Pass
from pto.passes.facts import SPANNED
from pto.passes.pipeline import Attempts, Options, compile_graph
from pto.runtime.kernel import Kernel
from tests.kernels import CASES, bind

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SYNC = ("set_flag", "wait_flag")


@cache
def kernels(source: Path | None) -> tuple[Kernel, ...]:
    """The kernels of an example, or (None) those that tests share, each compiled."""
    if source is None:
        for case in CASES:
            bind(case.kernel, case.arguments())
        return tuple(case.kernel for case in CASES)
    return tuple(v for v in runpy.run_path(str(source), run_name="__main__").values() if isinstance(v, Kernel))


def needed(graph: Graph) -> Iterator[Node]:
    """The nodes that a result depends on, bodies included."""
    keep = alive(graph)
    for key, node in graph.items():
        if key in keep and has_spans(node.op):
            yield node
            yield from needed(node.body) if node.body is not None else ()


def place(loc: Loc) -> tuple[str, int, int, int]:
    return loc.file, loc.line, loc.col, loc.end


@pytest.mark.parametrize("source", [None, *EXAMPLES], ids=lambda p: p.stem if p else "shared")
def test_every_instruction_has_spans_and_every_expression_is_listed(source, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["example"])
    for kernel in kernels(source):
        variant = kernel.compiled()
        program = variant.program
        silent = [pc for pc, spans in enumerate(program.lines) if not spans]
        assert len(program.lines) == len(program.code)
        assert not silent, f"{kernel}: {program.code[silent[0]]} has no span"
        listed = {place(loc) for loc in program.spans}
        for node in needed(variant.traced.graph):
            assert listed.issuperset(map(place, node.locs)), f"{kernel} loses {node.op.name} at {node.locs[0]}"


def test_the_listing_says_it_beside_each_instruction():
    [gemm, *_] = kernels(None)
    code = [line for line in gemm.disasm().splitlines() if line.startswith("  ")]
    assert len(code) == len(gemm.program().code)
    assert all("!" in line for line in code)


@pt.tile_kernel(tile_n=256)
def scaled(X, Y, out):
    for i in pt.range(0, X.shape[0], tile_n):  # noqa: F821
        x = X[i:i + tile_n]  # noqa: F821
        y = Y[i:i + tile_n]  # noqa: F821
        out[i:i + tile_n] = x * y  # noqa: F821


def test_a_flag_names_the_two_accesses_that_it_orders():
    scaled(*np.ones((3, 1000), np.float32))
    program = scaled.program()
    lines = [{program.spans[i].source().strip() for i in spans} for spans in program.lines]
    flags = [line for inst, line in zip(program.code, lines, strict=True) if inst.spec.mnemonic in SYNC]
    load, product = "y = Y[i:i + tile_n]  # noqa: F821", "out[i:i + tile_n] = x * y  # noqa: F821"
    assert {load, product} in flags  # loaded before it is multiplied
    assert {product} in flags  # multiplied before it is stored, on the same line


@pt.tile_kernel
def halve(X):
    return X * 0.5


@pt.tile_kernel
def calls(X, Y):
    quarter = halve(halve(X))
    return quarter + Y


def test_a_kernel_that_is_called_names_the_call_too():
    calls(*np.ones((2, 8, 8), np.float32))
    program = calls.program()
    spans = [[program.spans[i] for i in line] for inst, line in zip(program.code, program.lines, strict=True)
             if inst.spec.mnemonic == "tmuls"]
    said = [[loc.source()[loc.col:loc.end] for loc in line] for line in spans]
    assert said == [["X * 0.5", "halve(X)"], ["X * 0.5", "halve(halve(X))"]]


def test_a_pass_that_drops_a_span_is_refused():
    class Forgets(Rewriter):
        def step(self, old, key, node, new, env):
            super().step(old, key, replace(node, locs=()) if node.op.name == "tensor.add" else node, new, env)

    graph = kernels(None)[2].compiled().traced.graph
    assert not SPANNED.faults(graph)
    forgets = Pass("forgets", Forgets().run)
    with pytest.raises(CompilerBug, match=r"forgets broke the graph:\n%\d+ tensor.add has no span"):
        Attempts(graph).run((forgets,), frozenset({SPANNED}))


def test_text_without_spans_still_compiles():
    graph = kernels(None)[0].compiled().traced.graph
    bare = parse(text(graph, spans=False))
    assert SPANNED.faults(bare)
    assert not any(compile_graph(bare, Options()).program.lines)


def test_a_span_in_a_text_quotes_no_file():
    written = text(kernels(None)[0].compiled().traced.graph).replace("kernels.py", str(Path(__file__)))
    program = compile_graph(parse(written), Options()).program
    assert program.spans[0].file == __file__
    assert not any(loc.source() for loc in program.spans)
