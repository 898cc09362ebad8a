"""Ids of flags: each relation has its own while there are enough, and no two that share one are up together."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from pto.passes.accesses import Accesses
from pto.passes.flag_ids import OutOfFlags, Segments, numbered
from pto.passes.insert_flags import all_flags, needed
from pto.passes.order import Schedule
from tests.fuzz.case import Case
from tests.fuzz.judge import Judge

CASES = ("sums_of_many_tensors", "nests_one_after_the_other")


@pytest.fixture(params=CASES)
def found(request, monkeypatch):
    """The flags of a kernel that needs more of a pair of pipes than there are ids, before they have any."""
    monkeypatch.setenv("PTO_DISABLE_CACHE", "1")
    judged = Judge(Case.read((Path(__file__).parent / "flag_cases" / f"{request.param}.py").read_text()))
    judged.called()
    judged.bound()
    graph = next(s.graph for s in judged.variant.compiled.stages if s.name == "insert-barriers")
    candidates = all_flags(Accesses(graph))
    segments = Segments(graph)
    schedule = Schedule(Accesses(graph), candidates, segments.home)
    return needed(schedule, candidates), segments, schedule


def sharing(ids, segments):
    """The flags that have an id in common with one of the same stretch, or of one around it."""
    taken = defaultdict(list)
    for flag, number in ids.items():
        for slot in range(flag.slots):
            taken[flag.src, flag.dst, number + slot].append(flag)
    return {flag for flags in taken.values() for flag in flags for other in flags if flag is not other
            and segments.of(other)[:len(segments.of(flag))] == segments.of(flag)}


def test_where_there_are_enough_ids_each_flag_of_a_stretch_has_its_own(found):
    flags, segments, schedule = found
    assert not sharing(numbered(flags, 64, segments, schedule), segments)


def test_where_ids_lack_forward_flags_of_these_pipes_alone_share_them(found):
    flags, segments, schedule = found
    ids = numbered(flags, 8, segments, schedule)
    shared = sharing(ids, segments)
    assert shared
    assert len({(flag.src, flag.dst) for flag in shared}) < len({(flag.src, flag.dst) for flag in flags})
    assert not any(flag.back for flag in shared)
    assert max(number + flag.slots for flag, number in ids.items()) <= 8


def test_flags_that_are_up_together_are_refused_one_id(found):
    flags, segments, schedule = found
    with pytest.raises(OutOfFlags, match="need more than 1 flags"):
        numbered(flags, 1, segments, schedule)
