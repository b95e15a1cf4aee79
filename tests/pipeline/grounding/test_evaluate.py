"""Reading boxes in Pascal-VOC XML, and scoring a grounder against them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from features.grounding import Candidate, Region
from pipeline.corpus.post import Post
from pipeline.engine.digests import of_file
from pipeline.errors import DataError
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.grounding.crops import Grounded
from pipeline.grounding.evaluate import Entity, evaluate_grounding, read_gold, score, table
from pipeline.grounding.finder import BoxCache, Finder
from pipeline.grounding.voc import read_voc

DURANT, OSLO = (100.0, 20.0, 300.0, 220.0), (0.0, 0.0, 50.0, 60.0)


def voc(path: Path, *objects: str, size: tuple[int, int] = (400, 240)) -> Path:
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>x</filename><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size>{''.join(objects)}</annotation>",
        encoding="utf-8",
    )
    return path


def drawn(name: str, box: Sequence[float] | None) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box or (), strict=False)
    inner = "".join(f"<{side}>{value:g}</{side}>" for side, value in sides)
    bndbox = f"<bndbox>{inner}</bndbox>" if box else ""
    return f"<object><name>{name}</name><difficult>0</difficult>{bndbox}</object>"


# --- the files


def test_boxes_by_name(tmp_path: Path) -> None:
    path = voc(
        tmp_path / "1.xml",
        drawn("Kevin  Durant", DURANT),
        drawn("kevin durant", OSLO),
        drawn("NBA", None),
        f"<object><name>a</name><name>b</name>{drawn('', OSLO)[20:]}",
    )
    annotation = read_voc(path)
    assert annotation.size == (400, 240)
    assert annotation.boxes == {
        "Kevin Durant": (DURANT, OSLO),
        "NBA": (),
        "a": (OSLO,),
        "b": (OSLO,),
    }
    assert annotation.faults == 0


@pytest.mark.parametrize("box", [(1, 2, 1, 4), (5, 2, 1, 4), (1, 2, float("nan"), 4)])
def test_invalid_boxes_are_counted(box: tuple[float, ...], tmp_path: Path) -> None:
    annotation = read_voc(voc(tmp_path / "1.xml", drawn("a", box), drawn("b", OSLO)))
    assert annotation.boxes == {"a": (), "b": (OSLO,)}
    assert annotation.faults == 1


@pytest.mark.parametrize("size", [(0, 0), (400, 0)])
def test_a_size_of_zero_is_unknown(size: tuple[int, int], tmp_path: Path) -> None:
    assert read_voc(voc(tmp_path / "1.xml", drawn("a", OSLO), size=size)).size is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no xml", r"1\.xml: expected Pascal-VOC XML"),
        ("", r"1\.xml: expected Pascal-VOC XML"),
        ("<annotation><object/></annotation>", r"1\.xml, object 1: expected a name, found none"),
        (drawn("a", (1, 2, 3)), r"1\.xml, object 1: expected four numbers in bndbox, found"),
    ],
)
def test_another_format_is_an_error_of_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(
        content if content.startswith("<ann") or "object" not in content else f"<a>{content}</a>"
    )
    with pytest.raises(DataError, match=message) as caught:
        read_voc(tmp_path / "1.xml")
    assert "\n" not in str(caught.value)


def test_an_xml_bomb_does_not_explode(tmp_path: Path) -> None:
    levels = "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' if n else '<!ENTITY a0 "ha">' for n in range(20)
    )
    (tmp_path / "1.xml").write_text(f"<!DOCTYPE a [{levels}]><a><object>&a19;</object></a>")
    with pytest.raises(DataError, match="expected Pascal-VOC XML"):
        read_voc(tmp_path / "1.xml")


# --- which entities


@pytest.fixture
def posts(tmp_path: Path) -> list[Post]:
    """Three posts: two share a picture that has boxes, the third has a picture without."""
    for name in ("1.jpg", "2.jpg"):
        Image.new("RGB", (400, 240), "red").save(tmp_path / name)
    voc(tmp_path / "xml/1.xml", drawn("Kevin Durant", DURANT), drawn("Ghost", OSLO))
    tokens, tags = ("Kevin", "Durant", "in", "Oslo"), ("B-PER", "I-PER", "O", "B-LOC")
    first = Post("a", "test", tokens, "1.jpg", tags=tags)
    return [
        first,
        Post("b", "test", tokens, "1.jpg", tags=tags),
        Post("c", "test", tokens, "2.jpg"),
    ]


def test_entities_of_annotated_posts_count_once(posts: list[Post], tmp_path: Path) -> None:
    gold = read_gold(posts, tmp_path, tmp_path / "xml")
    assert gold.entities == [
        Entity(0, "Kevin Durant", "PER", (400, 240), (DURANT,)),
        Entity(0, "Oslo", "LOC", (400, 240), ()),
    ]
    assert gold.passed_over["name of no entity"] == 1
    assert gold.passed_over["picture without a file"] == 1


def test_without_tags_names_in_the_file_are_the_entities(posts: list[Post], tmp_path: Path) -> None:
    bare = [Post("a", "test", ("x",), "1.jpg")]
    assert [e.name for e in read_gold(bare, tmp_path, tmp_path / "xml").entities] == [
        "Kevin Durant",
        "Ghost",
    ]


def test_head_and_tail_are_entities(posts: list[Post], tmp_path: Path) -> None:
    tokens = ("Kevin", "Durant", "of", "OKC", "and", "Ghost")
    related = [
        Post("a", "test", tokens, "1.jpg", head=(0, 2), tail=(3, 4), relation="member_of"),
        Post("b", "test", tokens, "1.jpg", head=(5, 6), tail=(0, 2), relation="peer"),
    ]
    entities = read_gold(related, tmp_path, tmp_path / "xml").entities
    assert [(e.name, e.boxes) for e in entities] == [
        ("Kevin Durant", (DURANT,)),
        ("OKC", ()),
        ("Ghost", (OSLO,)),
    ]


def test_files_of_pictures_with_one_name_lie_in_folders(posts: list[Post], tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (400, 240)).save(tmp_path / split / "1.jpg")
    both = [Post(split, split, ("Ghost",), f"{split}/1.jpg") for split in ("train", "test")]
    with pytest.raises(DataError, match=r"1\.xml: expected one picture of that name, found 2"):
        read_gold(both, tmp_path, tmp_path / "xml")
    assert len(read_gold(both[1:], tmp_path, tmp_path / "xml").entities) == 2
    for split in ("train", "test"):
        voc(tmp_path / "xml" / split / "1.xml", drawn(f"of {split}", OSLO))
    names = [e.name for e in read_gold(both, tmp_path, tmp_path / "xml").entities]
    assert names == ["of train", "of test"]


def test_a_picture_of_another_size_is_passed_over(posts: list[Post], tmp_path: Path) -> None:
    voc(tmp_path / "xml/2.xml", drawn("Oslo", OSLO), size=(800, 480))
    gold = read_gold(posts, tmp_path, tmp_path / "xml")
    assert gold.passed_over["picture of another size"] == 1
    assert {entity.post for entity in gold.entities} == {0}


def test_a_missing_picture_is_passed_over(posts: list[Post], tmp_path: Path) -> None:
    voc(tmp_path / "xml/2.xml", drawn("Oslo", OSLO))
    (tmp_path / "2.jpg").unlink()
    assert (
        read_gold(posts, tmp_path, tmp_path / "xml").passed_over["picture that can't be used"] == 1
    )


def test_files_that_fit_no_post_are_an_error(posts: list[Post], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected XML files with boxes of the posts' entities"):
        read_gold(posts[2:], tmp_path, tmp_path / "xml")


# --- scores


def entity(*boxes: tuple[float, float, float, float], type: str = "PER") -> Entity:
    return Entity(0, "x", type, (100, 100), boxes)


def test_accuracy_is_over_grounded_entities() -> None:
    box, half, other = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0), (50.0, 50.0, 60.0, 60.0)
    entities = [entity(box), entity(box, type="LOC"), entity(box, other), entity(box), entity()]
    predicted = [[half], [(0.0, 0.0, 10.0, 4.9)], [other], [], [box]]
    figures = score(entities, predicted)
    assert figures["accuracy"] == 50.0  # correct: half (IoU 0.5) and other
    assert figures["left_out"] == 0.0
    assert figures["accuracy_by_type"] == {"LOC": 0.0, "PER": 66.67}


def test_left_out_is_over_entities_that_are_not_in_the_picture() -> None:
    figures = score(
        [entity(), entity(), entity(), entity((0, 0, 1, 1))], [[], [], [(0, 0, 1, 1)], []]
    )
    assert figures["left_out"] == 66.67
    assert figures["accuracy"] == 0.0


def test_figures_of_no_entity_are_none() -> None:
    assert score([], []) == {"accuracy": None, "left_out": None, "accuracy_by_type": {}}


class Fixed:
    """A grounder that gives Durant's gold box, and for other phrases a box with a low score."""

    name, joint, one_size = "detector", True, True

    def find(self, pictures: Any, phrases: Sequence[Sequence[str]]) -> list[list[Candidate]]:
        return [
            [
                Candidate(phrase, DURANT, 0.9)
                if phrase == "Kevin Durant"
                else Candidate(phrase, OSLO, 0.2)
                for phrase in asked
            ]
            for asked in phrases
        ]


CROPS = (Region("a", OSLO, 0.5, None, "detector"), Region("b", DURANT, 0.4, None, "detector"))


def run(
    posts: list[Post], root: Path, config: GroundConfig, crops: tuple[Region, ...] = CROPS
) -> dict[str, Any]:
    grounded = [Grounded(p.id, p.split, p.tokens, p.picture, None, (), crops) for p in posts]
    with BoxCache(root / "boxes.sqlite") as cache:
        evaluate_grounding(
            posts,
            grounded,
            root,
            root / "xml",
            config,
            lambda name: Finder(name, [], Fixed, cache, of_file, 1, 4),
            {"dataset": "own"},
            root,
        )
    metrics: dict[str, Any] = json.loads((root / "metrics.json").read_text())
    return metrics


def test_a_grounder_is_asked_for_each_entity(posts: list[Post], tmp_path: Path) -> None:
    metrics = run(posts, tmp_path, GroundConfig(Grounders.of("detector"), min_score=0.25))
    assert metrics["entities"]["grounded"] == metrics["entities"]["ungrounded"] == 1
    scores = metrics["scores"]
    asked = scores.pop("detector, asked for the entity")
    assert asked == {"accuracy": 100.0, "left_out": 100.0, "accuracy_by_type": {"PER": 100.0}}
    assert scores["any of the post's crops"]["accuracy"] == 100.0
    assert scores["whole picture"]["accuracy"] == 0.0  # the gold box covers 0.42 of it
    assert scores["whole picture"]["left_out"] == 0.0
    (best,) = [row for name, row in scores.items() if name.startswith("best centred box")]
    assert best["accuracy"] == 100.0
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(row["entity"], row["found"], row["right"]) for row in rows] == [
        ("Kevin Durant", list(DURANT), True),
        ("Oslo", None, False),
    ]
    assert "detector, asked for the entity" in "\n".join(
        table(metrics | {"scores": scores | {"detector, asked for the entity": asked}})
    )


def test_a_lower_minimal_score_leaves_fewer_out(posts: list[Post], tmp_path: Path) -> None:
    metrics = run(posts, tmp_path, GroundConfig(Grounders.of("detector"), min_score=0.1))
    assert metrics["scores"]["detector, asked for the entity"]["left_out"] == 0.0


def test_crops_that_are_files_have_no_score(posts: list[Post], tmp_path: Path) -> None:
    file = (Region(None, None, None, "crop.png", "released"),)
    metrics = run(posts, tmp_path, GroundConfig(Grounders.of("released"), min_score=0.0), file)
    assert metrics["scores"]["any of the post's crops"]["accuracy"] is None


def test_without_a_grounder_only_crops_are_scored(posts: list[Post], tmp_path: Path) -> None:
    metrics = run(posts, tmp_path, GroundConfig(Grounders.of("released"), min_score=0.0))
    assert not [name for name in metrics["scores"] if "asked" in name]
