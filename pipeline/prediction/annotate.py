"""Export predictions to annotation tools for correction; ImportPosts reads the result."""

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
UNTYPED = "entity"  # the label of entities without a label
Fields = Mapping[str, Any]


def read_predictions(file: Path) -> list[Fields]:
    """Read a file of predictions, without those of errors. Raises DataError, AccessError."""
    records: list[Fields] = []
    for line in lines(file):
        fields = read_object(line)
        if "error" not in fields:
            _check(line, fields)
            records.append(fields)
    return records


def _check(line: Line, fields: Fields) -> None:
    """Raise DataError unless a record has a complete prediction."""
    whole = {"text", "entities", "relations"} <= fields.keys()
    line.need(whole, "a prediction with text, entities and relations", sorted(fields))
    text = fields["text"]
    line.need(text == "" or is_text(text), "text to be a string of characters", text)
    entities = entities_of(line, fields["entities"], text, untyped=True)
    relations_of(line, fields["relations"], entities)


def label_studio(predictions: Sequence[Fields]) -> str:
    """Return a JSON list of tasks, each with its prediction: entities as labels, and relations.

    Offsets are in characters, as in records. If any post has a picture, each task gets the field
    `picture`, which the labelling interface then requires.
    """
    blank = {"picture": ""} if any("picture" in fields for fields in predictions) else {}
    tasks = [
        {
            "data": blank | _repeated(fields),
            "predictions": [{"model_version": "hvpnet", "result": _results(fields)}],
        }
        for fields in predictions
    ]
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"


def _repeated(fields: Fields) -> dict[str, Any]:
    """Return the post itself, its id under a name that no tool uses for its own ids."""
    names = {"id": OWN_ID, "text": "text", "picture": "picture"}
    return {names[name]: fields[name] for name in names if name in fields}


def _results(fields: Fields) -> list[dict[str, Any]]:
    regions = [
        {
            "id": f"e{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": entity["start"],
                "end": entity["end"],
                "text": fields["text"][entity["start"] : entity["end"]],
                "labels": [_label(entity)],
            },
            **({"score": entity["score"]} if "score" in entity else {}),
        }
        for number, entity in enumerate(fields["entities"])
    ]
    arrows = [
        {
            "type": "relation",
            "from_id": f"e{relation['head']}",
            "to_id": f"e{relation['tail']}",
            "direction": "right",
            "labels": [relation["label"]],
        }
        for relation in fields["relations"]
    ]
    return regions + arrows


def _label(entity: Fields) -> str:
    return entity.get("label") or UNTYPED


def doccano(predictions: Sequence[Fields]) -> str:
    """Return JSON lines for doccano's relation extraction, with offsets in characters."""
    return "".join(json.dumps(_document(f), ensure_ascii=False) + "\n" for f in predictions)


def _document(fields: Fields) -> dict[str, Any]:
    entities = [
        {"id": n, "start_offset": e["start"], "end_offset": e["end"], "label": _label(e)}
        for n, e in enumerate(fields["entities"])
    ]
    relations = [
        {"id": n, "from_id": r["head"], "to_id": r["tail"], "type": r["label"]}
        for n, r in enumerate(fields["relations"])
    ]
    return {**_repeated(fields), "entities": entities, "relations": relations}


TOOLS: Mapping[str, Callable[[Sequence[Fields]], str]] = {
    LABEL_STUDIO: label_studio,
    DOCCANO: doccano,
}


def interface(predictions: Iterable[Fields]) -> str:
    """Return the XML of Label Studio's labelling interface with the labels in the predictions."""
    records = list(predictions)
    entities = sorted({_label(entity) for fields in records for entity in fields["entities"]})
    relations = sorted({r["label"] for fields in records for r in fields["relations"]})
    labels = "".join(f'  <Label value="{escape(name)}"/>\n' for name in entities)
    arrows = "".join(f'  <Relation value="{escape(name)}"/>\n' for name in relations)
    pictures = any("picture" in fields for fields in records)
    picture = ' <Image name="picture" value="$picture"/>\n' if pictures else ""
    return (
        f'<View>\n{picture} <Labels name="label" toName="text">\n{labels} </Labels>\n'
        f' <Relations>\n{arrows} </Relations>\n <Text name="text" value="$text"/>\n</View>\n'
    )
