"""Results are the same bits at one and two host threads, in random legal orders, and wherever arguments lie.

That is so for every program of the corpus, on several numbers of cores, and for random programs without races.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from pto.core.errors import PtoError
from pto.isa.program import Inst, TileRef
from pto.isa.table import cube, move, sync
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests.campaigns import oracle
from tests.campaigns.corpus import Sample, every, soup_of
from tests.campaigns.guarded import Arguments, Form, contiguous
from tests.campaigns.report import Report, main

ORDERS, REPEATS = 8, 4  # random legal orders, and launches on two threads, for each program and number of cores
SOUPS = 400  # of which those without races count
MORE_CORES = (1, 3)  # besides those of the sample, where the program asks for none

FILLING = [  # every tile of a soup is written, one after the other
    inst for write in (
        *(Inst(move.TLOAD, (TileRef(0, 640 * i), 0, 0, 0, 8, 20)) for i in range(2)),
        Inst(move.TLOAD, (TileRef(1), 0, 0, 0, 16, 16)), Inst(move.TLOAD, (TileRef(3), 1, 0, 0, 16, 30)),
        Inst(move.TLOAD, (TileRef(2), 0, 0, 0, 16, 1)), Inst(move.TEXTRACT, (TileRef(4), TileRef(3), 0, 0, 16, 20)),
        Inst(move.TEXTRACT, (TileRef(5), TileRef(3), 0, 0, 16, 30)),
        Inst(cube.TMATMUL, (TileRef(6), TileRef(4), TileRef(5), 16, 30, 16, 0)),
    ) for inst in (write, Inst(sync.PIPE_BARRIER))
]


def run(count: int, seed: int, samples: Iterable[Sample] | None = None) -> Report:
    """Compare `count` legal orders, and as many launches on threads as follow, for each program."""
    report = Report()
    for sample in [*every(), *soups(seed)] if samples is None else samples:
        for cores in sorted({sample.cores, *(() if sample.fixed else MORE_CORES)}):
            _compare(report, sample, cores, range(seed, seed + count))
    return report


def soups(seed: int) -> Iterator[Sample]:
    """Random programs in which brute force knows neither races nor reads of what nothing has written."""
    rng = np.random.default_rng([seed, 11])
    for number in range(SOUPS):
        sample = soup_of(1_000_000 * (seed + 1) + number, 1 + number % 3)
        program = replace(sample.program, code=(*FILLING, *sample.program.code), lines=())
        trace = oracle.traced(program, sample.tensors, sample.parameters, sample.cores)
        if trace.error is None and not oracle.races(trace.events) and not oracle.unwritten(trace.events):
            tensors = tuple(rng.standard_normal(x.shape, np.float32) for x in sample.tensors)
            yield replace(sample, program=program, tensors=tensors, fixed=True)


def _compare(report: Report, sample: Sample, cores: int, seeds: Iterable[int]) -> None:
    """Everything that runs a program to the last bit, against the slow machine in program order."""
    wanted = _result(SlowMachine(sample.program, cores=cores), sample)
    machines: dict[str, Machine | SlowMachine] = {
        f"order {seed}": SlowMachine(sample.program, cores=cores, order=f"random:{seed}") for seed in seeds
    }
    machines |= {f"{n} threads": Machine(sample.program, cores=cores, threads=n, exact=True) for n in (1, 2)}
    for name, machine in machines.items():
        kind = "legal orders" if name.startswith("order") else f"launches on {name}"
        for _ in range(1 if isinstance(machine, SlowMachine) else REPEATS):
            _judge(report, f"{sample.name}, {cores} cores, {name}", kind, _result(machine, sample), wanted)
    for form in Form:
        found = _result(Machine(sample.program, cores=cores, exact=True), sample, form)
        _judge(report, f"{sample.name}, {cores} cores, arguments {form.name}", "places of arguments", found, wanted)
    fast = [_result(Machine(sample.program, cores=cores, threads=n), sample) for n in (1, 2, 2)]
    for found in fast[1:]:
        _judge(report, f"{sample.name}, {cores} cores, fast mode", "pairs of launches in fast mode", found, fast[0])
    report.saw("programs on a number of cores")


def _judge(report: Report, name: str, kind: str, found: list[bytes] | str, wanted: list[bytes] | str) -> None:
    report.saw(kind)
    if isinstance(wanted, str) or found != wanted:
        report.fail(f"{name}: {found if isinstance(found, str) else 'other bits'}")


def _result(machine: Machine | SlowMachine, sample: Sample, form: Form | None = None) -> list[bytes] | str:
    """The bytes of all tensors afterwards, or the error."""
    tensors = sample.fresh()
    if form:
        given = Arguments(tensors, form, whole=contiguous(sample.program))
        tensors = given.arrays
    try:
        machine.run(tensors, sample.parameters)
    except PtoError as err:
        return str(err)
    if form and given.damaged():
        return f"arguments {given.damaged()} are damaged"
    return [tensor.tobytes() for tensor in tensors]


if __name__ == "__main__":
    main("orders", run, ORDERS)
