"""Grounding a data set: what is asked of a grounder, kept, tried next, and told."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from features.grounding import Candidate
from pipeline.boxes import BoxCache, Finder, Question
from pipeline.corpus import Post
from pipeline.crops import Grounded, ground, read_grounded
from pipeline.digests import of_file
from pipeline.presets import GENERIC_PHRASES, GroundConfig

BOX = (10.0, 20.0, 90.0, 110.0)
FULL: dict[str | None, list[tuple[float, ...]]] = {
    phrase: [(10, 10, 60, 60, 0.9 - n / 10)] for n, phrase in enumerate(GENERIC_PHRASES)
}


@dataclass
class Scripted:
    """A grounder that knows where things are, and remembers what it was asked."""

    known: dict[str | None, list[tuple[float, ...]]]
    name: str = "detector"
    reads_phrases: bool = True
    batch_size: int = 2
    asked: list[tuple[tuple[int, int], tuple[str, ...]]] = field(default_factory=list)
    calls: int = 0

    def find(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        assert len({picture.size for picture in pictures}) == 1
        assert len(pictures) <= self.batch_size
        assert all(picture.mode == "RGB" for picture in pictures)
        self.calls += 1
        self.asked += [(p.size, tuple(its)) for p, its in zip(pictures, phrases, strict=True)]
        return [self._answer(its) for its in phrases]

    def _answer(self, phrases: Sequence[str]) -> list[Candidate]:
        names: Sequence[str | None] = phrases or (None,)
        return [
            Candidate(name, (x0, y0, x1, y1), score)
            for name in names
            for x0, y0, x1, y1, score in self.known.get(name, [])
        ]


@dataclass
class World:
    """A data root with pictures, and the grounders that there are."""

    root: Path
    grounders: dict[str, Scripted]
    identity: str = "weights-1"
    made: int = 0

    def make(self, name: str) -> Callable[[], Any]:
        def made() -> Scripted:
            self.made += 1
            return self.grounders[name]

        return made

    def ground(self, *posts: Post, **settings: Any) -> tuple[list[Grounded], dict[str, Any]]:
        """The lines and the report."""
        settings = {"grounder": "released, detector", "phrases": "given"} | settings
        config = replace(GroundConfig(min_score=0.25), **settings)
        out = self.root / "out"
        out.mkdir(exist_ok=True)
        with BoxCache(self.root / "boxes.sqlite") as cache:
            ground(
                posts,
                self.root,
                config,
                lambda name: Finder(name, [self.identity], self.make(name), cache, of_file, 2),
                out,
            )
        return list(read_grounded(out)), json.loads((out / "report.json").read_text())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Pictures a, b, c: two of one size."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 150, 200, 3), np.uint8)
    for name, pixels in zip("abc", noise, strict=True):
        Image.fromarray(pixels[:, : 120 if name == "c" else 200]).save(tmp_path / f"{name}.png")
    known: dict[str | None, list[tuple[float, ...]]] = {
        "dog": [(10, 10, 60, 60, 0.9), (100, 10, 150, 60, 0.5)],
        "cat": [(70, 70, 110, 140, 0.6)],
        "ghost": [(0, 0, 50, 50, 0.1)],
        "broken": [(math.nan, 0, 5, 5, 0.9), (9, 9, 3, 3, 0.9), (0, 0, 5, 5, 0.9)],
    }
    salience: dict[str | None, list[tuple[float, ...]]] = {None: [(5, 5, 100, 100, 0.4)]}
    return World(
        tmp_path,
        {"detector": Scripted(known), "salience": Scripted(salience, "salience", False, 1)},
    )


def post(picture: str | None, *phrases: str, id: str = "1", **fields: Any) -> Post:
    return Post(id, "train", ("a",), picture, phrases=phrases, **fields)


def told(line: Grounded) -> str:
    return " ".join(f"{r.source}:{r.phrase}:{r.phrase_source}:{r.score}" for r in line.regions)


def test_phrases_become_regions_the_best_first(world: World) -> None:
    lines, report = world.ground(post("a.png", "cat", "dog"))
    assert told(lines[0]) == "detector:dog:given:0.9 detector:cat:given:0.6"
    assert lines[0].regions[0].box == (10.0, 10.0, 60.0, 60.0)
    assert lines[0].phrases == ("cat", "dog")
    assert lines[0].phrase_source == "given"
    assert report["regions_by_grounder"] == {"detector": 2}
    assert report["posts_by_regions"] == {"2": 1}
    assert report["settings"]["min_score"] == 0.25


def test_or_in_the_order_of_phrases(world: World) -> None:
    lines, _ = world.ground(post("a.png", "cat", "dog"), order="phrase")
    assert told(lines[0]) == "detector:cat:given:0.6 detector:dog:given:0.9"


def test_fewer_regions_than_m_stay_fewer(world: World) -> None:
    lines, _ = world.ground(post("a.png", "ghost"))
    assert lines[0].regions == ()
    assert lines[0].problem is None


def test_lines_come_back_as_they_were(world: World) -> None:
    lines, _ = world.ground(post("a.png", "dog", boxes=(BOX,)), post("b.png", "cat"))
    assert [Grounded.from_json(line.to_json()) for line in lines] == lines


def test_grounding_that_came_with_the_data_is_kept(world: World) -> None:
    boxes = post("a.png", "dog", boxes=(BOX, (-5.0, 0.0, 400.0, 100.0)))
    crops = post("a.png", "dog", crops=tuple(f"{n}.png" for n in range(4)))
    none = post("a.png", "dog", crops=())
    lines, _ = world.ground(boxes, crops, none)
    assert [r.box for r in lines[0].regions] == [BOX, (0.0, 0.0, 200.0, 100.0)]
    assert {r.source for r in lines[0].regions} == {"released"}
    assert [r.file for r in lines[1].regions] == ["0.png", "1.png", "2.png"]
    assert lines[2].regions == ()
    assert world.made == 0


def test_unless_another_is_wanted(world: World) -> None:
    lines, _ = world.ground(post("a.png", "dog", boxes=(BOX,)), grounder="detector")
    assert told(lines[0]) == "detector:dog:given:0.9"


def test_released_alone_asks_nobody(world: World) -> None:
    lines, _ = world.ground(post("a.png", "dog"), grounder="released")
    assert lines[0].regions == ()
    assert world.made == 0


def test_released_crops_outlive_their_picture(world: World) -> None:
    lines, _ = world.ground(post("gone.png", crops=("a.png",)), post("gone.png", boxes=(BOX,)))
    assert lines[0].problem == "missing"
    assert [r.file for r in lines[0].regions] == ["a.png"]
    assert lines[1].regions == ()


def test_boxes_that_are_none_are_rejected_and_counted(world: World) -> None:
    released = post("b.png", boxes=((50.0, 50.0, 20.0, 60.0), (300.0, 0.0, 400.0, 50.0), BOX))
    lines, report = world.ground(post("a.png", "broken"), released)
    assert lines[0].regions == ()
    assert [r.box for r in lines[1].regions] == [BOX]
    assert report["rejected"] == {
        "not finite": 1,
        "inverted or empty": 2,
        "smaller than 8 pixels": 1,
        "outside the picture": 1,
    }


# --- posts without a phrase


def test_generic_phrases_are_next(world: World) -> None:
    world.grounders["detector"].known |= FULL
    lines, report = world.ground(post("a.png"))
    assert told(lines[0]) == "detector:person:generic:0.9"  # all are at one place
    assert lines[0].phrases == ()
    assert lines[0].phrase_source is None
    assert report["regions_by_phrases"] == {"generic": 1}


def test_then_salience(world: World) -> None:
    lines, _ = world.ground(post("a.png"), post("b.png", "dog"))
    assert told(lines[0]) == "salience:None:None:0.4"
    assert told(lines[1]) == "detector:dog:given:0.9"
    assert world.grounders["detector"].asked[0][1] == GENERIC_PHRASES


def test_then_none(world: World) -> None:
    world.grounders["salience"].known = {}
    lines, _ = world.ground(post("a.png"))
    assert lines[0].regions == ()


def test_where_to_begin_is_a_setting(world: World) -> None:
    world.grounders["detector"].known |= FULL
    lines, _ = world.ground(post("a.png"), fallback="salience")
    assert told(lines[0]) == "salience:None:None:0.4"
    lines, _ = world.ground(post("a.png"), fallback="none")
    assert lines[0].regions == ()
    assert world.grounders["detector"].asked == []


def test_a_phrase_that_is_nowhere_is_no_reason_to_look_for_another(world: World) -> None:
    lines, _ = world.ground(post("a.png", "ghost"))
    assert lines[0].regions == ()
    assert world.grounders["salience"].asked == []


# --- each question once


def test_nothing_is_asked_twice(world: World) -> None:
    posts = [post("a.png", "dog"), post("a.png", "dog"), post("b.png", "dog")]
    first, report = world.ground(*posts)
    assert report["grounded_now"] == {"detector": 2}
    again, report = world.ground(*posts)
    assert again == first
    assert report["grounded_now"] == {"detector": 0}
    assert world.made == 1  # so weights aren't even loaded


def test_a_changed_sentence_grounds_that_post_alone(world: World) -> None:
    world.ground(post("a.png", "dog"), post("b.png", "dog"))
    lines, report = world.ground(post("a.png", "cat"), post("b.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}
    assert told(lines[0]) == "detector:cat:given:0.6"


def test_so_does_a_changed_picture(world: World) -> None:
    world.ground(post("a.png", "dog"), post("b.png", "dog"))
    Image.new("RGB", (300, 300), "red").save(world.root / "a.png")
    _, report = world.ground(post("a.png", "dog"), post("b.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}


def test_the_same_picture_under_another_name_is_not_grounded_again(world: World) -> None:
    world.ground(post("a.png", "dog"))
    (world.root / "a.png").rename(world.root / "moved.png")
    _, report = world.ground(post("moved.png", "dog"))
    assert report["grounded_now"] == {"detector": 0}


def test_other_weights_ground_again(world: World) -> None:
    world.ground(post("a.png", "dog"))
    world.identity = "weights-2"
    _, report = world.ground(post("a.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}


@pytest.mark.parametrize(
    "settings", [{"max_crops": 1}, {"min_score": 0.7}, {"overlap": 0.1}, {"boxes_per_phrase": 2}]
)
def test_choosing_among_the_candidates_asks_nobody(settings: dict[str, Any], world: World) -> None:
    before, _ = world.ground(post("a.png", "dog", "cat"))
    after, report = world.ground(post("a.png", "dog", "cat"), **settings)
    assert report["grounded_now"] == {"detector": 0}
    assert (after == before) == ("overlap" in settings)


def test_pictures_of_one_size_go_together(world: World) -> None:
    for name in "de":
        Image.new("RGB", (200, 150), (name == "d" and "red") or "blue").save(
            world.root / f"{name}.png"
        )
    world.ground(*(post(f"{name}.png", "dog") for name in "acbde"))
    assert world.grounders["detector"].calls == 3  # 120 × 150 alone, 200 × 150 two by two
    assert [size for size, _ in world.grounders["detector"].asked] == [(120, 150)] + 4 * [
        (200, 150)
    ]


def test_what_is_done_before_a_failure_is_kept(world: World) -> None:
    detector = world.grounders["detector"]
    answer = detector._answer

    def failing(phrases: Sequence[str]) -> list[Candidate]:
        if "cat" in phrases:
            raise RuntimeError("out of memory")
        return answer(phrases)

    detector._answer = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        world.ground(post("c.png", "dog"), post("a.png", "cat"))
    detector._answer = answer  # type: ignore[method-assign]
    _, report = world.ground(post("c.png", "dog"), post("a.png", "cat"))
    assert report["grounded_now"] == {"detector": 1}


# --- pictures that can't be used


def bad_pictures(root: Path) -> dict[str, str]:
    """Pictures of each kind that can't be used, and what is said of them."""
    (root / "text.jpg").write_text("no picture")
    (root / "zero.jpg").write_bytes(b"")
    whole = (root / "a.png").read_bytes()
    (root / "half.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (9000, 9000)).save(root / "huge.png")
    return {
        "gone.png": "missing",
        "text.jpg": "broken: ",
        "zero.jpg": "empty: ",
        "half.png": "broken: ",
        "huge.png": "huge: ",
    }


def test_bad_pictures_are_named_and_counted_and_the_others_grounded(world: World) -> None:
    expected = bad_pictures(world.root)
    posts = [post(name, "dog") for name in (*expected, "a.png")]
    lines, report = world.ground(*posts)
    for line, problem in zip(lines, expected.values(), strict=False):
        assert (line.problem or "").startswith(problem)
        assert line.regions == ()
    assert report["problems_by_kind"] == {"missing": 1, "broken": 2, "empty": 1, "huge": 1}
    assert sorted(report["problems"]) == sorted(expected)
    assert report["pictures"] == 6
    assert told(lines[-1]) == "detector:dog:given:0.9"


def test_a_bad_picture_is_not_kept_as_one(world: World) -> None:
    whole = (world.root / "a.png").read_bytes()
    (world.root / "a.png").write_bytes(whole[: len(whole) // 2])
    lines, _ = world.ground(post("a.png", "dog"))
    assert lines[0].problem is not None
    (world.root / "a.png").write_bytes(whole)
    lines, _ = world.ground(post("a.png", "dog"))
    assert lines[0].problem is None
    assert told(lines[0]) == "detector:dog:given:0.9"


def test_a_post_without_a_picture_has_no_regions(world: World) -> None:
    lines, report = world.ground(post(None, "dog"))
    assert lines[0].regions == ()
    assert lines[0].problem is None
    assert report["posts_without_picture"] == 1


def test_upright_is_what_a_grounder_sees(world: World) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 150), "red").save(world.root / "turned.jpg", exif=exif)
    world.ground(post("turned.jpg", "dog"))
    assert world.grounders["detector"].asked[0][0] == (150, 200)


def test_finder_answers_with_the_size_of_the_picture(world: World) -> None:
    with BoxCache(world.root / "boxes.sqlite") as cache:
        finder = Finder("detector", [], world.make("detector"), cache, of_file, 1)
        question = Question(world.root / "c.png", ("dog",))
        answer: Any = finder.answers([question])[question]
    assert answer.size == (120, 150)
    assert [c.score for c in answer.candidates] == [0.9, 0.5]
