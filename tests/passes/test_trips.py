"""What is known of the trips of loops whose bounds change with a loop around them."""

from __future__ import annotations

import pytest

import pto as pt
from pto.passes.trips import TURNS, Bounds, End, Trips, courses


@pytest.mark.parametrize(("bound", "grows"), [
    (lambda i, n: i, True), (lambda i, n: i + n - 0, True), (lambda i, n: i * 2 + 1, True), (lambda i, n: i // 2, True),
    (lambda i, n: i // n, True), (lambda i, n: i // -1, False),
    (lambda i, n: i * n, True), (lambda i, n: 2 + i * -1, False), (lambda i, n: n - i, False),
    (lambda i, n: 12 // (i + 1), False), (lambda i, n: i % 2, False), (lambda i, n: (i - 3) * (i - 3), False),
])
def test_a_loop_grows_where_it_runs_in_all_later_iterations_once_it_runs(bound, grows):
    @pt.tile_kernel
    def kernel(x: pt.f32[256, 16], out: pt.f32[256, 16], n: pt.index):
        for i in pt.range(0, 7):
            for j in pt.range(0, bound(i, n)):
                out[j * 16:j * 16 + 16, 0:16] = x[j * 16:j * 16 + 16, 0:16] + 1.0

    graph = kernel.graph("tile")
    found = Trips(graph)
    inner = next((g, node) for g, _, node in graph.walk() if g.outer is not None and node.body is not None)
    assert found.bounds(*inner).grows is grows


def test_of_two_loops_of_which_one_runs_any_may_take_over_in_any_iteration_and_run_once():
    outer, middle = Bounds(End(0), End(None, 3, 0)), End(None, 1, 9)
    first, second = Bounds(End(0), middle), Bounds(middle, End(None, 2, 9), least=1)
    made = courses({0: [frozenset({outer}), frozenset({outer, first}), frozenset({outer, second})]})
    once = {course.run(first).turns for course in made
            if course.run(first).turns | course.run(second).turns == TURNS
            and not course.run(first).turns & course.run(second).turns
            and all(course.run(x).once for x in (first, second) if course.run(x).turns)}
    assert len(once) == 2**len(TURNS)
