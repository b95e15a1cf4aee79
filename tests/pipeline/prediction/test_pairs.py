"""Test the relations of a post's entities: pairs, types, directions."""

import numpy as np
import pytest

from pipeline.prediction.pairs import allowed, best, pairs_of, types_of
from pipeline.prediction.prediction import Relation

MNRE = ["None", "/per/org/member_of", "/per/per/peer", "/loc/loc/contain"]
PLAIN = ["None", "friends", "works_for"]


def test_pairs_are_ordered() -> None:
    assert pairs_of(["", "", ""], PLAIN) == [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    assert pairs_of([""], PLAIN) == pairs_of([], PLAIN) == []


def test_pairs_that_no_relation_fits_are_not_asked_about() -> None:
    assert pairs_of(["PER", "ORG", "LOC"], MNRE) == [(0, 1)]
    assert pairs_of(["PER", "ORG", "DATE"], MNRE) == [(0, 1), (0, 2), (2, 0), (2, 1)]


def test_labels_like_mnres_carry_types() -> None:
    assert types_of("/per/org/member_of") == ("per", "org")
    assert [types_of(name) for name in ("None", "a/b/c/d", "/per/org", "works_for")] == [None] * 4


@pytest.mark.parametrize(
    ("head", "tail", "good"),
    [
        ("PER", "ORG", [True, True, False, False]),
        ("person", "Organization", [True, True, False, False]),
        ("ORG", "PER", [True, False, False, False]),  # not even the reverse
        ("PER", "DATE", [True, True, True, False]),  # no label carries DATE: any tail
        ("", "", [True, True, True, True]),  # types are not known
    ],
)
def test_types_are_respected(head: str, tail: str, good: list[bool]) -> None:
    assert allowed(MNRE, head, tail).tolist() == good


def test_labels_without_types_go_with_all() -> None:
    assert allowed(PLAIN, "PER", "ORG").all()


def test_the_likeliest_label_that_goes_with_the_types() -> None:
    answers = {(0, 1): np.array([0.1, 0.3, 0.4, 0.2])}
    assert best(answers, MNRE, ["PER", "ORG"]) == [Relation(0, 1, "/per/org/member_of", 0.3)]
    assert best(answers, MNRE, ["", ""]) == [Relation(0, 1, "/per/per/peer", 0.4)]


def test_none_is_no_relation() -> None:
    assert best({(0, 1): np.array([0.5, 0.4, 0.1])}, PLAIN, ["", ""]) == []


def test_of_two_directions_the_likelier() -> None:
    answers = {(0, 1): np.array([0.1, 0.7, 0.2]), (1, 0): np.array([0.0, 0.1, 0.9])}
    assert best(answers, PLAIN, ["", ""]) == [Relation(1, 0, "works_for", 0.9)]
    answers[(1, 0)] = np.array([0.9, 0.0, 0.1])
    assert best(answers, PLAIN, ["", ""]) == [Relation(0, 1, "friends", 0.7)]
