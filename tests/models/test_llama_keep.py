"""Packed weights on disk: what comes from there is what packing makes; a changed model or entry is packed again."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.cache import HEADER, files
from pto.core.errors import UsageError
from pto.models import stored
from pto.models.checkpoint import from_gguf, open_checkpoint
from pto.models.export import save_gguf
from pto.models.gguf import parse
from pto.models.llama import keep
from pto.models.llama import read as reading
from pto.models.llama.precision import BY_NAME, PRECISIONS
from pto.models.llama.read import read
from pto.quant.forms import Packed
from tests.models.files import SMALL, random_weights, save_folder

QUANTISED = [row.name for row in PRECISIONS if row.activation]
CONFIG = replace(SMALL, embed=64, ffn=96, heads=4, kv_heads=2, head_dim=24, vocab=257, bos=256, stop=())
ONE = "w4a14"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The kept weights of this test alone; its models need not be old."""
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(stored, "SETTLED", -10**12)
    keep.store.cache_clear()
    yield tmp_path / "cache" / "pto" / "weights"
    keep.store.cache_clear()


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path / "m.gguf")


def saved(path, seed=0, config=CONFIG):
    save_gguf(path, config, random_weights(config, seed), "Q4_1")
    return path


def content(weights):
    """All that products take of weights."""
    return {name: [(p.dtype, p.shape, p.tobytes()) for p in (w.parts if isinstance(w, Packed) else (w,))]
            for name, w in weights.items()}


def load(path, precision=ONE):
    return content(read(open_checkpoint(path), BY_NAME[precision]))


def packed(path, precision=ONE):
    """The same, without any cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTO_DISABLE_CACHE", "1")
        return load(path, precision)


@pytest.fixture
def packings(monkeypatch):
    """How many pieces were packed."""
    found, whole = [], reading.in_turns

    def counted(jobs, count):
        found.append(len(jobs))
        whole(jobs, count)
    monkeypatch.setattr(reading, "in_turns", counted)
    return found


@pytest.mark.parametrize("precision", QUANTISED)
def test_what_is_kept_is_what_was_packed(precision, folder, model, packings):
    want = packed(model, precision)
    assert not folder.exists()
    assert load(model, precision) == want and len(packings) == 2
    assert load(model, precision) == want and len(packings) == 2


@pytest.mark.parametrize("precision", QUANTISED)
def test_pieces_of_any_size_are_the_whole(precision, model, monkeypatch):
    want = packed(model, precision)
    monkeypatch.setattr(reading, "AT_ONCE", 1)
    assert packed(model, precision) == want


def test_precisions_of_the_same_bytes_share_an_entry_and_others_do_not(folder, model, packings):
    for precision in QUANTISED:
        load(model, precision)
    packed = {(row.layers, row.head, row.form) for row in PRECISIONS if row.activation}
    assert len(packings) == len(files(folder)) == len(packed) < len(QUANTISED)


def test_plain_weights_are_not_kept(folder, model):
    load(model, "f16")
    assert not files(folder)


def test_progress_is_that_of_the_whole_model(folder, model):
    found, seen = open_checkpoint(model), []
    for _ in range(2):
        seen.clear()
        read(found, BY_NAME[ONE], progress=lambda *told: seen.append(told))
        assert seen[-1] == (found.parameters, found.parameters)
        assert seen == sorted(seen)


@given(st.data())
def test_no_damaged_entry_gives_wrong_weights(tmp_path_factory, data):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("PTO_CACHE_DIR", str(home))
        patch.setattr(stored, "SETTLED", -10**12)
        keep.store.cache_clear()
        model = saved(home / "m.gguf")
        want = load(model)
        [(path, status)] = files(home / "pto" / "weights")
        entry = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(entry) - 1) | st.integers(0, HEADER.size))
        match data.draw(st.sampled_from(["flip", "cut", "add", "forged"])):
            case "flip":
                entry[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del entry[at:]
            case "add":
                entry += bytes(at + 1)
            case "forged":  # sound in itself, of another size than the weights
                name = path.name.split("-")[1].removesuffix(".bin")
                keep.store().put(name, bytes(max(at - HEADER.size, 0)))
                entry = bytearray(path.read_bytes())
        path.write_bytes(entry)
        assert load(model) == want
        assert path.stat().st_size == status.st_size  # and it is mended
        keep.store.cache_clear()


@pytest.mark.parametrize("restored", [False, True])
def test_a_file_that_was_written_to_is_packed_again(restored, folder, model):
    first, times = load(model), model.stat()
    with open(model, "r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    if restored:
        os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load(model) == packed(model) != first


def test_another_file_in_the_place_of_a_model_is_packed_again(folder, model, tmp_path):
    first = load(model)
    os.replace(saved(tmp_path / "other.gguf", seed=1), model)
    assert load(model) == packed(model) != first


def test_a_file_that_changes_while_it_is_packed_is_not_kept(folder, model, monkeypatch):
    whole = reading.in_turns

    def changing(jobs, count):
        whole(jobs, count)
        model.touch()
    monkeypatch.setattr(reading, "in_turns", changing)
    load(model)
    assert not files(folder)


def test_a_file_that_was_written_a_moment_ago_is_not_kept(folder, model, monkeypatch):
    monkeypatch.setattr(stored, "SETTLED", 10**18)
    load(model)
    assert not files(folder)


def test_sources_that_changed_under_the_process_keep_nothing(folder, model, monkeypatch):
    monkeypatch.setattr(keep, "sources_digest", lambda _: "of others")
    load(model)
    assert not files(folder)


def test_bytes_that_are_of_no_file_are_not_kept(folder, model):
    read(from_gguf(parse(model.read_bytes())), BY_NAME[ONE])
    assert not folder.exists()


def test_a_folder_of_safetensors_is_kept_too(folder, tmp_path, packings):
    place = save_folder(tmp_path, CONFIG, random_weights(CONFIG))
    assert load(place, "w8a14") == load(place, "w8a14") == packed(place, "w8a14")
    assert len(packings) == 2


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, folder, model, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not kept"):
        assert load(model) == packed(model)


@pytest.mark.parametrize(("value", "kept"), [("0", 0), ("0.000001", 0), ("1", 1), ("", 1)])
def test_the_limit_is_that_of_the_environment(value, kept, folder, model, monkeypatch):
    monkeypatch.setenv("PTO_WEIGHTS_CACHE_GB", value)
    load(model)
    assert len(files(folder)) == kept


@pytest.mark.parametrize("value", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(value, folder, model, monkeypatch):
    monkeypatch.setenv("PTO_WEIGHTS_CACHE_GB", value)
    with pytest.raises(UsageError, match="not a number of gigabytes"):
        load(model)


def test_memory_beside_the_packed_weights_is_bounded(folder, tmp_path, monkeypatch):
    """Whether they are packed or come from the disk: no matrix is held as a whole in anything else."""
    monkeypatch.setattr(reading, "AT_ONCE", 2**14)
    found = open_checkpoint(saved(tmp_path / "m.gguf", config=replace(CONFIG, layers=1, embed=512, ffn=2048)))
    for _ in range(2):
        tracemalloc.start()
        weights = read(found, BY_NAME["w8a14"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < sum(w.nbytes for w in weights.values()) + 2 * 2**20
    assert len(files(folder)) == 1
