"""Test windows over posts that are longer than the model reads."""

import random
from itertools import pairwise

import pytest

from pipeline.prediction.windows import Window, windows


def test_a_post_that_fits_is_one_window() -> None:
    assert windows([2, 1, 3], 6) == [Window(0, 3, 0, 3)]


def test_an_empty_post_has_none() -> None:
    assert windows([], 6) == []


def test_windows_overlap_by_half() -> None:
    assert windows([1] * 8, 4) == [
        Window(0, 4, 0, 3),
        Window(2, 6, 3, 5),
        Window(4, 8, 5, 8),
    ]


def test_a_word_that_is_too_long_has_a_window_of_its_own() -> None:
    assert windows([1, 9, 1], 4) == [Window(0, 1, 0, 1), Window(1, 2, 1, 2), Window(2, 3, 2, 3)]


@pytest.mark.parametrize("seed", range(50))
def test_each_word_counts_in_one_window_and_is_inside_it(seed: int) -> None:
    chance = random.Random(seed)
    pieces = [chance.choice((0, 1, 1, 2, 3, 12)) for _ in range(chance.randint(1, 60))]
    room = chance.randint(4, 20)
    parts = windows(pieces, room)
    assert [n for part in parts for n in range(part.first, part.last)] == [*range(len(pieces))]
    for part in parts:
        assert part.start <= part.first <= part.last <= part.end
        assert sum(pieces[part.start : part.end]) <= room or part.end == part.start + 1
    # What counts is never at the very edge of a window unless the text ends, or no room is left.
    for part, after in pairwise(parts):
        assert after.start <= part.end
