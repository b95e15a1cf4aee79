"""Label Studio's JSON export: regions of type `labels` in a text, and relations between them."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.corpus.files import Line, clip
from pipeline.corpus.imports.source import (
    OWN_ID,
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

_SEVERAL = "tasks have several annotations: the ground truth or the first is read"
_OTHER = "results that are neither labels in the text nor relations are left out"
_UNNAMED = "regions or relations without a label are left out"
_MORE = "regions with several labels: the first is read"
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".avif", ".heic", ".tif", ".tiff")


def read(file: Path, notes: Notes) -> list[Record]:
    """Read an export in the format "JSON" (not JSON-MIN). Raises DataError."""
    records = []
    for place, task in json_items(file):
        data = task.get("data")
        if not isinstance(data, dict):
            raise place.error(
                "a task with data and annotations",
                sorted(task),
                'export it in the format "JSON"; JSON-MIN has no relations',
            )
        results = _results(place, task, notes)
        text, marks = _marks(place, data[_text_key(place, data)], results or [], notes)
        fields = marked(place, text, marks, notes)
        if fields is None:
            continue
        if results is None:  # not annotated: its entities are unknown
            fields = {"text": text}
        fields |= {**id_field(data, task.get("id")), **split_field(data)}
        records.append(Record(place, fields, _pictures(data)))
    return records


def _text_key(place: Line, data: dict[str, Any]) -> str:
    """Return the field of a task that holds the text: `text`, or the only possible one."""
    if "text" in data:
        return "text"
    keys = [key for key, value in data.items() if isinstance(value, str) and not _is_address(value)]
    keys = [key for key in keys if key not in ("id", OWN_ID, "split", *PICTURE_KEYS)]
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
    """Return the results of the ground truth annotation, or of the first; None without any.

    Cancelled annotations don't count.
    """
    annotations = task.get("annotations")
    annotations = task.get("completions") if annotations is None else annotations
    annotations = [] if annotations is None else annotations
    place.need(isinstance(annotations, list), "annotations to be a list", annotations)
    for annotation in annotations:
        place.need(isinstance(annotation, dict), "an annotation to be an object", annotation)
    kept = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    if len(kept) > 1:
        notes.add(_SEVERAL, place.text)
    if not kept:
        return None
    best = next((a for a in kept if a.get("ground_truth") is True), kept[0])
    results = best.get("result")
    results = [] if results is None else results
    place.need(isinstance(results, list), "result to be a list", results)
    return list(results)


def _marks(place: Line, text: Any, results: list[Any], notes: Notes) -> tuple[Any, Marks]:
    """Return the text as the annotator saw it, and its annotations.

    If the regions only fit with line ends of one character, the text gets those.
    """
    regions: list[dict[str, Any]] = []
    ties: list[Tie] = []
    for result in results:
        place.need(isinstance(result, dict), "a result to be an object", result)
        if result.get("type") == "relation":
            ties += _ties(place, result, notes)
        elif result.get("type") == "labels" and isinstance(result.get("value"), dict):
            regions.append(result)
        else:
            notes.add(_OTHER, f"{place.text} {clip(result.get('type'))}")
    in_utf16 = False
    if isinstance(text, str):
        text, in_utf16 = _fitting(text, regions)
    marks = [_mark(place, text, region, in_utf16, notes) for region in regions]
    return text, Marks([mark for mark in marks if mark is not None], ties)


def _fitting(text: str, regions: list[dict[str, Any]]) -> tuple[str, bool]:
    """Choose line ends and a way of counting so that every region's text is at its place.

    Returns the text, and True if start and end count UTF-16 units. If no choice fits, returns the
    text unchanged and False: start and end count characters.
    """
    values = [region["value"] for region in regions]
    values = [v for v in values if isinstance(v.get("text"), str) and _is_span(v)]
    for written in dict.fromkeys((text, text.replace("\r\n", "\n"))):
        for in_utf16 in (False, True):
            if all(_is_same(_piece(written, v, in_utf16), v["text"]) for v in values):
                return written, in_utf16
    return text, False


def _piece(text: str, value: dict[str, Any], in_utf16: bool) -> str:
    start, end = value["start"], value["end"]
    if in_utf16:
        start, end = _characters(text, start), _characters(text, end)
    return text[start:end]


def _is_same(piece: str, region_text: str) -> bool:
    """Return True if texts are equal except for spaces; a region may have \\n for a line end."""
    return piece == region_text or piece.split() == region_text.replace("\\n", " ").split()


def _is_span(value: dict[str, Any]) -> bool:
    places = (value.get("start"), value.get("end"))
    return all(type(place) is int and 0 <= place < 10**9 for place in places)


def _characters(text: str, units: int) -> int:
    """Convert a number of UTF-16 units at the start of a text to characters."""
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
    region_text = value.get("text")
    if isinstance(text, str) and isinstance(region_text, str) and _is_span(value):
        piece = _piece(text, value, in_utf16)
        advice = "was the text edited afterwards?"
        expected = f"text[{start}:{end}] to be the region's text, {clip(region_text)}"
        place.need(_is_same(piece, region_text), expected, piece, advice)
    if in_utf16 and _is_span(value):
        start, end = _characters(text, value["start"]), _characters(text, value["end"])
    return Mark(region.get("id"), start, end, labels[0])


def _ties(place: Line, result: dict[str, Any], notes: Notes) -> list[Tie]:
    labels = result.get("labels")
    if not isinstance(labels, list) or not labels:
        notes.add(_UNNAMED, place.text)
        return []
    ends = result.get("from_id"), result.get("to_id")
    direction = result.get("direction") or "right"
    both = {"right": [ends], "left": [ends[::-1]], "bi": [ends, ends[::-1]]}
    if direction not in both:
        raise place.error("direction to be right, left or bi", direction)
    return [Tie(head, tail, label) for head, tail in both[direction] for label in labels]
