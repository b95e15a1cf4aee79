"""Label Studio's JSON export: regions of type `labels` in a text, relations between them."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.corpus.files import Line, clip
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

_SEVERAL = "tasks were annotated more than once: the first annotation is read"
_OTHER = "results that are neither labels in the text nor relations are left out"
_UNNAMED = "regions or relations without a label are left out"
_MORE = "regions with several labels: the first is read"
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif", ".heic", ".tif", ".tiff")


def read(file: Path, notes: Notes) -> list[Record]:
    """The posts of an export in the format "JSON" (not JSON-MIN). Raises DataError."""
    records = []
    for place, task in json_items(file):
        data = task.get("data")
        if not isinstance(data, dict):
            raise place.error(
                "a task with data and annotations",
                sorted(task),
                'export it in the format "JSON"; JSON-MIN has no relations',
            )
        text = data[_text_key(place, data)]
        results = _results(place, task, notes)
        marks = _marks(place, text, results or [], notes)
        fields = marked(place, text, marks, notes)
        if fields is None:
            continue
        if results is None:  # nobody annotated it: it says nothing about its entities
            fields = {"text": text}
        fields |= {**id_field(place, task.get("id")), **split_field(data)}
        records.append(Record(place, fields, _pictures(data)))
    return records


def _text_key(place: Line, data: dict[str, Any]) -> str:
    """The field of a task that holds the text: `text`, or the only one that can."""
    if "text" in data:
        return "text"
    keys = [key for key, value in data.items() if isinstance(value, str) and not _is_address(value)]
    keys = [key for key in keys if key not in ("id", "split", *PICTURE_KEYS)]
    place.need(len(keys) == 1, "a field named text, or one string, in data", sorted(data))
    return keys[0]


def _is_address(value: str) -> bool:
    return "://" in value[:12] or value.startswith("/") or value.lower().endswith(_PICTURES)


def _pictures(data: dict[str, Any]) -> tuple[str, ...]:
    named = picture_names(data, PICTURE_KEYS)
    if named:
        return named
    values = [value for value in data.values() if isinstance(value, str)]
    return tuple(v for v in values if _is_address(v) and _path(v).lower().endswith(_PICTURES))[:1]


def _path(address: str) -> str:
    try:
        return urlsplit(address).path
    except ValueError:  # a malformed host
        return address


def _results(place: Line, task: dict[str, Any], notes: Notes) -> list[Any] | None:
    """The results of the first annotation that wasn't cancelled; None without one."""
    made = task.get("annotations", task.get("completions", []))
    place.need(isinstance(made, list), "annotations to be a list", made)
    for one in made:
        place.need(isinstance(one, dict), "an annotation to be an object", one)
    kept = [one for one in made if not one.get("was_cancelled")]
    if len(kept) > 1:
        notes.add(_SEVERAL, place.text)
    if not kept:
        return None
    results = kept[0].get("result", [])
    place.need(isinstance(results, list), "result to be a list", results)
    return list(results)


def _marks(place: Line, text: Any, results: list[Any], notes: Notes) -> Marks:
    regions, ties = [], []
    for result in results:
        place.need(isinstance(result, dict), "a result to be an object", result)
        if result.get("type") == "relation":
            ties += _ties(place, result, notes)
        elif result.get("type") == "labels" and isinstance(result.get("value"), dict):
            regions.append(result)
        else:
            notes.add(_OTHER, f"{place.text} {clip(result.get('type'))}")
    in_utf16 = isinstance(text, str) and _counts_utf16(text, regions)
    marks = [_mark(place, text, region, in_utf16, notes) for region in regions]
    return Marks([mark for mark in marks if mark is not None], ties)


def _counts_utf16(text: str, regions: list[dict[str, Any]]) -> bool:
    """Whether start and end count UTF-16 units: regions have their own text to compare with."""
    values = [region["value"] for region in regions]
    values = [v for v in values if isinstance(v.get("text"), str) and _is_span(v)]
    if all(text[v["start"] : v["end"]] == v["text"] for v in values):
        return False
    return all(
        text[_characters(text, v["start"]) : _characters(text, v["end"])] == v["text"]
        for v in values
    )


def _is_span(value: dict[str, Any]) -> bool:
    places = (value.get("start"), value.get("end"))
    return all(type(place) is int and 0 <= place < 10**9 for place in places)


def _characters(text: str, units: int) -> int:
    """How many characters the first UTF-16 units of a text are."""
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "ignore"))


def _mark(
    place: Line, text: Any, region: dict[str, Any], in_utf16: bool, notes: Notes
) -> Mark | None:
    value = region["value"]
    labels = value.get("labels")
    if not isinstance(labels, list) or not labels:
        notes.add(_UNNAMED, place.text)
        return None
    if len(labels) > 1:
        notes.add(_MORE, f"{place.text} {clip(labels)}")
    start, end = value.get("start"), value.get("end")
    if in_utf16 and _is_span(value):
        start, end = _characters(text, value["start"]), _characters(text, value["end"])
    return Mark(region.get("id"), start, end, labels[0])


def _ties(place: Line, result: dict[str, Any], notes: Notes) -> list[Tie]:
    labels = result.get("labels")
    if not isinstance(labels, list) or not labels:
        notes.add(_UNNAMED, place.text)
        return []
    ends = result.get("from_id"), result.get("to_id")
    direction = result.get("direction", "right")
    both = {"right": [ends], "left": [ends[::-1]], "bi": [ends, ends[::-1]]}
    if direction not in both:
        raise place.error("direction to be right, left or bi", direction)
    return [Tie(head, tail, label) for head, tail in both[direction] for label in labels]
