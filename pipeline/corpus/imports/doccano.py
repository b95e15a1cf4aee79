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
    """Read an export of sequence labelling or relation extraction. Raises DataError."""
    records = []
    for place, item in json_items(file):
        key = "text" if "text" in item else "data"  # "data" in doccano 1.0 to 1.3
        place.need(key in item, "doccano's text", sorted(item))
        fields = marked(place, item[key], _marks(place, item), notes)
        if fields is None:
            continue
        if "relations" not in item:
            del fields["relations"]
        meta = item["meta"] if isinstance(item.get("meta"), dict) else {}
        known = {**meta, **item}
        fields |= {**id_field(known, item.get("id")), **split_field(known)}
        records.append(Record(place, fields, picture_names(known, PICTURE_KEYS)))
    return records


def _marks(place: Line, item: dict[str, Any]) -> Marks:
    keys = [name for name in ("entities", "label", "labels") if name in item]
    if not keys:
        raise place.error("label, labels or entities", sorted(item))
    key = next((name for name in keys if item[name]), keys[0])
    spans, relations = item[key] or [], item.get("relations") or []
    place.need(isinstance(spans, list), f"{key} to be a list", spans)
    place.need(isinstance(relations, list), "relations to be a list", relations)
    return Marks(
        [_entity(place, n, span) for n, span in enumerate(spans)],
        [_relation(place, relation) for relation in relations],
    )


def _entity(place: Line, number: int, span: Any) -> Mark:
    if isinstance(span, list) and len(span) == 3:
        return Mark(("number", number), *span)
    names = {"id", "start_offset", "end_offset", "label"}
    if not isinstance(span, dict) or not names <= span.keys():
        expected = "an entity as [start, end, label] or with id, start_offset, end_offset, label"
        advice = (
            "a label of the whole text is not an entity: export a project of sequence labelling"
        )
        raise place.error(expected, span, advice if isinstance(span, str) else "")
    return Mark(span["id"], span["start_offset"], span["end_offset"], span["label"])


def _relation(place: Line, relation: Any) -> Tie:
    names = {"from_id", "to_id", "type"}
    if not isinstance(relation, dict) or not names <= relation.keys():
        raise place.error("a relation with from_id, to_id and type", relation)
    return Tie(relation["from_id"], relation["to_id"], relation["type"])
