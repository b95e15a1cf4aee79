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
    legend = " ".join(
        f'<mark class="c{colours[label]}">{escape(label)}</mark>' for label in labels if label
    )
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
        f"{head}{_text(one, colours)}{_relations(one)}{why}"
        f"{_picture(one, len(colours))}{_explanation(one)}</article>"
    )


def _text(one: Prediction, colours: dict[str, int]) -> str:
    """The text with its entities marked; below it those that overlap an earlier one."""
    parts, others, place = [], [], 0
    for number, entity in sorted(enumerate(one.entities), key=lambda pair: pair[1].start):
        score = "" if entity.score is None else f"{entity.score:.2f}"
        about = "\u00a0".join(filter(None, (str(number), entity.label, score)))  # on one line
        mark = (
            f'<mark class="c{colours[entity.label]}">{escape(entity.text)}'
            f'<span class="n">{escape(about)}</span></mark>'
        )
        if entity.start < place:
            others.append(mark)
            continue
        parts += [escape(one.text[place : entity.start]), mark]
        place = entity.end
    below = f'<p class="also" dir="auto">{" ".join(others)}</p>' if others else ""
    return f'<p class="text" dir="auto">{"".join(parts)}{escape(one.text[place:])}</p>{below}'


def _relations(one: Prediction) -> str:
    rows = "".join(
        f"<li><bdi>{escape(one.entities[r.head].text)}</bdi> → <b>{escape(r.label)}</b> → "
        f"<bdi>{escape(one.entities[r.tail].text)}</bdi> "
        f'<span class="soft">{r.score:.2f}</span></li>'
        for r in one.relations
    )
    return f"<ul>{rows}</ul>" if rows else ""


def _picture(one: Prediction, first: int) -> str:
    """The picture with its regions. first: the colour of the first, behind those of labels."""
    if one.picture_status != USED or not one.pictures:
        return ""
    try:
        picture, _ = read_picture(one.pictures[0])
    except PictureError as error:  # it changed since
        return f'<p class="why">{escape(str(error))}</p>'
    crops = [
        Crop(n, (first + n - 1) % len(COLOURS), region, _crop(picture, region.box))
        for n, region in enumerate(one.regions, start=1)
    ]
    return f'<div class="look">{picture_with_boxes(picture, crops)}</div>'


def _crop(picture: Image, box: Any) -> Image | None:
    return None if box is None else cut(picture, box)


def _explanation(one: Prediction) -> str:
    """Attention to regions, and the gate of the first of them by layer, as tables to unfold."""
    tables = []
    for name, part in (one.explanation or {}).items():
        if not part["regions"]:
            continue
        title = f"attention to regions, {name}, mean over layers"
        regions = [region_name(region) for region in part["regions"]]
        tables.append(_table(title, regions, mean_attention(one, name)))
        layers = [(f"layer {n}", layer[0]) for n, layer in enumerate(part["gate"], start=1)]
        blocks = [f"block {n}" for n in range(1, 5)]
        tables.append(_table(f"gate of the {regions[0]}, {name}", blocks, layers))
    return "".join(tables)


def mean_attention(one: Prediction, name: str) -> list[tuple[str, list[float]]]:
    """Attention to regions, the mean over layers: of each entity, or each relation's two ends.

    name: the model's, "entities" or "relations".
    """
    rows: list[tuple[str, list[list[float]]]] = []
    attention = (one.explanation or {})[name]["attention"]
    if name == "entities":
        rows = [(e.text, own) for e, own in zip(one.entities, attention, strict=True) if own]
    else:
        for relation, own in zip(one.relations, attention, strict=True):
            ends = (("head", relation.head), ("tail", relation.tail))
            rows += [
                (f"{one.entities[number].text}, {end} of {relation.label}", layers)
                for (end, number), layers in zip(ends, own, strict=False)
            ]
    return [
        (text, [sum(column) / len(column) for column in zip(*layers, strict=True)])
        for text, layers in rows
    ]


def region_name(name: Any) -> str:
    """A region of an explanation, as pages and tables number them."""
    return f"region {name + 1}" if isinstance(name, int) else str(name)


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr><td><bdi>{escape(text)}</bdi></td>{''.join(f'<td>{x:.2f}</td>' for x in values)}</tr>"
        for text, values in rows
    )
    return (
        f"<details><summary>{escape(title)}</summary>"
        f"<table><tr><th></th>{head}</tr>{body}</table></details>"
        if body
        else ""
    )
