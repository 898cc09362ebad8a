"""Planted reads of what nothing has written: each is found at its first instruction, and nothing else is.

In programs that write whatever they read a write is left out, made smaller or sent elsewhere, or a read made larger or
sent elsewhere; brute force over a trace says which of these read an unwritten byte, and where first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pto.core.errors import FuelError, PtoError
from pto.isa.program import Program, TileRef
from pto.isa.spec import Role
from pto.sim.happens_before import without
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap, TrapKind
from tests.campaigns import oracle
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, case_of, every
from tests.campaigns.races import Mutant
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import with_instruction, with_operand
from tests.sim.test_agree import ROUTES

COUNT, CHUNK = 5000, 2000  # reads that are planted; mutants that are judged before they are counted
PLANTED = "planted and found"


def run(count: int, seed: int) -> Report:
    """Judge mutants until `count` of them read what nothing has written; or all."""
    programs = samples(seed, min(count, len(ROUTES)))
    made = [mutant for sample in programs for mutant in mutants(sample, seed)]
    order = np.random.default_rng(seed).permutation(len(made))
    for sample in programs:
        Machine(sample.program, check="uninitialised")
    report = judged([Mutant("as it is", sample.name, sample, sample.program) for sample in programs])
    chunk = min(CHUNK, 2 * count)
    for start in range(0, len(order), chunk):
        if report.failures or report.of(PLANTED) >= count:
            break
        report.add(judged([made[i] for i in order[start:start + chunk]]))
    report.saw("programs", len(programs))
    return report


def judged(chosen: Sequence[Mutant]) -> Report:
    """What comes of some mutants."""
    return in_children(lambda number, found: judge(found, chosen[number]), len(chosen), batch=500)


def samples(seed: int, routes: int) -> list[Sample]:
    """Programs of the corpus, and one for each of some routes and types, that write whatever they read."""
    found = [*every(), *(case_of(number, seed, 9)[1] for number in range(routes))]
    return [sample for sample in found if not _known(sample, sample.program)[0]]


def mutants(sample: Sample, seed: int) -> Iterator[Mutant]:
    """Every mistake at each write and read of a tile."""
    program, rng = sample.program, np.random.default_rng([seed, len(sample.program.code), 10])
    for pc, inst in enumerate(program.code):
        tiles = [i for i, arg in enumerate(inst.args) if isinstance(arg, TileRef)]
        if tiles and Role.OUT in inst.spec.operands[tiles[0]].role:
            yield Mutant("left out", f"{sample.name}, {inst.spec.mnemonic} at pc {pc}", sample, without(program, [pc]))
        for position in tiles:
            for kind, changed in _changed(program, pc, position, rng):
                name = f"{sample.name}, {kind}, {inst.spec.mnemonic} at pc {pc}"
                yield Mutant(kind, name, sample, changed)


def _changed(program: Program, pc: int, position: int, rng: np.random.Generator) -> Iterator[tuple[str, Program]]:
    """The program with other extents of the region of a tile, or with another offset of it."""
    inst = program.code[pc]
    operand, arg = inst.spec.operands[position], inst.args[position]
    assert isinstance(arg, TileRef)
    decl = program.tiles[arg.tile]
    for side, most in ((operand.rows, decl.type.rows), (operand.cols, decl.type.cols)):
        if isinstance(side, str):
            at = inst.spec.position(side)
            old = inst.args[at]
            sizes = (old - 1, old + 1) if isinstance(old, int) else (int(rng.integers(1, most + 1)),)
            for size in sizes:
                if 0 <= size <= most:
                    yield "another extent", with_instruction(program, pc, with_operand(inst, at, size))
    for offset in rng.choice(max(1, decl.nbytes // 64), 2).tolist():
        yield "another offset", with_instruction(program, pc, with_operand(inst, position, 64 * int(offset)))


def _known(sample: Sample, program: Program) -> tuple[dict[int, int], PtoError | None]:
    trace = oracle.traced(program, sample.tensors, sample.parameters, sample.cores)
    return oracle.unwritten(trace.events), trace.error


def judge(report: Report, mutant: Mutant) -> None:
    """Compare the verdicts of a checked run and of brute force."""
    sample = mutant.sample
    known, error = _known(sample, mutant.program)
    found = _checked(mutant)
    if isinstance(error, FuelError) or (error and sample.cores > 1 and not known):
        report.saw("left out: endless, or trapped on one of several cores")
        return
    what = f"{mutant.name}: {found or 'no trap'}; brute force knows {known} and {error or 'no trap'}"
    if isinstance(found, MachineTrap) and found.kind is TrapKind.UNINITIALISED:
        # What nobody wrote is no index: the slow machine traps before it reads it.
        early = isinstance(error, MachineTrap) and (error.core, error.pc) == (found.core, found.pc)
        if (found.core, found.pc) in known.items() or (early and not known):
            report.saw(f"{PLANTED}: {mutant.kind}")
        else:
            report.fail(f"false alarm: {what}")
        return
    report.saw(f"nothing to find: {mutant.kind}")
    trapped = error.core if isinstance(error, MachineTrap) else sample.cores  # the lowest core that fails is told
    if known and min(known) <= trapped:
        report.fail(f"miss: {what}")
    elif (found is None) != (error is None):
        report.fail(f"another end: {what}")


def _checked(mutant: Mutant) -> PtoError | None:
    """What a checked run reports."""
    sample = mutant.sample
    try:
        machine = Machine(mutant.program, cores=sample.cores, check="uninitialised")
        machine.run(sample.fresh(), sample.parameters)
    except PtoError as err:
        return err
    return None


if __name__ == "__main__":
    main("uninitialised", run, COUNT)
