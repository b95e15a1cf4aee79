"""Predictions as one page to look at: texts with entities, relations, pictures with boxes."""

from collections.abc import Sequence
from html import escape
from typing import Any

from PIL.Image import Image

from features.pictures import PictureError, cut, read_picture
from pipeline.pages.drawing import Crop, picture_with_boxes
from pipeline.pages.html import COLOURS, whole_page
from pipeline.prediction.prediction import NONE, USED, Prediction

MOST = 200  # predictions of a page


def page(predictions: Sequence[Prediction], title: str = "Predictions") -> str:
    """A whole page, complete in itself, of the first predictions."""
    shown = predictions[:MOST]
    labels = sorted({entity.label for one in shown for entity in one.entities})
    colours = {label: n % len(COLOURS) for n, label in enumerate(labels)}
    legend = " ".join(f'<mark class="c{colours[label]}">{escape(label)}</mark>' for label in labels)
    cards = "".join(_card(one, colours) for one in shown)
    return whole_page(title, f'<p class="also">{legend}</p>', f'<div class="cards">{cards}</div>')


def _card(one: Prediction, colours: dict[str, int]) -> str:
    name = "" if one.id is None else escape(str(one.id))
    head = f'<article><div class="id soft"><span>{name}</span></div>'
    if one.error is not None:
        return f'{head}<p class="why">{escape(one.error)}</p></article>'
    notes = [] if one.picture_status in (USED, NONE) else [f"picture: {one.picture_status}"]
    notes += ["longer than the model reads at once"] if one.truncated else []
    why = "".join(f'<p class="why">{escape(note)}</p>' for note in notes)
    return (
        f"{head}{_text(one, colours)}{_relations(one)}{why}{_picture(one)}{_explanation(one)}"
        "</article>"
    )


def _text(one: Prediction, colours: dict[str, int]) -> str:
    """The text with its entities marked; of those that overlap, the first."""
    parts, place = [], 0
    for number, entity in sorted(enumerate(one.entities), key=lambda pair: pair[1].start):
        if entity.start < place:
            continue
        score = "" if entity.score is None else f" {entity.score:.2f}"
        parts.append(escape(one.text[place : entity.start]))
        parts.append(
            f'<mark class="c{colours[entity.label]}">{escape(entity.text)}'
            f'<span class="n">{number} {escape(entity.label)}{score}</span></mark>'
        )
        place = entity.end
    return f'<p class="text" dir="auto">{"".join(parts)}{escape(one.text[place:])}</p>'


def _relations(one: Prediction) -> str:
    rows = "".join(
        f"<li><bdi>{escape(one.entities[r.head].text)}</bdi> → <b>{escape(r.label)}</b> → "
        f"<bdi>{escape(one.entities[r.tail].text)}</bdi> "
        f'<span class="soft">{r.score:.2f}</span></li>'
        for r in one.relations
    )
    return f"<ul>{rows}</ul>" if rows else ""


def _picture(one: Prediction) -> str:
    if one.picture_status != USED or not one.pictures:
        return ""
    try:
        picture, _ = read_picture(one.pictures[0])
    except PictureError as error:  # it changed since
        return f'<p class="why">{escape(str(error))}</p>'
    crops = [
        Crop(n, (n - 1) % len(COLOURS), region, _crop(picture, region.box))
        for n, region in enumerate(one.regions, start=1)
    ]
    return f'<div class="look">{picture_with_boxes(picture, crops)}</div>'


def _crop(picture: Image, box: Any) -> Image | None:
    return None if box is None else cut(picture, box)


def _explanation(one: Prediction) -> str:
    """Attention to regions, averaged over layers, and the picture's gate by layer."""
    return "".join(
        _attention(one, name, part) + _gate(name, part)
        for name, part in (one.explanation or {}).items()
        if part["regions"]
    )


def _attention(one: Prediction, name: str, part: dict[str, Any]) -> str:
    rows = []
    for number, attention in enumerate(part["attention"]):
        if attention is None or attention == []:
            continue
        if name == "entities":
            rows.append((one.entities[number].text, attention))
        else:
            relation = one.relations[number]
            rows += [
                (f"{side} of {relation.label}: {one.entities[entity].text}", own)
                for side, entity, own in zip(
                    ("head", "tail"), (relation.head, relation.tail), attention, strict=True
                )
            ]
    means = [
        (text, [sum(column) / len(column) for column in zip(*own, strict=True)])
        for text, own in rows
    ]
    return _table(f"attention to regions, {name}, mean over layers", part["regions"], means)


def _gate(name: str, part: dict[str, Any]) -> str:
    rows = [(f"layer {n}", layer[0]) for n, layer in enumerate(part["gate"], start=1)]
    title = f"gate of {_region(part['regions'][0])}, {name}"
    return _table(title, [f"block {n}" for n in range(1, 5)], rows)


def _region(name: Any) -> str:
    return f"region {name + 1}" if isinstance(name, int) else str(name)


def _table(title: str, columns: Sequence[Any], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    head = "".join(f"<th>{escape(_region(column))}</th>" for column in columns)
    body = "".join(
        f"<tr><td><bdi>{escape(text)}</bdi></td>{''.join(f'<td>{x:.2f}</td>' for x in values)}</tr>"
        for text, values in rows
    )
    return (
        f"<details><summary>{escape(title)}</summary><table><tr><th></th>{head}</tr>{body}</table></details>"
        if body
        else ""
    )
