"""One prediction in a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.prediction.prediction import Prediction


def show(prediction: Prediction) -> None:
    """Print a prediction's entities, relations and regions as tables."""
    console = Console(highlight=False)
    console.print(_marked(prediction))
    console.print(_entities(prediction))
    if prediction.relations:
        console.print(_relations(prediction))
    console.print(Text(f"picture: {prediction.picture_status}"))
    for number, region in enumerate(prediction.regions):
        box = "a file" if region.box is None else ", ".join(f"{side:g}" for side in region.box)
        score = "" if region.score is None else f"  {region.score:.2f}"
        console.print(Text(f"region {number}: {region.phrase or region.source}{score}  ({box})"))
    if prediction.truncated:
        console.print(Text("the text is longer than the model reads at once"))


def _marked(prediction: Prediction) -> Text:
    text = Text(prediction.text)
    for entity in prediction.entities:
        text.stylize("bold underline", entity.start, entity.end)
    return text


def _entities(prediction: Prediction) -> Table | Text:
    if not prediction.entities:
        return Text("no entities")
    table = Table("", "entity", "label", "score", "characters", box=None)
    for number, entity in enumerate(prediction.entities):
        score = "given" if entity.score is None else f"{entity.score:.3f}"
        span = f"{entity.start} to {entity.end}"
        table.add_row(str(number), Text(entity.text), Text(entity.label), score, span)
    return table


def _relations(prediction: Prediction) -> Table:
    table = Table("head", "relation", "tail", "score", box=None)
    for relation in prediction.relations:
        head, tail = (prediction.entities[n].text for n in (relation.head, relation.tail))
        table.add_row(Text(head), Text(relation.label), Text(tail), f"{relation.score:.3f}")
    return table
