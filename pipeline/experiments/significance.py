"""Paired bootstrap over posts: intervals of F1 and of its differences (Koehn 2004)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
CHUNK = 500  # draws computed at once
LEVEL = 95  # percent of the draws inside an interval


@dataclass(frozen=True)
class Interval:
    """A figure on all posts, and the interval that holds LEVEL percent of its draws."""

    value: float
    low: float
    high: float


class Bootstrap:
    """F1 (0-100) of several runs on the same posts, and on draws of these posts with replacement.

    The draws are the same for all runs, so differences between runs are paired.
    """

    def __init__(self, figures: np.ndarray, draws: int = DRAWS, seed: int = 0) -> None:
        """Draw. figures: (runs, posts, 3) counts, as in `Counts`; posts in one order."""
        runs, posts, _ = figures.shape
        self.f1 = f1_of(figures.sum(1))  # (runs,)
        by_post = figures.transpose(1, 0, 2).reshape(posts, -1).astype(np.float64)
        random = np.random.default_rng(seed)
        sums = []
        for start in range(0, draws, CHUNK):
            count = min(CHUNK, draws - start)
            weights = random.multinomial(posts, np.full(posts, 1 / posts), size=count)
            sums.append((weights @ by_post).reshape(count, runs, 3))
        self.drawn = f1_of(np.concatenate(sums))  # (draws, runs)

    def mean(self, runs: Sequence[int]) -> Interval:
        """Return the mean F1 of some runs."""
        return _interval(self.f1[[*runs]].mean(), self.drawn[:, [*runs]].mean(1))

    def difference(self, runs: Sequence[int], others: Sequence[int]) -> Interval:
        """Return the mean F1 of some runs minus the mean F1 of others."""
        return _interval(
            self.f1[[*runs]].mean() - self.f1[[*others]].mean(),
            self.drawn[:, [*runs]].mean(1) - self.drawn[:, [*others]].mean(1),
        )


def f1_of(counts: np.ndarray) -> np.ndarray:
    """Return F1 (0-100) from counts (…, 3): correct, predicted, gold. 0 if there is nothing."""
    correct, predicted, gold = np.moveaxis(counts, -1, 0)
    total = predicted + gold
    return np.divide(200.0 * correct, total, out=np.zeros(total.shape), where=total > 0)


def _interval(value: float, drawn: np.ndarray) -> Interval:
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))
