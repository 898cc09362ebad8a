"""Short forms of transcendental functions: near the exact mode for every kind of argument, and the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from pto.isa.asm import assemble
from pto.sim.machine import Machine
from tests.sim.bounds import APPROXIMATE, is_near

ROWS, COLS = 32, 1024
FUNCTIONS = ("tlog", "tsin", "tcos", "ttanh", "tsigmoid", "terf", "tsilu", "tgelu", "texp")
# What they stand for, from %a by way of %b.
SEQUENCES = {
    "tsilu": ("tmuls %b, %a, -1.0", "texp %b, %b", "tadds %b, %b, 1.0", "tdiv %a, %a, %b"),
    "tgelu": ("tmul %b, %a, %a", "tmuls %b, %b, -0.07135481627260025", "tadds %b, %b, -1.5957691216057308",
              "tmul %b, %a, %b", "texp %b, %b", "tadds %b, %b, 1.0", "tdiv %a, %a, %b"),
}


def machine(*steps: str, exact: bool, rows: int = ROWS, cols: int = COLS) -> Machine:
    region = f"{rows}, {cols}"
    lines = (
        ".program p", ".target V2", f".tensor %X f32[{rows}, {cols}] read", f".tensor %Y f32[{rows}, {cols}] write",
        *(f".tile %{name} tile<ub, {rows}x{cols}xf32> at {at} slots 1" for name, at in (("a", 0), ("b", 0x20000))),
    )
    body = (f"tload %a, %X, 0, 0, {region}", "set_flag MTE2, V, 0", "wait_flag MTE2, V, 0",
            *(f"{step}, {region}" for step in steps), "set_flag V, MTE3, 0", "wait_flag V, MTE3, 0",
            f"tstore %Y, %a, 0, 0, {region}", "halt")
    return Machine(assemble("\n".join((*lines, *body)), "p.ptoas"), exact=exact)


def run(made: Machine, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    made.run([x, y])
    return y


def arguments(seed: int, rows: int = ROWS, cols: int = COLS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = rows * cols
    found = {
        "of any bits": rng.integers(0, 2**32, count, np.uint64).astype(np.uint32).view(np.float32),
        "usual": rng.standard_normal(count) * 3, "near": rng.uniform(-1, 1, count),
        "of a range": rng.uniform(-88, 88, count),  # beyond, a power may overflow in one mode alone
        "of any size": np.exp2(rng.uniform(-30, 13, count)) * rng.choice([-1, 1], count),
    }
    return {name: np.asarray(x, np.float32).reshape(rows, cols) for name, x in found.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fast_mode_is_near_exact_mode(name: str) -> None:
    exact, fast = (machine(f"{name} %a, %a", exact=mode) for mode in (True, False))
    row = next(row for row in APPROXIMATE if row.mnemonic == name)
    for seed in range(3):
        for kind, x in arguments(seed).items():
            assert is_near(run(exact, x), run(fast, x), APPROXIMATE[row]).all(), kind


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_value_is_the_same_wherever_it_stands(name: str) -> None:
    """Also beside arguments that the short form does not serve, and in what is left of a row."""
    whole, narrow = machine(f"{name} %a, %a", exact=False, rows=8, cols=64), machine(
        f"{name} %a, %a", exact=False, rows=8, cols=37)
    x = arguments(7, 8, 64)["usual"]
    beside = x.copy()
    beside[:, ::5] = np.resize(np.array([np.nan, np.inf, -np.inf, -1e30, 1e-40], np.float32), beside[:, ::5].shape)
    same = x.view(np.uint32) == beside.view(np.uint32)
    first, second = run(whole, x).view(np.uint32), run(whole, beside).view(np.uint32)
    np.testing.assert_array_equal(first[same], second[same])
    np.testing.assert_array_equal(run(narrow, np.ascontiguousarray(x[:, :37])).view(np.uint32), first[:, :37])


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", SEQUENCES)
def test_a_row_that_stands_for_others_has_their_bits(name: str, exact: bool) -> None:
    one, many = (machine(*steps, exact=exact) for steps in ((f"{name} %a, %a",), SEQUENCES[name]))
    for kind, x in arguments(11).items():
        np.testing.assert_array_equal(run(one, x).view(np.uint32), run(many, x).view(np.uint32), kind)
