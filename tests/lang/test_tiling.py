"""`@pt.tile_optimizer`: tiles that a function of the configuration gives are those of the program."""
# ruff: noqa: F821 (names of options)

from __future__ import annotations

import numpy as np
import pytest

import pto as pt
from pto.core.types import TileType

SEEN: list[pt.TileConfig] = []


@pt.tile_optimizer
def by_hardware(config):
    SEEN.append(config)
    if config.hardware == "AI_Accelerator_V1":
        return {"tile_m": 32, "tile_n": 64, "tile_k": 16}
    return {"tile_m": 64, "tile_n": min(128, config.shapes["B"][1]), "tile_k": 32}


def gemm(A, B):
    return pt.matmul(A, B)


def capacities(kernel: pt.Kernel) -> set[tuple[int, int]]:
    """Extents of the tiles of the products' results."""
    found = [n.type for _, _, n in kernel.graph("tile").walk() if n.op.name == "tile.matmul"]
    return {(t.rows, t.cols) for t in found if isinstance(t, TileType)}


@pytest.mark.parametrize(("target", "want"), [("V1", (32, 64)), ("V2", (64, 100))])
def test_the_compiler_uses_the_tiles(target, want):
    a, b = np.ones((200, 90), np.float32), np.ones((90, 100), np.float32)
    kernel = pt.tile_kernel(gemm, target=target, tiles=by_hardware)
    np.testing.assert_array_equal(kernel(a, b), a @ b)
    assert capacities(kernel) == {want}
    config = SEEN[-1]
    assert config.hardware == f"AI_Accelerator_{target}" and config.kernel == "gemm"
    assert config.shapes == {"A": (200, 90), "B": (90, 100)} and config.dtypes["A"] == pt.f32
    assert config.memory["ub"] == {"V1": 192, "V2": 256}[target] * 1024 and config.cores > 1


def test_it_may_stand_above_a_kernel_and_give_its_options():
    @pt.tile_optimizer
    def narrow(config):
        return {"width": config.options["width"] // 2}

    @narrow
    @pt.tile_kernel(width=64)
    def doubled(x, out):
        for j in pt.range(0, x.shape[0], width):
            out[j:j + width] = x[j:j + width] * 2.0

    x, out = np.arange(100, dtype=np.float32), np.zeros(100, np.float32)
    doubled(x, out)
    np.testing.assert_array_equal(out, x * 2)
    assert {n.type.cols for _, _, n in doubled.graph("tile").walk() if n.op.name == "tile.load"} == {32}


def test_it_may_direct_a_method():
    class Model:
        @pt.tile_kernel(tiles=by_hardware)
        def forward(self, A, B):
            return pt.matmul(A, B)

    a = np.ones((70, 70), np.float32)
    np.testing.assert_array_equal(Model().forward(a, a), a @ a)


@pytest.mark.parametrize(("given", "said"), [
    (None, "not a dict"), ({"tile_m": 0}, "tile_m = 0"), ({"tile_m": 1.5}, "tile_m = 1.5"),
    ({"tile_q": 8}, "no option of gemm"),
])
def test_what_is_no_tile_is_refused_at_the_optimizer(given, said):
    @pt.tile_optimizer
    def wrong(config):
        return given

    with pytest.raises(pt.PtoError, match=said) as caught:
        pt.tile_kernel(gemm, tiles=wrong)(np.ones((4, 4), np.float32), np.ones((4, 4), np.float32))
    assert caught.value.loc.file == __file__


def test_it_is_for_kernels():
    with pytest.raises(pt.PtoError, match="for a kernel"):
        by_hardware(gemm)
    with pytest.raises(pt.PtoError, match="not a tile optimizer"):
        pt.tile_kernel(gemm, tiles=lambda config: {})
