"""Tests of candidates: valid boxes, and the choice of regions."""

import math
from collections import Counter

import pytest

from features.grounding import Candidate
from features.grounding.select import Rule, choose, clamp, iou, usable
from features.pictures import Box

NAN, INF = math.nan, math.inf
A: Box = (0, 0, 100, 100)
B: Box = (200, 0, 300, 100)
C: Box = (400, 0, 500, 100)


def summary(candidates: list[Candidate]) -> str:
    return " ".join(f"{c.phrase}{c.score:.1f}" for c in candidates)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((NAN, 0, 50, 50), "not finite"),
        ((0, 0, INF, 50), "not finite"),
        ((50, 0, 20, 50), "inverted or empty"),
        ((0, 50, 20, 50), "inverted or empty"),
        ((0, 60, 20, 50), "inverted or empty"),
        ((650, 0, 700, 50), "outside the picture"),
        ((-90, 0, -10, 50), "outside the picture"),
        ((0, 0, 7.9, 50), "smaller than 8 pixels"),
        ((0, 473, 50, 500), "smaller than 8 pixels"),
    ],
)
def test_an_invalid_box_is_rejected_and_counted(box: Box, fault: str) -> None:
    rejected: Counter[str] = Counter()
    assert usable([Candidate("a", box, 0.5)], (640, 480), rejected) == []
    assert rejected == {fault: 1}


def test_a_box_without_a_score_is_rejected() -> None:
    rejected: Counter[str] = Counter()
    assert usable([Candidate("a", A, NAN)], (640, 480), rejected) == []
    assert rejected == {"not finite": 1}


def test_boxes_are_clamped_to_the_picture() -> None:
    valid = usable([Candidate("a", (-5.26, 3.14159, 700, 481), 0.5)], (640, 480), Counter())
    assert valid == [Candidate("a", (0.0, 3.1, 640.0, 480.0), 0.5)]


def test_a_box_of_eight_pixels_is_kept() -> None:
    rejected: Counter[str] = Counter()
    assert len(usable([Candidate("a", (632, 0, 650, 8), 0.5)], (640, 480), rejected)) == 1
    assert not rejected


def test_clamping_keeps_nan_and_infinity() -> None:
    assert str(clamp((NAN, -1, INF, 50), (640, 480))) == "(nan, 0.0, inf, 50)"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (A, A, 1.0),
        (A, B, 0.0),
        (A, (50, 0, 150, 100), 1 / 3),
        (A, (0, 0, 100, 50), 0.5),
        (A, (100, 0, 200, 100), 0.0),
    ],
)
def test_intersection_over_union(a: Box, b: Box, expected: float) -> None:
    assert iou(a, b) == iou(b, a) == pytest.approx(expected)


def test_the_best_come_first() -> None:
    candidates = [Candidate("x", A, 0.3), Candidate("y", B, 0.9), Candidate("z", C, 0.6)]
    assert summary(choose(candidates, Rule())) == "y0.9 z0.6 x0.3"
    assert summary(choose(candidates, Rule(most=2))) == "y0.9 z0.6"


def test_by_phrase_the_first_phrases_come_first() -> None:
    candidates = [Candidate("x", A, 0.3), Candidate("y", B, 0.9), Candidate("z", C, 0.6)]
    assert summary(choose(candidates, Rule(by_phrase=True), "xyz")) == "x0.3 y0.9 z0.6"
    assert summary(choose(candidates, Rule(by_phrase=True, most=1), "xyz")) == "x0.3"


def test_by_phrase_each_phrase_has_its_turn() -> None:
    candidates = [
        Candidate("x", A, 0.3),
        Candidate("x", B, 0.5),
        Candidate("y", C, 0.9),
    ]
    assert summary(choose(candidates, Rule(by_phrase=True, per_phrase=2), "xy")) == "x0.5 y0.9 x0.3"


def test_a_low_score_gives_no_region() -> None:
    candidates = [Candidate("x", A, 0.2), Candidate("y", B, 0.25)]
    assert summary(choose(candidates, Rule(least_score=0.25))) == "y0.2"


def test_one_object_is_one_region_whatever_it_is_called() -> None:
    shifted: Box = (10, 0, 110, 100)  # IoU 0.82
    candidates = [Candidate("x", A, 0.5), Candidate("y", shifted, 0.9), Candidate("z", B, 0.1)]
    assert summary(choose(candidates, Rule())) == "y0.9 z0.1"
    assert summary(choose(candidates, Rule(by_phrase=True), "xyz")) == "x0.5 z0.1"
    assert summary(choose(candidates, Rule(overlap=0.9))) == "y0.9 x0.5 z0.1"


def test_a_phrase_whose_object_is_chosen_already_gets_no_runner_up() -> None:
    candidates = [Candidate("x", A, 0.9), Candidate("y", A, 0.5), Candidate("y", B, 0.4)]
    assert summary(choose(candidates, Rule())) == "x0.9"
    assert summary(choose(candidates, Rule(per_phrase=2))) == "x0.9 y0.4"


def test_without_phrases_all_candidates_count() -> None:
    candidates = [Candidate(None, box, 0.5) for box in (A, B, C)]
    assert [c.box for c in choose(candidates, Rule())] == [A, B, C]


def test_equal_scores_keep_their_order() -> None:
    candidates = [Candidate(name, box, 0.5) for name, box in (("c", A), ("a", B), ("b", C))]
    assert summary(choose(candidates, Rule())) == "c0.5 a0.5 b0.5"
