"""Random kernels: a sample agrees with NumPy at every level; kernels that once did not; planted bugs are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import kernels
from tests.fuzz.case import Case
from tests.fuzz.generate import generate
from tests.fuzz.judge import judge
from tests.fuzz.planted import BUGS, edited, found_after, planted
from tests.fuzz.shrink import kind_of, shrink

SAMPLE = 400
CASES = sorted((Path(__file__).parent / "fuzz_cases").glob("*.py"))
EASY = ("parts of a maximum are added", "tail as long as the whole axis", "the first tile of a row left out",
        "rows and columns expanded as each other", "every part stored at the start",
        "a carried tensor is not replaced", "rows of a table from its first column")


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")


@pytest.mark.parametrize("quarter", range(4))
def test_a_sample_agrees_with_numpy(quarter):
    report = kernels.run(SAMPLE // 4, 0, first=quarter * SAMPLE // 4)
    assert report.failures == []
    assert report.of("refused") < 0.15 * SAMPLE / 4
    assert min(report.counts["compared bit for bit"], report.counts["compared within bounds"]) > SAMPLE / 16


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_kernel_that_once_failed(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 20
    found = judge(Case.read(text))
    assert not found.kind and not found.refused, found.said


def test_the_text_of_a_case_is_read_back():
    for seed in range(20):
        case, _ = generate(seed)
        assert Case.read(case.text) == case
        assert generate(seed)[0] == case


def test_at_least_forty_bugs_are_planted():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    for bug in BUGS:
        edited(bug)


@pytest.mark.parametrize("name", EASY)
def test_a_planted_bug_is_found(name):
    [bug] = [bug for bug in BUGS if bug.name == name]
    assert found_after(bug, 100)


def test_a_failure_is_made_small():
    [bug] = [bug for bug in BUGS if bug.name == "every part stored at the start"]
    number = found_after(bug, 200) - 1
    with planted(bug):
        case, _ = generate(number)
        small = shrink(case)
        assert kind_of(small) == kind_of(case) != ""
    assert len(small.text.splitlines()) <= 20
    assert not kind_of(small)
