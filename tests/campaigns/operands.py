"""Programs with one operand outside the static rules: each traps, at the instruction and at its source line.

The value comes from a register, which no static check can see, or is an immediate that the machine is given
without one; or it is a wrong index in a tile. Arguments lie between canaries and forbidden pages, and the
memories of cores between forbidden pages.
"""

from __future__ import annotations

import numpy as np

from pto.isa.program import Inst, Program, Reg
from pto.isa.spec import Kind, Trait
from pto.isa.table import scalar
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from pto.sim.traps import MachineTrap
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, case_of, every, numbered
from tests.campaigns.guarded import Arguments, Form, contiguous, guard_arenas
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import BOUNDS, Wrong, after, with_instruction, with_operand, wrong_values
from tests.sim.cases import Case

COUNT = 20_000
SPARE = Reg(255)  # no program of the tests has a use for it
FROM_CORPUS, INDICES = 0.3, 0.5  # how often a whole program; how often a wrong index, where there can be one
FORMS = tuple(Form)
_REACHED: dict[str, list[int]] = {}


def run(count: int, seed: int) -> Report:
    """Corrupt `count` programs."""
    warm()
    return in_children(lambda number, report: _one(report, number, seed), count, first=guard_arenas)


def warm() -> None:
    """Load and find out what all cases need before there are children, which would each do it again."""
    for sample in every():
        Machine(sample.program)
        reached(sample)
    for number in range(200):
        Machine(case_of(number, 0, 0)[1].program)


def reached(sample: Sample) -> list[int]:
    """Instructions that core 0 performs and that an operand can be wrong of."""
    if sample.name not in _REACHED:
        machine = SlowMachine(sample.program, cores=sample.cores, trace=True)
        machine.run(sample.fresh(), sample.parameters)
        pcs = _with_blocks(sample.program, {event.pc for event in machine.events if event.core == 0})
        _REACHED[sample.name] = [pc for pc in pcs if wrong_values(sample.program, sample.program.code[pc])]
    return _REACHED[sample.name]


def _with_blocks(program: Program, pcs: set[int]) -> list[int]:
    """These instructions, and those that cannot but have run before them."""
    labels = {arg for inst in program.code for o, arg in zip(inst.spec.operands, inst.args, strict=True)
              if o.kind is Kind.LABEL}
    found = set(pcs)
    for pc in pcs:
        while pc > 0 and pc not in labels and Trait.BRANCH not in program.code[pc - 1].spec.traits:
            pc -= 1
            found.add(pc)
    return sorted(found)


def _one(report: Report, number: int, seed: int) -> None:
    rng = np.random.default_rng([seed, number, 1])
    if rng.random() < FROM_CORPUS:
        sample = every()[int(rng.integers(len(every())))]
        pc, source = _drawn(sample, rng), "whole program"
    else:
        case, sample = case_of(int(rng.integers(2**31)), seed, number)
        pc, source = case.at, "one instruction"
        tensor = _indices(case)
        if tensor >= 0 and rng.random() < INDICES:
            _spoil(sample.tensors[tensor], rng)
            _judge(report, number, sample, sample.program, pc, Wrong(-1, 0, BOUNDS), "index in a tile")
            return
    wrong = wrong_values(sample.program, sample.program.code[pc], sample.cores)
    chosen = wrong[int(rng.integers(len(wrong)))]
    if rng.random() < 0.5:
        inst = with_operand(sample.program.code[pc], chosen.position, SPARE)
        program = after(with_instruction(sample.program, pc, inst), Inst(scalar.MOV, (SPARE, chosen.value)))
        _judge(report, number, sample, program, pc + 1, chosen, f"{source}, in a register")
    else:
        inst = with_operand(sample.program.code[pc], chosen.position, chosen.value)
        program = with_instruction(sample.program, pc, inst)
        _judge(report, number, sample, program, pc, chosen, f"{source}, immediate")


def _drawn(sample: Sample, rng: np.random.Generator) -> int:
    """An instruction that is reached, each mnemonic as likely as any other."""
    by_mnemonic: dict[str, list[int]] = {}
    for pc in reached(sample):
        by_mnemonic.setdefault(sample.program.code[pc].spec.mnemonic, []).append(pc)
    return int(rng.choice(by_mnemonic[str(rng.choice(sorted(by_mnemonic)))]))


def _indices(case: Case) -> int:
    """The tensor with the indices that the case's instruction uses; -1 where it uses none."""
    for operand in case.row.operands:
        extents = [case.extent(side) for side in (operand.rows, operand.cols)] if operand.picks else [0]
        if all(extents):
            return case.filled[case.used[operand.name][0]]
    return -1


def _spoil(indices: np.ndarray, rng: np.random.Generator) -> None:
    indices[0, 0] = rng.choice([-1, -(2**31), 2**31 - 1, 10_000])


def _judge(report: Report, number: int, sample: Sample, program: Program, pc: int, wrong: Wrong, kind: str) -> None:
    """Run it, and compare what happens with what must."""
    given = Arguments(sample.tensors, FORMS[number % len(FORMS)], whole=contiguous(program))
    machine = Machine(numbered(program), cores=sample.cores)
    what = f"case {number}: {sample.name} at pc {pc}, {wrong}"
    try:
        machine.run(given.arrays, sample.parameters)
        report.fail(f"{what}: no trap")
    except MachineTrap as err:
        report.saw(f"{kind}: {err.kind.name}")
        if (err.pc, err.kind in wrong.kinds) != (pc, True) or err.loc is None or err.loc.line != pc + 1:
            report.fail(f"{what}: {err.kind.name} at pc {err.pc}, {err.loc}")
    if given.damaged() or given.changed([tensor.written for tensor in program.tensors]):
        report.fail(f"{what}: arguments {given.damaged()} are damaged")


if __name__ == "__main__":
    main("operands", run, COUNT)
