"""Predictions as tasks of annotation tools, to be corrected there and read back by ImportPosts."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.corpus.files import lines
from pipeline.corpus.json_lines import read_object

Fields = Mapping[str, Any]


def label_studio(predictions: Sequence[Fields]) -> str:
    """A JSON list of tasks, each with its prediction: entities as labels, and relations.

    Label Studio counts UTF-16 units, as browsers do.
    """
    return json.dumps([_task(one) for one in predictions], ensure_ascii=False, indent=1) + "\n"


def _task(one: Fields) -> dict[str, Any]:
    text = one["text"]
    results: list[dict[str, Any]] = [
        {
            "id": f"e{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": _units(text, entity["start"]),
                "end": _units(text, entity["end"]),
                "text": text[entity["start"] : entity["end"]],
                "labels": [entity["label"]],
            },
            **_score(entity),
        }
        for number, entity in enumerate(one["entities"])
    ]
    results += [
        {
            "type": "relation",
            "from_id": f"e{relation['head']}",
            "to_id": f"e{relation['tail']}",
            "direction": "right",
            "labels": [relation["label"]],
        }
        for relation in one["relations"]
    ]
    data = {name: one[name] for name in ("id", "text", "picture") if name in one}
    return {"data": data, "predictions": [{"model_version": "hvpnet", "result": results}]}


def _units(text: str, place: int) -> int:
    """UTF-16 units before a character."""
    return len(text[:place].encode("utf-16-le")) // 2


def _score(answer: Fields) -> dict[str, float]:
    return {"score": answer["score"]} if "score" in answer else {}


def doccano(predictions: Sequence[Fields]) -> str:
    """JSON lines of doccano's relation extraction, in characters."""
    return "".join(json.dumps(_document(one), ensure_ascii=False) + "\n" for one in predictions)


def _document(one: Fields) -> dict[str, Any]:
    entities = [
        {"id": n, "start_offset": e["start"], "end_offset": e["end"], "label": e["label"]}
        for n, e in enumerate(one["entities"])
    ]
    relations = [
        {"id": n, "from_id": r["head"], "to_id": r["tail"], "type": r["label"]}
        for n, r in enumerate(one["relations"])
    ]
    given = {name: one[name] for name in ("id", "text", "picture") if name in one}
    return {**given, "entities": entities, "relations": relations}


TOOLS: Mapping[str, Callable[[Sequence[Fields]], str]] = {
    "label-studio": label_studio,
    "doccano": doccano,
}


def read_predictions(file: Path) -> list[Fields]:
    """The records of a file of predictions that have an answer. Raises DataError."""
    records: list[Fields] = []
    for line in lines(file):
        fields = read_object(line)
        if "error" in fields:
            continue
        whole = {"text", "entities", "relations"} <= fields.keys()
        line.need(whole, "a prediction with text, entities and relations", sorted(fields))
        records.append(fields)
    return records


def interface(predictions: Iterable[Fields]) -> str:
    """Label Studio's labelling interface for these predictions' labels."""
    records = list(predictions)
    entities = sorted({e["label"] for one in records for e in one["entities"]})
    relations = sorted({r["label"] for one in records for r in one["relations"]})
    labels = "".join(f'  <Label value="{escape(name)}"/>\n' for name in entities)
    ties = "".join(f'  <Relation value="{escape(name)}"/>\n' for name in relations)
    return (
        '<View>\n <Image name="picture" value="$picture"/>\n'
        f' <Labels name="label" toName="text">\n{labels} </Labels>\n'
        f" <Relations>\n{ties} </Relations>\n"
        ' <Text name="text" value="$text"/>\n</View>\n'
    )
