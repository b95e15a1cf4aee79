"""Calibration of scores, and precision, recall and F1 by threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.training.score import prf

BINS = 15
THRESHOLDS = tuple(n / 20 for n in range(20))  # 0.00, 0.05, …, 0.95


@dataclass(frozen=True)
class Item:
    """A prediction with a score.

    score: the model's probability (0-1) that the prediction is correct.
    correct: the prediction equals the gold label.
    counted: precision and recall count it. False for the relation None.
    """

    score: float
    correct: bool
    counted: bool = True


def calibrated(items: Sequence[Item], asked: int) -> dict[str, Any]:
    """Return the entries `calibration` and `by_threshold` of a split's figures.

    asked: number of entities or relations in the gold labels: the denominator of recall.
    """
    return {"calibration": calibration(items), "by_threshold": by_threshold(items, asked)}


def calibration(items: Sequence[Item]) -> dict[str, Any]:
    """Return the expected calibration error (0-1) over equal-width bins of scores, and the bins.

    Guo et al. 2017, Eq. 3, with their 15 bins: bin m of M holds the scores in ((m-1)/M, m/M]; the
    first bin also holds 0. `confidence` (the mean score) and `accuracy` of an empty bin are None.
    Without any item, the error is None.
    """
    scores, correct, _ = _arrays(items)
    places = np.clip(np.ceil(scores * BINS).astype(int) - 1, 0, BINS - 1)
    bins: list[dict[str, Any]] = []
    gap = 0.0
    for place in range(BINS):
        inside = places == place
        count = int(inside.sum())
        confidence = float(scores[inside].mean()) if count else None
        accuracy = float(correct[inside].mean()) if count else None
        bins.append({"count": count, "confidence": confidence, "accuracy": accuracy})
        gap += abs(float(scores[inside].sum()) - int(correct[inside].sum()))
    return {"error": gap / len(items) if items else None, "bins": bins}


def by_threshold(items: Sequence[Item], asked: int) -> list[dict[str, float]]:
    """Return precision, recall and F1 (0-100) for each threshold in THRESHOLDS.

    Predictions with a lower score are dropped: entities are left out, relations become None.
    asked: as in `calibrated`.
    """
    scores, correct, counted = _arrays(items)
    rows = []
    for least in THRESHOLDS:
        kept = counted & (scores >= least)
        rows.append(
            {"min_score": least, **prf(int((kept & correct).sum()), int(kept.sum()), asked)}
        )
    return rows


def _arrays(items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, correct and counted, each of shape (items,)."""
    return (
        np.array([item.score for item in items], dtype=np.float64),
        np.array([item.correct for item in items], dtype=bool),
        np.array([item.counted for item in items], dtype=bool),
    )
