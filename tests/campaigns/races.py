"""Programs whose order was broken a little: a run with `check="races"` says of each what brute force says of it.

Each set, wait, event and barrier of each program is left out, moved by one, given another id or other pipes; so is
each whole relation of two pipes. A race that is not reported is a miss, one that is not there a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pto.core.errors import FuelError, PtoError
from pto.core.target import BY_NAME
from pto.isa.program import Inst, Program
from pto.isa.spec import Kind, Pipe
from pto.isa.table import sync
from pto.sim.happens_before import relations, without
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap, TrapKind
from tests.campaigns import oracle
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, every, long_runs, soup_of
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import with_instruction, with_operand

COUNT, SOUPS = 10_000, 30  # mutants, at most; random programs besides
LONG_RUNS = 10  # of so many mutants one more is of a long run
ORDER = (sync.SET_FLAG, sync.WAIT_FLAG, sync.PIPE_BARRIER, sync.SYNC_ALL, sync.EVENT_SET, sync.EVENT_WAIT)
FLAGS = (sync.SET_FLAG, sync.WAIT_FLAG)
# How a run may end that came to its end, or whose events are all that any legal execution could have performed.
WHOLE = (TrapKind.DEADLOCK, TrapKind.EVENT_LEFT_SET)


@dataclass(frozen=True)
class Mutant:
    """A program with one mistake."""

    kind: str
    name: str
    sample: Sample
    program: Program


def run(count: int, seed: int) -> Report:
    """Judge `count` mutants, spread evenly over all, and the programs as they are."""
    programs, rng = samples(seed), np.random.default_rng(seed)
    todo = [Mutant("as it is", sample.name, sample, sample.program) for sample in programs[:count]]
    todo += _spread(programs, count, seed, rng)
    if count >= LONG_RUNS:
        programs += long_runs()
        todo += _spread(long_runs(), count // LONG_RUNS, seed, rng)
    for sample in programs:
        Machine(sample.program, check="races")
    report = in_children(lambda number, found: judge(found, todo[number]), len(todo), batch=500)
    report.saw("programs", len(programs))
    return report


def _spread(programs: Sequence[Sample], count: int, seed: int, rng: np.random.Generator) -> list[Mutant]:
    """Some mutants of all."""
    made = [mutant for sample in programs for mutant in mutants(sample, seed)]
    return [made[i] for i in sorted(rng.permutation(len(made))[:count])]


def samples(seed: int) -> list[Sample]:
    """All programs of the corpus, and random ones of one to three cores."""
    return [*every(), *(soup_of(1000 * seed + i, 1 + i % 3) for i in range(SOUPS))]


def mutants(sample: Sample, seed: int) -> Iterator[Mutant]:
    """Every mistake of one place, some of one relation."""
    program, rng = sample.program, np.random.default_rng([seed, len(sample.program.code), 7])

    def made(kind: str, where: object, changed: Program) -> Mutant:
        return Mutant(kind, f"{sample.name}: {kind} {where}", sample, changed)

    for pc, inst in enumerate(program.code):
        if inst.spec not in ORDER:
            continue
        yield made("left out", pc, without(program, [pc]))
        for other in (pc - 1, pc + 1):
            if 0 <= other < len(program.code):
                yield made("moved by one", (pc, other), exchanged(program, pc, other))
        for kind, changed in _wrong(program, inst, rng):
            yield made(kind, pc, with_instruction(program, pc, changed))
    yield from (made(kind, where, changed) for kind, where, changed in _relations(sample, rng))


def exchanged(program: Program, one: int, two: int) -> Program:
    """Two instructions in each other's place; labels stay where they were."""
    code = list(program.code)
    code[one], code[two] = code[two], code[one]
    return replace(program, code=tuple(code))


def _wrong(program: Program, inst: Inst, rng: np.random.Generator) -> Iterator[tuple[str, Inst]]:
    """The instruction with a wrong id, core or pipe."""
    for position, operand in enumerate(inst.spec.operands):
        value = inst.args[position]
        if operand.name == "id":
            flags = BY_NAME[program.target].flags
            ids = ((value + 1) % flags, (value - 1) % flags) if isinstance(value, int) else (0, 1)
            yield from (("wrong id", with_operand(inst, position, number)) for number in ids)
        elif operand.kind is Kind.PIPE:
            taken = [a for o, a in zip(inst.spec.operands, inst.args, strict=True) if o.kind is Kind.PIPE]
            pipes = [int(pipe) for pipe in Pipe if pipe not in taken]
            for pipe in rng.choice(pipes, 2, replace=False).tolist():
                yield "wrong pipe", with_operand(inst, position, pipe)


def _relations(sample: Sample, rng: np.random.Generator) -> Iterator[tuple[str, object, Program]]:
    """All sets and waits of a relation left out, or between other pipes; one set and one wait exchanged."""
    for relation in relations(sample.program, sample.tensors, sample.parameters, sample.cores):
        where = f"{relation.src.name} -> {relation.dst.name} at {sorted(relation.pcs)}"
        yield "relation left out", where, without(sample.program, relation.pcs)
        for end in (0, 1):
            pipes = [int(pipe) for pipe in Pipe if pipe not in (relation.src, relation.dst)]
            for pipe in rng.choice(pipes, 2, replace=False).tolist():
                changed = sample.program
                for pc in relation.pcs:
                    changed = with_instruction(changed, pc, with_operand(changed.code[pc], end, pipe))
                yield "relation of a wrong pipe", where, changed


def judge(report: Report, mutant: Mutant) -> None:
    """Compare the verdicts of a checked run and of brute force."""
    sample = mutant.sample
    trace = oracle.traced(mutant.program, sample.tensors, sample.parameters, sample.cores)
    if isinstance(trace.error, FuelError):
        report.saw("left out: endless")
        return
    known = oracle.races(trace.events)
    found = _checked(mutant)
    kind = trace.error.kind if isinstance(trace.error, MachineTrap) else None
    what = f"{mutant.name}: {found or 'no trap'}; brute force knows {len(known)} races and {trace.error or 'no trap'}"
    complete = kind in (None, *WHOLE) or sample.cores == 1
    if isinstance(found, MachineTrap) and found.kind is TrapKind.RACE:
        assert found.race
        sides = ((a.core, a.pc, a.pipe) for a in (found.race.first, found.race.second))
        real = oracle.pair(*sides) in known
        report.saw(f"{mutant.kind}: {'a race, found' if real or complete else 'a race before the trap'}")
        if not real and complete:
            report.fail(f"false alarm: {what}")
        return
    if known and complete:
        report.fail(f"miss: {what}")
    ending = "no race" if kind is None else f"no race, {kind.name}"
    report.saw(f"{mutant.kind}: {ending}")
    if _ending(found) != _ending(trace.error):
        report.fail(f"another end: {what}")


def _ending(error: PtoError | None) -> tuple[object, ...]:
    return (error.kind, error.core, error.pc) if isinstance(error, MachineTrap) else (type(error),)


def _checked(mutant: Mutant) -> PtoError | None:
    """What a checked run reports."""
    sample = mutant.sample
    try:
        Machine(mutant.program, cores=sample.cores, check="races").run(sample.fresh(), sample.parameters)
    except PtoError as err:
        return err
    return None


if __name__ == "__main__":
    main("races", run, COUNT)
