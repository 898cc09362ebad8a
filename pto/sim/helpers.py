"""Host threads that wait for work: to start one takes longer than a small kernel does, to wake one does not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

Job = Callable[[], None]
GLANCE = 0.05  # seconds between two looks at signals: one that comes just before we wait does not end the waiting


class Work:
    """What a host thread does beside us."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error: BaseException | None = None
        self._is_over = False
        self._over = threading.Lock()
        self._over.acquire()
        try:
            helper = _idle.pop()
        except IndexError:
            helper = Helper()
        helper.give(self)

    def do(self) -> None:
        """Do it, in the thread that does it."""
        try:
            self.job()
        except BaseException as err:
            self.error = err

    def end(self) -> None:
        """Tell those who wait for it."""
        self._is_over = True
        self._over.release()

    def wait(self) -> None:
        """Wait until it is done.

        Raises:
            BaseException: what it raised.
        """
        self.rest()
        if self.error is not None:
            raise self.error

    def rest(self) -> None:
        """Wait until it is done, whatever it raised."""
        while not self._is_over:
            self._over.acquire(timeout=GLANCE)


class Helper:
    """A thread that does what it is given, and then is idle."""

    def __init__(self) -> None:
        self._given = threading.Lock()
        self._given.acquire()
        self._work: list[Work] = []
        threading.Thread(target=self._serve, name="pto helper", daemon=True).start()

    def give(self, work: Work) -> None:
        """Do some work; only one that is idle is given any."""
        self._work.append(work)
        self._given.release()

    def _serve(self) -> None:
        while self._given.acquire():
            work = self._work.pop()
            work.do()
            _idle.append(self)
            work.end()
            del work  # it holds what it was done with


_idle: list[Helper] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the threads stay with the parent
