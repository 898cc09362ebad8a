"""The slow machine: the meaning of every instruction on NumPy memories, in program order or any legal one."""

from __future__ import annotations

import math
import random
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pto.core.arrays import numpy_dtype
from pto.core.errors import DTypeError, FuelError, ProgramError, PtoError, ShapeError, UsageError
from pto.core.target import BY_NAME, Target
from pto.core.types import PANEL_COLS, Layout
from pto.isa.meaning import Array, Operands, compute, scalar
from pto.isa.program import FIRST_PARAMETER, Arg, Inst, Program, Reg, TileRef
from pto.isa.spec import REGISTERS, Kind, Operand, Pipe, Role, Trait
from pto.isa.table import sync
from pto.isa.table.scalar import TVIEW as TVIEW_ROW
from pto.sim.regions import Bounds, Region, Step, Surface, bad_index, overwrites, read_and_written, surface_of
from pto.sim.traps import TrapKind, trap_error
from pto.sim.waiting import Channel, Wait, deadlock, events_left

Flag = tuple[Pipe, Pipe, int]
SET, WAIT = sync.SET_FLAG.mnemonic, sync.WAIT_FLAG.mnemonic
EVENT_SET, EVENT_WAIT = sync.EVENT_SET.mnemonic, sync.EVENT_WAIT.mnemonic
PIPE_BARRIER, SYNC_ALL = sync.PIPE_BARRIER.mnemonic, sync.SYNC_ALL.mnemonic
QUEUED, STALLING = {SET, WAIT, EVENT_SET}, {PIPE_BARRIER, SYNC_ALL, EVENT_WAIT}
TVIEW = TVIEW_ROW.mnemonic
POISON = 0xFF  # every f32 of fresh memory is a NaN
EAGERNESS = (0.05, 0.3, 0.7, 0.95)  # how far the scalar unit issues ahead of the pipes
GREED = 0.8  # how often the favourite pipe runs: quick, even draining would hide what is not ordered


class Barrier(Enum):
    """What a scalar unit has done at a barrier."""

    PIPES = auto()  # waited for the pipes of its core
    ARRIVED = auto()  # that, and come to a sync_all
    LEFT = auto()  # gone on from it


@dataclass(frozen=True, slots=True)
class Event:
    """An instruction that a pipe has performed: what it read, wrote, set or waited for, in its core or beyond."""

    core: int
    pipe: Pipe
    pc: int
    reads: tuple[Region, ...] = ()
    writes: tuple[Region, ...] = ()
    sets: Flag | None = None
    waits: Flag | None = None
    sends: Channel | None = None
    takes: Channel | None = None
    barrier: Barrier | None = None


class Between:
    """What the cores of a run share, apart from tensors."""

    def __init__(self) -> None:
        self.events: Counter[Channel] = Counter()
        self.arrivals: Counter[int] = Counter()


class State(Enum):
    """What became of a core that was let run."""

    MOVED = auto()
    STALLED = auto()
    ENDED = auto()


class SlowMachine:
    """Runs a program as its meanings say.

    Attributes:
        events: with `trace`, what the last run performed, in a legal order.
        observe: is told what each instruction wrote: its pc and the elements, in place.
    """

    def __init__(self, program: Program, *, cores: int = 1, exact: bool = True, order: str = "program",
                 trace: bool = False, target: Target | None = None) -> None:
        word, _, seed = order.partition(":")
        if word not in ("program", "random") or cores < 1:
            raise UsageError(f"there is no order {order!r} on {cores} cores",
                             hint="orders are program and random:SEED")
        self.program, self.cores, self.exact, self.trace = program, cores, exact, trace
        self.seed = seed if word == "random" else None
        self.target = target_of(program, target)
        self.pipes = [program.pipe(inst) for inst in program.code]
        self.events: list[Event] = []
        self.observe: Callable[[int, Array], None] | None = None
        self.between = Between()

    def run(self, tensors: Sequence[NDArray[Any]], parameters: Sequence[int] = (),
            fuel: int | None = None) -> None:
        """Run every core to its end, changing the tensors in place.

        Args:
            tensors: an array for each tensor of the program.
            parameters: a value for each parameter of the program.
            fuel: instructions for each core.

        Raises:
            TrapError: an instruction was refused.
            FuelError: a core did not finish within its fuel.
            UsageError, ShapeError, DTypeError: the arguments are not what the program takes.
        """
        views = bind(self.program, tensors, parameters)
        self.events, self.between = [], Between()
        cores = [Core(self, number, views, parameters, fuel) for number in range(self.cores)]
        if self.seed is None:
            self._run(cores, [core.run for core in cores], min)
            return
        chance = random.Random(self.seed)
        self._run(cores, [Queues(core, chance).advance for core in cores], chance.choice)

    def _run(self, cores: list[Core], advance: list[Callable[[], State]], choose: Callable[[list[int]], int]) -> None:
        """Let cores run; those above the lowest that has failed only where a lower one waits."""
        live, stalled = list(range(len(cores))), set[int]()
        errors: dict[int, PtoError] = {}
        while live and live[0] < min(errors, default=len(cores)):
            ready = [i for i in live if i not in stalled]
            if not ready:
                break
            core = choose([i for i in ready if i < min(errors, default=len(cores))] or ready)
            try:
                state = advance[core]()
            except PtoError as err:
                errors[core], state = err, State.ENDED
            if state is State.STALLED:
                stalled.add(core)
            else:
                stalled.clear()
            if state is State.ENDED:
                live.remove(core)
        if errors:
            raise errors[min(errors)]
        pcs = [core.pc for core in cores]
        if live:
            raise deadlock(self.program, {i: cores[i].wait() for i in live}, pcs)
        events_left(self.program, self.between.events, pcs)


class Core:
    """The state of one core: registers, flags, memories."""

    def __init__(self, machine: SlowMachine, number: int, views: list[Array], parameters: Sequence[int],
                 fuel: int | None) -> None:
        self.machine, self.program = machine, machine.program
        self.number, self.views, self.fuel, self.between = number, views, fuel, machine.between
        self.registers = [0] * REGISTERS
        self.registers[:FIRST_PARAMETER + len(parameters)] = [number, machine.cores, *map(int, parameters)]
        self.memories = {
            space: np.full(nbytes, POISON, np.uint8) for space, nbytes in machine.target.capacity
        }
        self.bounds = Bounds(self.program, machine.target)
        self.surfaces: list[Surface | None] = [
            Surface(i, view.shape[0], view.shape[1], (view.shape[1], 1)) for i, view in enumerate(views)
        ]
        self.surfaces += [None] * len(self.program.views)
        self.flags: set[Flag] = set()
        self.pc = self.issued = 0
        self.halted = self.arrived = False

    def run(self) -> State:
        """Perform each instruction as soon as it is issued, until the core halts or waits for another."""
        before = self.issued
        while not self.halted:
            if self.stalls():
                return State.STALLED if self.issued == before else State.MOVED
            step = self.issue()
            if step is not None:
                self.perform(step)
        self.finish()
        return State.ENDED

    def stalls(self, *, drained: bool = True) -> bool:
        """Whether the scalar unit must wait before its next instruction; `drained` tells of the core's pipes."""
        inst = self.program.code[self.pc] if 0 <= self.pc < len(self.program.code) else None
        if inst is None or inst.spec.mnemonic not in STALLING or self.issued == self.fuel:
            return False
        if inst.spec.mnemonic == EVENT_WAIT:
            return self.between.events[self.channel_of(self._step(self.pc, inst))] == 0
        if not drained or inst.spec.mnemonic == PIPE_BARRIER:
            return not drained
        if not self.arrived:
            self.arrived = True
            self.between.arrivals[self.number] += 1
            self._trace(Event(self.number, Pipe.S, self.pc, barrier=Barrier.ARRIVED))
        return bool(self._behind())

    def wait(self) -> Wait:
        """What the core waits for."""
        step = self._step(self.pc, self.program.code[self.pc])
        if step.inst.spec.mnemonic == SYNC_ALL:
            return Wait(self.pc, None, tuple(self._behind()))
        source, _, number = self.channel_of(step)
        return Wait(self.pc, number, (source,))

    def _behind(self) -> list[int]:
        """Cores that have not come to as many sync_all as this one."""
        arrivals = self.between.arrivals
        return [i for i in range(self.machine.cores) if arrivals[i] < arrivals[self.number]]

    def issue(self) -> Step | None:
        """Let the scalar unit pass one instruction; gives what is left for a pipe to perform."""
        step = self._fetch()
        spec, name = step.inst.spec, step.inst.spec.mnemonic
        if not spec.is_scalar:
            return step
        if name in QUEUED:
            self._check_order(step)
            return step
        if name in STALLING:
            self._go_on(step)
            return None
        if name == TVIEW:
            self._set_view(step)
            return None
        sources = [step.number(o.name) for o in spec.operands if o.kind is Kind.INDEX]
        if Trait.HALT in spec.traits:
            self.halted, self.pc = True, step.pc
        elif Trait.BRANCH in spec.traits:
            self.pc = step.number("target") if scalar.BRANCHES[name](*sources) else self.pc
        else:
            self._assign(step, sources)
        return None

    def perform(self, step: Step) -> None:
        """What a pipe does."""
        pipe, name = self.machine.pipes[step.pc], step.inst.spec.mnemonic
        if name in (SET, WAIT):
            flag = self.flag_of(step)
            self._change(step, flag)
            event = Event(self.number, pipe, step.pc, sets=flag if name == SET else None,
                          waits=flag if name == WAIT else None)
        elif name == EVENT_SET:
            event = Event(self.number, pipe, step.pc, sends=self.channel_of(step))
            self.between.events[self.channel_of(step)] += 1
        else:
            regions = self.bounds.regions(step)
            self._check_indices(step, regions)
            self._compute(step, regions)
            reads, writes = read_and_written(step, regions)
            event = Event(self.number, pipe, step.pc, tuple(reads), tuple(writes))
        self._trace(event)

    def finish(self) -> None:
        """The end of a core that has halted and performed everything."""
        if self.flags:
            names = ", ".join(flag_name(flag) for flag in sorted(self.flags))
            raise trap_error(self.program, TrapKind.FLAG_LEFT_SET, self.pc, self.number, detail=names)

    def flag_of(self, step: Step) -> Flag:
        """The flag that a set_flag or wait_flag names."""
        return Pipe(step.number("src")), Pipe(step.number("dst")), step.number("id")

    def channel_of(self, step: Step) -> Channel:
        """The event that an event_set or event_wait names: from which core, to which, and its id."""
        self._check_order(step)
        other, number = step.number("core"), step.number("id")
        setting = step.inst.spec.mnemonic == EVENT_SET
        return (self.number, other, number) if setting else (other, self.number, number)

    def waits_for(self, step: Step) -> Flag | None:
        """The flag that a step waits for, if it does."""
        return self.flag_of(step) if step.inst.spec.mnemonic == WAIT else None

    def _fetch(self) -> Step:
        pc = self.pc
        if not 0 <= pc < len(self.program.code):
            raise trap_error(self.program, TrapKind.BAD_PC, pc, self.number, value=pc)
        if self.fuel is not None and self.issued >= self.fuel:
            raise FuelError(
                f"{self.program.name}: core {self.number} did not finish within {self.fuel} instructions; "
                f"it stopped before pc {pc}", loc=self.program.span(pc),
            )
        self.pc, self.issued = pc + 1, self.issued + 1
        return self._step(pc, self.program.code[pc])

    def _step(self, pc: int, inst: Inst) -> Step:
        pairs = list(zip(inst.spec.operands, inst.args, strict=True))
        values = tuple(self._value(operand, arg) for operand, arg in pairs)
        surfaces = {i: self.surfaces[int(values[i])] for i in inst.spec.memory if pairs[i][0].kind is Kind.TENSOR}
        return Step(self.number, pc, inst, values, surfaces)

    def _value(self, operand: Operand, arg: Arg) -> int | float:
        word = arg.offset if isinstance(arg, TileRef) else arg
        if not isinstance(word, Reg):
            return word
        if operand.kind is Kind.DEST:
            return word.number
        bits = self.registers[word.number]
        return float(struct.unpack("<d", struct.pack("<q", bits))[0]) if operand.kind is Kind.SCALAR else bits

    def _assign(self, step: Step, sources: list[int]) -> None:
        try:
            self.registers[step.number("dst")] = scalar.MEANING[step.inst.spec.mnemonic](*sources)
        except ZeroDivisionError:
            position, kind = step.inst.spec.position("b"), TrapKind.DIVIDE_BY_ZERO
            raise trap_error(self.program, kind, step.pc, self.number, position, 0) from None

    def _go_on(self, step: Step) -> None:
        """Pass an instruction that the scalar unit need not wait for any more."""
        name, barrier, channel = step.inst.spec.mnemonic, Barrier.PIPES, None
        if name == SYNC_ALL:
            self.arrived, barrier = False, Barrier.LEFT
        if name == EVENT_WAIT:
            channel = self.channel_of(step)
            self.between.events[channel] -= 1
        self._trace(Event(self.number, Pipe.S, step.pc, takes=channel, barrier=None if channel else barrier))

    def _trace(self, event: Event) -> None:
        if self.machine.trace:
            self.machine.events.append(event)

    def _check_order(self, step: Step) -> None:
        """Ids and cores are such as there are."""
        target, names = self.machine.target, [operand.name for operand in step.inst.spec.operands]
        kind, limits = TrapKind.BAD_FLAG, {"id": target.flags}
        if "core" in names:
            kind, limits = TrapKind.BAD_EVENT, {"core": self.machine.cores, "id": target.events}
        for name, limit in limits.items():
            if not 0 <= step.number(name) < limit:
                raise trap_error(self.program, kind, step.pc, self.number, names.index(name), step.number(name))

    def _set_view(self, step: Step) -> None:
        view, slot = step.number("view"), step.number("src")
        made = surface_of(step, slot, self.views[slot].size)
        if isinstance(made, int):
            value = int(step.values[made])
            raise trap_error(self.program, TrapKind.OUT_OF_BOUNDS, step.pc, self.number, made, value)
        self.surfaces[view] = made

    def _change(self, step: Step, flag: Flag) -> None:
        setting = step.inst.spec.mnemonic == SET
        if setting == (flag in self.flags):
            kind = TrapKind.FLAG_SET_TWICE if setting else TrapKind.FLAG_NOT_SET
            raise trap_error(self.program, kind, step.pc, self.number, step.inst.spec.position("id"), flag[2],
                             flag_name(flag))
        self.flags ^= {flag}

    def _compute(self, step: Step, regions: tuple[Region, ...]) -> None:
        o, target = Operands(exact=self.machine.exact), regions[0]
        o.dtype, o.shape = numpy_dtype(target.dtype), (target.rows, target.cols)
        for operand, value in zip(step.inst.spec.operands, step.values, strict=True):
            if operand.kind in (Kind.INDEX, Kind.SCALAR):
                setattr(o, operand.name, value if operand.kind is Kind.INDEX else float(value))
        for attr, choice in zip(step.inst.spec.attrs, step.inst.attrs, strict=True):
            setattr(o, attr.name, choice)
        for region in regions:
            if Role.OUT in region.operand.role:
                target, o.dtype = region, numpy_dtype(region.dtype)
                o.shape = (region.rows, region.cols)
            if Role.IN in region.operand.role and not overwrites(step, region.operand):
                setattr(o, region.operand.name, self._window(region).reshape(region.rows, region.cols).copy())
        result = compute(step.inst.spec.mnemonic, o)
        if step.inst.spec.operands[0].kind is Kind.DEST:
            self.registers[step.number("dst")] = register_word(result)
        elif not target.is_empty:
            window = self._window(target)
            window[...] = result.reshape(window.shape)
            if self.machine.observe is not None:
                self.machine.observe(step.pc, window)

    def _check_indices(self, step: Step, regions: tuple[Region, ...]) -> None:
        for position, region in zip(step.inst.spec.memory, regions, strict=True):
            wrong = bad_index(step, regions, position, self._window(region)) if region.operand.picks else None
            if wrong is not None:
                raise trap_error(self.program, TrapKind.OUT_OF_BOUNDS, step.pc, self.number, position, wrong)

    def _window(self, region: Region) -> Array:
        """The elements of a region, in place; those of a PANEL tile as rows x panels x 16."""
        size, dtype = region.size, numpy_dtype(region.dtype)
        shape: tuple[int, ...] = (region.rows, region.cols)
        if region.is_empty:
            return np.empty(shape, dtype)
        first, step, _, _ = region.pieces()
        if region.space is None:
            return self._elements(region)
        strides: tuple[int, ...] = (step, size)
        if region.layout is Layout.COL:
            strides = (size, step)
        elif region.layout is Layout.PANEL:
            shape = (region.rows, region.cols // PANEL_COLS, PANEL_COLS)
            strides = (PANEL_COLS * size, step, size)
        return np.ndarray(shape, dtype, self.memories[region.space], first, strides)


    def _elements(self, region: Region) -> Array:
        """The elements of a tensor that a window or view shows, in place."""
        whole = self.views[region.slot]
        direct = (region.start, region.pitch, region.step) == (0, whole.shape[1], 1)
        if direct and region.col + region.cols <= whole.shape[1]:
            rows = slice(region.row, region.row + region.rows)
            return whole[rows, region.col : region.col + region.cols]
        first, strides = region.pieces()[0], (region.pitch * region.size, region.step * region.size)
        flat = whole.reshape(-1, copy=False)[first // region.size:]
        return np.lib.stride_tricks.as_strided(flat, (region.rows, region.cols), strides)


def register_word(element: Array) -> int:
    """What a register holds of an element: an integer, or the bits of a float64, NaN being the one."""
    if element.dtype.kind in "biu":
        return int(element[0, 0])
    value = float(element[0, 0])
    return int(struct.unpack("<q", struct.pack("<d", value if value == value else math.nan))[0])


class Queues:
    """A core whose pipes run in a random legal order: the scalar unit far ahead, one pipe mostly first."""

    def __init__(self, core: Core, chance: random.Random) -> None:
        self.core, self.chance = core, chance
        self.waiting: dict[Pipe, deque[tuple[Step, Flag | None]]] = {pipe: deque() for pipe in Pipe}
        self.order = chance.sample(list(Pipe), len(Pipe))
        self.eagerness = chance.choice(EAGERNESS)

    def advance(self) -> State:
        """Do one thing."""
        core, chance = self.core, self.chance
        ready = [self.waiting[pipe] for pipe in self.order if self._is_ready(self.waiting[pipe])]
        stalls = core.halted or bool(self.waiting[Pipe.S]) or core.stalls(drained=not any(self.waiting.values()))
        if not stalls and (not ready or chance.random() < self.eagerness):
            step = core.issue()
            if step is not None:
                self.waiting[core.machine.pipes[step.pc]].append((step, core.waits_for(step)))
            return State.MOVED
        if ready:
            step, _ = (ready[0] if chance.random() < GREED else chance.choice(ready)).popleft()
            core.perform(step)
            return State.MOVED
        if any(self.waiting.values()):
            self._deadlock()
        if not core.halted:
            return State.STALLED
        core.finish()
        return State.ENDED

    def _is_ready(self, steps: deque[tuple[Step, Flag | None]]) -> bool:
        return bool(steps) and (steps[0][1] is None or steps[0][1] in self.core.flags)

    def _deadlock(self) -> None:
        blocked = [(pipe, steps[0][0]) for pipe, steps in self.waiting.items() if steps]
        words = [f"{pipe.name} at pc {step.pc} waits for {flag_name(self.core.flag_of(step))}"
                 for pipe, step in blocked]
        raise trap_error(self.core.program, TrapKind.DEADLOCK, blocked[0][1].pc, self.core.number,
                         detail="; ".join(words))


def flag_name(flag: Flag) -> str:
    """A flag in words."""
    source, destination, number = flag
    return f"flag {source.name} -> {destination.name}, id {number}"


def target_of(program: Program, target: Target | None = None) -> Target:
    """The program's target, or another one instead, if the tiles fit its memories.

    Raises:
        ProgramError: there is no such target, or a tile lies outside its memory.
    """
    if program.target not in BY_NAME:
        raise ProgramError(f"no target is called {program.target!r}")
    target = target or BY_NAME[program.target]
    for tile in program.tiles:
        space, end = tile.type.space, tile.address + tile.nbytes
        if space is None or tile.address < 0 or end > target.bytes_of(space):
            raise ProgramError(f"tile {tile.name} does not lie in a memory of {target.name}")
    return target


def bind(program: Program, tensors: Sequence[NDArray[Any]], parameters: Sequence[int]) -> list[Array]:
    """The tensors as rows x columns, views of the arrays.

    Raises:
        UsageError, ShapeError, DTypeError: the arguments are not what the program takes.
    """
    if len(parameters) != len(program.parameters) or len(tensors) != len(program.tensors):
        takes = f"{len(program.tensors)} tensors and {len(program.parameters)} parameters"
        raise UsageError(f"{program.name} takes {takes}, has {len(tensors)} and {len(parameters)}")
    values: dict[str, int] = {}
    for row, value in zip(program.parameters, parameters, strict=True):
        if not row.low <= value <= row.high:
            raise UsageError(f"{program.name}: {row.low} <= {row.name} <= {row.high} is violated by {value}")
        values[row.name] = value
    views: list[Array] = []
    flat = {view.tensor for view in program.views}
    for decl, array in zip(program.tensors, tensors, strict=True):
        want = tuple(values[dim] if isinstance(dim, str) else dim for dim in decl.dims)
        if array.dtype != numpy_dtype(decl.dtype):
            raise DTypeError(f"tensor {decl.name} is {array.dtype}, not {decl.dtype.numpy}")
        if array.shape != want:
            raise ShapeError(f"tensor {decl.name} has shape {array.shape}, not {want}")
        if len(views) in flat and not array.flags.c_contiguous:
            raise UsageError(f"tensor {decl.name} has views; its elements must be contiguous",
                             hint="pass numpy.ascontiguousarray(x)")
        views.append(plane(array))
    return views


def plane(array: Array) -> Array:
    """An array as rows x columns, without a copy."""
    last = array.shape[-1] if array.ndim else 1
    rows = int(np.prod(array.shape[:-1], dtype=np.int64)) if array.ndim > 1 else 1
    return array.reshape(rows, last, copy=False)
