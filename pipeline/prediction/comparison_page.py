"""A page of posts with gold labels, and predictions of one or two sets of models, explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from pipeline.corpus.labels import NO_RELATION
from pipeline.pages.html import whole_page
from pipeline.pages.plots import heat_table
from pipeline.prediction.gold import Gold
from pipeline.prediction.page import (
    BLOCKS,
    colours_of,
    legend,
    marked_text,
    mean_attention,
    picture_of,
    region_name,
    score_of,
)
from pipeline.prediction.prediction import NONE, UNREAD, USED, Entity, Prediction

Answers = Mapping[str, Prediction]  # "entities", "relations" -> prediction

MARKS = {True: "✓", False: "✗", None: ""}  # right, wrong, not known
RIGHT = {"entities": "all entities right", "relations": "relation right"}
WHY = (
    "<b>Attention</b>: the share of its attention that an entity pays to the picture and to each "
    "region, averaged over heads and layers. <b>Gate</b>: how much of each ResNet block the "
    "layers read of a region, averaged over layers (Eq. 4 of the paper). The numbers of regions "
    "are those in the picture; <b>head</b> and <b>tail</b> are the two ends of a relation."
)


@dataclass(frozen=True)
class Side:
    """A set of models as named on a page. runs: the runs that trained them."""

    name: str
    runs: Sequence[str]


@dataclass(frozen=True)
class Compared:
    """A post's id and gold labels, and each side's answers."""

    id: str
    gold: Gold
    answers: Sequence[Answers]


def comparison_page(
    title: str,
    split: str,
    sides: Sequence[Side],
    tasks: Sequence[str],
    compared: Mapping[int, Compared],
    explained: Mapping[int, Answers],
) -> str:
    """Return a self-contained HTML page.

    tasks: the tasks that the models predict: "entities", "relations", or both.
    compared: all posts of the split, by number.
    explained: the first side's answers for the posts to show, in order.
    """
    cards = [compared[number] for number in explained]
    colours = colours_of(entity.label for post in cards for entity in _entities(post))
    articles = "".join(
        _card(compared[number], answers, sides, tasks, colours)
        for number, answers in explained.items()
    )
    runs = "<br>".join(
        f"{escape(side.name)}: <b>{escape(', '.join(side.runs))}</b>" for side in sides
    )
    differ = ", first those where the predictions differ" if len(sides) > 1 else ""
    shown = f"{len(cards)} of {len(compared):,} posts of the split {escape(split)}{differ}."
    header = f'<p class="soft settings">{runs}</p>{_counts(sides, tasks, compared)}'
    body = (
        f'<main><p class="soft">{shown} ✓ right, ✗ wrong; numbers behind labels are '
        f'probabilities. {WHY}</p>{legend(colours)}<div class="cards">{articles}</div></main>'
    )
    return whole_page(title, header, body)


def _entities(post: Compared) -> list[Entity]:
    """Return all entities that a card marks."""
    predicted = [answers["entities"].entities for answers in post.answers if "entities" in answers]
    return [entity for entities in (post.gold.entities or (), *predicted) for entity in entities]


def _counts(sides: Sequence[Side], tasks: Sequence[str], compared: Mapping[int, Compared]) -> str:
    """Return a table: how many posts have all entities right, or the relation right."""
    rows = ""
    for place, side in enumerate(sides):
        cells = ""
        for task in tasks:
            rights = [
                post.gold.is_right(task, post.answers[place].get(task))
                for post in compared.values()
            ]
            known = [right for right in rights if right is not None]
            cells += f"<td>{sum(known):,} of {len(known):,}</td>" if known else "<td>no labels</td>"
        rows += f"<tr><th>{escape(side.name)}</th>{cells}</tr>"
    head = "".join(f"<th>{RIGHT[task]}</th>" for task in tasks)
    return f'<table class="counts"><tr><td></td>{head}</tr>{rows}</table>'


# --- one post


def _card(
    post: Compared,
    explained: Answers,
    sides: Sequence[Side],
    tasks: Sequence[str],
    colours: Mapping[str, int],
) -> str:
    readings = _gold(post.gold, tasks, colours)
    for side, answers in zip(sides, post.answers, strict=True):
        readings += _reading(side.name, post.gold, answers, tasks, colours)
    return (
        f'<article><div class="id soft"><span>{escape(post.id)}</span></div>{readings}'
        f"{_picture(post, len(colours))}{_explanation(explained)}</article>"
    )


def _picture(post: Compared, first: int) -> str:
    """Show the picture with its regions, or the reason why it is not used.

    first: colour number of the first region.
    """
    predictions = [answer for answers in post.answers for answer in answers.values()]
    status = [prediction.picture_status for prediction in predictions]
    if USED in status:
        return picture_of(predictions[status.index(USED)], first)
    reasons = [reason for reason in status if reason not in (NONE, UNREAD)]
    return f'<p class="why">picture: {escape(reasons[0])}</p>' if reasons else ""


def _gold(gold: Gold, tasks: Sequence[str], colours: Mapping[str, int]) -> str:
    """Show the post's gold labels."""
    shown = marked_text(gold.text, gold.entities or (), colours, lambda _, entity: (entity.label,))
    lines = []
    if "relations" in tasks and gold.relation is not None and gold.head and gold.tail:
        lines.append(relation_line(gold.head, gold.relation, gold.tail, ""))
    is_labelled = gold.entities is not None or gold.relation is not None
    return reading_of("gold" if is_labelled else "no labels", shown, lines)


def _reading(
    name: str, gold: Gold, answers: Answers, tasks: Sequence[str], colours: Mapping[str, int]
) -> str:
    """Show the predictions of a set of models."""
    entities = answers["entities"].entities if "entities" in answers else ()
    text = marked_text(
        gold.text,
        entities,
        colours,
        lambda _, entity: (entity.label, score_of(entity.score), MARKS[gold.has(entity)]),
    )
    lines = []
    if "relations" in answers:
        prediction = answers["relations"]
        mark = MARKS[gold.is_right("relations", prediction)]
        lines = [
            relation_line(
                prediction.entities[relation.head],
                relation.label,
                prediction.entities[relation.tail],
                f"{score_of(relation.score)} {mark}",
            )
            for relation in prediction.relations
        ] or [f'<li>no relation <span class="soft">{mark}</span></li>']
    return reading_of(name, text, lines)


def reading_of(name: str, text: str, lines: Sequence[str]) -> str:
    """Show marked text and lines of HTML list items under a name."""
    rows = f"<ul>{''.join(lines)}</ul>" if lines else ""
    return f'<section class="reading"><h3>{escape(name)}</h3>{text}{rows}</section>'


def relation_line(head: Entity, label: str, tail: Entity, about: str) -> str:
    """Show a relation as an HTML list item. about: words to show after it."""
    ends = [f"<bdi>{escape(entity.text)}</bdi>" for entity in (head, tail)]
    if label == NO_RELATION:
        return f"<li>{ends[0]}, {ends[1]}: no relation</li>"
    return (
        f"<li>{ends[0]} → <b>{escape(label)}</b> → {ends[1]} "
        f'<span class="soft">{escape(about)}</span></li>'
    )


def _explanation(answers: Answers) -> str:
    """Show each model's attention to regions and its gates, averaged over layers."""
    tables = ""
    for task, prediction in answers.items():
        part = (prediction.explanation or {}).get(task)
        if part is None or not part["regions"]:
            continue
        regions = [region_name(region) for region in part["regions"]]
        gates = np.mean(part["gate"], axis=0).tolist()  # (R, 4)
        tables += heat_table(f"attention, {task}", regions, mean_attention(prediction, task))
        tables += heat_table(f"gate, {task}", BLOCKS, [*zip(regions, gates, strict=True)])
    return f'<div class="heats">{tables}</div>' if tables else ""
