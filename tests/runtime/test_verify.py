from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.ir.graph import Graph
from pto.passes import pipeline


@pt.tile_kernel
def scores(Q, K):
    return pt.softmax(pt.matmul(Q, K.T) * 0.5)


def arrays():
    random = np.random.default_rng(0)
    return random.standard_normal((40, 24), np.float32), random.standard_normal((30, 24), np.float32)


def reference(q, k):
    s = q @ k.T * np.float32(0.5)
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_every_step_of_a_right_compilation_agrees():
    verdict = scores.verify(*arrays(), ref=reference)
    assert verdict
    assert [name for name, _ in verdict.steps] == ["trace", "materialise", "tensor-to-tile", "tile-to-block",
                                                   "hoist", "insert-flags", "emit and run"]


def test_a_wrong_reference_is_told_from_a_wrong_pass():
    verdict = scores.verify(*arrays(), ref=lambda q, k: reference(q, k) + 1)
    assert not verdict
    assert verdict.difference.step == "trace"
    assert verdict.difference.before == "the reference"


def test_the_pass_that_changes_a_value_is_named_with_element_and_line(monkeypatch):
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    right = pipeline.tile_to_block

    def wrong(graph: Graph, target):
        made = right(graph, target)
        for inner, key, node in list(made.walk()):
            if node.op.name == "tmuls":
                inner.nodes[key] = replace(node, attrs=(("scalar", 0.25),))
        return made

    monkeypatch.setattr(pipeline, "tile_to_block", wrong)

    @pt.tile_kernel
    def scaled(X):
        return pt.exp(X * 0.5)

    verdict = scaled.verify(np.ones((3, 4), np.float32))
    assert verdict.difference.step == "tile-to-block"
    assert verdict.difference.element == (0, 0)
    assert verdict.difference.loc.source().strip() == "return pt.exp(X * 0.5)"
    assert "tile-to-block changed output 0[0, 0]" in str(verdict)


@pytest.mark.parametrize("level", ["tensor", "tile", "block", "execution"])
def test_a_level_fed_back_gives_the_same_program(level):
    scores(*arrays())
    again = pipeline.compile_graph(pt.parse(pt.text(scores.graph(level))), pipeline.Options()).program
    assert (again.code, again.tiles) == (scores.program().code, scores.program().tiles)
