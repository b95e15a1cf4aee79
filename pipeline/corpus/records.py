"""Convert a record's entities and relations, in characters, to tags, heads and tails in tokens."""

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
    """An entity: [start, end) in characters of the text, and its type."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Relation:
    """A relation: head and tail as numbers of entities, from 0, and its name."""

    head: int
    tail: int
    label: str


def entities_of(line: Line, entities: Any, text: str, untyped: bool = False) -> list[Entity]:
    """Check the entities of a record against its text and return them. Raises DataError.

    untyped: an entity may have no label, which is then "".
    """
    line.need(isinstance(entities, list), "entities to be a list", entities)
    return [_entity(line, entity, text, untyped) for entity in entities]


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
    expected_text = entity.get("text", text[start:end])
    line.need(
        expected_text == text[start:end],
        f"text[{start}:{end}] to be the entity's text, {clip(expected_text)}",
        text[start:end],
        "start and end count characters from 0; end is behind the last one",
    )
    return Entity(start, end, label or "")


def relations_of(line: Line, relations: Any, entities: Sequence[Entity]) -> list[Relation]:
    """Check the relations of a record against its entities and return them. Raises DataError."""
    line.need(isinstance(relations, list), "relations to be a list", relations)
    return [_relation(line, relation, len(entities)) for relation in relations]


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
    """Return [start, end) in characters of each token.

    tokens: the given tokens; if None, the text is split, also where entities begin and end.
    """
    if tokens is not None:
        spans = token_spans(text, tokens)
        assert spans is not None  # checked when they were read
        return spans
    return word_spans(text, [bound for entity in entities for bound in (entity.start, entity.end)])


def spans_of(
    text: str, words: Sequence[Span], entities: Sequence[Entity], name: str, notes: Notes
) -> list[Span]:
    """Return [start, end) in tokens of each entity, widened to whole words.

    words: [start, end) in characters of each token.
    name: the post's name, for the notes.
    """
    spans = []
    for entity in entities:
        span = covered(words, entity.start, entity.end)
        assert span is not None, entity  # an entity isn't only spaces
        start, end = words[span[0]][0], words[span[1] - 1][1]
        if start < entity.start or end > entity.end:
            case = f"{clip(text[entity.start : entity.end])} → {clip(text[start:end])}"
            notes.add(WIDENED, f"{name} {case}")
        spans.append(span)
    return spans


def tags_of(
    tokens: int, spans: Sequence[Span], entities: Sequence[Entity], name: str, notes: Notes
) -> tuple[str, ...]:
    """Return BIO tags. Of overlapping entities, the longest is tagged; of equals, the first."""
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
    """Return head, tail and relation of each instance.

    unlabelled: AS_NONE adds NO_RELATION for each pair without a relation; its first entity is the
        head.
    """
    pairs = [(spans[r.head], spans[r.tail], r.label) for r in relations]
    if unlabelled == AS_NONE:
        labelled = {frozenset((r.head, r.tail)) for r in relations}
        order = sorted(range(len(spans)), key=lambda n: spans[n])
        free = [pair for pair in combinations(order, 2) if frozenset(pair) not in labelled]
        pairs += [(spans[head], spans[tail], NO_RELATION) for head, tail in free]
    return pairs
