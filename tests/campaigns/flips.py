"""Bits of a legal program's records flipped anywhere: what still decodes runs without the static check.

It ends, traps, or lacks fuel; what it writes lies in the arguments that it declares as written; no page outside
arguments and memories of cores is touched. Every tenth program is also watched, as `check="all"` does.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pto.core.errors import FuelError, ProgramError, PtoFormatError
from pto.isa.codec import decode, encode_all
from pto.isa.program import Inst
from pto.isa.spec import RECORD_BYTES
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, case_of, every, soup_of
from tests.campaigns.guarded import Arguments, guard_arenas
from tests.campaigns.operands import warm
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import with_instruction

COUNT, FUEL, WATCHED = 100_000, 1 << 20, 10
FROM_CORPUS, FROM_SOUPS, LOW = 0.2, 0.1, 0.5  # how often; how often only low bits of words, which change a little
BITS, WORD, LOW_BITS = 3, 64, 12  # flips in one record, at most


def run(count: int, seed: int) -> Report:
    """Run `count` programs with flipped records that decode."""
    warm()
    for sample in every():
        Machine(sample.program, check="all")
    return in_children(lambda number, report: _one(report, number, seed), count, first=guard_arenas)


@cache
def _records(sample: str) -> bytes:
    return encode_all(next(s for s in every() if s.name == sample).program.code)


def _one(report: Report, number: int, seed: int) -> None:
    rng = np.random.default_rng([seed, number, 2])
    draw = rng.random()
    if draw < FROM_CORPUS:
        sample = every()[int(rng.integers(len(every())))]
        records = _records(sample.name)
    else:
        salt = int(rng.integers(2**31))
        sample = soup_of(salt, 1 + salt % 2) if draw < FROM_CORPUS + FROM_SOUPS else case_of(salt, seed, number)[1]
        records = encode_all(sample.program.code)
    pc, inst = _flipped(records, rng, report)
    _run(report, number, sample, pc, inst, watched=number % WATCHED == 0)


def _flipped(records: bytes, rng: np.random.Generator, report: Report) -> tuple[int, Inst]:
    """An instruction whose record decodes to another one after some flips, drawn until there is one."""
    length = len(records) // RECORD_BYTES
    while True:
        pc = int(rng.integers(length))
        record = bytearray(records[pc * RECORD_BYTES:(pc + 1) * RECORD_BYTES])
        bits = rng.integers(0, 8 * RECORD_BYTES, int(rng.integers(1, BITS + 1)))
        if rng.random() < LOW:
            bits = bits // WORD * WORD + bits % LOW_BITS
        for bit in bits.tolist():
            record[bit // 8] ^= 1 << bit % 8
        try:
            return pc, decode(bytes(record), length=length)
        except PtoFormatError:
            report.saw("refused by the decoder, drawn again")


def _run(report: Report, number: int, sample: Sample, pc: int, inst: Inst, *, watched: bool) -> None:
    program = with_instruction(sample.program, pc, inst)
    given = Arguments(sample.tensors, at_end=bool(number & 2))
    prefix = "watched: " if watched else ""
    what = f"case {number}: {sample.name}, {inst.spec.mnemonic} {inst.args} at pc {pc}"
    try:
        machine = Machine(program, cores=sample.cores, check="all" if watched else ())
        machine.run(given.arrays, sample.parameters, fuel=FUEL)
        report.saw(f"{prefix}ended")
    except MachineTrap as err:
        report.saw(f"{prefix}trapped: {err.kind.name}")
        if not 0 <= err.pc <= len(program.code) or err.loc != program.span(err.pc):
            report.fail(f"{what}: a trap at the wrong place: {err}")
    except FuelError:
        report.saw(f"{prefix}lacked fuel")
    except ProgramError:
        report.saw("refused by the linker")
    if given.damaged() or given.changed([tensor.written for tensor in program.tensors]):
        report.fail(f"{what}: arguments {given.damaged()} are damaged")


if __name__ == "__main__":
    main("flips", run, COUNT)
