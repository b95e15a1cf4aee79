"""Explain predictions: the gates, and the attention of entities and relations to regions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from model.hvpnet.variants import ONLY_OBJECTS
from pipeline.prediction.entities import readings
from pipeline.prediction.forward import Forward
from pipeline.prediction.pictures import Seen
from pipeline.prediction.prediction import PICTURE, Prediction
from pipeline.prediction.records import Record
from pipeline.prediction.relations import Question, encode, questions, words_of
from pipeline.training.encode import Encoded

BATCH = 8  # posts; small, as the attention weights of all layers are large

Numbers = list[Any]  # gate (L, R, 4) or attention (L, R), over the R regions in `regions`
Explanations = list[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """Tokens of an encoded post whose attention is computed.

    owner: number of the record.
    number: number of its entity or relation.
    places: positions of the tokens.
    """

    owner: int
    number: int
    encoded: Encoded
    places: list[int]


def explain_entities(
    forward: Forward,
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    seen: Seen,
) -> Explanations:
    """Return for each record its `regions`, their `gate`, and each entity's `attention`.

    regions: R names: "picture", or the number of one of the prediction's regions.
    gate: (L, R, 4), the weights of the four blocks.
    attention: (L, R) per entity: the attention that the first pieces of its words pay to each
        region, summed over the region's prefix slots, averaged over heads and pieces.
    """
    parts, _ = readings(forward, dict(enumerate(records)))
    asked: list[Asked] = []
    for part in parts:
        record, window = records[part.owner], part.window
        for number, entity in enumerate(predictions[part.owner].entities):
            start, end = words_of(record, entity)
            if window.first <= start < window.last:
                words = part.encoded.words[start - window.start : end - window.start]
                places = [part.encoded.positions[token] for token in words if token >= 0]
                asked.append(Asked(part.owner, number, part.encoded, places))
    answers = _frames(
        forward, seen, [[None] * len(prediction.entities) for prediction in predictions]
    )
    for query, attention in _attention(forward, seen, asked):
        answers[query.owner]["attention"][query.number] = attention
    return answers


def explain_relations(
    forward: Forward,
    records: Sequence[Record],
    predictions: Sequence[Prediction],
    seen: Seen,
) -> Explanations:
    """Explain relations likewise; `attention` holds two (L, R) per relation, of head and tail.

    Head and tail are represented by their opening markers, whose states the classifier reads.
    """
    entities = [prediction.entities for prediction in predictions]
    pairs = [[(r.head, r.tail) for r in prediction.relations] for prediction in predictions]
    asked_about: list[Question] = [*questions(records, entities, pairs)]
    fitting, _ = encode(forward, asked_about)
    asked: list[Asked] = []
    for question, encoded in fitting:
        number = pairs[question.owner].index(question.pair)
        asked += [Asked(question.owner, number, encoded, [p]) for p in encoded.positions]
    answers = _frames(forward, seen, [[[] for _ in asked_pairs] for asked_pairs in pairs])
    for query, attention in _attention(forward, seen, asked):
        answers[query.owner]["attention"][query.number].append(attention)
    return answers


EXPLAINERS: Mapping[str, Callable[..., Explanations]] = {
    "entities": explain_entities,
    "relations": explain_relations,
}


def _frames(forward: Forward, seen: Seen, attention: Sequence[Numbers]) -> Explanations:
    """Make each record's explanation with regions and gates; the caller fills in `attention`."""
    gates = forward.gates(seen.pyramid)
    frames: Explanations = []
    for owner, empty in enumerate(attention):
        slots = _slots(forward, seen, owner)
        crops = [slot for slot in _there(seen, owner) if slot > 0]
        names = [crops.index(slot) if slot else PICTURE for slot in slots]
        gate = _rounded(gates[owner, slots].transpose(0, 1))
        frames.append({"regions": names, "gate": gate, "attention": empty})
    return frames


def _there(seen: Seen, owner: int) -> list[int]:
    """Return the numbers of a record's regions that have a row; 0 is the picture."""
    return [slot for slot, there in enumerate(seen.there[owner].tolist()) if there]


def _slots(forward: Forward, seen: Seen, owner: int) -> list[int]:
    """Return those of `_there` that the variant reads; "only-objects" leaves out the picture."""
    first = 1 if forward.saved.config.variant == ONLY_OBJECTS else 0
    return [slot for slot in _there(seen, owner) if slot >= first]


def _attention(
    forward: Forward, seen: Seen, asked: Sequence[Asked]
) -> Iterator[tuple[Asked, Numbers]]:
    """Yield for each question the attention (L, R) of its tokens to the regions."""
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        owners = {query.encoded.number: query.owner for query in batch}
        shares = forward.attention_to_regions([query.encoded for query in batch], seen.of(owners))
        for row, query in enumerate(batch):
            attention = shares[:, row, query.places].mean(1).sum(-1)
            yield query, _rounded(attention[:, _slots(forward, seen, query.owner)])


def _rounded(numbers: Tensor) -> Numbers:
    """Return lists, rounded to four decimals."""
    rounded: Numbers = np.round(numbers.double().numpy(), 4).tolist()
    return rounded
