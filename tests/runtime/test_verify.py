from dataclasses import replace

import numpy as np
import pytest

import pto as pt
from pto.core.errors import Loc
from pto.ir.graph import Graph
from pto.ir.levels import LEVELS
from pto.passes import pipeline
from pto.runtime.blame import Recording, first_wrong, missing
from tests.fuzz.planted import BUGS, planted


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
    passes = [stage.name for stage in scores.compiled().compiled.stages]
    assert passes[0] == "trace"
    assert passes[-1] == "insert-flags"
    assert [name for name, _ in verdict.steps] == [*passes, "emit", "the machine", "races in a core",
                                                   "races between cores"]


def test_a_wrong_reference_is_told_from_a_wrong_pass():
    verdict = scores.verify(*arrays(), ref=lambda q, k: reference(q, k) + 1)
    assert not verdict
    assert verdict.difference.step == "trace"
    assert verdict.difference.before == "the reference"


def test_a_reference_may_store_to_its_arguments():
    @pt.tile_kernel
    def shifted(X, out):
        out[:] = X + 1.0

    def right(x, out):
        out[:] = x + 1.0

    x = np.ones((3, 4), np.float32)
    assert shifted.verify(x, x * 0, ref=right)
    assert not shifted.verify(x, x * 0, ref=lambda x, out: None)


PASSES = ("simplify", "elide_copies", "materialise", "tensor_to_tile", "tile_to_block", "combine", "hoist", "bufferize",
          "allocate", "insert_barriers", "insert_flags")


def expressions():
    @pt.tile_kernel
    def chain(X, Y, Z):
        first = X * Y
        middle = first + Z
        return pt.exp(middle * 0.5) - X

    return chain


def with_one_wrong_node(run):
    """The pass, and after it the addition is a subtraction."""
    def wrong(graph: Graph, *more, **named):
        made = run(graph, *more, **named)
        for inner, key, node in list(made.walk()):
            if node.op.name in ("tensor.add", "tile.add", "tadd"):
                other = LEVELS[made.level].ops[node.op.name.replace("add", "sub")]
                inner.nodes[key] = replace(node, op=other)
        return made

    return wrong


@pytest.mark.parametrize("name", PASSES)
def test_the_pass_that_changes_a_value_is_named_with_node_element_and_line(monkeypatch, name):
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    monkeypatch.setattr(pipeline, name, with_one_wrong_node(getattr(pipeline, name)))
    found = expressions().verify(*np.random.default_rng(0).standard_normal((3, 5, 7), np.float32)).difference
    assert found.step == name.replace("_", "-")
    assert (found.element, found.count, found.size) == ((0, 0), 35, 35)
    assert "sub" in found.node
    assert found.loc.source().strip() == "middle = first + Z"
    assert f"{found.step} changed output 0[0, 0]: " in str(found)
    assert "graph: " in str(found)
    assert "first + Z" in str(found)


def kernels():
    """Kernels with products, reductions, several nests, and loops written out; and their arguments."""
    @pt.tile_kernel
    def layer(X, W, B):
        product = pt.matmul(X, W)
        shifted = pt.relu(product + B)
        weights = pt.softmax(shifted)
        return weights * 2.0

    @pt.tile_kernel
    def norm(X, G):
        centred = X - pt.mean(X, keepdims=True)
        spread = pt.mean(centred * centred, keepdims=True)
        ratio = centred / pt.sqrt(spread + 1e-5)
        return ratio * G

    @pt.tile_kernel(tile_m=16, tile_n=16, tile_k=8)
    def loops(A, B, C):
        for i in pt.range(0, A.shape[0], tile_m):  # noqa: F821
            for j in pt.range(0, B.shape[1], tile_n):  # noqa: F821
                acc = pt.zeros((tile_m, tile_n))  # noqa: F821
                for k in pt.range(0, A.shape[1], tile_k):  # noqa: F821
                    left = A[i:i + tile_m, k:k + tile_k]  # noqa: F821
                    acc += pt.tile_matmul(left, B[k:k + tile_k, j:j + tile_n])  # noqa: F821
                C[i:i + tile_m, j:j + tile_n] = pt.relu(acc) - 1.0  # noqa: F821

    @pt.tile_kernel
    def reuse(X, Y):
        powers = pt.exp(X)
        scaled = powers * Y
        return scaled - powers

    def some(*shape):
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    return {"layer": (layer, (some(37, 70), some(70, 300), some(1, 300))), "norm": (norm, (some(37, 1500), some(1500))),
            "reuse": (reuse, (some(9, 40), some(9, 40) + 1)),
            "loops": (loops, (some(37, 70), some(70, 41), np.zeros((37, 41), np.float32)))}


@pytest.mark.parametrize(("bug", "kernel", "step", "line"), [
    ("tail as long as the whole axis", "layer", "tensor-to-tile", "product ="),
    ("always the first slice of k", "layer", "tensor-to-tile", "product ="),
    ("slices of k one too far apart", "layer", "tensor-to-tile", "product ="),
    ("a row read at the tile's row", "norm", "tensor-to-tile", "return ratio * G"),
    ("valid region of a result lost", "layer", "tile-to-block", "weights ="),
    ("a reduction reads beyond the valid region", "layer", "tile-to-block", "weights ="),
    ("a product accumulates on what was there", "layer", "tile-to-block", "product ="),
    ("a product never accumulates", "loops", "tile-to-block", "acc +="),
    ("block number divided by the wrong count", "layer", "tile-to-block", "product ="),
    ("a result in the place of what is still needed", "reuse", "bufferize", "return scaled - powers"),
    ("room for one slot of two", "layer", "allocate", ""),
    ("no flag from one turn to the next", "layer", "insert-flags", "product ="),
    ("flags dropped that are needed", "loops", "insert-flags", "left ="),
    ("what is read may be overwritten", "layer", "insert-flags", "product ="),
    ("one of two slots is primed", "layer", "insert-flags", "product ="),
    ("a register used again inside of its loop", "layer", "emit", "product ="),
    ("a window past its tensor", "loops", "trace", "left ="),
])
def test_a_bug_of_the_compiler_is_located(monkeypatch, bug, kernel, step, line):
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    function, arguments = kernels()[kernel]
    with planted(next(b for b in BUGS if b.name == bug)):
        found = function.verify(*arguments).difference
    assert found.step == step
    assert (found.loc.source().strip() if found.loc else "").startswith(line)


def test_kernels_without_a_bug_pass():
    for function, arguments in kernels().values():
        verdict = function.verify(*arguments)
        assert verdict, str(verdict)
        assert "every step agrees" in str(verdict)


def test_an_expression_is_wrong_where_an_element_of_its_result_is_nowhere():
    loc, other = Loc("f", 1), Loc("f", 2)
    before, after = Recording(), Recording()
    for recording, parts in ((before, ([1.0, 2.0, 3.0, np.nan],)), (after, ([3.0], [9.0, 1.0], [2.0 + 1e-7]))):
        for number, part in enumerate(parts):
            recording.note(number, [loc], np.array(part))
    assert first_wrong(before, after, 1e-4) is None
    before.note(7, [other], np.array([5.0]))
    after.note(8, [other], np.array([5.1]))
    assert first_wrong(before, after, 1e-4) == 8
    assert missing(np.array([np.inf]), np.array([1.0]), 1e-4)
    assert not missing(np.array([]), np.array([1.0]), 1e-4)


@pytest.mark.parametrize("level", ["tensor", "tile", "block", "execution"])
def test_a_level_fed_back_gives_the_same_program(level):
    scores(*arrays())
    again = pipeline.compile_graph(pt.parse(pt.text(scores.graph(level))), pipeline.Options()).program
    assert (again.code, again.tiles) == (scores.program().code, scores.program().tiles)
