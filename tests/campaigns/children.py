"""Cases in child processes, in batches: a signal, a hang or a lack of memory is one case's failure, not the end."""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import select
import signal
import struct
import traceback
import warnings
from collections import Counter
from collections.abc import Callable

from tests.campaigns.report import SHOWN, Report

Job = Callable[[int, Report], None]
BATCH, PATIENCE = 2000, 120.0  # cases a child; seconds that a child may take
READ = 1 << 16


def in_children(job: Job, count: int, *, batch: int = BATCH, first: Callable[[], None] = lambda: None,
                patience: float = PATIENCE) -> Report:
    """Run cases 0 to count - 1, or until too many have failed. `first` is called in each child before its cases."""
    report, start = Report(), 0
    while start < count and len(report.failures) < SHOWN:
        start = _batch(report, job, range(start, min(start + batch, count)), first, patience)
    return report


def _batch(report: Report, job: Job, cases: range, first: Callable[[], None], patience: float) -> int:
    """Add what a child saw in its cases, and why it died, if it did; gives the case to go on with."""
    place = mmap.mmap(-1, 8)
    place[:] = struct.pack("<q", cases.start)
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # a thread of the test runner sleeps: it holds no lock that a child takes
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _child(job, cases, first, place, writing)
    os.close(writing)
    data, late = _read(reading, patience)
    os.close(reading)
    if late:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for line in data.splitlines():
        seen = json.loads(line)
        report.add(Report(Counter(seen["counts"]), seen["failures"]))
    if status == 0:
        return cases.stop
    [at] = struct.unpack("<q", place[:])
    report.fail(f"case {at}: {f'did not end within {patience:.0f} s' if late else _why(status)}")
    return int(at) + 1


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
    """Run the cases, send what was seen in each, and end without anything that a normal end does."""
    status = 70
    try:
        faulthandler.disable()
        first()
        for case in cases:
            place[:] = struct.pack("<q", case)
            report = _ran(job, case)
            os.write(writing, json.dumps({"counts": report.counts, "failures": report.failures}).encode() + b"\n")
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _ran(job: Job, case: int) -> Report:
    """What was seen in one case; an exception that leaves it is a broken promise."""
    report = Report()
    try:
        job(case, report)
    except Exception as err:
        where = traceback.extract_tb(err.__traceback__)[-1]
        report.fail(f"case {case}: {type(err).__name__}: {str(err)[:200]} ({where.name}:{where.lineno})")
    return report
