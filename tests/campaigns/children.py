"""Cases in child processes, in batches: a signal, a hang or a lack of memory is one case's failure, not the end."""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import struct
import traceback
import warnings
from collections.abc import Callable

from tests.campaigns.report import SHOWN, Report

Job = Callable[[int, Report], None]
BATCH, PATIENCE = 2000, 120.0  # cases a child; seconds that a child may take
READ = 1 << 16


def in_children(job: Job, count: int, *, batch: int = BATCH, first: Callable[[], None] = lambda: None,
                patience: float = PATIENCE) -> Report:
    """Run cases 0 to count - 1. `first` is called in each child before its cases.

    The two parts of a batch around a case that killed its child run again, so all others count.
    """
    report = Report()
    todo = [(start, min(start + batch, count)) for start in range(0, count, batch)][::-1]
    while todo and len(report.failures) < SHOWN:
        start, stop = todo.pop()
        if start == stop:
            continue
        found, at = _batch(job, start, stop, first, patience)
        report.add(found)
        if at is not None:
            todo += [(at + 1, stop), (start, at)]
    return report


def _batch(job: Job, start: int, stop: int, first: Callable[[], None],
           patience: float) -> tuple[Report, int | None]:
    """What a child saw; or why it died, and with which case."""
    place = mmap.mmap(-1, 8)
    place[:] = struct.pack("<q", start)
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # a thread of the test runner sleeps: it holds no lock that a child takes
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _child(job, range(start, stop), first, place, writing)
    os.close(writing)
    data, late = _read(reading, patience)
    os.close(reading)
    if late:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    [at] = struct.unpack("<q", place[:])
    if status == 0 and not late:
        seen = json.loads(data)
        report = Report()
        report.counts.update(seen["counts"])
        report.failures += seen["failures"]
        return report, None
    why = f"did not end within {patience:.0f} s" if late else _why(status)
    return Report(failures=[f"case {at}: {why}"]), at


def _why(status: int) -> str:
    return f"{signal.Signals(-status).name}" if status < 0 else f"the child ended with {status}"


def _read(handle: int, patience: float) -> tuple[bytes, bool]:
    """Everything until the other end closes, and whether that took too long."""
    parts = []
    while select.select([handle], [], [], patience)[0]:
        part = os.read(handle, READ)
        if not part:
            return b"".join(parts), False
        parts.append(part)
    return b"".join(parts), True


def _child(job: Job, cases: range, first: Callable[[], None], place: mmap.mmap, writing: int) -> None:
    """Run the cases, send what was seen, and end without anything that a normal end does."""
    report, status = Report(), 0
    try:
        first()
        for case in cases:
            place[:] = struct.pack("<q", case)
            try:
                job(case, report)
            except Exception as err:
                where = traceback.extract_tb(err.__traceback__)[-1]
                report.fail(f"case {case}: {type(err).__name__}: {str(err)[:200]} ({where.name}:{where.lineno})")
            if len(report.failures) >= SHOWN:
                break
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps({"counts": report.counts, "failures": report.failures}).encode())
    except BaseException:
        traceback.print_exc()
        status = 70
    finally:
        os._exit(status)
