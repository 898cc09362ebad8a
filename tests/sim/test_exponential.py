"""The fast exponential: within one unit in the last place of the exact one, the same wherever an element stands."""

from __future__ import annotations

import numpy as np
import pytest

from pto.isa.asm import assemble
from pto.sim.machine import Machine

TEXT = """\
.program e
.target V2
.param n 1 .. 65536
.param m 1 .. 512
.tensor %x f32[n, m] read
.tensor %b f32[n] read
.tensor %y f32[n, m] write
.tile %t tile<ub, 8x512xf32> at 0x0 slots 1
.tile %c tile<ub, 8x1xf32, col> at 0x8000 slots 1
mov r4, 0
rows:
sub r5, r2, r4
min r5, r5, 8
tload %t, %x, r4, 0, r5, r3
set_flag MTE2, V, 0
wait_flag MTE2, V, 0
{work}
set_flag V, MTE3, 0
wait_flag V, MTE3, 0
tstore %y, %t, r4, 0, r5, r3
pipe_barrier
add r4, r4, 8
blt r4, r2, rows
halt
"""
OF_TILE, OF_DIFFERENCE = "texp %t, %t, r5, r3", "texpands %c, 0.75, r5, 1\ntrowexpandexpdif %t, %t, %c, r5, r3"
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 87.3, -87.3, 87.31, -87.31, 88.72, 88.73, -103.9,
                    -104.1, 1e30, -1e30], np.float32)


def run(work: str, x: np.ndarray, *, exact: bool = False) -> np.ndarray:
    y = np.empty_like(x)
    Machine(assemble(TEXT.format(work=work)), exact=exact).run([x, np.zeros(len(x), np.float32), y], list(x.shape))
    return y


def units_apart(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Floats between two results, which are not negative; 0 for two NaNs."""
    apart = np.abs(one.view(np.int32).astype(np.int64) - two.view(np.int32))
    return np.where(np.isnan(one) & np.isnan(two), 0, apart)


def test_every_magnitude_is_within_one_unit_of_the_exact_mode() -> None:
    rng = np.random.default_rng(1)
    strata = np.arange(0, 1 << 32, 1 << 13, dtype=np.uint64) + rng.integers(0, 1 << 13, 1 << 19, np.uint64)
    x = strata.astype(np.uint32).view(np.float32).reshape(-1, 512)
    assert units_apart(run(OF_TILE, x), run(OF_TILE, x, exact=True)).max() <= 1
    near = rng.uniform(-105, 90, (1024, 512)).astype(np.float32)  # where most of the results are
    assert units_apart(run(OF_TILE, near), run(OF_TILE, near, exact=True)).max() <= 1


@pytest.mark.parametrize("cols", [1, 7, 31, 32, 33, 100, 512])
def test_a_value_does_not_depend_on_its_neighbours(cols: int) -> None:
    rng = np.random.default_rng(cols)
    x = np.where(rng.random((24, cols)) < 0.02, rng.choice(SPECIAL, (24, cols)), rng.uniform(-90, 90, (24, cols)))
    x = x.astype(np.float32)
    alone = run(OF_TILE, x.reshape(-1, 1)).reshape(x.shape)
    np.testing.assert_array_equal(run(OF_TILE, x).view(np.int32), alone.view(np.int32))


def test_what_a_mask_hides_gives_zero_and_changes_no_neighbour() -> None:
    rng = np.random.default_rng(7)
    hidden = rng.choice(np.float32([-np.inf, -1e30, -1e5, -104.5, -104, -103.98, -103.5, -88]), (24, 512))
    x = np.where(rng.random((24, 512)) < rng.random((24, 1)), hidden, rng.uniform(-60, 0, (24, 512)).astype(np.float32))
    x[3, 1::32] = np.nan  # one in each block
    alone = run(OF_TILE, x.reshape(-1, 1)).reshape(x.shape)
    np.testing.assert_array_equal(run(OF_TILE, x).view(np.int32), alone.view(np.int32))
    np.testing.assert_array_equal(alone[x <= -104].view(np.int32), 0)


def test_a_column_is_taken_away_first() -> None:
    x = np.random.default_rng(3).uniform(-95, 90, (20, 200)).astype(np.float32)
    x[3, :len(SPECIAL)] = SPECIAL
    expected = run(OF_TILE, x - np.float32(0.75))
    np.testing.assert_array_equal(run(OF_DIFFERENCE, x).view(np.int32), expected.view(np.int32))
