"""A record with entities and relations: characters to tokens, tags, and heads with tails."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.corpus.config import AS_NONE
from pipeline.corpus.files import Line, clip, is_name, is_span
from pipeline.corpus.labels import NO_RELATION, OUTSIDE
from pipeline.corpus.notes import Notes
from pipeline.corpus.post import Span
from pipeline.corpus.words import covered, token_spans, word_spans

WIDENED = "spans that don't fall on words are widened to whole words"
NESTED = "entities that overlap a longer one get no tags"


@dataclass(frozen=True)
class Entity:
    """[start, end) in characters of the text, and a type."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Relation:
    """Head and tail as numbers of entities, and a name."""

    head: int
    tail: int
    label: str


def entities_of(line: Line, entities: Any, text: str, untyped: bool = False) -> list[Entity]:
    """The entities of a record, checked against its text.

    untyped: an entity may lack its label, which is then "".
    """
    line.need(isinstance(entities, list), "entities to be a list", entities)
    return [_entity(line, one, text, untyped) for one in entities]


def _entity(line: Line, entity: Any, text: str, untyped: bool) -> Entity:
    names = ("start", "end") if untyped else ("start", "end", "label")
    whole = isinstance(entity, dict) and set(names) <= entity.keys()
    line.need(whole, f"an entity to have {', '.join(names[:-1])} and {names[-1]}", entity)
    start, end, label = entity["start"], entity["end"], entity.get("label")
    expected = f"start and end of an entity to be [start, end) within {len(text)} characters"
    line.need(is_span([start, end], len(text)), expected, [start, end])
    line.need(bool(text[start:end].strip()), "an entity that isn't only spaces", [start, end])
    good = is_name(label) or (untyped and label is None)
    line.need(good, "label of an entity to be a string of one line", label)
    own = entity.get("text", text[start:end])
    line.need(
        own == text[start:end],
        f"text[{start}:{end}] to be the entity's text, {clip(own)}",
        text[start:end],
        "start and end count characters, from 0, end behind the last",
    )
    return Entity(start, end, label or "")


def relations_of(line: Line, relations: Any, entities: Sequence[Entity]) -> list[Relation]:
    """The relations of a record, checked against its entities."""
    line.need(isinstance(relations, list), "relations to be a list", relations)
    return [_relation(line, one, len(entities)) for one in relations]


def _relation(line: Line, relation: Any, entities: int) -> Relation:
    whole = isinstance(relation, dict) and {"head", "tail", "label"} <= relation.keys()
    line.need(whole, "a relation to have head, tail and label", relation)
    head, tail, label = relation["head"], relation["tail"], relation["label"]
    for number in (head, tail):
        good = type(number) is int and 0 <= number < entities
        expected = f"head and tail of a relation to be numbers of the {entities} entities, from 0"
        line.need(good, expected, number)
    line.need(head != tail, "head and tail of a relation to be different entities", relation)
    line.need(is_name(label), "label of a relation to be a string of one line", label)
    return Relation(head, tail, label)


def words_of(text: str, tokens: Sequence[str] | None, entities: Sequence[Entity]) -> list[Span]:
    """[start, end) of each token, the given ones or those of the text, in characters."""
    if tokens is not None:
        spans = token_spans(text, tokens)
        assert spans is not None  # checked when they were read
        return spans
    return word_spans(text, [place for one in entities for place in (one.start, one.end)])


def spans_of(
    text: str, words: Sequence[Span], entities: Sequence[Entity], name: str, notes: Notes
) -> list[Span]:
    """[start, end) in tokens of each entity; one that ends within a word gets the whole word.

    name: the post's, for the notes.
    """
    spans = []
    for one in entities:
        span = covered(words, one.start, one.end)
        assert span is not None, one  # an entity isn't only spaces
        start, end = words[span[0]][0], words[span[1] - 1][1]
        if start < one.start or end > one.end:
            case = f"{clip(text[one.start : one.end])} → {clip(text[start:end])}"
            notes.add(WIDENED, f"{name} {case}")
        spans.append(span)
    return spans


def tags_of(
    tokens: int, spans: Sequence[Span], entities: Sequence[Entity], name: str, notes: Notes
) -> tuple[str, ...]:
    """BIO tags. Of entities that overlap the longest is tagged, of equally long ones the first."""
    tags = [OUTSIDE] * tokens
    order = sorted(range(len(spans)), key=lambda n: spans[n][0] - spans[n][1])
    for number in order:
        (start, end), label = spans[number], entities[number].label
        if any(tag != OUTSIDE for tag in tags[start:end]):
            notes.add(NESTED, f"{name} entity {number} ({clip(label)})")
            continue
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tuple(tags)


def pairs_of(
    relations: Sequence[Relation], spans: Sequence[Span], unlabelled: str
) -> list[tuple[Span, Span, str]]:
    """Head, tail and relation of each instance.

    unlabelled: AS_NONE adds the pairs that no relation joins, the entity that comes first as head.
    """
    pairs = [(spans[one.head], spans[one.tail], one.label) for one in relations]
    if unlabelled == AS_NONE:
        joined = {frozenset((one.head, one.tail)) for one in relations}
        order = sorted(range(len(spans)), key=lambda n: spans[n])
        free = [pair for pair in combinations(order, 2) if frozenset(pair) not in joined]
        pairs += [(spans[head], spans[tail], NO_RELATION) for head, tail in free]
    return pairs
