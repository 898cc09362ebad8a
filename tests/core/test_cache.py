"""Files of results: parts that are read to their places, what is a miss, what goes when room is short."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.cache import CHUNK, HEADER, FileCache, clear, files

PARTS = [os.urandom(3), b"", os.urandom(CHUNK + 5), os.urandom(1)]
Usage = namedtuple("Usage", "total used free")


def empty(*sizes: int) -> list[bytearray]:
    return [bytearray(size) for size in sizes]


@pytest.fixture
def cache(tmp_path):
    return FileCache("build" * 8, tmp_path / "results", limit=2**24)


def test_parts_are_read_to_their_places(cache):
    cache.put("a", *map(memoryview, PARTS))
    places = empty(*map(len, PARTS))
    assert cache.fill("a", places)
    assert places == PARTS
    assert cache.get("a") == b"".join(PARTS)


@pytest.mark.parametrize("sizes", [(), (3,), (3, CHUNK + 5), (CHUNK + 10,), (3, CHUNK + 5, 2)])
def test_places_of_another_size_are_a_miss(cache, sizes):
    cache.put("a", *PARTS)
    assert not cache.fill("a", empty(*sizes))


@given(st.data())
def test_no_damage_is_a_hit(tmp_path_factory, data):
    """Bytes changed, cut off, added, or moved from another entry: a miss; places that are filled hold what was kept."""
    cache = FileCache("b" * 32, tmp_path_factory.mktemp("cache"))
    body = data.draw(st.binary(min_size=1, max_size=200))
    cache.put("a", body)
    content = bytearray(cache.path("a").read_bytes())
    match data.draw(st.sampled_from(["change", "cut", "add", "zero", "name"])):
        case "change":
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del content[data.draw(st.integers(0, len(content) - 1)):]
        case "add":
            content += data.draw(st.binary(min_size=1, max_size=9))
        case "zero":  # what a crash of the system may leave of a file
            content[data.draw(st.integers(0, HEADER.size - 1)):] = bytes(len(content))
        case "name":
            cache.path("b").write_bytes(content)
            assert not cache.fill("b", empty(len(body)))
            return
    cache.path("a").write_bytes(content)
    assert not cache.fill("a", empty(len(body)))
    assert cache.get("a") is None


def test_what_was_used_longest_ago_goes_first(tmp_path):
    cache = FileCache("b" * 32, tmp_path, limit=4 * 1000)
    for age, name in enumerate("abcd"):
        cache.put(name, bytes(1000 - HEADER.size))
        os.utime(cache.path(name), (age, age))
    assert len(files(tmp_path)) == 4
    assert cache.fill("a", empty(1000 - HEADER.size))  # now it was used last
    cache.put("e", bytes(1500))
    assert {path.name[-5] for path, _ in files(tmp_path)} == {"a", "d", "e"}
    assert sum(status.st_size for _, status in files(tmp_path)) <= 4000


def test_what_is_larger_than_all_that_may_be_is_not_kept_and_drives_nothing_out(tmp_path):
    cache = FileCache("b" * 32, tmp_path, limit=2000)
    cache.put("a", bytes(1000))
    cache.put("b", bytes(2000))
    assert cache.get("a") is not None and cache.get("b") is None


def test_a_disk_is_not_filled(cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 5000, 5000))
    cache.put("a", bytes(1000))
    cache.put("b", bytes(400))
    assert cache.get("a") is None and cache.get("b") is not None


def test_a_folder_that_cannot_be_written_to_is_no_error(cache, monkeypatch):
    def refuse(*_):
        raise OSError(30, "read-only file system")
    monkeypatch.setattr(os, "open", refuse)
    cache.put("a", b"x")
    assert cache.get("a") is None


def test_what_is_on_a_disk_that_cannot_be_written_to_is_read(cache, monkeypatch):
    def refuse(*_):
        raise OSError(30, "read-only file system")
    cache.put("a", b"x")
    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get("a") == b"x"


def test_clearing_removes_results_and_nothing_else(cache):
    cache.put("a", bytes(1000))
    other = cache.directory / "notes.txt"
    other.write_text("mine")
    assert clear(cache.directory) == 1000 + HEADER.size
    assert list(cache.directory.iterdir()) == [other]
    assert clear(cache.directory / "none") == 0


def keep_putting(directory, number):
    cache = FileCache("b" * 32, directory, limit=10**5)
    for count in range(40):
        cache.put(f"n{count % 7}", bytes([number]) * 10_000)


def test_processes_that_put_and_drive_out_leave_whole_contents(tmp_path):
    cache = FileCache("b" * 32, tmp_path, limit=10**5)
    writers = [get_context("spawn").Process(target=keep_putting, args=(tmp_path, n)) for n in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        place = bytearray(10_000)
        if cache.fill("n3", [place]):
            assert place == place[:1] * 10_000
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert files(tmp_path)
    assert sum(status.st_size for _, status in files(tmp_path)) <= 10**5 + 10_000 + HEADER.size
