"""A few hundred mutants of each format; and that the campaign sees what it is there to see."""

from __future__ import annotations

import os
import signal

import pytest

from tests.campaigns import gguf as campaign


@pytest.mark.parametrize("form", campaign.READERS)
def test_mutants_are_read_whole_or_refused(form):
    campaign.warm(form)
    accepted, faults = campaign.run(form, 10**6, 600)
    assert not faults
    assert 10 < accepted < 300, "the mutants are too tame, or too wild"


def spin(data):
    while True:
        pass


PLANTED = {
    "a foreign exception": (lambda data: data[10**9], "IndexError"),
    "a signal": (lambda data: os.kill(os.getpid(), signal.SIGTERM), "SIGTERM"),
    "unbounded memory": (lambda data: bytes(2**32), "MemoryError"),
    "a hang": (spin, "SIGKILL|SIGXCPU"),
    "code that is run": (lambda data: eval("1"), "RuntimeError"),  # noqa: S307 - what must be found
    "a refusal without a place": (lambda data: campaign.gguf.load("/nowhere"), "AssertionError"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(name, monkeypatch):
    read, words = PLANTED[name]
    monkeypatch.setattr(campaign, "SECONDS", 1)
    monkeypatch.setitem(campaign.READERS, "gguf", (campaign.gguf_seeds, read))
    _, [fault] = campaign.run("gguf", 7, 3)
    assert fault.startswith("gguf mutant 7: ")
    assert any(word in fault for word in words.split("|"))
