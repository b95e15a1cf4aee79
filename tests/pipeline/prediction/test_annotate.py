"""Test the export to annotation tools, and that ImportPosts reads the corrected posts."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus import locate, read
from pipeline.corpus.imports.write import import_posts
from pipeline.corpus.jsonl import FIELDS, parse
from pipeline.errors import DataError
from pipeline.prediction.annotate import (
    DOCCANO,
    LABEL_STUDIO,
    TOOLS,
    UNTYPED,
    interface,
    read_predictions,
)

E_ACUTE = unicodedata.normalize("NFD", "é")


def entity(text: str, piece: str, label: str, nth: int = 0) -> dict[str, Any]:
    """Return the nth piece of a text in the format of predictions."""
    start = -1
    for _ in range(nth + 1):
        start = text.index(piece, start + 1)
    return {"start": start, "end": start + len(piece), "label": label, "text": piece, "score": 0.5}


def prediction(text: str, *entities: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = {"relations": [], "picture_status": "none", "regions": [], "truncated": False}
    return {"text": text, "entities": list(entities), **answer, **more}


TWICE = "🎉🎉A A"  # in UTF-16 the first A would be where the second is
ACCENTS = f"Caf{E_ACUTE} Ren{E_ACUTE} 👩‍👩‍👧 in Nice"
NESTED = 'New York Times & <Co> \u2028 "x"'
PREDICTIONS = [
    prediction(TWICE, entity(TWICE, "A", "PER"), id="17", picture="pictures/a b.jpg"),
    prediction(
        ACCENTS,
        entity(ACCENTS, f"Ren{E_ACUTE}", "PER"),
        entity(ACCENTS, "Nice", "LOC"),
        id=3,
        relations=[{"head": 0, "tail": 1, "label": "/per/loc/lives_in", "score": 0.9}],
        picture="b.jpg",
        picture_status="missing",
    ),
    prediction(
        NESTED,
        entity(NESTED, "New York Times", "ORG"),
        entity(NESTED, "New York", "LOC"),
        entity(NESTED, "Co", "ORG"),
        id="nested",
        relations=[
            {"head": 1, "tail": 0, "label": "part of", "score": 0.4},
            {"head": 0, "tail": 1, "label": "in <b>", "score": 0.4},
        ],
        explanation={"entities": {"regions": []}},
    ),
    prediction("nobody here", id="none"),
]
ERROR = {"id": "bad", "error": "line 5: expected text"}


def written(folder: Path, *records: dict[str, Any]) -> Path:
    file = folder / "predictions.jsonl"
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records))
    return file


def imported(folder: Path, file: Path, form: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines that ImportPosts writes, and its output; ReadPosts must read all lines."""
    said = import_posts("own", file, form, None, folder / "data", overwrite=True)
    read(locate("own", folder / "data"))
    lines = (folder / "data/own/posts.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines], said


def answers(record: dict[str, Any]) -> tuple[Any, ...]:
    entities = [(one["start"], one["end"], one["label"]) for one in record["entities"]]
    relations = [(one["head"], one["tail"], one["label"]) for one in record["relations"]]
    picture = record.get("picture", "").rpartition("/")[2]
    return record["id"], record["text"], entities, relations, picture


def in_label_studio(text: str) -> str:
    """Return Label Studio's export of tasks whose predictions were accepted."""
    tasks = json.loads(text)
    for number, task in enumerate(tasks, start=100):
        [made] = task.pop("predictions")
        task |= {"id": number, "annotations": [{"id": number, "result": made["result"]}]}
    return json.dumps(tasks)


def in_doccano(text: str) -> str:
    """Return doccano's export, with its own ids of documents, entities and relations."""
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], start=100):
        fields = json.loads(line)
        names = {one["id"]: 1000 * number + one["id"] for one in fields["entities"]}
        for one in fields["entities"]:
            one["id"] = names[one["id"]]
        for one in fields["relations"]:
            one |= {"from_id": names[one["from_id"]], "to_id": names[one["to_id"]]}
        rows.append(json.dumps({**fields, "id": number, "Comments": []}, ensure_ascii=False))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("tool", "annotated"), [(LABEL_STUDIO, in_label_studio), (DOCCANO, in_doccano)]
)
def test_a_tool_gives_back_what_it_got(
    tmp_path: Path, tool: str, annotated: Callable[[str], str]
) -> None:
    records = read_predictions(written(tmp_path, *PREDICTIONS, ERROR))
    export = tmp_path / "export.json"
    export.write_text(annotated(TOOLS[tool](records)), encoding="utf-8")
    posts, said = imported(tmp_path, export, tool)
    assert [answers(one) for one in posts] == [answers(one) for one in PREDICTIONS]
    assert not [line for line in said if "widened" in line or "left out" in line]


def test_a_correction_counts(tmp_path: Path) -> None:
    tasks = json.loads(in_label_studio(TOOLS[LABEL_STUDIO](PREDICTIONS)))
    results = tasks[1]["annotations"][0]["result"]
    results[0]["value"]["labels"] = ["DOG"]
    del results[2]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    posts, _ = imported(tmp_path, tmp_path / "export.json", LABEL_STUDIO)
    assert [one["label"] for one in posts[1]["entities"]] == ["DOG", "LOC"]
    assert posts[1]["relations"] == []


def test_the_tool_counts_for_posts_without_an_id(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_text(in_label_studio(TOOLS[LABEL_STUDIO]([prediction("a b")])))
    [post], _ = imported(tmp_path, export, LABEL_STUDIO)
    assert post["id"] == 100


def test_records_are_read_as_they_are(tmp_path: Path) -> None:
    file = written(tmp_path, PREDICTIONS[1], ERROR, PREDICTIONS[2], prediction("", id="empty"))
    posts, said = imported(tmp_path, file, "records")
    assert [answers(one) for one in posts] == [answers(one) for one in PREDICTIONS[1:3]]
    assert "1 records that could not be predicted are left out: line 2" in said
    assert "1 posts without text are left out: line 4" in said


def test_what_only_an_answer_has_is_no_slip() -> None:
    from pipeline.corpus.files import Line

    ignored: dict[str, int] = {}
    line = Line(Path("x"), 1, json.dumps({**PREDICTIONS[2], "error": "e"}))
    parse(line, FIELDS, ignored)
    assert ignored == {}


def test_entities_without_a_label_get_one() -> None:
    untyped = prediction("a b", {"start": 0, "end": 1, "text": "a"})
    [task] = json.loads(TOOLS[LABEL_STUDIO]([untyped]))
    assert task["predictions"][0]["result"][0]["value"]["labels"] == [UNTYPED]
    assert UNTYPED in interface([untyped])


def test_the_interface_names_each_label_once() -> None:
    from xml.etree import ElementTree

    view = ElementTree.fromstring(interface(PREDICTIONS))
    assert [one.get("value") for one in view.iter("Label")] == ["LOC", "ORG", "PER"]
    assert [one.get("value") for one in view.iter("Relation")] == [
        *("/per/loc/lives_in", "in <b>", "part of")
    ]
    asked = {one.get("value", "")[1:] for one in view if one.get("value")}
    tasks = json.loads(TOOLS[LABEL_STUDIO](PREDICTIONS))
    assert asked == {"picture", "text"}
    assert all(asked <= task["data"].keys() for task in tasks)
    assert "Image" not in interface(PREDICTIONS[3:])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "a"}, "expected a prediction with text, entities and relations"),
        (prediction("a", {"start": 0, "end": 5}), "within 1 characters, found [0, 5]"),
        (prediction("a", relations=[{"head": 0, "tail": 1, "label": "r"}]), "of the 0 entities"),
        (prediction("a", {"start": 0, "end": 1, "text": "b"}), "to be the entity's text"),
    ],
)
def test_other_records_are_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_predictions(written(tmp_path, record))
    assert message in str(caught.value)
    assert "line 1" in str(caught.value)
