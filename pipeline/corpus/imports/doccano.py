"""doccano's JSONL: spans under `label`, `labels` or `entities`, and `relations` between them."""

from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line
from pipeline.corpus.imports.source import (
    PICTURE_KEYS,
    Mark,
    Marks,
    Record,
    Tie,
    id_field,
    json_items,
    marked,
    picture_names,
    split_field,
)
from pipeline.corpus.notes import Notes


def read(file: Path, notes: Notes) -> list[Record]:
    """The posts of an export of sequence labelling or relation extraction. Raises DataError."""
    records = []
    for place, item in json_items(file):
        place.need("text" in item, "doccano's text", sorted(item))
        fields = marked(place, item["text"], _marks(place, item), notes)
        if fields is None:
            continue
        if "relations" not in item:
            del fields["relations"]
        meta = item["meta"] if isinstance(item.get("meta"), dict) else {}
        known = {**meta, **item}
        fields |= {**id_field(place, item.get("id")), **split_field(known)}
        records.append(Record(place, fields, picture_names(known, PICTURE_KEYS)))
    return records


def _marks(place: Line, item: dict[str, Any]) -> Marks:
    key = next((name for name in ("entities", "label", "labels") if name in item), None)
    if key is None:
        raise place.error("label, labels or entities", sorted(item))
    spans, relations = item[key], item.get("relations", [])
    place.need(isinstance(spans, list), f"{key} to be a list", spans)
    place.need(isinstance(relations, list), "relations to be a list", relations)
    return Marks(
        [_entity(place, n, span) for n, span in enumerate(spans)],
        [_relation(place, one) for one in relations],
    )


def _entity(place: Line, number: int, span: Any) -> Mark:
    if isinstance(span, list) and len(span) == 3:
        return Mark(("number", number), *span)
    names = {"id", "start_offset", "end_offset", "label"}
    if not isinstance(span, dict) or not names <= span.keys():
        expected = "an entity as [start, end, label] or with id, start_offset, end_offset, label"
        raise place.error(expected, span)
    return Mark(span["id"], span["start_offset"], span["end_offset"], span["label"])


def _relation(place: Line, relation: Any) -> Tie:
    names = {"from_id", "to_id", "type"}
    if not isinstance(relation, dict) or not names <= relation.keys():
        raise place.error("a relation with from_id, to_id and type", relation)
    return Tie(relation["from_id"], relation["to_id"], relation["type"])
