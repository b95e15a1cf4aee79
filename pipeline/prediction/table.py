"""Print one prediction in a terminal."""

import unicodedata
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.prediction.page import mean_attention, region_name
from pipeline.prediction.prediction import Prediction


def show(prediction: Prediction) -> None:
    """Print a prediction's entities, relations, regions and explanation as tables."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(_marked(prediction))
    if prediction.entities:
        console.print(_entities(prediction))
    else:
        console.print("no entities")
    if prediction.relations:
        console.print(_relations(prediction))
    console.print(_plain(f"picture: {prediction.picture_status}"))
    if prediction.regions:
        console.print(_regions(prediction))
    for name, part in (prediction.explanation or {}).items():
        rows = mean_attention(prediction, name)
        if part["regions"] and rows:
            console.print(f"attention to regions, {name}, mean over layers")
            console.print(_attention([region_name(name) for name in part["regions"]], rows))
    if prediction.truncated:
        console.print("the text is longer than the model reads at once")


def _plain(text: str) -> Text:
    """Replace control characters, with which a post could control the terminal, by U+FFFD."""
    return Text("".join("\ufffd" if _controls(sign) else sign for sign in text))


def _controls(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t"


def _marked(prediction: Prediction) -> Text:
    text = _plain(prediction.text)
    for entity in prediction.entities:
        text.stylize("bold underline", entity.start, entity.end)
    return text


def _entities(prediction: Prediction) -> Table:
    table = Table("", "entity", "label", "score", "characters", box=None)
    for number, entity in enumerate(prediction.entities):
        score = "given" if entity.score is None else f"{entity.score:.3f}"
        span = f"{entity.start} to {entity.end}"
        table.add_row(str(number), _plain(entity.text), _plain(entity.label), score, span)
    return table


def _relations(prediction: Prediction) -> Table:
    table = Table("head", "relation", "tail", "score", box=None)
    for relation in prediction.relations:
        head, tail = (prediction.entities[n].text for n in (relation.head, relation.tail))
        score = f"{relation.score:.3f}"
        table.add_row(_plain(head), _plain(relation.label), _plain(tail), score)
    return table


def _regions(prediction: Prediction) -> Table:
    """Return a table of the regions, numbered from 1 as on the page."""
    table = Table("", "phrase", "score", "from", "box (x0, y0, x1, y1)", box=None)
    for number, region in enumerate(prediction.regions, start=1):
        score = "" if region.score is None else f"{region.score:.3f}"
        box = "a file" if region.box is None else ", ".join(f"{side:.0f}" for side in region.box)
        phrase = _plain(region.phrase or "")
        table.add_row(f"region {number}", phrase, score, region.source, box)
    return table


def _attention(regions: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]) -> Table:
    table = Table("", *regions, box=None)
    for text, values in rows:
        table.add_row(_plain(text), *(f"{value:.2f}" for value in values))
    return table
