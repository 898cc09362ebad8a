"""Bits of a legal program's records flipped anywhere: what still decodes runs without the static check.

So do programs with a declaration that is changed in memory, past every file and text. Each ends, traps, or lacks
fuel; what it writes lies in the arguments that it declares as written; no page outside arguments and memories of
cores is touched. Every eleventh program is also watched, as `check="all"` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from pto.core.dtypes import DTYPES
from pto.core.errors import DTypeError, FuelError, ProgramError, PtoFormatError, ShapeError, UsageError
from pto.core.types import Layout, Space
from pto.isa.codec import decode, encode_all
from pto.isa.program import Inst, Program, TensorDecl, TileDecl, ViewDecl
from pto.isa.spec import RECORD_BYTES
from pto.sim.machine import Machine
from pto.sim.traps import MachineTrap
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, case_of, every, soup_of
from tests.campaigns.guarded import Arguments, Form, contiguous, guard_arenas
from tests.campaigns.operands import warm
from tests.campaigns.report import Report, main
from tests.campaigns.wrong import with_instruction

COUNT, FUEL, WATCHED = 100_000, 1 << 20, 11  # no multiple of the number of forms
THREADED = 7  # every so many on two host threads
FORMS = tuple(Form)
FROM_CORPUS, FROM_SOUPS, DECLARED = 0.2, 0.1, 0.15  # how often
LOW = 0.5  # how often only low bits of words, which change a little
NUMBERS = (-1, 0, 1, 2, 3, 15, 16, 17, 63, 64, 4096, 2**20, 2**31, 2**40, 2**62, 2**63 - 1, 2**63, 2**64, -(2**63))
T = TypeVar("T")
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
    if rng.random() < DECLARED:
        program, what = redeclared(sample.program, rng)
    else:
        pc, inst = _flipped(records, rng, report)
        program, what = with_instruction(sample.program, pc, inst), f"{inst.spec.mnemonic} {inst.args} at pc {pc}"
    _run(report, f"case {number}: {sample.name}, {what}", number, sample, program)


def redeclared(program: Program, rng: np.random.Generator) -> tuple[Program, str]:
    """The program with one word of one declaration changed."""
    kind = str(rng.choice([name for name in ("tiles", "tensors", "views") if getattr(program, name)]))
    rows = list(getattr(program, kind))
    at = int(rng.integers(len(rows)))
    rows[at] = REDECLARED[kind](rows[at], rng)
    return replace(program, **{kind: tuple(rows)}), f"{kind[:-1]} {rows[at]}"


def _drawn(rng: np.random.Generator, values: Sequence[T]) -> T:
    return values[int(rng.integers(len(values)))]


def _tile(row: TileDecl, rng: np.random.Generator) -> TileDecl:
    kind = row.type
    number = _drawn(rng, (*NUMBERS, kind.rows + 1, kind.cols + 16, row.address + 64, row.address + 1, row.slots + 1))
    return _drawn(rng, (
        replace(row, type=replace(kind, rows=number)), replace(row, type=replace(kind, cols=number)),
        replace(row, address=number), replace(row, slots=number),
        replace(row, type=replace(kind, dtype=_drawn(rng, tuple(DTYPES.values())))),
        replace(row, type=replace(kind, space=_drawn(rng, (None, *Space)))),
        replace(row, type=replace(kind, layout=_drawn(rng, tuple(Layout)))),
    ))


def _tensor(row: TensorDecl, rng: np.random.Generator) -> TensorDecl:
    dims = tuple(_drawn(rng, (*NUMBERS, dim, dim)) for dim in row.dims)
    return _drawn(rng, (
        replace(row, dims=dims), replace(row, dims=row.dims[1:]), replace(row, dims=(*row.dims, 1)),
        replace(row, written=not row.written), replace(row, dtype=_drawn(rng, tuple(DTYPES.values()))),
    ))


def _view(row: ViewDecl, rng: np.random.Generator) -> ViewDecl:
    return replace(row, tensor=_drawn(rng, (*NUMBERS, row.tensor + 1)))


REDECLARED: dict[str, Callable[[Any, np.random.Generator], Any]] = {"tiles": _tile, "tensors": _tensor, "views": _view}


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


def _run(report: Report, what: str, number: int, sample: Sample, program: Program) -> None:
    """Run it on guarded memory; every eleventh is watched."""
    given = Arguments(sample.tensors, FORMS[number % len(FORMS)], whole=contiguous(program))
    watched = number % WATCHED == 0
    prefix = "watched: " if watched else ""
    try:
        threads = 2 if number % THREADED == 0 else 1
        machine = Machine(program, cores=sample.cores, threads=threads, check="all" if watched else ())
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
    except (UsageError, ShapeError, DTypeError):
        report.saw("refused with its arguments")
    if given.damaged() or given.changed([tensor.written for tensor in program.tensors]):
        report.fail(f"{what}: arguments {given.damaged()} are damaged")


if __name__ == "__main__":
    main("flips", run, COUNT)
