"""Sampling: distributions as they should be, draws that depend on seed and step alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pto.core.errors import UsageError
from pto.models.sampling import CANDIDATES, Sampling, choose, penalised, probabilities, uniform

VALUES = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))
IDS = np.array([7, 3, 11, 5])
ODDS = {7: 0.1, 3: 0.4, 11: 0.2, 5: 0.3}
DRAWS = 8000
candidates = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40).map(lambda v: np.array(v, np.float32))


def frequencies(sampling: Sampling, **more: object) -> dict[int, float]:
    drawn = [choose(VALUES, IDS, sampling, step=step, **more) for step in range(DRAWS)]
    return {token: drawn.count(token) / DRAWS for token in set(drawn)}


def assert_close(found: dict[int, float], odds: dict[int, float]) -> None:
    total = sum(odds.values())
    assert set(found) == set(odds)
    for token, weight in odds.items():
        p = weight / total
        assert abs(found[token] - p) < 5 * (p * (1 - p) / DRAWS) ** 0.5


@pytest.mark.parametrize(("sampling", "odds"), [
    (Sampling(temperature=1), ODDS),
    (Sampling(temperature=1, seed=99), ODDS),
    (Sampling(temperature=0.5), {t: p**2 for t, p in ODDS.items()}),
    (Sampling(temperature=2), {t: p**0.5 for t, p in ODDS.items()}),
    (Sampling(temperature=1, top_k=2), {3: 0.4, 5: 0.3}),
    (Sampling(temperature=1, top_p=0.65), {3: 0.4, 5: 0.3}),
    (Sampling(temperature=1, top_p=0.75), {3: 0.4, 5: 0.3, 11: 0.2}),
    (Sampling(temperature=1, top_k=3, top_p=0.5), {3: 0.4, 5: 0.3}),  # 0.4 of 0.9 is less than half
])
def test_draws_follow_the_distribution(sampling, odds):
    assert_close(frequencies(sampling), odds)


def test_a_penalty_makes_what_was_seen_rarer():
    """These logits are negative, so a penalty of two squares a probability."""
    expected = {3: 0.4**2, 5: 0.3, 7: 0.1**2, 11: 0.2}
    assert_close(frequencies(Sampling(temperature=1, repetition_penalty=2), seen=[3, 7, 7, 1000]), expected)


@pytest.mark.parametrize(("values", "best"), [((np.nan, 1, 2, 2), 4), ((np.nan, -np.inf), 6), ((np.nan, np.nan), 6)])
def test_greedy_takes_no_number_after_numbers(values, best):
    assert choose(np.array(values, np.float32), np.array([7, 6, 5, 4][:len(values)])) == best


@given(candidates)
def test_greedy_takes_the_best_and_of_equals_the_smallest(values):
    ids = np.arange(len(values))[::-1]
    best = choose(values, ids)
    assert values[list(ids).index(best)] == values.max()
    assert all(best <= i for i, value in zip(ids, values, strict=True) if value == values.max())


@given(candidates, st.floats(0.05, 3), st.integers(0, 50), st.floats(0.01, 1), st.integers(0, 2**64 - 1),
       st.integers(0, 99))
def test_the_order_of_candidates_does_not_matter(values, temperature, top_k, top_p, seed, step):
    sampling = Sampling(temperature, top_k, top_p, 1.3, seed)
    ids = np.arange(len(values)) * 3
    turned = np.random.default_rng(0).permutation(len(values))
    one = choose(values, ids, sampling, seen=[0, 6], step=step)
    assert one == choose(values[turned], ids[turned], sampling, seen=[6, 0], step=step)
    assert one in ids


@given(candidates, st.integers(0, 99))
def test_narrow_choices_are_the_greedy_one(values, step):
    ids = np.arange(len(values))
    for narrow in (Sampling(1, top_k=1), Sampling(1, top_p=1e-9), Sampling(1e-6)):
        token = choose(values, ids, narrow, step=step)
        assert values[token] >= values.max() - (1e-4 if narrow.temperature < 1 else 0)


def test_seed_and_step_alone_decide_a_draw():
    draws = np.array([[uniform(seed, step) for step in range(200)] for seed in (0, 1, 2**64 - 1)])
    np.testing.assert_array_equal(draws[1], [uniform(1, step) for step in range(200)])
    assert ((draws >= 0) & (draws < 1)).all() and len(np.unique(draws)) == draws.size
    assert abs(np.corrcoef(draws)[np.triu_indices(3, 1)]).max() < 0.3


def test_a_penalty_of_one_changes_nothing():
    np.testing.assert_array_equal(penalised(np.array([1.0, -1.0]), np.array([0, 1]), [0, 1], 1.0), [1, -1])
    np.testing.assert_array_equal(penalised(np.array([1.0, -1.0]), np.array([0, 1]), [0, 1], 2.0), [0.5, -2])


def test_very_large_logits_are_no_trouble():
    assert probabilities(np.array([1e30, -1e30]), 1e-3).tolist() == [1, 0]


@pytest.mark.parametrize("change", [
    {"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}, {"top_k": CANDIDATES + 1}, {"top_p": 0.0},
    {"top_p": 1.1}, {"repetition_penalty": 0.0}, {"repetition_penalty": float("inf")}, {"seed": -1}, {"seed": 2**64},
])
def test_impossible_settings_are_refused(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        replace(Sampling(), **change)
