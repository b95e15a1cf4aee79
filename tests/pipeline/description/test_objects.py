"""The describer `objects`: phrases of the regions, as texts."""

import logging
from pathlib import Path

import pytest

from features.grounding import Region
from pipeline.description.objects import describe_objects
from pipeline.description.texts import StoredTexts
from pipeline.grounding.crops import Grounded


def post(*regions: tuple[str | None, float | None]) -> Grounded:
    """A post with regions of these phrases and scores."""
    found = [Region(phrase, (0, 0, 9, 9), score, None, "detector") for phrase, score in regions]
    return Grounded("1", "train", ("x",), "a.jpg", None, ("unused",), tuple(found))


def described(folder: Path, *posts: Grounded) -> list[str]:
    describe_objects(posts, {"describer": "objects"}, folder)
    return StoredTexts.open(folder)(range(len(posts)))


def test_phrases_follow_each_other_by_score_each_once(tmp_path: Path) -> None:
    first = post(("a cat", 0.3), ("a  red\ncar", 0.9), ("a cat", 0.8), ("the sun", 0.5))
    second = post(("the sun", 0.1), (None, 0.9))
    assert described(tmp_path, first, second, post()) == [
        "a red car, a cat, the sun",
        "the sun",
        "",
    ]


def test_regions_without_phrases_are_no_texts_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    assert described(tmp_path, post((None, 0.9)), post((None, None))) == ["", ""]
    assert caplog.messages[-1].startswith("no region has a phrase, so no post has a text")
    caplog.clear()
    described(tmp_path, post(("a cat", None)), post((None, 0.2)))
    assert len(caplog.messages) == 1
