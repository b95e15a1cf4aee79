"""From candidates to regions: which boxes are boxes, and which of them are worth a crop."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from features.grounding import Candidate
from features.pictures import Box

LEAST_SIDE = 8  # pixels of the picture; less shows nothing


@dataclass(frozen=True)
class Rule:
    """How candidates become regions."""

    most: int = 3  # m of the paper
    by_phrase: bool = False  # in the order of the phrases, not of the scores
    least_score: float = 0.0
    overlap: float = 0.5  # intersection over union; above it the later of two boxes goes
    per_phrase: int = 1  # boxes


def usable(
    candidates: Sequence[Candidate], size: tuple[int, int], rejected: Counter[str]
) -> list[Candidate]:
    """The candidates that are boxes, clamped to a picture of `size` (width, height).

    The others are counted into `rejected` by what is wrong with them.
    """
    found = []
    for candidate in candidates:
        box = clamp(candidate.box, size)
        fault = _fault(candidate, box)
        if fault is None:
            found.append(replace(candidate, box=box))
        else:
            rejected[fault] += 1
    return found


def clamp(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box that lies in a picture of `size` (width, height), to a tenth of a pixel."""
    x0, y0, x1, y1 = (
        round(min(max(side, 0.0), float(limit)), 1) if math.isfinite(side) else side
        for side, limit in zip(box, size * 2, strict=True)
    )
    return x0, y0, x1, y1


def _fault(candidate: Candidate, clamped: Box) -> str | None:
    x0, y0, x1, y1 = candidate.box
    if not all(map(math.isfinite, (*candidate.box, candidate.score))):
        return "not finite"
    if x0 >= x1 or y0 >= y1:
        return "inverted or empty"
    width, height = clamped[2] - clamped[0], clamped[3] - clamped[1]
    if width <= 0 or height <= 0:
        return "outside the picture"
    if min(width, height) < LEAST_SIDE:
        return f"smaller than {LEAST_SIDE} pixels"
    return None


def choose(
    candidates: Sequence[Candidate], rule: Rule, phrases: Sequence[str] = ()
) -> list[Candidate]:
    """At most `rule.most` of them, in order. phrases: what was asked for, in the post's order.

    A phrase offers its best `per_phrase` boxes alone: where they overlap with those of another
    phrase, its object is there already, and its next best box would be another one.
    """
    good = [c for c in candidates if c.score >= rule.least_score]
    good.sort(key=lambda candidate: -candidate.score)
    seen: Counter[str | None] = Counter()
    ranked = []
    for candidate in good:
        rank = seen[candidate.phrase]
        seen[candidate.phrase] += 1
        if candidate.phrase is None or rank < rule.per_phrase:
            ranked.append((rank, candidate))
    if rule.by_phrase:
        places = {phrase: n for n, phrase in enumerate(phrases)}
        ranked.sort(key=lambda pair: (pair[0], places.get(str(pair[1].phrase), 0)))
    chosen: list[Candidate] = []
    for _, candidate in ranked:
        if all(iou(candidate.box, other.box) <= rule.overlap for other in chosen):
            chosen.append(candidate)
    return chosen[: rule.most]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared) if shared else 0.0
