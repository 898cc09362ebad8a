"""The next token, chosen on the host among the few candidates that the machine returns. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pto.core.errors import UsageError

CANDIDATES = 1024  # at most


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose. The default is greedy.

    Attributes:
        temperature: logits are divided by it; 0 takes the best.
        top_k: draw among so many; 0 means all candidates.
        top_p: draw among the likeliest whose probabilities reach this sum.
        repetition_penalty: logits of tokens that were seen are divided by it if positive, else multiplied.
        seed: equal seeds draw equal tokens.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            (math.isfinite(self.temperature) and self.temperature >= 0, "temperature is a number from 0 up"),
            (0 <= self.top_k <= CANDIDATES, f"top_k is an integer from 0 to {CANDIDATES}"),
            (0 < self.top_p <= 1, "top_p is a probability above 0, at most 1"),
            (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0,
             "repetition_penalty is a positive number"),
            (0 <= self.seed < 2**64, "seed is an integer from 0 to 2^64 - 1"),
        )
        for sound, rule in checks:
            if not sound:
                raise UsageError(rule)


GREEDY = Sampling()


def choose(values: NDArray[np.float32], ids: NDArray[np.integer], sampling: Sampling = GREEDY, *,
           seen: Iterable[int] = (), step: int = 0) -> int:
    """The id of the next token.

    Args:
        values, ids: logits and token ids of the candidates, [n], n <= CANDIDATES, in any order.
        seen: tokens of the text so far, for the repetition penalty.
        step: number of the token in its text; seed and step alone decide the draw.
    """
    logits = penalised(values, ids, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return best(logits, ids)
    order = np.lexsort((ids, -logits))  # of equal logits the smaller id is the better
    kept = order[:sampling.top_k or None]
    odds = probabilities(logits[kept], sampling.temperature)
    kept_sum = np.cumsum(odds)
    count = min(int(np.searchsorted(kept_sum, sampling.top_p * kept_sum[-1])) + 1, len(kept))
    drawn = np.searchsorted(kept_sum[:count], uniform(sampling.seed, step) * kept_sum[count - 1], side="right")
    return int(ids[kept[min(int(drawn), count - 1)]])


def best(logits: NDArray[np.floating], ids: NDArray[np.integer]) -> int:
    """The id with the largest logit that is a number; of equal logits the smallest id.

    Without NumPy: after each token its code comes from memory again, which takes longer than a few numbers.
    """
    pairs = zip(logits.tolist(), ids.tolist(), strict=True)
    return int(-max((x == x, x if x == x else 0.0, -token) for x, token in pairs)[2])


def penalised(values: NDArray[np.float32], ids: NDArray[np.integer], seen: Iterable[int],
              penalty: float) -> NDArray[np.floating]:
    """Logits, with those of tokens that were seen made worse by the penalty."""
    if penalty == 1:
        return values
    logits = values.astype(np.float64)
    again = np.isin(ids, np.fromiter(seen, np.int64))
    return np.where(again, np.where(logits > 0, logits / penalty, logits * penalty), logits)


def probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax of logits at a positive temperature."""
    with np.errstate(over="ignore", under="ignore"):
        e = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    odds: NDArray[np.float64] = e / e.sum()
    return odds


def uniform(seed: int, step: int) -> float:
    """A number in [0, 1) for each step of a seed: a counter-based generator, so that no state is carried."""
    return float(np.random.Generator(np.random.Philox(key=seed, counter=step)).random())
