"""Files that are written whole or not at all."""

import os
from multiprocessing import get_context

import pytest

from pto.core.files import TEMPORARY, write_whole

SIZE, WRITERS, ROUNDS = 1 << 16, 3, 20


def test_a_file_is_replaced_and_has_the_mode(tmp_path):
    path = tmp_path / "x.bin"
    write_whole(path, b"old")
    write_whole(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "no space left on device")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def keep_writing(path, byte):
    for _ in range(ROUNDS):
        write_whole(path, bytes([byte]) * SIZE)


def test_whoever_reads_while_others_write_gets_one_whole_content(tmp_path):
    path = tmp_path / "x.bin"
    write_whole(path, bytes(SIZE))
    writers = [get_context("spawn").Process(target=keep_writing, args=(path, n)) for n in range(1, WRITERS + 1)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes()
        assert content == content[:1] * SIZE
        seen.add(content[0])
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen | {path.read_bytes()[0]} <= set(range(WRITERS + 1))
    assert not list(tmp_path.glob(f".*{TEMPORARY}"))
