import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pto as pt
from pto.core.target import V1, V2
from pto.passes.pipeline import Options
from pto.runtime import keep, variant

SCRIPT = """
import numpy as np
import pto as pt
from pto.runtime import variant

compiled = []
right = variant.compile_graph
variant.compile_graph = lambda *a: compiled.append(1) or right(*a)

@pt.tile_kernel
def f(X, Y):
    return pt.relu(pt.matmul(X, Y)), X + {number}

a, b = f(np.ones((3, 4), np.float32), np.ones((4, 5), np.float32))
assert a[0, 0] == 4.0 and b[0, 0] == 1.0 + {number}
print(len(compiled))
"""


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    monkeypatch.setenv("PTO_CACHE_DIR", str(tmp_path / "cache"))
    keep.store.cache_clear()
    yield
    keep.store.cache_clear()


def run(tmp_path: Path, number: float, **more: str) -> int:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(number=number))
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": str(root), **more}, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_second_process_compiles_nothing_and_a_changed_kernel_is_compiled(tmp_path):
    assert run(tmp_path, 2.0) == 1
    assert run(tmp_path, 2.0, PYTHONHASHSEED="7") == 0
    assert run(tmp_path, 3.0) == 1
    assert run(tmp_path, 3.0, PTO_DISABLE_CACHE="1") == 1


@pt.tile_kernel
def double(X):
    return X * 2.0


def test_a_program_is_kept_for_its_target_and_its_tiles():
    double(np.ones((2, 3), np.float32))
    graph = double.compiled().traced.graph
    smaller = replace(V2, capacity=tuple((space, n // 2) for space, n in V2.capacity))
    options = [Options(), Options(V1), Options(smaller), Options(V2, {"tile_m": 8}), Options(V2, {"tile_n": 8})]
    assert len({keep.key(graph, o) for o in options}) == len(options)
    assert keep.key(graph, Options(V2, {"tile_m": 8, "tile_n": 4})) == keep.key(
        graph, Options(V2, {"tile_n": 4, "tile_m": 8}))


@pytest.mark.parametrize("damage", [
    lambda b: b[:-1], lambda b: b"", lambda b: b[:90] + b"x" + b[91:], lambda b: b + b"x",
])
def test_a_damaged_entry_is_compiled_again(damage, monkeypatch):
    double.variants.clear()
    double(np.ones((2, 3), np.float32))
    [entry] = keep.store().directory.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    double.variants.clear()
    made = []
    right = variant.compile_graph
    monkeypatch.setattr(variant, "compile_graph", lambda *a: made.append(1) or right(*a))
    assert (double(np.ones((2, 3), np.float32)) == 2.0).all()
    assert made == [1]


def test_a_kept_kernel_can_still_show_its_graphs():
    double(np.ones((2, 3), np.float32))
    double.variants.clear()
    double(np.ones((2, 3), np.float32))
    assert "tile.muls" in pt.text(double.graph("tile"))
