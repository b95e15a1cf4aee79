"""Relations of a post's entities: which pairs are asked about, and which answers are kept."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from pipeline.corpus.labels import NO_RELATION
from pipeline.prediction.prediction import Relation

Pair = tuple[int, int]  # head and tail, numbers of entities
Types = tuple[str, str]  # of head and tail


def pairs_of(entities: int) -> list[Pair]:
    """All ordered pairs of different entities; a pair and its reverse follow each other."""
    return [pair for a, b in combinations(range(entities), 2) for pair in ((a, b), (b, a))]


def types_of(label: str) -> Types | None:
    """Types of head and tail that a label carries, as MNRE's do: /per/org/member_of."""
    parts = label.split("/")
    return (parts[1], parts[2]) if len(parts) == 4 and parts[0] == "" else None


def allowed(labels: Sequence[str], head: str, tail: str) -> np.ndarray:
    """(labels,) bool: the labels that go with the types of head and tail.

    A label without types goes with all, and so does an entity whose type no label carries. Types
    are the same if one begins with the other, whatever their case: PERSON and per.
    """
    carried = [types_of(label) for label in labels]
    known = {one for types in carried if types for one in types}
    ends = [{one for one in known if _same(one, label)} for label in (head, tail)]
    return np.array(
        [
            types is None or all(not own or t in own for t, own in zip(types, ends, strict=True))
            for types in carried
        ]
    )


def _same(a: str, b: str) -> bool:
    a, b = a.casefold(), b.casefold()
    return bool(a and b) and (a.startswith(b) or b.startswith(a))


def best(
    answers: Mapping[Pair, np.ndarray], labels: Sequence[str], types: Sequence[str]
) -> list[Relation]:
    """Choose the relations of a post, in the order of its pairs.

    answers: ordered pair -> (labels,), the softmax. types: of the entities. A pair's label is the
    likeliest that goes with its types; "None" is no relation. Of two directions the likelier is
    kept.
    """
    chosen: dict[frozenset[int], Relation] = {}
    for (head, tail), row in answers.items():
        good = allowed(labels, types[head], types[tail])
        number = int(np.where(good, row, -1.0).argmax())
        if labels[number] == NO_RELATION:
            continue
        relation = Relation(head, tail, labels[number], float(row[number]))
        both = frozenset((head, tail))
        if both not in chosen or relation.score > chosen[both].score:
            chosen[both] = relation
    return list(chosen.values())
