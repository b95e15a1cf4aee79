"""Cut posts that are longer than the model reads into overlapping windows of words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Window:
    """The words [start, end), read together. Only entities that begin in [first, last) are kept."""

    start: int
    end: int
    first: int
    last: int


def windows(pieces: Sequence[int], room: int) -> list[Window]:
    """Cut a sentence into windows of at most `room` word pieces that overlap by about half.

    pieces: number of pieces of each word. In the overlap of two windows, entities that begin in the
    first half are taken from the earlier window. A word of more than `room` pieces is a window by
    itself.
    """
    spans: list[tuple[int, int]] = []
    start = end = 0
    while end < len(pieces):
        end, used = start, 0
        while end < len(pieces) and (used + pieces[end] <= room or end == start):
            used += pieces[end]
            end += 1
        if not spans or end > spans[-1][1]:
            spans.append((start, end))
        start = _half(pieces, start, end)
    bounds = [0]
    for (_, before), (after, _) in pairwise(spans):
        bounds.append((after + before + 1) // 2)
    bounds.append(len(pieces))
    return [
        Window(*span, first, last)
        for span, first, last in zip(spans, bounds, bounds[1:], strict=False)
    ]


def _half(pieces: Sequence[int], start: int, end: int) -> int:
    """Return the first word after half of a window's pieces, at least start + 1."""
    half, used = sum(pieces[start:end]) / 2, 0
    for place in range(start, end):
        used += pieces[place]
        if used >= half:
            return place + 1
    return end
