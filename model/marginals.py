"""Marginal probabilities of a linear-chain CRF, by forward-backward sums in log space."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Chain:
    """A linear-chain CRF over a sequence of W ≥ 1 tokens; all scores are float64 logarithms.

    start, end: (K,), scores of the first and the last tag.
    transitions: (K, K), from the tag of the row to the tag of the column.
    emissions: (W, K).

    A tag sequence's probability is proportional to the exponential of the sum of its scores.
    """

    start: np.ndarray
    transitions: np.ndarray
    end: np.ndarray
    emissions: np.ndarray

    @cached_property
    def alphas(self) -> np.ndarray:
        """(W, K): log sum over all prefixes that end with tag k at place w, with its emission."""
        alphas = np.empty_like(self.emissions)
        alphas[0] = self.start + self.emissions[0]
        for place in range(1, len(alphas)):
            alphas[place] = self._step(alphas[place - 1], place)
        return alphas

    @cached_property
    def betas(self) -> np.ndarray:
        """(W, K): log sum over all suffixes after tag k at place w, with the end score."""
        betas = np.empty_like(self.emissions)
        betas[-1] = self.end
        for place in range(len(betas) - 2, -1, -1):
            behind = self.emissions[place + 1] + betas[place + 1]
            betas[place] = np.logaddexp.reduce(self.transitions + behind, axis=1)
        return betas

    @cached_property
    def normalizer(self) -> float:
        """Log sum over all tag sequences."""
        return float(np.logaddexp.reduce(self.alphas[-1] + self.end))

    def probability(self, allowed: Mapping[int, np.ndarray]) -> float:
        """Return the probability (0 to 1) that the tags at some places are in the allowed sets.

        allowed: place -> (K,) bool, True for each allowed tag. Tags at other places are free.
        """
        if not allowed:
            return 1.0
        first, last = min(allowed), max(allowed)
        assert 0 <= first <= last < len(self.emissions), (first, last, len(self.emissions))
        scores = _only(self.alphas[first], allowed[first])
        for place in range(first + 1, last + 1):
            scores = self._step(scores, place)
            if place in allowed:
                scores = _only(scores, allowed[place])
        within = np.logaddexp.reduce(scores + self.betas[last])
        return min(float(np.exp(within - self.normalizer)), 1.0)  # rounding may exceed 1

    def _step(self, scores: np.ndarray, place: int) -> np.ndarray:
        """Compute the log sums (K,) at a place, given those of the place before."""
        reached = np.logaddexp.reduce(scores[:, None] + self.transitions, axis=0)
        return np.asarray(reached + self.emissions[place])


def _only(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Set scores (K,) to minus infinity where the tag is not allowed."""
    return np.where(allowed, scores, -np.inf)
