"""Every flag relation of what is emitted is needed, none is missing, and no legal order changes a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from pto.core.errors import PtoError
from pto.sim.slow import SlowMachine
from tests.fuzz.case import Case
from tests.fuzz.flags import extents, redundant
from tests.fuzz.generate import SMALL, generate
from tests.fuzz.judge import Judge, Senseless, judge
from tests.kernels import CASES, bind, on_slow

SAMPLE = 16
ORDERS = range(8)
FLAG_CASES = sorted((Path(__file__).parent / "flag_cases").glob("*.py"))


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")


def programs(first: int):
    """Programs of random kernels."""
    for seed in range(first, first + SAMPLE):
        try:
            found = Judge(generate(seed, SMALL)[0])
            found.called()
            found.bound()
        except (Senseless, PtoError):
            continue
        yield seed, found


@pytest.mark.parametrize("first", range(0, 4 * SAMPLE, SAMPLE))
def test_no_relation_of_a_random_kernel_is_redundant(first):
    count = 0
    for seed, found in programs(first):
        all_of_them, useless = redundant(found.variant.program, extents(found.case))
        count += all_of_them
        assert not useless, f"kernel {seed}\n{found.case.text}"
    assert count > 5 * SAMPLE


@pytest.mark.parametrize("path", FLAG_CASES, ids=lambda path: path.stem)
def test_a_kernel_whose_flags_once_were_too_many_is_right_and_needs_them_all(path):
    case = Case.read(path.read_text())
    found = judge(case)
    assert not found.kind and not found.refused, found.said
    judged = Judge(case)
    judged.called()
    judged.bound()
    count, useless = redundant(judged.variant.program, extents(case))
    assert count
    assert not useless


def test_no_legal_order_changes_a_result_of_a_random_kernel():
    for seed, found in programs(1000):
        wanted = None
        for order in ORDERS:
            tensors = found.room()
            SlowMachine(found.variant.program, cores=1 + order % 2, order=f"random:{order}").run(
                tensors, found.parameters)
            wanted = wanted or [t.tobytes() for t in tensors]
            assert [t.tobytes() for t in tensors] == wanted, f"kernel {seed}, order {order}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_legal_order_changes_a_result(case):
    bound = bind(case.kernel, case.arguments())
    [wanted, *others] = [[a.tobytes() for a in on_slow(bound, cores=1 + n % 2, order=f"random:{n}")] for n in ORDERS]
    assert all(other == wanted for other in others)
