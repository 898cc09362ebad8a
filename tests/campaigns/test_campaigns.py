"""A sample of each campaign breaks no promise; and each campaign finds what is planted for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pto.core.errors import PtoFormatError
from pto.isa import check, codec, meta
from pto.isa.program import Program
from pto.sim import launch, link, machine
from pto.sim.happens_before import flag_races, without
from pto.sim.happens_before import races as races_by_clocks
from pto.sim.machine import Machine
from pto.sim.waiting import deadlock
from tests.campaigns import deadlocks, fields, files, flips, operands, oracle, orders, races, records, uninitialised
from tests.campaigns.children import in_children
from tests.campaigns.corpus import Sample, by_hand, every, soup_of
from tests.campaigns.guarded import Arguments, Form, GuardedArena
from tests.campaigns.report import Report

SAMPLES = {operands: 300, flips: 600, records: 20_000, files: 1200, races: 100, deadlocks: 12, uninitialised: 60}


@pytest.mark.parametrize("campaign", SAMPLES, ids=lambda module: module.__name__.split(".")[-1])
def test_a_sample_breaks_no_promise(campaign: Any) -> None:
    report = campaign.run(SAMPLES[campaign], 0)
    assert report.failures == []
    assert sum(report.counts.values()) >= SAMPLES[campaign]


def test_some_fields_are_refused_alike() -> None:
    assert fields.run(8, 1).failures == []


def test_some_orders_do_not_matter() -> None:
    report = orders.run(1, 1, [*every()[::4], *by_hand()[1:4]])
    assert report.failures == []
    assert report.of("legal orders") > 10


def test_every_program_of_the_corpus_is_without_races() -> None:
    for sample in every():
        trace = oracle.traced(sample.program, sample.tensors, sample.parameters, sample.cores)
        assert oracle.races(trace.events) == set() and trace.error is None


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_brute_force_knows_the_races_that_vector_clocks_know(cores: int) -> None:
    racing = 0
    for seed in range(40):
        sample = soup_of(seed, cores)
        trace = oracle.traced(sample.program, sample.tensors, (), cores)
        known = races_by_clocks(sample.program, sample.tensors, (), cores)
        known += flag_races(sample.program, sample.tensors, (), cores)
        pairs = {oracle.pair(*((a.core, a.pc, a.pipe) for a in (race.first, race.second))) for race in known}
        assert oracle.races(trace.events) == pairs
        racing += bool(pairs)
    assert 10 < racing < 40


def test_bounds_that_are_not_checked_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles pass for larger than they are: a wrong region or offset is not refused, or damages memory."""
    linked = link._Linker.static

    def generous(self: Any, inst: Any, position: int) -> Iterator[int]:
        words = list(linked(self, inst, position))
        if len(words) > 2:
            words[1], words[3], words[4] = words[1] + 4096, words[3] + 40, words[4] + 40
        yield from words
    monkeypatch.setattr(link._Linker, "static", generous)
    assert any("no trap" in failure for failure in operands.run(300, 0).failures)


def test_writes_outside_arguments_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors pass for a row larger than they are."""
    described = machine._View._extents

    def generous(self: Any, array: Any) -> tuple[int, int, int]:
        rows, cols, stride = described(self, array)
        return rows + 40, cols, stride
    monkeypatch.setattr(machine._View, "_extents", generous)
    failures = flips.run(400, 0).failures
    assert any("damaged" in failure or "SIGSEGV" in failure for failure in failures)


def test_records_with_bits_of_no_meaning_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_refuse_unused", lambda *_: None)
    assert any("comes back as" in failure for failure in records.run(2000, 0).failures)


def test_a_party_that_refuses_less_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report()
    sample, pc = next((s, pc) for s, pc in fields._scalars() if s.program.code[pc].spec.mnemonic == "set_flag")
    monkeypatch.setattr(link, "FLAG_ROWS", ())
    fields._all(report, sample, pc)
    assert report.failures and all(failure.endswith("by the machine") for failure in report.failures)
    monkeypatch.setattr(check, "_flag", lambda *_: ())
    report = Report()
    fields._all(report, sample, pc)
    assert {failure.split()[-1] for failure in report.failures} == {"assembler", "decoder", "checker", "machine"}


def test_loaders_that_trust_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(meta, "_list", lambda value, where: value)
        assert any("Error" in failure for failure in files.run(800, 0).failures)
    with monkeypatch.context() as patch:
        patch.setattr(files, "loads", lambda data, path: bytearray(1 << 30))
        assert any("MemoryError" in failure for failure in files.run(1, 0).failures)

    def slow(data: bytes, path: str) -> Program:
        start = time.process_time()
        while time.process_time() - start < 0.02:
            pass
        raise PtoFormatError(f"{path}: byte 0: late")
    monkeypatch.setattr(files, "loads", slow)
    monkeypatch.setattr(files, "SECONDS", 0.01)
    assert any(" s for " in failure for failure in files.run(1, 0).failures)


def test_missed_races_and_false_alarms_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(Machine):
        def __init__(self, program: Program, **options: Any) -> None:
            super().__init__(program, cores=options["cores"])

    class Deaf(Machine):
        def __init__(self, program: Program, **options: Any) -> None:
            gone = [pc for pc, inst in enumerate(program.code) if inst.spec in races.FLAGS]
            super().__init__(without(program, gone), **options)
    sample = by_hand()[0]
    mutants = [races.Mutant("as it is", "gemm", sample, sample.program)]
    mutants += [mutant for mutant in races.mutants(sample, 0) if mutant.kind == "relation left out"]
    for blinded, word in ((Blind, "miss"), (Deaf, "false alarm")):
        monkeypatch.setattr(races, "Machine", blinded)
        report = Report()
        for mutant in mutants:
            races.judge(report, mutant)
        assert any(failure.startswith(word) for failure in report.failures)


def test_missed_reads_and_false_alarms_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(Machine):
        def __init__(self, program: Program, **options: Any) -> None:
            super().__init__(program, cores=options["cores"])

    class Strict(Machine):
        def __init__(self, program: Program, **options: Any) -> None:
            loads = [pc for pc, inst in enumerate(program.code) if inst.spec.mnemonic == "tload"]
            super().__init__(without(program, loads[:1]), **options)
    sample = next(sample for sample in by_hand() if sample.name == "rows exp")
    for wrong, word in ((Blind, "miss"), (Strict, "false alarm")):
        monkeypatch.setattr(uninitialised, "Machine", wrong)
        report = Report()
        for mutant in uninitialised.mutants(sample, 0):
            uninitialised.judge(report, mutant)
        assert any(failure.startswith(word) for failure in report.failures)


def test_deadlocks_told_wrongly_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "deadlock", lambda program, waits, pcs: deadlock(
        program, {core: wait for core, wait in waits.items() if core == min(waits)}, pcs))
    assert deadlocks.run(5, 0).failures


def test_orders_that_matter_are_found() -> None:
    sample = by_hand()[0]
    gone = [pc for pc, inst in enumerate(sample.program.code) if inst.spec in races.FLAGS]
    tensors = tuple(np.random.default_rng(i).standard_normal((40, 40)).astype(np.float32) for i in range(3))
    broken = Sample("gemm without flags", without(sample.program, gone), tensors, sample.parameters, fixed=True)
    assert any("other bits" in failure for failure in orders.run(4, 0, [broken]).failures)


def test_a_case_that_kills_its_child_is_named_and_the_others_count() -> None:
    def job(number: int, report: Report) -> None:
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 5:
            raise KeyError(number)
        if number == 7:
            os._exit(9)
        if number == 9:
            time.sleep(60)
        report.saw("ran")
    report = in_children(job, 12, batch=6, patience=0.5)
    assert report.counts["ran"] == 8
    assert sorted(report.failures) == [
        "case 3: SIGSEGV", "case 5: KeyError: 5 (job:" + str(job.__code__.co_firstlineno + 4) + ")",
        "case 7: the child ended with 9", "case 9: did not end within 0 s",
    ]


def _touch(what: str) -> None:
    arguments = Arguments([np.ones((3, 5), np.float32)], Form.PADDED)
    address = arguments.pages[0].address
    places = {"before": address - 1, "behind": address + arguments.pages[0].size,
              "arena": GuardedArena(link.Arena.of(link.BY_NAME["V2"]).nbytes).address - 1}
    np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * 1).from_address(places[what]))[0] = 1


@pytest.mark.parametrize("what", ["before", "behind", "arena"])
def test_nobody_touches_the_pages_around(what: str) -> None:
    assert in_children(lambda number, report: _touch(what), 1).failures == ["case 0: SIGSEGV"]


@pytest.mark.parametrize("form", Form)
def test_canaries_show_a_write_beside_an_argument(form: Form) -> None:
    given = Arguments([np.ones((3, 5), np.float32), np.zeros(7, np.int8)], form)
    assert given.damaged() == []
    given.arrays[0][:] = 3
    given.arrays[1][:] = 3
    assert given.damaged() == [] and given.changed([True, False]) == [1]
    for pages, mine in zip(given.pages, given.mine, strict=True):
        pages.inside[np.flatnonzero(~mine)[0]] ^= 1
    assert given.damaged() == [0, 1]
