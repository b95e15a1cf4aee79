"""Own posts with entities and relations in characters, and their optional fields."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus import locate, read
from pipeline.corpus.config import AS_NONE, DEFAULT, ReadConfig
from pipeline.corpus.post import SPLITS, Post
from pipeline.corpus.posts import load_labels, read_posts
from pipeline.corpus.splits import assign
from pipeline.corpus.words import covered, token_spans, word_spans
from pipeline.errors import DataError, SettingError

TEXT = "Ada Lovelace joins Globex in Oslo."
ADA, GLOBEX, OSLO = (
    {"start": TEXT.index(name), "end": TEXT.index(name) + len(name), "label": label}
    for name, label in (("Ada Lovelace", "PER"), ("Globex", "ORG"), ("Oslo", "LOC"))
)
RECORD: dict[str, Any] = {
    "id": 17,
    "split": "train",
    "text": TEXT,
    "picture": "17.jpg",
    "entities": [ADA, GLOBEX, OSLO],
    "relations": [
        {"head": 0, "tail": 1, "label": "works_for"},
        {"head": 1, "tail": 2, "label": "located_in"},
        {"head": 0, "tail": 1, "label": "founded"},
    ],
}


def write(data: Path, *records: dict[str, Any]) -> Path:
    (data / "mine").mkdir(exist_ok=True)
    lines = [json.dumps({k: v for k, v in r.items() if v != "left out"}) for r in records]
    (data / "mine/posts.jsonl").write_text("\n".join(lines))
    return data


def posts(data: Path, *records: dict[str, Any], config: ReadConfig = DEFAULT) -> list[Post]:
    return read(locate("mine", write(data, *records)), config).posts


def refused(data: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        posts(data, RECORD | changes)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_post_with_three_relations(tmp_path: Path) -> None:
    first, *others = posts(tmp_path, RECORD)
    assert first == Post(
        id="17#0",
        split="train",
        tokens=("Ada", "Lovelace", "joins", "Globex", "in", "Oslo", "."),
        picture="mine/pictures/17.jpg",
        tags=("B-PER", "I-PER", "O", "B-ORG", "O", "B-LOC", "O"),
        head=(0, 2),
        tail=(3, 4),
        relation="works_for",
    )
    assert [(p.id, p.head, p.tail, p.relation) for p in others] == [
        ("17#1", (3, 4), (5, 6), "located_in"),
        ("17#2", (0, 2), (3, 4), "founded"),
    ]
    assert {p.tags for p in others} == {None}  # one sentence for entities
    assert {(p.picture, p.tokens, p.split) for p in others} == {
        (first.picture, first.tokens, first.split)
    }


def test_one_relation_or_none_keeps_the_id(tmp_path: Path) -> None:
    single = RECORD | {"relations": RECORD["relations"][:1]}
    none = RECORD | {"id": 18, "relations": []}
    bare = RECORD | {"id": 19, "relations": "left out"}
    assert [(p.id, p.head) for p in posts(tmp_path, single, none, bare)] == [
        ("17", (0, 2)),
        ("18", None),
        ("19", None),
    ]


def test_pairs_without_a_relation(tmp_path: Path) -> None:
    config = ReadConfig(unlabelled_pairs=AS_NONE)
    bare = RECORD | {"id": 18, "relations": "left out"}  # says nothing about relations
    read = posts(tmp_path, RECORD, bare, config=config)
    assert [(p.id, p.relation) for p in read[3:]] == [("17#3", "None"), ("18", None)]
    assert (read[3].head, read[3].tail) == ((0, 2), (5, 6))
    three = posts(tmp_path, RECORD | {"relations": []}, config=config)
    assert {p.relation for p in three} == {"None"}
    assert [p.tags is None for p in three] == [False, True, True]


def test_entities_of_tokens_count_the_text_joined_by_blanks(tmp_path: Path) -> None:
    tokens = ["Ada", "Lovelace", "joins", "Globex", "in", "Oslo."]
    [post] = posts(tmp_path, RECORD | {"text": "left out", "tokens": tokens, "relations": []})
    assert post.tokens == tuple(tokens)
    assert post.tags == ("B-PER", "I-PER", "O", "B-ORG", "O", "B-LOC")
    [both] = posts(tmp_path, RECORD | {"tokens": tokens, "relations": []})
    assert both == post


def test_a_prediction_can_be_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = RECORD | {
        "entities": [entity | {"text": TEXT[entity["start"] : entity["end"]], "score": 0.9}
                     for entity in RECORD["entities"]],
        "relations": [relation | {"score": 0.5} for relation in RECORD["relations"]],
        "picture_status": "used", "regions": [{"box": [0, 0, 1, 1]}], "truncated": False,
        "score": 0.3, "predicted_entities": [{"start": 0, "end": 1, "label": "PER", "score": 1.0}],
    }  # fmt: skip
    assert posts(tmp_path, answer) == posts(tmp_path, RECORD)
    messages = ["mine: 1 sentences make 3 posts, one for each relation"]
    assert caplog.messages == messages * 2
    caplog.clear()
    posts(tmp_path, answer | {"user": "kim"})
    messages.append("mine: unknown fields are ignored: user (1 posts)")
    assert caplog.messages == messages


def test_spans_split_tokens_or_are_widened_to_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "#Globex's Berlin-based Adamson"
    entities = [
        {"start": 1, "end": 7, "label": "ORG"},
        {"start": 10, "end": 16, "label": "LOC"},
        {"start": 23, "end": 27, "label": "PER"},
    ]
    [post] = posts(tmp_path, {"split": "val", "text": text, "entities": entities})
    assert post.tokens == ("#", "Globex", "'", "s", "Berlin", "-based", "Adamson")
    assert post.tags == ("O", "B-ORG", "O", "O", "B-LOC", "O", "B-PER")
    assert caplog.messages == [
        "mine: 1 spans that don't fall on words are widened to whole words: "
        "post 0 'Adam' → 'Adamson'"
    ]


def test_of_nested_entities_the_longest_is_tagged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lovelace = {"start": 4, "end": 12, "label": "PER"}
    relation = {"head": 0, "tail": 1, "label": "name_of"}
    record = RECORD | {"entities": [lovelace, ADA], "relations": [relation]}
    [post] = posts(tmp_path, record)
    assert post.tags == ("B-PER", "I-PER", "O", "O", "O", "O", "O")
    assert (post.head, post.tail) == ((1, 2), (0, 2))
    assert caplog.messages == [
        "mine: 1 entities that overlap a longer one get no tags: post 17 entity 0 ('PER')"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entities": {}}, "entities to be a list"),
        ({"entities": [[0, 3, "PER"]]}, "an entity to have start, end and label, found [0, 3"),
        ({"entities": [ADA | {"end": 99}]}, "[start, end) within 34 characters, found [0, 99]"),
        ({"entities": [ADA | {"start": True}]}, "within 34 characters, found [True, 12]"),
        ({"entities": [ADA | {"start": 3, "end": 4}]}, "an entity that isn't only spaces"),
        ({"entities": [ADA | {"label": ""}]}, "label of an entity to be a string of one line"),
        ({"entities": [ADA | {"text": "Lovelace"}]}, "text[0:12] to be the entity's text, "
         "'Lovelace', found 'Ada Lovelace'; start and end count characters"),
        ({"relations": [{"head": 0, "tail": 3, "label": "x"}]}, "the 3 entities, from 0, found 3"),
        ({"relations": [{"head": 0, "tail": 0, "label": "x"}]}, "to be different entities"),
        ({"relations": [{"head": 0, "tail": 1}]}, "a relation to have head, tail and label"),
        ({"entities": "left out"}, "expected entities beside relations"),
        ({"tags": ["O"] * 7}, "expected either tags or entities"),
        ({"head": [0, 1], "tail": [3, 4]}, "expected either relations or head and tail"),
        ({"relatoins": []}, "found 'relatoins'; did you mean relations?"),
        ({"picture": "a/17.jpg"}, "ImportPosts --format records copies pictures"),
        ({"picture": ["a.jpg", "b.jpg"], "boxes": []}, "either boxes in one picture or several"),
    ],
)  # fmt: skip
def test_malformed_records(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **changes)


def test_several_pictures(tmp_path: Path) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"]
    two, single, none, repeated = posts(
        tmp_path,
        RECORD | {"picture": names, "relations": []},
        RECORD | {"id": 1, "picture": ["a.jpg"], "relations": []},
        RECORD | {"id": 2, "picture": [], "relations": []},
        RECORD | {"id": 3, "picture": ["a.jpg", "b.jpg", "a.jpg", "b.jpg"], "relations": []},
    )
    assert two.picture == "mine/pictures/a.jpg"
    assert two.crops == ("mine/pictures/b.jpg", "mine/pictures/c.jpg")
    assert (single.picture, single.crops) == ("mine/pictures/a.jpg", None)
    assert repeated.crops == ("mine/pictures/b.jpg",)
    assert (none.picture, none.crops) == (None, None)


# --- splits


def test_posts_without_id_and_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    records = [{"text": f"Post {n}", "picture": f"{n // 2}.jpg"} for n in range(40)]
    drawn = posts(tmp_path, *records)
    assert [p.id for p in drawn] == [str(n) for n in range(40)]
    assert {s: sum(p.split == s for p in drawn) for s in SPLITS} == {
        "train": 32,
        "val": 4,
        "test": 4,
    }
    assert all(a.split == b.split for a, b in zip(drawn[::2], drawn[1::2], strict=True))
    assert caplog.messages == [
        "mine: 40 posts have no split: drawn by --split 80,10,10 with --split-seed 0"
    ]
    assert posts(tmp_path, *records) == drawn
    other = posts(tmp_path, *records, config=ReadConfig(split_seed=1))
    assert [p.split for p in other] != [p.split for p in drawn]
    [*halves] = posts(tmp_path, *records, config=ReadConfig(split=(1, 0, 1)))
    assert sum(p.split == "train" for p in halves) == 20
    assert not any(p.split == "val" for p in halves)


def test_a_line_number_that_is_another_post_s_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found '1'; posts without an id are numbered: give all"):
        posts(tmp_path, {"id": 1, "text": "Ada"}, {"text": "Globex"})


def test_relations_of_a_post_are_in_the_same_split(tmp_path: Path) -> None:
    records = [RECORD | {"id": n, "split": "left out", "picture": "left out"} for n in range(10)]
    drawn = posts(tmp_path, *records)
    assert {len({p.split for p in drawn[n : n + 3]}) for n in range(0, 30, 3)} == {1}
    assert {s: sum(p.split == s for p in drawn) for s in SPLITS} == {
        "train": 24,
        "val": 3,
        "test": 3,
    }


def test_posts_that_share_a_picture_join_a_given_split() -> None:
    given = ["test", None, None, None]
    pictures = [["a"], ["a", "b"], ["b"], []]
    assert assign(given, pictures, (1, 0, 0), 0) == ["test", "test", "test", "train"]


@pytest.mark.parametrize("split", [(80, 10), (0, 0, 0), (-1, 1, 1), (80, 10, 10, 1)])
def test_invalid_shares(split: tuple[int, ...]) -> None:
    with pytest.raises(SettingError, match="--split: expected shares of train, val and test such"):
        ReadConfig(split=split)


# --- names for no relation


def test_none_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = {"head": 0, "tail": 2, "label": "no_relation"}
    old = {"id": 1, "split": "val", "tokens": ["a", "b"], "head": [0, 1], "tail": [1, 2]}
    records = [RECORD | {"relations": [other]}, old | {"relation": "no_relation"}]
    layout = locate("mine", write(tmp_path, *records, old | {"id": 2, "relation": "r"}))
    read_posts(layout, tmp_path)
    assert load_labels(tmp_path, "re") == ["None", "no_relation", "r"]
    assert caplog.messages == [
        "mine: relation 'no_relation' looks like a name for no relation, and is scored as a "
        "relation; if it means no relation, give --ReadPosts-none-label no_relation"
    ]
    caplog.clear()
    read_posts(layout, tmp_path, ReadConfig(none_label="no_relation"))
    assert load_labels(tmp_path, "re") == ["None", "r"]
    assert not caplog.messages


@pytest.mark.parametrize(
    "name", ["NA", "Other", "none", "NONE", "no relation", "No-Relation", "n/a"]
)
def test_names_that_look_like_no_relation(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    relation = {"head": 0, "tail": 1, "label": name}
    read_posts(locate("mine", write(tmp_path, RECORD | {"relations": [relation]})), tmp_path)
    assert "looks like a name for no relation" in caplog.text


def test_a_none_label_that_the_data_does_not_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = locate("mine", write(tmp_path, RECORD))
    read_posts(layout, tmp_path, ReadConfig(none_label="no_relatoin"))
    assert caplog.messages == [
        "mine: --none-label 'no_relatoin': expected a relation of the data, found "
        "['founded', 'located_in', 'works_for']"
    ]


def test_other_relations_give_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    relations = [*RECORD["relations"], {"head": 0, "tail": 1, "label": "None"}]
    read_posts(locate("mine", write(tmp_path, RECORD | {"relations": relations})), tmp_path)
    assert not caplog.messages


# --- words and characters


def test_word_spans() -> None:
    assert word_spans("Ada joins") == [(0, 3), (4, 9)]
    assert word_spans("Ada-joins", [3]) == [(0, 3), (3, 9)]
    assert word_spans("Ada", [1, 2]) == [(0, 3)]  # never inside a word
    words = [(0, 3), (4, 9), (9, 10)]
    assert covered(words, 0, 3) == (0, 1)
    assert covered(words, 2, 5) == (0, 2)
    assert covered(words, 9, 10) == (2, 3)
    assert covered(words, 3, 4) is None


def test_token_spans() -> None:
    assert token_spans("Ada  joins\xa0", ["Ada", "joins", "\xa0"]) == [(0, 3), (5, 10), (10, 11)]
    assert token_spans("Ada joins", ["Ada"]) is None
    assert token_spans("Ada joins", ["joins", "Ada"]) is None
    assert token_spans("Ada,joins", ["Ada", "joins"]) is None
