"""Grounding a data set: questions to grounders, cached answers, fallbacks, reports."""

import io
import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from features.grounding import Candidate, hub
from features.pictures import open_picture
from pipeline.corpus.post import Post
from pipeline.engine.answers import Answers
from pipeline.engine.digests import of_file
from pipeline.engine.files import leads_out
from pipeline.errors import SettingError, first_few
from pipeline.grounding import finder as boxes
from pipeline.grounding.config import GENERIC_PHRASES, GroundConfig, Grounders, ground_config
from pipeline.grounding.crops import Grounded, GroundedPosts
from pipeline.grounding.finder import Answer, BoxCache, Finder, Question, make_finder
from pipeline.grounding.ground import ground
from pipeline.machine import Machine
from tests.features.test_pictures import drawn

BOX = (10.0, 20.0, 90.0, 110.0)
FULL: dict[str | None, list[tuple[float, ...]]] = {
    phrase: [(10, 10, 60, 60, 0.9 - n / 10)] for n, phrase in enumerate(GENERIC_PHRASES)
}


@dataclass
class Scripted:
    """A grounder with fixed answers that records what it was asked."""

    known: dict[str | None, list[tuple[float, ...]]]
    name: str = "detector"
    joint: bool = True
    one_size: bool = True
    asked: list[tuple[tuple[int, int], tuple[str, ...]]] = field(default_factory=list)
    calls: int = 0

    def find(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        assert len({picture.size for picture in pictures}) == 1 or not self.one_size
        assert len(pictures) <= 2
        assert all(picture.mode == "RGB" for picture in pictures)
        self.calls += 1
        self.asked += [(p.size, tuple(names)) for p, names in zip(pictures, phrases, strict=True)]
        return [self._answer(names) for names in phrases]

    def _answer(self, phrases: Sequence[str]) -> list[Candidate]:
        names: Sequence[str | None] = phrases or (None,)
        candidates = [
            Candidate(name, (x0, y0, x1, y1), score)
            for name in names
            for x0, y0, x1, y1, score in self.known.get(name, [])
        ]
        return sorted(
            candidates, key=lambda candidate: -candidate.score
        )  # best first, as detectors do


@dataclass
class Scene:
    """A data root with pictures, and grounders with fixed answers."""

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
        """Ground the posts. Returns the lines and the report."""
        settings = {"phrases": "given"} | settings
        settings["grounder"] = settings.get("grounder", Grounders("detector", released=True))
        config = replace(GroundConfig(min_score=0.25), **settings)
        out = self.root / "out"
        out.mkdir(exist_ok=True)
        with BoxCache(self.root / "boxes.sqlite") as cache:
            ground(
                posts,
                self.root,
                config,
                lambda name: Finder(name, [self.identity], self.make(name), cache, of_file, 2, 2),
                out,
            )
        return list(GroundedPosts(out)), json.loads((out / "report.json").read_text())


@pytest.fixture
def world(tmp_path: Path) -> Scene:
    """Pictures a, b and c; a and b have the same size."""
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
    return Scene(
        tmp_path,
        {"detector": Scripted(known), "salience": Scripted(salience, "salience", False, False)},
    )


def post(picture: str | None, *phrases: str, id: str = "1", **fields: Any) -> Post:
    return Post(id, "train", ("a",), picture, phrases=phrases, **fields)


def summary(line: Grounded) -> str:
    return " ".join(f"{r.source}:{r.phrase}:{r.phrase_source}:{r.score}" for r in line.regions)


def test_regions_of_phrases_are_sorted_by_score(world: Scene) -> None:
    lines, report = world.ground(post("a.png", "cat", "dog"))
    assert summary(lines[0]) == "detector:dog:given:0.9 detector:cat:given:0.6"
    assert lines[0].regions[0].box == (10.0, 10.0, 60.0, 60.0)
    assert lines[0].phrases == ("cat", "dog")
    assert lines[0].phrase_source == "given"
    assert report["regions_by_grounder"] == {"detector": 2}
    assert report["posts_by_regions"] == {"2": 1}
    assert report["settings"]["min_score"] == 0.25


def test_regions_can_be_sorted_by_phrase(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "cat", "dog"), order="phrase")
    assert summary(lines[0]) == "detector:cat:given:0.6 detector:dog:given:0.9"


def test_sorting_by_phrase_ignores_scores(world: Scene) -> None:
    world.grounders["detector"].known = {
        phrase: [(x, 0, x + 30, 30, score)]
        for phrase, x, score in (("c", 0, 0.5), ("a", 50, 0.3), ("b", 100, 0.9))
    }
    lines, _ = world.ground(post("a.png", "c", "a", "b"), order="phrase")
    assert [region.phrase for region in lines[0].regions] == ["c", "a", "b"]


def test_fewer_regions_than_m_stay_fewer(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "ghost"))
    assert lines[0].regions == ()
    assert lines[0].problem is None


def test_lines_are_read_back(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "dog", boxes=(BOX,)), post("b.png", "cat"))
    assert [Grounded.from_json(line.to_json()) for line in lines] == lines


def test_released_grounding_is_kept(world: Scene) -> None:
    boxes = post("a.png", "dog", boxes=(BOX, (-5.0, 0.0, 400.0, 100.0)))
    crops = post("a.png", "dog", crops=tuple(f"{n}.png" for n in range(4)))
    none = post("a.png", "dog", crops=())
    lines, _ = world.ground(boxes, crops, none)
    assert [r.box for r in lines[0].regions] == [BOX, (0.0, 0.0, 200.0, 100.0)]
    assert {r.source for r in lines[0].regions} == {"released"}
    assert [r.file for r in lines[1].regions] == ["0.png", "1.png", "2.png"]
    assert lines[2].regions == ()
    assert world.made == 0


def test_released_grounding_is_ignored_if_not_wanted(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "dog", boxes=(BOX,)), grounder=Grounders("detector"))
    assert summary(lines[0]) == "detector:dog:given:0.9"


def test_released_alone_needs_no_grounder(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "dog"), grounder=Grounders.of("released"))
    assert lines[0].regions == ()
    assert world.made == 0


def test_released_crops_need_no_picture(world: Scene) -> None:
    lines, _ = world.ground(post("gone.png", crops=("a.png",)), post("gone.png", boxes=(BOX,)))
    assert lines[0].problem == "missing"
    assert [r.file for r in lines[0].regions] == ["a.png"]
    assert lines[1].regions == ()


def test_invalid_boxes_are_rejected_and_counted(world: Scene) -> None:
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


def test_fallback_to_generic_phrases(world: Scene) -> None:
    world.grounders["detector"].known |= FULL
    lines, report = world.ground(post("a.png"))
    assert (
        summary(lines[0]) == "detector:person:generic:0.9"
    )  # all generic phrases have the same box
    assert lines[0].phrases == ()
    assert lines[0].phrase_source is None
    assert report["regions_by_phrases"] == {"generic": 1}


def test_fallback_to_salience(world: Scene) -> None:
    lines, _ = world.ground(post("a.png"), post("b.png", "dog"))
    assert summary(lines[0]) == "salience:None:None:0.4"
    assert summary(lines[1]) == "detector:dog:given:0.9"
    assert world.grounders["detector"].asked[0][1] == GENERIC_PHRASES


def test_fallback_to_no_region(world: Scene) -> None:
    world.grounders["salience"].known = {}
    lines, _ = world.ground(post("a.png"))
    assert lines[0].regions == ()


def test_min_score_does_not_apply_to_fallback_salience(world: Scene) -> None:
    lines, _ = world.ground(post("a.png"), min_score=0.7)
    assert summary(lines[0]) == "salience:None:None:0.4"


def test_first_fallback_is_a_setting(world: Scene) -> None:
    world.grounders["detector"].known |= FULL
    lines, _ = world.ground(post("a.png"), fallback="salience")
    assert summary(lines[0]) == "salience:None:None:0.4"
    lines, _ = world.ground(post("a.png"), fallback="none")
    assert lines[0].regions == ()
    assert world.grounders["detector"].asked == []


def test_a_phrase_without_a_box_causes_no_fallback(world: Scene) -> None:
    lines, _ = world.ground(post("a.png", "ghost"))
    assert lines[0].regions == ()
    assert world.grounders["salience"].asked == []


# --- each question once


def test_no_question_is_asked_twice(world: Scene) -> None:
    posts = [post("a.png", "dog"), post("a.png", "dog"), post("b.png", "dog")]
    first, report = world.ground(*posts)
    assert report["grounded_now"] == {"detector": 2}
    again, report = world.ground(*posts)
    assert again == first
    assert report["grounded_now"] == {"detector": 0}
    assert world.made == 1  # the grounder is not loaded again


def test_a_changed_sentence_grounds_only_its_post_again(world: Scene) -> None:
    world.ground(post("a.png", "dog"), post("b.png", "dog"))
    lines, report = world.ground(post("a.png", "cat"), post("b.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}
    assert summary(lines[0]) == "detector:cat:given:0.6"


def test_a_changed_picture_grounds_only_its_post_again(world: Scene) -> None:
    world.ground(post("a.png", "dog"), post("b.png", "dog"))
    Image.new("RGB", (300, 300), "red").save(world.root / "a.png")
    _, report = world.ground(post("a.png", "dog"), post("b.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}


def test_the_same_picture_under_another_name_is_not_grounded_again(world: Scene) -> None:
    world.ground(post("a.png", "dog"))
    (world.root / "a.png").rename(world.root / "moved.png")
    _, report = world.ground(post("moved.png", "dog"))
    assert report["grounded_now"] == {"detector": 0}


def test_other_weights_ground_again(world: Scene) -> None:
    world.ground(post("a.png", "dog"))
    world.identity = "weights-2"
    _, report = world.ground(post("a.png", "dog"))
    assert report["grounded_now"] == {"detector": 1}


@pytest.mark.parametrize(
    "settings", [{"max_crops": 1}, {"min_score": 0.7}, {"overlap": 0.1}, {"boxes_per_phrase": 2}]
)
def test_choosing_among_candidates_needs_no_grounder(
    settings: dict[str, Any], world: Scene
) -> None:
    before, _ = world.ground(post("a.png", "dog", "cat"))
    after, report = world.ground(post("a.png", "dog", "cat"), **settings)
    assert report["grounded_now"] == {"detector": 0}
    assert (after == before) == ("overlap" in settings)


def test_pictures_of_the_same_size_share_a_batch(world: Scene) -> None:
    for name in "de":
        Image.new("RGB", (200, 150), (name == "d" and "red") or "blue").save(
            world.root / f"{name}.png"
        )
    world.ground(*(post(f"{name}.png", "dog") for name in "acbde"))
    assert world.grounders["detector"].calls == 3  # 120 × 150 alone, 200 × 150 two by two
    assert [size for size, _ in world.grounders["detector"].asked] == [(120, 150)] + 4 * [
        (200, 150)
    ]


def test_a_picture_is_decoded_once_for_all_its_questions(
    world: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(path: Path) -> Image.Image:
        opened.append(path.name)
        return open_picture(path)

    monkeypatch.setattr(boxes, "open_picture", counted)
    lines, _ = world.ground(*(post("a.png", phrase) for phrase in ("dog", "cat", "ghost")))
    assert opened == ["a.png"]
    assert [summary(line) for line in lines] == [
        "detector:dog:given:0.9",
        "detector:cat:given:0.6",
        "",
    ]
    assert [phrases for _, phrases in world.grounders["detector"].asked] == [
        ("dog",),
        ("cat",),
        ("ghost",),
    ]


def test_independent_phrases_are_asked_together(world: Scene) -> None:
    world.grounders["detector"].joint = False
    lines, report = world.ground(
        post("a.png", "dog", "cat"), post("a.png", "cat", "ghost"), post("b.png", "cat")
    )
    assert world.grounders["detector"].asked == [
        ((200, 150), ("dog", "cat", "ghost")),
        ((200, 150), ("cat",)),
    ]
    assert [len(line.regions) for line in lines] == [2, 1, 1]
    assert report["grounded_now"] == {"detector": 3}


def test_sizes_are_mixed_if_the_grounder_allows_it(world: Scene) -> None:
    world.grounders["detector"].one_size = False
    world.ground(post("a.png", "dog"), post("c.png", "dog"))
    assert world.grounders["detector"].calls == 1


def test_answers_are_written_every_few_seconds(
    world: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "SECONDS", 0.0)
    answer = Answer((200, 150), (Candidate("dog", BOX, 0.5),))
    with BoxCache(world.root / "other.sqlite") as cache:
        cache.put({"key": answer})
        with BoxCache(world.root / "other.sqlite") as another:  # as another process sees it
            assert another.get("key") == answer


def test_a_damaged_answer_is_asked_for_again(
    world: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    detector = world.grounders["detector"]
    first, _ = world.ground(post("a.png", "dog"), post("b.png", "dog"))
    memory = sqlite3.connect(world.root / "boxes.sqlite")
    [(key, answer), _] = memory.execute("select key, answer from answers").fetchall()
    changed = answer.replace("60", "66")
    assert changed != answer
    with memory:
        memory.execute("update answers set answer=? where key=?", (changed, key))
    detector.asked.clear()
    assert world.ground(post("a.png", "dog"), post("b.png", "dog"))[0] == first
    assert len(detector.asked) == 1
    assert f"is computed again: {key[:16]}" in caplog.text


def test_boxes_of_a_picture_that_changed_meanwhile_are_not_cached(world: Scene) -> None:
    """If the old picture is restored, it must not get the boxes of the new one."""
    detector = world.grounders["detector"]
    answer, first = detector._answer, (world.root / "a.png").read_bytes()

    def meanwhile(phrases: Sequence[str]) -> list[Candidate]:
        (world.root / "a.png").write_bytes((world.root / "b.png").read_bytes())
        return answer(phrases)

    detector._answer = meanwhile  # type: ignore[method-assign]
    world.ground(post("a.png", "dog"))
    detector._answer = answer  # type: ignore[method-assign]
    (world.root / "a.png").write_bytes(first)
    detector.asked.clear()
    world.ground(post("a.png", "dog"))
    assert len(detector.asked) == 1


def test_a_link_that_leads_out_is_refused(world: Scene) -> None:
    outside = world.root.parent / f"{world.root.name}-private.png"
    (world.root / "a.png").replace(outside)
    (world.root / "a.png").symlink_to(outside)
    (world.root / "d.png").symlink_to(world.root / "b.png")
    [refused, good], _ = world.ground(post("a.png", "dog"), post("d.png", "dog"))
    assert refused.problem is not None
    assert refused.problem.startswith("outside: a link that leads out of the data")
    assert not refused.regions
    assert good.problem is None


def test_pictures_of_a_linked_folder_are_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere/a.png").touch()
    (tmp_path / "elsewhere/b.png").symlink_to("a.png")
    (tmp_path / "data/pictures").symlink_to(tmp_path / "elsewhere")
    for name in ("a.png", "b.png"):
        assert not leads_out(tmp_path / "data/pictures" / name, tmp_path / "data")


def test_answers_before_a_failure_are_kept(world: Scene) -> None:
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
    """Write pictures of each unusable kind. Returns file name -> start of the problem."""
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


def test_a_picture_that_is_cut_off_is_filled_and_named(
    world: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.BytesIO()
    drawn(320, 200).save(file, "JPEG")
    (world.root / "end.jpg").write_bytes(file.getvalue()[:-2])
    (world.root / "cut.jpg").write_bytes(file.getvalue()[: -len(file.getvalue()) // 33])
    (world.root / "half.jpg").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    names = ("a.png", "end.jpg", "cut.jpg", "half.jpg")
    lines, report = world.ground(*(post(name, "dog") for name in names))
    assert report["pictures_filled"] == 1
    assert report["filled"] == {"cut.jpg": "3 % of its data is missing"}
    assert "1 pictures are cut off" in caplog.text
    assert "cut.jpg (3 % of its data is missing)" in caplog.text
    assert [bool(line.problem) for line in lines] == [False, False, False, True]
    assert report["problems"].keys() == {"half.jpg"}
    assert report["problems"]["half.jpg"].startswith("broken: cut off: ")


def test_bad_pictures_are_named_and_counted_and_the_others_grounded(world: Scene) -> None:
    expected = bad_pictures(world.root)
    posts = [post(name, "dog") for name in (*expected, "a.png")]
    lines, report = world.ground(*posts)
    for line, problem in zip(lines, expected.values(), strict=False):
        assert (line.problem or "").startswith(problem)
        assert line.regions == ()
    assert report["problems_by_kind"] == {"missing": 1, "broken": 2, "empty": 1, "huge": 1}
    assert sorted(report["problems"]) == sorted(expected)
    assert report["pictures"] == 6
    assert summary(lines[-1]) == "detector:dog:given:0.9"


def test_a_message_names_the_first_few_and_counts_the_rest() -> None:
    lost = {f"{n}.png": "missing" for n in range(7)}
    first = "0.png (missing); 1.png (missing); 2.png (missing); 3.png (missing); 4.png (missing)"
    assert first_few(lost) == f"{first}; and 2 more: report.json"
    assert first_few(dict(list(lost.items())[:5])) == first


def test_bad_pictures_need_no_grounder(world: Scene) -> None:
    (world.root / "half.png").write_bytes((world.root / "a.png").read_bytes()[:5000])
    _, report = world.ground(post("half.png", "dog"))
    assert world.made == 0
    assert report["grounded_now"] == {"detector": 0}


def test_a_bad_picture_is_tried_once(world: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.root / "half.png").write_bytes((world.root / "a.png").read_bytes()[:5000])
    opened: list[Path] = []

    def counted(path: Path) -> Image.Image:
        opened.append(path)
        return open_picture(path)

    monkeypatch.setattr(boxes, "open_picture", counted)
    world.ground(post("half.png"))
    assert len(opened) == 1


def test_problems_name_no_folder(world: Scene) -> None:
    (world.root / "zero.jpg").write_bytes(b"")
    lines, _ = world.ground(post("zero.jpg", "dog"))
    assert lines[0].problem == "empty: an empty file"


def test_a_repaired_picture_is_used(world: Scene) -> None:
    whole = (world.root / "a.png").read_bytes()
    (world.root / "a.png").write_bytes(whole[: len(whole) // 2])
    lines, _ = world.ground(post("a.png", "dog"))
    assert lines[0].problem is not None
    (world.root / "a.png").write_bytes(whole)
    lines, _ = world.ground(post("a.png", "dog"))
    assert lines[0].problem is None
    assert summary(lines[0]) == "detector:dog:given:0.9"


def test_a_post_without_a_picture_has_no_regions(world: Scene) -> None:
    lines, report = world.ground(post(None, "dog"))
    assert lines[0].regions == ()
    assert lines[0].problem is None
    assert report["posts_without_picture"] == 1


def test_grounders_get_upright_pictures(world: Scene) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (200, 150), "red").save(world.root / "turned.jpg", exif=exif)
    world.ground(post("turned.jpg", "dog"))
    assert world.grounders["detector"].asked[0][0] == (150, 200)


def test_finder_answers_with_the_size_of_the_picture(world: Scene) -> None:
    with BoxCache(world.root / "boxes.sqlite") as cache:
        finder = Finder("detector", [], world.make("detector"), cache, of_file, 1, 1)
        question = Question(world.root / "c.png", (1, 1), ("dog",))
        answer: Any = finder.answers([question])[question]
    assert answer.size == (120, 150)
    assert [c.score for c in answer.candidates] == [0.9, 0.5]


# --- settings


@pytest.mark.parametrize(
    ("cached", "values", "grounder"),
    [
        (False, {}, "released, salience"),
        (True, {}, "released, detector"),
        (False, {"weights": "some/folder"}, "released, detector"),
        (True, {"grounder": "salience"}, "salience"),
    ],
)
def test_auto_is_resolved(
    cached: bool, values: dict[str, Any], grounder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "is_cached", lambda name: cached)
    assert ground_config(values, "own").grounder.name == grounder


def test_auto_needs_no_weights_if_all_posts_are_grounded() -> None:
    assert ground_config({}, "mnre", released=True).grounder == Grounders.of("released")
    assert ground_config({}, "demo").grounder == Grounders.of("salience")


@pytest.mark.parametrize(("grounder", "score"), [("detector", 0.25), ("salience", 0.0)])
def test_each_grounder_has_its_default_min_score(grounder: str, score: float) -> None:
    assert ground_config({"grounder": grounder}, "own").min_score == score
    assert ground_config({"grounder": grounder, "min_score": 0.4}, "own").min_score == 0.4


@pytest.mark.parametrize("grounder", ["salience", "none", "released"])
@pytest.mark.parametrize(
    "idle",
    [
        {"weights": "a/b"},
        {"vocabulary": "x"},
        {"trained_on": "flickr"},
        {"precision": "bfloat16"},
        {"longest_side": 640},
        {"fallback": "salience"},
        {"order": "phrase"},
        {"boxes_per_phrase": 2},
    ],
)
def test_settings_without_effect_are_left_out(grounder: str, idle: dict[str, Any]) -> None:
    plain = ground_config({"grounder": grounder}, "own")
    assert ground_config({"grounder": grounder, **idle}, "own") == plain


def test_faoa_has_no_longest_side_and_a_detector_no_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "flickr.pth").write_bytes(b"")
    faoa = {"grounder": "faoa", "weights": str(tmp_path / "flickr.pth")}
    plain = ground_config(faoa, "own")
    assert ground_config({**faoa, "longest_side": 640}, "own") == plain
    assert plain.trained_on == "flickr"
    detector = {"grounder": "detector", "vocabulary": "x", "trained_on": "unc"}
    plain = ground_config({"grounder": "detector"}, "own")
    assert ground_config(detector, "own") == plain


def test_faoa_needs_a_checkpoint_whose_data_is_known(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--weights, a published checkpoint, found none"):
        ground_config({"grounder": "faoa"}, "own")
    with pytest.raises(SettingError, match=r"found no file /no/flickr\.pth"):
        ground_config({"grounder": "faoa", "weights": "/no/flickr.pth"}, "own")
    (tmp_path / "a.pth").write_bytes(b"")
    with pytest.raises(SettingError, match=r"a\.pth: .* give --trained-on, one of flickr, "):
        ground_config({"grounder": "faoa", "weights": str(tmp_path / "a.pth")}, "own")


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_crops", -1), ("boxes_per_phrase", 0), ("overlap", 1.5), ("min_score", 7.0)],
)
def test_numbers_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(
        SettingError, match=f"--{option.replace('_', '-')}: expected .*, found {value}"
    ):
        GroundConfig(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["batch_size", "threads"])
def test_values_of_the_machine_out_of_range_are_refused(option: str) -> None:
    with pytest.raises(SettingError, match="expected 1 or more, found 0"):
        Machine(**{option: 0})  # type: ignore[arg-type]


def identity(tmp_path: Path, **settings: Any) -> tuple[str, ...]:
    """Return a grounder's identity, with a file's text in place of its digest."""
    config = GroundConfig(**settings | {"grounder": Grounders.of(settings["grounder"])})
    with BoxCache(tmp_path / "boxes.sqlite") as cache:
        return tuple(make_finder(config.finder, config, Machine(), str, content_of, cache).identity)


def content_of(path: Path) -> str:
    if path.is_dir():
        return "".join(file.read_text() for file in sorted(path.iterdir()))
    return path.read_text()


def test_all_that_decides_a_detectors_answer_is_in_its_key(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
    plain = {"grounder": "detector", "weights": str(tmp_path / "a")}
    others: list[dict[str, Any]] = [
        {},
        {"weights": str(tmp_path / "b")},
        {"precision": "bfloat16"},
        {"longest_side": 640},
    ]
    assert len({identity(tmp_path, **plain | other) for other in others}) == len(others)


def test_all_that_decides_faoas_answer_is_in_its_key(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).write_text(name)
    plain = {
        "grounder": "faoa",
        "weights": str(tmp_path / "a"),
        "vocabulary": str(tmp_path / "c"),
        "trained_on": "flickr",
    }
    others: list[dict[str, Any]] = [
        {},
        {"weights": str(tmp_path / "b")},
        {"vocabulary": str(tmp_path / "d")},
        {"vocabulary": "some/name"},
        {"trained_on": "unc"},
        {"precision": "bfloat16"},
    ]
    assert len({identity(tmp_path, **plain | other) for other in others}) == len(others)
