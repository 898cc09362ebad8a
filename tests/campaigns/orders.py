"""Results are the same bits at one and two host threads, and in random legal orders, for every test program."""

from __future__ import annotations

from collections.abc import Iterable

from pto.core.errors import PtoError
from pto.sim.machine import Machine
from pto.sim.slow import SlowMachine
from tests.campaigns.corpus import Sample, every
from tests.campaigns.report import Report, main

ORDERS, REPEATS = 8, 4  # random legal orders, and launches on two threads, for each program and number of cores
MORE_CORES = (1, 3)  # besides those of the sample, where the program asks for none


def run(count: int, seed: int, samples: Iterable[Sample] | None = None) -> Report:
    """Compare `count` legal orders, and as many launches on threads as follow, for each program."""
    report = Report()
    for sample in every() if samples is None else samples:
        for cores in sorted({sample.cores, *(() if sample.fixed else MORE_CORES)}):
            _compare(report, sample, cores, range(seed, seed + count))
    return report


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
    fast = [_result(Machine(sample.program, cores=cores, threads=n), sample) for n in (1, 2, 2)]
    for found in fast[1:]:
        _judge(report, f"{sample.name}, {cores} cores, fast mode", "pairs of launches in fast mode", found, fast[0])
    report.saw("programs on a number of cores")


def _judge(report: Report, name: str, kind: str, found: list[bytes] | str, wanted: list[bytes] | str) -> None:
    report.saw(kind)
    if isinstance(wanted, str) or found != wanted:
        report.fail(f"{name}: {found if isinstance(found, str) else 'other bits'}")


def _result(machine: Machine | SlowMachine, sample: Sample) -> list[bytes] | str:
    """The bytes of all tensors afterwards, or the error."""
    tensors = sample.fresh()
    try:
        machine.run(tensors, sample.parameters)
    except PtoError as err:
        return str(err)
    return [tensor.tobytes() for tensor in tensors]


if __name__ == "__main__":
    main("orders", run, ORDERS)
