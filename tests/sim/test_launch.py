"""A launch whose host threads are interrupted."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from pto.isa.program import Program
from pto.sim.launch import CREW_RESULT, DONE, SHARED, Frame, Launch

WAIT = 20  # seconds, that no test takes


class Held:
    """What an engine has the address of."""


class Watched(Launch):
    """A launch on two host threads that tells when the first has no more work, and when all are to stop."""

    def __init__(self, first: Callable[[], None], second: Callable[[Watched], None], held: object = None) -> None:
        self.done, self.told = threading.Event(), threading.Event()
        frame = Frame(np.zeros((2, SHARED + 1), np.int64), threads=2)

        def engine(crew: int, code: int, unused: int) -> None:
            thread = frame.addresses.index(crew)
            frame.crews[thread][CREW_RESULT] = DONE
            if thread == 0:
                first()
            else:
                second(self)
        super().__init__(Program("p", "V2", (), (), (), ()), engine, 0, frame, joined=False, held=held)

    def sleep(self, thread: int, *, last: bool = False) -> bool:
        """A thread has nothing to do."""
        self.done.set()
        return super().sleep(thread, last=last)

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if (name, value) == ("stopped", True):
            self.told.set()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_the_other_threads_before_anybody_else_gets_their_memory():
    slices = []

    def long(launch: Watched) -> None:
        launch.done.wait(WAIT)
        interrupt()  # while the first thread waits for this one
        slices.append(launch.told.wait(WAIT))
    with pytest.raises(KeyboardInterrupt):
        Watched(lambda: None, long).run()
    assert slices == [True]


def test_a_thread_that_nobody_waits_for_holds_what_it_works_on():
    begun, leave = threading.Event(), threading.Event()
    held = Held()
    known = weakref.ref(held)

    def first() -> None:
        begun.wait(WAIT)
        raise KeyboardInterrupt

    def longer(launch: Watched) -> None:
        begun.set()
        launch.told.wait(WAIT)
        interrupt()  # once more
        leave.wait(WAIT)
    launch = Watched(first, longer, held)
    del held
    with pytest.raises(KeyboardInterrupt):
        launch.run()
    del launch
    gc.collect()
    assert known() is not None
    leave.set()
