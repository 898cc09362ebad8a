"""One run of all cores of the fast machine: slices of fuel, host threads, and what went wrong."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from pto.core.errors import FuelError, PtoError
from pto.isa.program import Arg, Inst, Program, Reg, TileRef
from pto.sim.helpers import Work
from pto.sim.layout import (
    ARRIVALS,
    AWAITED,
    CREW_AT,
    CREW_BUDGET,
    CREW_COUNT,
    CREW_RESULT,
    CREW_SEEN,
    CREW_SPINS,
    EVENTS,
    EVENTS_AT,
    FAILED,
    FLAGS_AT,
    FUEL,
    PC,
    REGISTERS_AT,
    SETS,
    SHARED,
    STATUS,
    SYNCS,
    TRAP_KIND,
    TRAP_OPERAND,
    TRAP_VALUE,
    Result,
    Status,
)
from pto.sim.link import Words, flag_name, flags_set
from pto.sim.traps import TrapKind, trap_error
from pto.sim.waiting import Wait, deadlock, events_left
from pto.sim.watch.state import Watch

SLICE = 1 << 24  # units that the engine may use before Python looks for Ctrl-C: 8 to 160 ms, a token of a small model
# Looks at what other host threads have done, a nanosecond each, before a thread sleeps: a millisecond, for cores that
# share a few milliseconds of work come to a barrier some tenths of one apart, and to sleep takes another tenth or two.
SPINS = 1 << 20
NAP = 1e-4
LINE = 8  # words of a cache line
HALTED, TRAPPED, WAITING = int(Status.HALTED), int(Status.TRAPPED), int(Status.WAITING)
DONE, FAILURE, IDLE, NO_ROOM = int(Result.DONE), int(Result.FAILED), int(Result.IDLE), int(Result.NO_ROOM)
Context = memoryview  # of int64 words; reads and writes plain ints, fast
Engine = Callable[[int, int, int], None]
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Frame:
    """The contexts of one launch, what they share, and how host threads divide them.

    Launches take the same one, one after the other: a small kernel runs no longer than what is made here takes. It is
    one block of memory, which one copy makes what it is at the start of a launch: a large kernel leaves nothing in the
    caches, so that each object that Python touches is waited for.

    Attributes:
        starts: what the contexts are at the start, apart from what the machine tells each core.
        standing: what the machine has put there, of arrays that are the same ones at each launch.
    """

    def __init__(self, template: Words, threads: int) -> None:
        cores, words = template.shape
        crews = [range(i, cores, threads) for i in range(threads)]
        sizes = [template.size, EVENTS_AT + cores ** 2 * EVENTS, *(CREW_AT + len(crew) for crew in crews)]
        ends = [*itertools.accumulate(size + LINE for size in sizes)]  # other threads write to each: lines apart
        parts = [slice(end - LINE - size, end - LINE) for end, size in zip(ends, sizes, strict=True)]
        block, first = np.zeros(ends[-1], np.int64), np.zeros(ends[-1], np.int64)
        self.block, self.first = block.data, first.data
        self.contexts, start = (of[parts[0]].reshape(cores, words) for of in (block, first))
        self.cores, self.starts = [row.data for row in self.contexts], [row.data for row in start]
        self.shared, *self.crews = [block[part].data for part in parts[1:]]
        state, *self.addresses = [block[part].ctypes.data for part in parts[1:]]
        start[:], start[:, SHARED] = template, state
        first[parts[1]][FAILED] = cores
        for part, crew in zip(parts[2:], crews, strict=True):
            table = first[part]
            table[CREW_COUNT], table[CREW_SPINS] = len(crew), SPINS if threads > 1 else 0
            table[CREW_AT:] = [self.contexts[core].ctypes.data for core in crew]
        self.standing: object = None
        self.wake = threading.Condition()

    def reset(self) -> None:
        """What a launch starts with, apart from what the machine tells each core."""
        self.block[:] = self.first


class Launch:
    """Runs all cores of a frame once; the error of the lowest core that fails is the one that is raised.

    `held` is what the engine has addresses of: it lives until the last host thread has ended, also one that an
    impatient user did not wait for.
    """

    def __init__(self, program: Program, engine: Engine, code: int, frame: Frame, *, joined: bool,
                 held: object = None) -> None:
        self.program, self.engine, self.code, self.frame, self.joined = program, engine, code, frame, joined
        self.held = held
        self.watch: Watch | None = None
        self.errors: dict[int, Exception] = {}
        self.stopped = self.stuck = False
        self.asleep: dict[int, int] = {}  # what each sleeping thread had seen of the others' progress

    def run(self) -> None:
        """Run, until all host threads have ended."""
        fuel = self.frame.cores[0][FUEL]
        others: list[Work] = []
        try:
            for thread in range(1, len(self.frame.crews)):
                others.append(Work(partial(self.share, thread, fuel)))
            self.share(0, fuel)
            for work in others:
                work.wait()
        except BaseException:  # Ctrl-C, also while we wait
            self.stopped = True
            for work in others:
                work.rest()
            raise
        if self.errors:
            raise self.errors[min(self.errors)]
        if self.joined:
            self.end()

    def share(self, thread: int, fuel: int) -> None:
        """Run the cores of one host thread until none can go on."""
        crew, address = self.frame.crews[thread], self.frame.addresses[thread]
        while not self.stopped:
            crew[CREW_BUDGET] = SLICE
            self.engine(address, self.code, 0)
            result = crew[CREW_RESULT]
            if result == FAILURE:
                self.fail(thread, fuel)
            elif result == NO_ROOM:
                self.make_room()
            if result == DONE or (self.errors and self.decided()) or (result == IDLE and self.sleep(thread)):
                break
        if len(self.frame.crews) > 1:
            self.sleep(thread, last=True)

    def fail(self, thread: int, fuel: int) -> None:
        """Keep the error of the cores of a thread that trapped or lack fuel, and take them out of the run."""
        for core in range(thread, len(self.frame.cores), len(self.frame.crews)):
            context = self.frame.cores[core]
            if context[STATUS] not in (TRAPPED, Status.NO_FUEL) or core in self.errors:
                continue
            if context[STATUS] == TRAPPED:
                self.errors[core] = self.trapped(core, context)
            else:
                self.errors[core] = FuelError(
                    f"{self.program.name}: core {core} did not finish within {fuel} units of fuel; "
                    f"it stopped before pc {context[PC]}", loc=self.program.span(context[PC]),
                )
            context[STATUS] = HALTED
            if not self.joined:  # else a lower core may need a higher one
                self.frame.shared[FAILED] = min(self.errors)

    def trapped(self, core: int, context: Context) -> PtoError:
        """The error of a core that trapped."""
        kind = context[TRAP_KIND]
        if self.watch and kind == TrapKind.RACE:
            return self.watch.race(context[PC], core)
        if self.watch and kind == TrapKind.UNINITIALISED:
            return self.watch.uninitialised(context[PC], core, context[TRAP_OPERAND], context[TRAP_VALUE])
        return trapped(self.program, core, context)

    def make_room(self) -> None:
        """Enlarge what the watch has filled; the instruction that found no room runs again."""
        assert self.watch
        self.watch.grow()
        for context in self.frame.cores:
            if context[STATUS] == Status.NO_ROOM:
                context[STATUS] = Status.RUNNING

    def decided(self) -> bool:
        """Whether every core below one that failed has ended."""
        lowest = min(tuple(self.errors))
        return all(row[STATUS] == HALTED for row in self.frame.cores[:lowest])

    def sleep(self, thread: int, *, last: bool = False) -> bool:
        """Rest until another thread may have helped; true where none will, which is where all rest."""
        if len(self.frame.crews) == 1:
            return True
        with self.frame.wake:
            seen = self.frame.crews[thread][CREW_SEEN]
            self.asleep[thread] = -1 if last else seen
            now = self.frame.shared[ARRIVALS] + self.frame.shared[SETS]
            everyone = len(self.asleep) == len(self.frame.crews)
            if everyone and all(value in (-1, now) for value in self.asleep.values()):
                self.stuck = True
                self.frame.wake.notify_all()
            if last or self.stuck:
                return True
            self.frame.wake.wait(NAP)
            if not self.stuck:
                del self.asleep[thread]
            return self.stuck

    def end(self) -> None:
        """All cores have stopped, none in error: what they wait for and what they left."""
        cores, shared = self.frame.cores, self.frame.shared
        for row in cores:
            if row[STATUS] == WAITING:
                waits = {core: self.wait(row) for core, row in enumerate(cores) if row[STATUS] == WAITING}
                raise deadlock(self.program, waits, [row[PC] for row in cores])
        if shared[SETS]:
            channels = itertools.product(range(len(cores)), range(len(cores)), range(EVENTS))
            events = dict(zip(channels, shared[EVENTS_AT:], strict=True))
            events_left(self.program, events, [row[PC] for row in cores])

    def wait(self, context: Context) -> Wait:
        """What a core waits for."""
        pc = context[PC]
        if context[AWAITED]:
            behind = [i for i, row in enumerate(self.frame.cores) if row[SYNCS] < context[SYNCS]]
            return Wait(pc, None, tuple(behind))
        source, number = (resolved(arg, context) for arg in self.program.code[pc].args)
        return Wait(pc, number, (source,))


def trapped(program: Program, core: int, context: Context) -> PtoError:
    """The error for a context that trapped."""
    kind, pc = TrapKind(context[TRAP_KIND]), context[PC]
    operand, value = context[TRAP_OPERAND], context[TRAP_VALUE]
    if kind is TrapKind.FLAG_LEFT_SET:
        flags = ", ".join(flags_set(context[FLAGS_AT:REGISTERS_AT]))
        return trap_error(program, kind, pc, core, detail=flags)
    if kind in (TrapKind.FLAG_SET_TWICE, TrapKind.FLAG_NOT_SET):
        source, destination = (resolved(arg, context) for arg in program.code[pc].args[:2])
        detail = flag_name(source, destination, value)
        return trap_error(program, kind, pc, core, operand, value, detail)
    if kind in (TrapKind.VIEW_NOT_SET, TrapKind.OVERLAP):
        return trap_error(program, kind, pc, core, operand)
    if kind is TrapKind.BAD_REGION:
        value = first_bad_extent(program, pc, operand, context)
    if kind is TrapKind.OUT_OF_BOUNDS:
        value = first_bad_start(program, pc, operand, context, value)
    return trap_error(program, kind, pc, core, operand, value)


def first_bad_extent(program: Program, pc: int, operand: int, context: Context) -> int:
    """The extent that a region is refused for: rows first, also where a kernel has them exchanged."""
    inst = program.code[pc]
    spec, arg = inst.spec.operands[operand], inst.args[operand]
    rows, cols = number(inst, spec.rows, context), number(inst, spec.cols, context)
    most = program.tiles[arg.tile].type.rows if isinstance(arg, TileRef) else rows
    return cols if 0 <= rows <= most else rows


def first_bad_start(program: Program, pc: int, operand: int, context: Context, value: int) -> int:
    """The same for the first row and column of a region in a tile; else the value that the kernel gives."""
    inst = program.code[pc]
    spec, arg = inst.spec.operands[operand], inst.args[operand]
    if spec.at is None or not isinstance(arg, TileRef):
        return value
    kind = program.tiles[arg.tile].type
    for name, extent, capacity in zip(spec.at, (spec.rows, spec.cols), (kind.rows, kind.cols), strict=True):
        start = number(inst, name, context)
        if not 0 <= start <= capacity - number(inst, extent, context):
            return start
    return value


def number(inst: Inst, name: str | int, context: Context) -> int:
    """The value of the operand with this name, or the number itself; all rows are no negative number."""
    return max(name, 0) if isinstance(name, int) else resolved(inst.args[inst.spec.position(name)], context)


def resolved(arg: Arg, context: Context) -> int:
    """The value of an integer operand."""
    if isinstance(arg, Reg):
        return context[REGISTERS_AT + arg.number]
    assert isinstance(arg, int)
    return arg
