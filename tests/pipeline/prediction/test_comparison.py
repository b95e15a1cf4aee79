"""Test the page that compares models: the choice of posts, and the numbers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.prediction.comparison import ALIKE, Comparison, choose_posts, show_comparison
from pipeline.prediction.gold import gold_of
from pipeline.prediction.prediction import Entity, Prediction, Relation
from tests.pipeline.prediction.trained import Trained

TOKENS = ("New", "York", "and", "Ada")
POST = Post("1", "test", TOKENS, None, ("B-LOC", "I-LOC", "O", "B-PER"), (0, 2), (3, 4), "home")
YORK, ADA = Entity(0, 8, "LOC", "New York"), Entity(13, 16, "PER", "Ada")


@pytest.mark.parametrize(
    ("entities", "right"),
    [((ADA, YORK), True), ((YORK,), False), ((YORK, ADA, Entity(9, 12, "PER", "and")), False),
     ((replace(YORK, label="ORG"), ADA), False), ((replace(YORK, score=0.5), ADA), True)],
)  # fmt: skip
def test_entities_are_right_if_they_are_the_gold_ones(
    entities: tuple[Entity, ...], right: bool
) -> None:
    assert gold_of(POST).is_right("entities", Prediction(entities=entities)) is right


@pytest.mark.parametrize(
    ("gold", "labels", "right"),
    [("home", ["home"], True), ("home", ["work"], False), ("home", [], False),
     ("None", [], True), ("None", ["home"], False), (None, ["home"], None)],
)  # fmt: skip
def test_a_relation_is_right_if_it_has_the_gold_label(
    gold: str | None, labels: list[str], right: bool | None
) -> None:
    relations = tuple(Relation(0, 1, label, 0.9) for label in labels)
    prediction = Prediction(entities=(YORK, ADA), relations=relations)
    assert gold_of(replace(POST, relation=gold)).is_right("relations", prediction) is right


def test_kinds_of_posts_take_turns_and_those_without_a_difference_come_last() -> None:
    gains = [(0, 0), (1, 1), (0, 1), (1, 1), (-1, 0), (0, 1)]
    assert choose_posts(gains, range(6), 9) == [1, 2, 4, 0, 3, 5]
    assert choose_posts(gains, range(6), 2) == [1, 2]


def test_posts_with_one_sentence_are_beside_each_other() -> None:
    gains = [(1, 0), (1, 0), (0, 0), (1, 0), (1, 0), (0, 1)]
    sentences = ["a", "b", "a", "a", "a", "c"]
    assert choose_posts(gains, sentences, 9) == [5, 0, 2, 3, 1]
    assert ALIKE == 3


def test_nothing_is_chosen_of_nothing() -> None:
    assert choose_posts([], [], 9) == []


# --- the whole page


def comparison(runs: Trained, *sides: str, split: str = "test") -> Comparison:
    """Compare sides; each side is a list of names of runs."""
    kinds = {"ner": "entities", "re": "relations"}
    return Comparison(
        sides=[
            {kinds[name.split("-")[0]]: runs.root / name / "model" for name in side.split(",")}
            for side in sides
        ],
        root=runs.root,
        files=runs.files,
        device="cpu",
        split=split,
        most=4,
    )


def right_posts(run: Path, split: str) -> int:
    """Return the number of posts that the training itself predicted correctly."""
    lines = (json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines())
    return sum(
        entities_of(one["tags"]) == entities_of(one["predicted_tags"])
        if "predicted_tags" in one
        else one["relation"] == one["predicted_relation"]
        for one in lines
        if one["split"] == split
    )


@pytest.fixture(scope="module")
def page(runs: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "predictions.html"
    show_comparison(runs.posts, comparison(runs, "ner,re", "ner-words,re-words"), "own", file)
    return file.read_text()


def test_the_page_counts_what_the_trainings_counted(runs: Trained, page: str) -> None:
    total = sum(post.split == "test" for post in runs.posts)
    expected = [right_posts(runs.root / name, "test") for name in ("ner", "re")]
    expected += [right_posts(runs.root / f"{name}-words", "test") for name in ("ner", "re")]
    counted = re.findall(r"<td>(\d+) of (\d+)</td>", page)
    assert counted == [(str(count), str(total)) for count in expected]


def test_each_card_has_labels_answers_picture_and_reasons(page: str) -> None:
    assert page.count("<article>") == 4
    for name in ("gold", "with pictures", "without pictures"):
        assert page.count(f"<h3>{name}</h3>") == 4
    assert page.count('<div class="picture"') == 4
    assert page.count("gate, entities") == page.count("gate, relations") == 4


def test_one_model_alone_is_shown(runs: Trained, tmp_path: Path) -> None:
    show_comparison(runs.posts, comparison(runs, "re"), "own", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<h3>with pictures</h3>") == 4
    assert "gate, entities" not in page


def test_posts_without_labels_are_shown(runs: Trained, tmp_path: Path) -> None:
    posts = [replace(p, tags=None, head=None, tail=None, relation=None) for p in runs.posts]
    show_comparison(posts, comparison(runs, "ner,re"), "own", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<h3>no labels</h3>") == 4
    assert page.count("<td>no labels</td>") == 2
    assert "✓<" not in page


def test_a_split_without_posts_is_refused(runs: Trained, tmp_path: Path) -> None:
    posts = [replace(post, split="train") for post in runs.posts]
    with pytest.raises(DataError, match="--split test: expected posts that the models can"):
        show_comparison(posts, comparison(runs, "ner"), "own", tmp_path / "a.html")
