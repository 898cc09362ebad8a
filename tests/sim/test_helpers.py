"""Host threads that wait for work."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from pto.sim.helpers import Work


class Thing:
    """Something that a job holds."""

    def touch(self) -> None:
        """Do nothing."""


def ran_in(count: int) -> set[int]:
    """The threads that do so much work at the same time."""
    together, found = threading.Barrier(count + 1), []

    def job() -> None:
        found.append(threading.get_ident())
        together.wait(10)
    works = [Work(job) for _ in range(count)]
    together.wait(10)
    for work in works:
        work.wait()
    return set(found)


def test_work_is_done_beside_us_by_threads_that_stay():
    first = ran_in(3)
    assert len(first) == 3 and threading.get_ident() not in first
    assert first <= ran_in(3) | ran_in(4)
    before = threading.active_count()
    for _ in range(50):
        ran_in(3)
    assert threading.active_count() == before


def test_what_a_job_raises_comes_to_those_who_wait_and_the_thread_stays():
    def job() -> None:
        raise ZeroDivisionError("a job")
    for _ in range(3):
        work = Work(job)
        with pytest.raises(ZeroDivisionError, match="a job"):
            work.wait()
    assert len(ran_in(1)) == 1


def test_an_idle_thread_holds_nothing_of_its_last_job():
    thing = Thing()
    known = weakref.ref(thing)
    Work(thing.touch).wait()
    del thing
    ran_in(1)
    gc.collect()
    assert known() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_process_has_threads_of_its_own():
    ran_in(2)
    child = os.fork()
    if not child:
        try:
            ran_in(2)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
