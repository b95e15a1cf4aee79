"""Predictions as tasks of annotation tools, to be corrected there and read back by ImportPosts."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line, is_text, lines
from pipeline.corpus.imports.source import OWN_ID
from pipeline.corpus.json_lines import read_object
from pipeline.corpus.records import entities_of, relations_of

LABEL_STUDIO, DOCCANO = "label-studio", "doccano"
UNTYPED = "entity"  # the label of entities that came without one
Fields = Mapping[str, Any]


def read_predictions(file: Path) -> list[Fields]:
    """The records of a file of predictions that have an answer. Raises DataError, AccessError."""
    records: list[Fields] = []
    for line in lines(file):
        fields = read_object(line)
        if "error" not in fields:
            _check(line, fields)
            records.append(fields)
    return records


def _check(line: Line, fields: Fields) -> None:
    """Raise DataError unless a record's answer can be handed on."""
    whole = {"text", "entities", "relations"} <= fields.keys()
    line.need(whole, "a prediction with text, entities and relations", sorted(fields))
    text = fields["text"]
    line.need(text == "" or is_text(text), "text to be a string of characters", text)
    entities = entities_of(line, fields["entities"], text, untyped=True)
    relations_of(line, fields["relations"], entities)


def label_studio(predictions: Sequence[Fields]) -> str:
    """A JSON list of tasks, each with its prediction: entities as labels, and relations.

    Label Studio counts characters, as records do. Each task has a picture if any has, as its
    interface asks for it.
    """
    blank = {"picture": ""} if any("picture" in one for one in predictions) else {}
    tasks = [
        {
            "data": blank | _repeated(one),
            "predictions": [{"model_version": "hvpnet", "result": _results(one)}],
        }
        for one in predictions
    ]
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"


def _repeated(one: Fields) -> dict[str, Any]:
    """The post itself, its id under a name that no tool gives to ids of its own."""
    names = {"id": OWN_ID, "text": "text", "picture": "picture"}
    return {names[name]: one[name] for name in names if name in one}


def _results(one: Fields) -> list[dict[str, Any]]:
    regions = [
        {
            "id": f"e{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": entity["start"],
                "end": entity["end"],
                "text": one["text"][entity["start"] : entity["end"]],
                "labels": [_label(entity)],
            },
            **({"score": entity["score"]} if "score" in entity else {}),
        }
        for number, entity in enumerate(one["entities"])
    ]
    arrows = [
        {
            "type": "relation",
            "from_id": f"e{relation['head']}",
            "to_id": f"e{relation['tail']}",
            "direction": "right",
            "labels": [relation["label"]],
        }
        for relation in one["relations"]
    ]
    return regions + arrows


def _label(entity: Fields) -> str:
    return entity.get("label") or UNTYPED


def doccano(predictions: Sequence[Fields]) -> str:
    """JSON lines of doccano's relation extraction, in characters."""
    return "".join(json.dumps(_document(one), ensure_ascii=False) + "\n" for one in predictions)


def _document(one: Fields) -> dict[str, Any]:
    entities = [
        {"id": n, "start_offset": e["start"], "end_offset": e["end"], "label": _label(e)}
        for n, e in enumerate(one["entities"])
    ]
    relations = [
        {"id": n, "from_id": r["head"], "to_id": r["tail"], "type": r["label"]}
        for n, r in enumerate(one["relations"])
    ]
    return {**_repeated(one), "entities": entities, "relations": relations}


TOOLS: Mapping[str, Callable[[Sequence[Fields]], str]] = {
    LABEL_STUDIO: label_studio,
    DOCCANO: doccano,
}


def interface(predictions: Iterable[Fields]) -> str:
    """Label Studio's labelling interface for these predictions' labels."""
    records = list(predictions)
    entities = sorted({_label(entity) for one in records for entity in one["entities"]})
    relations = sorted({relation["label"] for one in records for relation in one["relations"]})
    labels = "".join(f'  <Label value="{escape(name)}"/>\n' for name in entities)
    arrows = "".join(f'  <Relation value="{escape(name)}"/>\n' for name in relations)
    pictures = any("picture" in one for one in records)
    picture = ' <Image name="picture" value="$picture"/>\n' if pictures else ""
    return (
        f'<View>\n{picture} <Labels name="label" toName="text">\n{labels} </Labels>\n'
        f' <Relations>\n{arrows} </Relations>\n <Text name="text" value="$text"/>\n</View>\n'
    )
