"""The object cache: what it refuses, that it loads without Numba, and the portable path."""

import hashlib
import importlib
import os
import pickle
import subprocess
import sys
import time

import pytest

from pto.core.cache import HEADER, FileCache
from pto.sim import beside

CODE = os.urandom(300)
SCRIPT = """
import sys
import numpy as np
from pto.core.dtypes import F32
from pto.core.types import Layout, Space, TileType
from pto.isa.program import Inst, Program, TensorDecl, TileDecl, TileRef
from pto.isa.table import BY_MNEMONIC
from pto.sim.machine import Machine

kinds = [(Space.L1, Layout.ROW), (Space.L0A, Layout.ROW), (Space.L0B, Layout.PANEL), (Space.L0C, Layout.PANEL),
         (Space.UB, Layout.ROW)]
tiles = tuple(TileDecl(f"t{i}", TileType(F32, 16, 16, *kind), 0) for i, kind in enumerate(kinds))
lines = [("tload", TileRef(0), 0, 0, 0, 13, 13), ("textract", TileRef(1), TileRef(0), 0, 0, 13, 13),
         ("textract", TileRef(2), TileRef(0), 0, 0, 13, 13),
         ("tmatmul", TileRef(3), TileRef(1), TileRef(2), 13, 13, 13, 0), ("tmov", TileRef(4), TileRef(3), 13, 13),
         ("texp", TileRef(4), TileRef(4), 13, 13), ("tstore", 1, TileRef(4), 0, 0, 13, 13), ("halt",)]
tensors = (TensorDecl("x", F32, (13, 13)), TensorDecl("y", F32, (13, 13), written=True))
code = tuple(Inst(BY_MNEMONIC[name], tuple(args)) for name, *args in lines)
x, y = np.random.default_rng(0).standard_normal((13, 13), np.float32), np.zeros((13, 13), np.float32)
Machine(Program("p", "V2", (), tensors, tiles, code), exact=True).run([x, y], [])
assert np.allclose(y, np.exp(x @ x), rtol=1e-4)
print("numba" in sys.modules, y.tobytes().hex())
"""


@pytest.fixture
def cache(tmp_path):
    return FileCache("build" * 8, tmp_path / "objects")


def run(directory, script=SCRIPT, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True, text=True,
        env={**os.environ, "PTO_CACHE_DIR": str(directory), **environment},
    )
    imported, result = done.stdout.split()
    return imported == "True", result


def test_what_is_put_is_got(cache):
    assert cache.get("tadd") is None
    cache.put("tadd", CODE)
    assert cache.get("tadd") == CODE
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert cache.path("tadd").stat().st_mode & 0o077 == 0
    assert [p.name for p in cache.directory.iterdir()] == [cache.path("tadd").name]


@pytest.mark.parametrize("at", [0, 8, 12, 44, 52, HEADER.size, HEADER.size + 299])
def test_a_changed_byte_is_a_miss_and_is_replaced(cache, at):
    cache.put("tadd", CODE)
    content = bytearray(cache.path("tadd").read_bytes())
    content[at] ^= 1
    cache.path("tadd").write_bytes(content)
    assert cache.get("tadd") is None
    cache.put("tadd", CODE)
    assert cache.get("tadd") == CODE


@pytest.mark.parametrize("length", [0, 10, HEADER.size, HEADER.size + 299, HEADER.size + 301])
def test_a_wrong_length_is_a_miss(cache, length):
    cache.put("tadd", CODE)
    cache.path("tadd").write_bytes((cache.path("tadd").read_bytes() + b"x")[:length])
    assert cache.get("tadd") is None


def test_an_entry_of_another_function_or_build_is_a_miss(cache):
    cache.put("tadd", CODE)
    cache.path("tsub").write_bytes(cache.path("tadd").read_bytes())
    assert cache.get("tsub") is None
    other = FileCache(cache.build[:16] + "!", cache.directory)
    assert other.path("tadd") == cache.path("tadd")
    assert other.get("tadd") is None


def test_a_pickle_is_never_loaded(cache):
    class Bomb:
        def __reduce__(self):
            return os.abort, ()
    cache.path("tadd").write_bytes(pickle.dumps(Bomb()))
    assert cache.get("tadd") is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_may_write_to_is_not_used(tmp_path, mode):
    directory = tmp_path / "objects"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.warns(UserWarning, match="others may write"):
        cache = FileCache("b" * 32, directory)
    cache.put("tadd", CODE)
    assert cache.get("tadd") is None
    assert not list(directory.iterdir())


def test_a_directory_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.warns(UserWarning, match="another user"):
        assert not FileCache("b" * 32, tmp_path / "objects").usable


def test_a_path_that_cannot_be_made_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="not kept"):
        assert not FileCache("b" * 32, tmp_path / "file" / "objects").usable


def test_leftovers_are_swept(cache):
    old, ours, fresh = cache.directory / "old-tadd.bin", cache.path("tsub"), cache.directory / "new-tadd.bin"
    stale, young = cache.directory / "a.tmp", cache.directory / "b.tmp"
    for path in (old, ours, fresh, stale, young):
        path.write_bytes(b"")
    long_ago = time.time() - 100 * 86400
    for path in (old, ours, stale):
        os.utime(path, (long_ago, long_ago))
    cache.put("tadd", CODE)
    assert {p.name for p in cache.directory.iterdir()} == {
        cache.path("tadd").name, ours.name, fresh.name, young.name,
    }


def test_a_warm_start_needs_no_numba_and_a_broken_entry_is_compiled_again(tmp_path):
    cold = run(tmp_path)
    entries = sorted((tmp_path / "pto" / "objects").iterdir())
    assert cold[0]
    assert run(tmp_path) == (False, cold[1])
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in entries}
    broken = next(path for path in entries if "textract" in path.name)
    broken.write_bytes(broken.read_bytes()[:-1])
    assert run(tmp_path) == cold
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in entries} == before
    for path in entries:
        with pytest.raises(pickle.UnpicklingError):
            pickle.loads(path.read_bytes())  # noqa: S301 - it is ours, and must not be one


OTHER_NUMBA = """
import pto.sim.compile as compiler
from dataclasses import replace
def never(*_):
    raise SystemExit("a step was left out")
last = replace(compiler.STEPS[-1], {change})
compiler.STEPS = *(replace(step, instead=never) for step in compiler.STEPS[:-1]), last
"""


@pytest.mark.parametrize("change", ["name='of_old'", "parameters=('self', 'of_old')"])
def test_a_numba_without_a_step_as_it_is_known_compiles_by_its_usual_way(tmp_path, change):
    _, here = run(tmp_path / "known")
    assert run(tmp_path / "other", script=OTHER_NUMBA.format(change=change) + SCRIPT) == (True, here)


BESIDE = """
import pto.sim.beside as beside
beside.FEW, beside.available = 1, lambda: 3
{change}
"""


@pytest.mark.parametrize("change", ["", "beside.COMMAND = 'raise SystemExit(1)'", "beside.PATIENCE = 0",
                                    "beside.sys.executable = ''"])
def test_many_functions_are_compiled_by_several_processes(tmp_path, change):
    _, here = run(tmp_path / "alone")
    assert run(tmp_path / "beside", script=BESIDE.format(change=change) + SCRIPT) == (True, here)
    alone, several = ({path.name for path in (tmp_path / name).rglob("*.bin")} for name in ("alone", "beside"))
    assert alone == several


def test_processes_share_what_is_to_be_compiled(monkeypatch):
    monkeypatch.setattr(beside, "available", lambda: 4)
    names = [f"t{i}" for i in range(50)]
    assert sorted(name for share in beside.shares(names) for name in share) == sorted(names)
    assert [len(share) for share in beside.shares(names)] == [13, 13, 12, 12]
    assert beside.shares(names[:5]) == [names[:5]]


EDITED = """
import pto.sim.jit as jit
jit.sources_digest = lambda: "what an editor or a checkout has made of them"
"""


def test_code_of_sources_that_change_under_a_process_is_not_kept(tmp_path):
    _, here = run(tmp_path / "as_imported")
    assert run(tmp_path / "edited", script=EDITED + SCRIPT) == (True, here)
    assert not list((tmp_path / "edited").rglob("*.bin"))
    assert list((tmp_path / "as_imported").rglob("*.bin"))


def test_this_numba_has_the_steps_that_are_left_out():
    assert all(step.is_known for step in importlib.import_module("pto.sim.compile").STEPS)


def test_the_portable_path_gives_the_same_bits(tmp_path):
    _, here = run(tmp_path)
    imported, generic = run(tmp_path, NUMBA_CPU_NAME="generic")
    assert imported
    assert generic == here
