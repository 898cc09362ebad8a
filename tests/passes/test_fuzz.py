"""Random kernels: a sample agrees with NumPy at every level; kernels that once did not; planted bugs are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import kernels
from tests.fuzz.arrays import ArrayWriter
from tests.fuzz.case import Case
from tests.fuzz.generate import Writer, generate
from tests.fuzz.judge import judge
from tests.fuzz.planted import BUGS, edited, found_after, planted
from tests.fuzz.shrink import kind_of, shrink

SAMPLE, PART = 2000, 100  # kernels, and how many of them are one test
ARRAYS = 100  # kernels that store to arrays
CASES = sorted((Path(__file__).parent / "fuzz_cases").glob("*.py"))
EASY = ("parts of a maximum are added", "tail as long as the whole axis", "the first tile of a row left out",
        "rows and columns expanded as each other", "every part stored at the start",
        "a carried tensor is not replaced", "rows of a table from its first column")


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")


@pytest.mark.parametrize("first", range(0, SAMPLE, PART))
def test_a_sample_agrees_with_numpy(first):
    report = kernels.run(PART, 0, first)
    assert report.failures == []
    assert report.of("refused") < 0.15 * PART
    assert min(report.counts["compared bit for bit"], report.counts["compared within bounds"]) > 0.25 * PART


@pytest.mark.parametrize("first", range(0, ARRAYS, PART // 4))
def test_a_sample_that_stores_to_arrays_agrees_with_numpy(first):
    report = kernels.run(PART // 4, 0, first, ArrayWriter)
    assert report.failures == []
    assert report.of("refused") < 0.2 * PART // 4
    assert report.of("store") > PART // 4


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_kernel_that_once_failed(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 20
    found = judge(Case.read(text))
    assert not found.kind and not found.refused, found.said


def test_the_text_of_a_case_is_read_back():
    for seed in range(40):
        kind = (Writer, ArrayWriter)[seed % 2]
        case, _ = generate(seed, kind=kind)
        assert Case.read(case.text) == case
        assert generate(seed, kind=kind)[0] == case


def test_at_least_forty_bugs_are_planted():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    for bug in BUGS:
        edited(bug)


@pytest.mark.parametrize("name", EASY)
def test_a_planted_bug_is_found(name):
    [bug] = [bug for bug in BUGS if bug.name == name]
    assert found_after(bug, 100)


@pytest.mark.parametrize("name", ["every part stored at the start", "carried tiles swapped one by one",
                                  "offset of a batch lost"])
def test_a_failure_is_made_small(name):
    [bug] = [bug for bug in BUGS if bug.name == name]
    number = found_after(bug, 200) - 1
    with planted(bug):
        case, _ = generate(number)
        small = shrink(case)
        assert kind_of(small) == kind_of(case) != ""
    assert len(small.text.splitlines()) <= 20
    assert not kind_of(small)
