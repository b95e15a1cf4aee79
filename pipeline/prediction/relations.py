"""Predict the relations of records: classify pairs of entities in batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.corpus.post import Post, Span
from pipeline.corpus.words import covered
from pipeline.prediction.forward import Forward
from pipeline.prediction.pairs import Pair, best
from pipeline.prediction.pictures import Seen
from pipeline.prediction.prediction import Entity, Relation
from pipeline.prediction.records import Record
from pipeline.training.encode import Encoded, tokenize


@dataclass(frozen=True)
class Question:
    """A pair of entities to classify.

    owner: the record's number in its batch. picture_text: of the record; "" for none.
    """

    owner: int
    pair: Pair
    post: Post
    picture_text: str = ""


@dataclass(frozen=True)
class Related:
    """A record's relations. truncated: the model did not read all of the text."""

    relations: tuple[Relation, ...] = ()
    truncated: bool = False

    def cut(self, min_score: float) -> "Related":
        """Leave out relations that score less."""
        kept = tuple(relation for relation in self.relations if relation.score >= min_score)
        return Related(kept, self.truncated)


def questions(
    records: Sequence[Record],
    entities: Sequence[Sequence[Entity]],
    pairs: Sequence[Sequence[Pair]],
) -> Iterator[Question]:
    """Turn each record's pairs into posts with head and tail."""
    for owner, record in enumerate(records):
        spans = [words_of(record, entity) for entity in entities[owner]]
        for head, tail in pairs[owner]:
            post = Post(str(owner), "test", record.tokens, head=spans[head], tail=spans[tail])
            yield Question(owner, (head, tail), post, record.picture_text or "")


def words_of(record: Record, entity: Entity) -> Span:
    """Return [start, end) of an entity in words."""
    span = covered(record.words, entity.start, entity.end)
    assert span is not None, entity
    return span


def encode(
    forward: Forward, asked: Sequence[Question]
) -> tuple[list[tuple[Question, Encoded]], set[int]]:
    """Encode the questions that fit into the model.

    Also returns the numbers of the records that are longer than the model reads.
    """
    saved = forward.saved
    encoded = saved.encode({number: question.post for number, question in enumerate(asked)})
    encoded = saved.with_texts(encoded, lambda numbers: [asked[n].picture_text for n in numbers])
    return [(asked[post.number], post) for post in encoded], _shortened(forward, asked)


def _shortened(forward: Forward, asked: Sequence[Question]) -> set[int]:
    """Return the records that are longer than the model reads, with a pair's markers added."""
    saved = forward.saved
    texts = {question.owner: question.post.tokens for question in asked}
    pieces = tokenize([*texts.values()], saved.tokenizer, None)
    room = saved.longest - len(saved.config.marker_ids)
    return {owner for owner, (ids, _) in zip(texts, pieces, strict=True) if len(ids) > room}


def relations_of(
    forward: Forward,
    records: Sequence[Record],
    entities: Sequence[Sequence[Entity]],
    pairs: Sequence[Sequence[Pair]],
    seen: Seen | None,
    batch_size: int,
) -> list[Related]:
    """Predict the relations between each record's entities, with their probabilities.

    pairs: for each record, the pairs of its entities to classify.
    """
    answers: list[dict[Pair, np.ndarray]] = [{} for _ in records]
    truncated: set[int] = set()
    waiting = questions(records, entities, pairs)
    while asked := list(islice(waiting, batch_size)):
        fitting, shortened = encode(forward, asked)
        truncated |= shortened
        for question, row in zip(*_read(forward, fitting, seen), strict=True):
            answers[question.owner][question.pair] = row
    return [
        Related(_chosen(forward, entities[owner], answer), owner in truncated)
        for owner, answer in enumerate(answers)
    ]


def _read(
    forward: Forward, fitting: Sequence[tuple[Question, Encoded]], seen: Seen | None
) -> tuple[list[Question], np.ndarray]:
    """Return the questions and their softmax over the labels, (questions, labels)."""
    if not fitting:
        return [], np.zeros((0, len(forward.saved.labels)))
    asked, encoded = zip(*fitting, strict=True)
    owners = {post.number: question.owner for question, post in fitting}
    output = forward(encoded, None if seen is None else seen.of(owners))
    return list(asked), output.logits.double().softmax(-1).cpu().numpy()


def _chosen(
    forward: Forward, entities: Sequence[Entity], answers: dict[Pair, np.ndarray]
) -> tuple[Relation, ...]:
    types = [entity.label for entity in entities]
    return tuple(best(answers, forward.saved.labels, types))
