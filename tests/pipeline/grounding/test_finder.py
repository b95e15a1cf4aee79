"""Asking grounders without a store: pictures that are not files, grounders that stay loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.grounding import Candidate
from features.pictures import PictureError, Source, open_picture, picture_size
from pipeline.corpus.post import Post
from pipeline.engine.digests import of_file
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.grounding.finder import (
    Answer,
    BoxCache,
    Question,
    Unremembered,
    make_finder,
    make_unremembered,
)
from pipeline.grounding.ground import Pictures, Regions, find_regions, released_regions
from pipeline.grounding.phrases import Phrases
from pipeline.grounding.report import Counts
from pipeline.machine import Machine
from tests.features.test_pictures import content, drawn

BOX = (10.0, 20.0, 90.0, 110.0)
PICTURES: dict[str, Source] = {
    "first": drawn(200, 150),
    "https://example.org/second.jpg?size=2": content(drawn(120, 150), "PNG"),
    "/no/folder/third.jpg": content(drawn(200, 150, 3), "JPEG"),
    "half": content(drawn(200, 150), "PNG")[:5000],
}


@dataclass
class Same:
    """A grounder that gives the same box for each phrase, with the picture's mean as its score."""

    name: str = "detector"
    joint: bool = True
    one_size: bool = True
    batches: list[int] = field(default_factory=list)

    def find(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        self.batches.append(len(pictures))
        scores = [float(np.asarray(picture).mean()) / 255 for picture in pictures]
        return [
            [Candidate(phrase, BOX, score) for phrase in asked]
            for asked, score in zip(phrases, scores, strict=True)
        ]


def by_name(sources: dict[str, Source]) -> Callable[[Path], Image.Image]:
    """Return an opener for pictures that are not files."""
    paths = {Path(name): source for name, source in sources.items()}
    return lambda path: open_picture(paths[path])


def questions(*names: str) -> list[Question]:
    return [Question(Path(name), picture_size(PICTURES[name]), ("dog",)) for name in names]


def test_each_question_gets_its_own_answer() -> None:
    grounder = Same()
    finder = Unremembered("detector", lambda: grounder, by_name(PICTURES), 2, 2)
    asked = questions(*PICTURES)
    answers = finder.answers([*asked, asked[0]])
    assert finder.answered == 3
    for question, source in zip(asked[:3], list(PICTURES.values())[:3], strict=True):
        answer = answers[question]
        assert isinstance(answer, Answer)
        assert answer.size == question.size
        expected = float(np.asarray(open_picture(source)).mean()) / 255
        assert answer.candidates == (Candidate("dog", BOX, expected),)
    broken = answers[asked[3]]
    assert isinstance(broken, PictureError)
    assert str(broken) == broken.reason


def test_a_grounder_is_loaded_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Same] = []

    def make() -> Same:
        made.append(Same())
        return made[-1]

    sources = {"salience": lambda config, machine: (lambda content: ["x"], make)}
    monkeypatch.setattr("pipeline.grounding.finder._GROUNDERS", sources)
    opener = by_name(PICTURES)
    finder = make_unremembered("salience", GroundConfig(), Machine(threads=1), opener)
    assert not made  # no picture yet
    finder.answers(questions("first"))
    finder.answers(questions("/no/folder/third.jpg"))
    other = replace(finder, open_file=by_name({"first": PICTURES["/no/folder/third.jpg"]}))
    other.answers(questions("first"))
    assert [grounder.batches for grounder in made] == [[1, 1, 1]]
    assert (finder.answered, other.answered) == (1, 1)


def test_no_digest_is_computed_without_a_cache(tmp_path: Path) -> None:
    """Missing weights are an error when the grounder is loaded, not before."""
    config = GroundConfig(
        Grounders("faoa"), weights=str(tmp_path / "a.pth"), vocabulary="x", trained_on="unc"
    )
    finder = make_unremembered("faoa", config, Machine("cpu"), open_picture)
    assert finder.identity == ()
    assert finder.answers([]) == {}


def test_salience_answers_are_the_same_without_a_cache(tmp_path: Path) -> None:
    drawn(200, 150).save(tmp_path / "a.png")
    question = Question(tmp_path / "a.png", (200, 150), ())
    machine = Machine("cpu", threads=1)
    with BoxCache(tmp_path / "boxes.sqlite") as cache:
        finder = make_finder("salience", GroundConfig(), machine, of_file, str, cache)
        expected = finder.answers([question])
    other = make_unremembered("salience", GroundConfig(), machine, open_picture)
    assert other.answers([question]) == expected
    assert isinstance(expected[question], Answer)


def test_regions_in_pictures_that_are_not_files() -> None:
    posts = [Post(name, "test", ("a",), name) for name in PICTURES]
    posts.append(Post("boxed", "test", ("a",), "first", boxes=((0.0, 0.0, 400.0, 50.0),)))
    pictures = Pictures({name: picture_size(source) for name, source in PICTURES.items()})
    config = GroundConfig(Grounders("detector", released=True), min_score=0.0)
    counts = Counts()
    regions: list[Regions | None] = [
        released_regions(post, pictures, config, counts) for post in posts
    ]
    finder = Unremembered("detector", Same, by_name(PICTURES), 2, 2)
    phrases = [Phrases(("dog",), "given")] * len(posts)
    find_regions(posts, phrases, regions, pictures, Path(), config, lambda name: finder, counts)
    chosen = [[region.box for region in post_regions or ()] for post_regions in regions]
    assert chosen == [[BOX], [BOX], [BOX], [], [(0.0, 0.0, 200.0, 50.0)]]
    assert pictures.problems.keys() == {"half"}
