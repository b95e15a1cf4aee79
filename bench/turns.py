"""Measure two ways of doing the same work in turns."""

import logging
import statistics
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def in_turns(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int = 3
) -> dict[str, Any]:
    """Measure both alternately, so that a slow minute of the machine slows both."""
    pairs = []
    for _ in range(rounds):
        pairs.append((ours(), theirs()))
        log.info("%.4g : %.4g = %.3g", *pairs[-1], pairs[-1][0] / pairs[-1][1])
    return entry([a for a, _ in pairs], [b for _, b in pairs])


def entry(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return a measure's entry in the results. The ratio is the median of the rounds' ratios."""
    runs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": statistics.median(runs),
        "runs": runs,
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
    }
