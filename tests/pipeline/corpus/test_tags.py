"""Tagging schemes: recognition and conversion to BIO."""

import json
import logging
from pathlib import Path

import pytest

from pipeline.corpus import locate, read
from pipeline.corpus.tags import as_bio, may_open_by_i, scheme_of, to_bio
from pipeline.errors import DataError
from pipeline.training.score import entity_scores
from tests.tiny import SHARED

CASES = SHARED / "cases"
REAL = SHARED / "data" / "twitter2015"

# One sentence with entities PER 0-2, PER 2-3, LOC 3-4, ORG 5-8, and its tags in each scheme.
GOLD = "B-P I-P B-P B-L O B-G I-G I-G".split()
SCHEMES = {
    "BIO": GOLD,
    "IOB1": "I-P I-P B-P I-L O I-G I-G I-G".split(),
    "BIOES": "B-P E-P S-P S-L O B-G I-G E-G".split(),
    "BILOU": "B-P L-P U-P U-L O B-G I-G L-G".split(),
    "BMEOS": "B-P E-P S-P S-L O B-G M-G E-G".split(),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_gives_the_same_bio(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert scheme_of([["O"], SCHEMES[scheme]]) == scheme
    assert as_bio([["O"], SCHEMES[scheme]], "mine") == [("O",), tuple(GOLD)]
    logged = [message for message in caplog.messages if "read as BIO" in message]
    assert len(logged) == (scheme != "BIO")
    assert all(f"mine: tags are {scheme}" in message for message in logged)


def test_io_joins_neighbours_of_one_type() -> None:
    io = "I-P I-P I-P I-L O I-G".split()
    assert scheme_of([io]) == "IO"
    assert to_bio(io) == tuple("B-P I-P I-P B-L O B-G".split())


def test_with_one_opening_b_other_openings_stay_unchanged() -> None:
    sentences = [["O", "I-P", "I-P"], ["I-P", "B-P"], ["O", "B-L"]]
    assert scheme_of(sentences[:2]) == "IOB1"
    assert scheme_of(sentences) == "BIO"
    assert as_bio(sentences, "mine") == [tuple(tags) for tags in sentences]


def test_prefixes_of_two_schemes_are_refused() -> None:
    with pytest.raises(DataError, match=r"mine: expected tags of one scheme.*prefixes B, E, L"):
        as_bio([["B-P", "E-P"], ["B-P", "L-P"]], "mine")


def test_no_tags() -> None:
    assert as_bio([], "mine") == []
    assert scheme_of([["O"]]) == "BIO"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real texts are not there")
def test_mistakes_in_the_published_texts_stay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    posts = read(locate("twitter2015", SHARED / "data")).posts
    openings = dict.fromkeys(("train", "val", "test"), 0)
    for post in posts:
        before = ("O", *(post.tags or ()))
        for last, tag in zip(before, post.tags or (), strict=False):
            openings[post.split] += tag.startswith("I-") and last[2:] != tag[2:]
    assert [*openings.values()] == [186, 53, 135]
    assert not [message for message in caplog.messages if "read as BIO" in message]


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not there")
def test_case_tags_without_b(recwarn: pytest.WarningsRecorder) -> None:
    posts = read(locate("posts", CASES / "tags-without-b" / "data")).posts
    gold = [list(post.tags or ()) for post in posts]
    scores = entity_scores(gold, gold)
    entities = sum(tag.startswith("B-") for tags in gold for tag in tags)
    assert entities == 40
    assert scores["f1"] == scores["strict"]["f1"] == 100
    for figures in (scores, scores["strict"]):
        assert sum(row["support"] for row in figures["per_class"].values()) == entities
    assert not recwarn.list


@pytest.mark.parametrize("predicted", [["I-P", "O", "I-L"], ["B-P", "O", "B-L"], ["O"] * 3])
def test_gold_tags_without_b_are_scored_like_bio(
    predicted: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    scores = entity_scores([["I-P", "O", "I-L"]], [predicted])
    right = predicted != ["O"] * 3
    assert scores["f1"] == scores["strict"]["f1"] == 100 * right
    assert {name: row["support"] for name, row in scores["strict"]["per_class"].items()} == {
        "P": 1,
        "L": 1,
    }
    assert not recwarn.list


def test_figures_without_an_entity_that_opens_by_b(recwarn: pytest.WarningsRecorder) -> None:
    scores = entity_scores([["O", "O"]], [["O", "I-P"]])
    assert scores["strict"]["f1"] == 0
    assert not recwarn.list


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not there")
def test_case_own_types_in_imgid_texts() -> None:
    data = CASES / "own-types-in-imgid-texts" / "data"
    corpus = read(locate("medical", data))
    types = {tag[2:] for post in corpus.posts for tag in post.tags or () if tag != "O"}
    assert types == {"Chemical", "Disease"}
    assert corpus.posts[0].picture == "NER_data/medical/medical_images/train1.jpg"
    with pytest.raises(DataError, match=r"found 'B-Chemical'; for types of your own, rename"):
        read(locate("twitter2017", data))


def test_own_imgid_texts_without_ner_data_in_another_scheme(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "mine_images").mkdir(parents=True)
    for name, number in (("train", 1), ("valid", 2), ("test", 3)):
        tags = "Ada\tS-PER\nof\tO\nNew\tB-LOC\nYork\tE-LOC\n"
        (folder / f"{name}.txt").write_text(f"IMGID:{number}\n{tags}")
    layout = locate("mine", tmp_path)
    assert layout.pictures == (folder / "mine_images",)
    posts = read(layout).posts
    assert [post.split for post in posts] == ["train", "val", "test"]
    assert {post.tags for post in posts} == {("B-PER", "O", "B-LOC", "I-LOC")}


@pytest.mark.parametrize(
    ("tags", "stale"),
    [
        (["O", "B-PER", "I-PER"], False),
        (["B-PER", "I-PER", "O"], False),
        (["O", "I-PER", "I-PER"], True),
        (["I-PER", "B-PER", "O"], True),
        (["O", "O", "O"], False),
    ],
)
def test_outputs_with_unconverted_tags_are_stale(
    tags: list[str], stale: bool, tmp_path: Path
) -> None:
    """The key names the scheme if tags are converted, and is unchanged otherwise."""
    file = tmp_path / "posts.jsonl"
    posts = [{"id": n, "split": "train", "tokens": ["a", "b", "c"], "tags": tags} for n in range(3)]
    file.write_text("".join(json.dumps(post) + "\n" for post in posts))
    assert may_open_by_i(file) == stale
    assert may_open_by_i(file) == (scheme_of([tags] * 3) != "BIO")
    file.write_text("")
    assert not may_open_by_i(file)
