"""What is known of the trips of loops whose bounds change with a loop around them."""

from __future__ import annotations

import pytest

import pto as pt
from pto.passes.trips import TURNS, Bounds, End, Trail, Trips, courses


@pytest.mark.parametrize(("bound", "grows"), [
    (lambda i, n: i, True), (lambda i, n: i + n - 0, True), (lambda i, n: i * 2 + 1, True), (lambda i, n: i // 2, True),
    (lambda i, n: i // n, True), (lambda i, n: (i - 3) // -1, False),
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


@pytest.mark.parametrize(("bounds", "most"), [
    (lambda i, n: (0, 2), 2), (lambda i, n: (n, n + 1), 1), (lambda i, n: (0, n), len(TURNS)), (lambda i, n: (i, 8), 3),
    (lambda i, n: (i + 5, 8), 3), (lambda i, n: (i + 7, 8), 1), (lambda i, n: (n + 6, 8), 2),
    (lambda i, n: (n // 4 * 4, n), 3), (lambda i, n: (n // 2 * 2, n), 1), (lambda i, n: (0, n % 3), 2),
    (lambda i, n: (0, n < 3), 1), (lambda i, n: (0, (i + 9) // 8), 1),
])
def test_how_many_iterations_a_loop_has_at_most(bounds, most):
    @pt.tile_kernel
    def kernel(x: pt.f32[256, 16], out: pt.f32[256, 16], n: pt.index):
        for i in pt.range(0, 7):
            for j in pt.range(*bounds(i, n)):
                out[j * 16:j * 16 + 16, 0:16] = x[j * 16:j * 16 + 16, 0:16] + 1.0

    graph = kernel.graph("tile")
    inner = next((g, node) for g, _, node in graph.walk() if g.outer is not None and node.body is not None)
    assert min(Trips(graph).at_most(*inner), len(TURNS)) == most


def test_of_two_loops_of_which_one_runs_any_may_take_over_in_any_iteration_and_run_once():
    outer, middle = Bounds(End(0), End(None, 3, 0)), End(None, 1, 9)
    first, second = Bounds(End(0), middle), Bounds(middle, End(None, 2, 9), least=1)
    trail = Trail()
    for inside in ([outer], [outer, first], [outer, second]):
        trail.enters(inside)
    trail.meets(0, [])
    made = courses(trail)
    once = {course.tour(first).turns for course in made
            if course.tour(first).turns | course.tour(second).turns == TURNS
            and not course.tour(first).turns & course.tour(second).turns
            and all(course.tour(x).once for x in (first, second) if course.tour(x).turns)}
    assert len(once) == 2**len(TURNS)


def test_what_lies_before_and_behind_a_branch_with_a_barrier_meets_where_the_branch_is_not_taken():
    before, branch, inside, behind = (Bounds(End(0), End(None, number)) for number in range(1, 5))
    trail = Trail()
    trail.enters([before])
    trail.enters([branch])
    trail.meets(1, [branch])
    trail.enters([branch, inside])
    trail.enters([behind])
    trail.meets(0, [])
    taken = [{x for x in (before, branch, inside, behind) if course.tour(x).turns} for course in courses(trail)
             if 0 in course.after]
    assert {before, behind} in taken
    assert not any({branch, behind} <= loops and before in loops for loops in taken)
