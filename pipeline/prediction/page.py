"""An HTML page of predictions: texts with marked entities, relations, pictures with boxes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from PIL.Image import Image

from features.pictures import PictureError, cut, read_picture
from pipeline.pages.drawing import Crop, picture_with_boxes
from pipeline.pages.html import COLOURS, whole_page
from pipeline.pages.plots import heat_table
from pipeline.prediction.prediction import NONE, USED, Entity, Prediction

MOST = 200  # predictions on a page
BLOCKS = tuple(f"block {n}" for n in range(1, 5))  # of the ResNet


def page(predictions: Sequence[Prediction], title: str = "Predictions") -> str:
    """Return a self-contained HTML page of the first MOST predictions."""
    shown = predictions[:MOST]
    colours = colours_of(entity.label for post in shown for entity in post.entities)
    cards = "".join(_card(post, colours) for post in shown)
    return whole_page(title, legend(colours), f'<div class="cards">{cards}</div>')


def colours_of(labels: Iterable[str]) -> dict[str, int]:
    """Return the number of a colour for each label of entities."""
    return {label: n % len(COLOURS) for n, label in enumerate(sorted({*labels}))}


def legend(colours: Mapping[str, int]) -> str:
    """Show the labels of entities in their colours."""
    marks = (f'<mark class="c{n}">{escape(label)}</mark>' for label, n in colours.items() if label)
    return f'<p class="also">{" ".join(marks)}</p>'


def _card(prediction: Prediction, colours: dict[str, int]) -> str:
    name = "" if prediction.id is None else escape(str(prediction.id))
    head = f'<article><div class="id soft"><span>{name}</span></div>'
    if prediction.error is not None:
        return f'{head}<p class="why">{escape(prediction.error)}</p></article>'
    status = prediction.picture_status
    notes = [] if status in (USED, NONE) else [f"picture: {status}"]
    notes += ["longer than the model reads at once"] if prediction.truncated else []
    why = "".join(f'<p class="why">{escape(note)}</p>' for note in notes)
    return (
        f"{head}{_text(prediction, colours)}{_relations(prediction)}{why}"
        f"{picture_of(prediction, len(colours))}{_explanation(prediction)}</article>"
    )


def _text(prediction: Prediction, colours: Mapping[str, int]) -> str:
    return marked_text(
        prediction.text,
        prediction.entities,
        colours,
        lambda number, entity: (str(number), entity.label, score_of(entity.score)),
    )


def score_of(score: float | None) -> str:
    """Format a score to two decimals; "" for None."""
    return "" if score is None else f"{score:.2f}"


def marked_text(
    text: str,
    entities: Sequence[Entity],
    colours: Mapping[str, int],
    about: Callable[[int, Entity], Iterable[str]],
) -> str:
    """Mark the entities in the text. Those that overlap an earlier one are listed below it.

    about: number and entity -> words to show after the entity; empty words are left out.
    """
    parts, others, place = [], [], 0
    for number, entity in sorted(enumerate(entities), key=lambda pair: pair[1].start):
        mark = mark_of(entity, colours, about(number, entity))
        if entity.start < place:
            others.append(mark)
            continue
        parts += [escape(text[place : entity.start]), mark]
        place = entity.end
    below = f'<p class="also" dir="auto">{" ".join(others)}</p>' if others else ""
    return f'<p class="text" dir="auto">{"".join(parts)}{escape(text[place:])}</p>{below}'


def mark_of(entity: Entity, colours: Mapping[str, int], about: Iterable[str]) -> str:
    """Show an entity in the colour of its label, followed by words; empty ones are left out."""
    words = "\u00a0".join(filter(None, about))
    return (
        f'<mark class="c{colours[entity.label]}">{escape(entity.text)}'
        f'<span class="n">{escape(words)}</span></mark>'
    )


def _relations(prediction: Prediction) -> str:
    rows = "".join(
        f"<li><bdi>{escape(prediction.entities[r.head].text)}</bdi> → <b>{escape(r.label)}</b> → "
        f"<bdi>{escape(prediction.entities[r.tail].text)}</bdi> "
        f'<span class="soft">{r.score:.2f}</span></li>'
        for r in prediction.relations
    )
    return f"<ul>{rows}</ul>" if rows else ""


def picture_of(prediction: Prediction, first: int) -> str:
    """Show the picture with its regions.

    first: colour number of the first region, the one after the labels' colours.
    """
    if prediction.picture_status != USED or not prediction.pictures:
        return ""
    try:
        picture, _ = read_picture(prediction.pictures[0])
    except PictureError as error:  # the file changed after the prediction
        return f'<p class="why">{escape(str(error))}</p>'
    crops = [
        Crop(n, (first + n - 1) % len(COLOURS), region, _crop(picture, region.box))
        for n, region in enumerate(prediction.regions, start=1)
    ]
    return f'<div class="look">{picture_with_boxes(picture, crops)}</div>'


def _crop(picture: Image, box: Any) -> Image | None:
    return None if box is None else cut(picture, box)


def _explanation(prediction: Prediction) -> str:
    """Show attention to regions, and the first region's gate by layer, as foldable tables."""
    tables = []
    for name, part in (prediction.explanation or {}).items():
        if not part["regions"]:
            continue
        title = f"attention to regions, {name}, mean over layers"
        regions = [region_name(region) for region in part["regions"]]
        tables.append(_unfold(title, regions, mean_attention(prediction, name)))
        layers = [(f"layer {n}", layer[0]) for n, layer in enumerate(part["gate"], start=1)]
        tables.append(_unfold(f"gate of the {regions[0]}, {name}", BLOCKS, layers))
    return "".join(tables)


def mean_attention(prediction: Prediction, name: str) -> list[tuple[str, list[float]]]:
    """Return rows of attention to the R regions, averaged over layers.

    name: "entities", with a row per entity, or "relations", with rows for head and tail of each.
    """
    rows: list[tuple[str, list[list[float]]]] = []
    attention = (prediction.explanation or {})[name]["attention"]
    if name == "entities":
        rows = [
            (e.text, part) for e, part in zip(prediction.entities, attention, strict=True) if part
        ]
    else:
        for relation, pair in zip(prediction.relations, attention, strict=True):
            ends = (("head", relation.head), ("tail", relation.tail))
            rows += [
                (f"{prediction.entities[number].text}, {end} of {relation.label}", layers)
                for (end, number), layers in zip(ends, pair, strict=False)
            ]
    return [
        (text, [sum(column) / len(column) for column in zip(*layers, strict=True)])
        for text, layers in rows
    ]


def region_name(name: Any) -> str:
    """Return the name of a region in an explanation, as pages and tables number it (from 1)."""
    return f"region {name + 1}" if isinstance(name, int) else str(name)


def _unfold(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    table = heat_table("", columns, rows)
    return table and f"<details><summary>{escape(title)}</summary>{table}</details>"
