"""Choose regions among a grounder's candidates: drop invalid boxes, then rank the others."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from features.grounding import Candidate
from features.pictures import Box

LEAST_SIDE = 8  # pixels; smaller crops show nothing


@dataclass(frozen=True)
class Rule:
    """The rule by which candidates become regions."""

    most: int = 3  # regions of a picture; m in the paper
    by_phrase: bool = False  # rank by the order of the phrases instead of the scores
    least_score: float = 0.0
    overlap: float = 0.5  # IoU; of two boxes that overlap more, the later is dropped
    per_phrase: int = 1  # boxes of a phrase


def usable(
    candidates: Sequence[Candidate], size: tuple[int, int], rejected: Counter[str]
) -> list[Candidate]:
    """Return the candidates with valid boxes, clamped to a picture of `size` (width, height).

    Counts the others in `rejected`, by their fault.
    """
    valid = []
    for candidate in candidates:
        box = clamp(candidate.box, size)
        fault = _fault(candidate, box)
        if fault is None:
            valid.append(replace(candidate, box=box))
        else:
            rejected[fault] += 1
    return valid


def clamp(box: Box, size: tuple[int, int]) -> Box:
    """Clamp a box to a picture of `size` (width, height); round it to a tenth of a pixel."""
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
    """Return at most `rule.most` candidates, in the order of the rule.

    phrases: in the order of the post.

    Only the best `rule.per_phrase` boxes of a phrase count. A box that overlaps a chosen one is
    dropped. Its phrase's runner-up does not replace it: that would be a different object.
    """
    good = [c for c in candidates if c.score >= rule.least_score]
    good.sort(key=lambda candidate: -candidate.score)
    counts: Counter[str | None] = Counter()
    ranked = []
    for candidate in good:
        rank = counts[candidate.phrase]
        counts[candidate.phrase] += 1
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
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared) if shared else 0.0
