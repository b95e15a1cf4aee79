"""Choose the pairs of entities to classify, and the relations among the answers."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np

from pipeline.corpus.labels import NO_RELATION
from pipeline.prediction.prediction import Relation

Pair = tuple[int, int]  # head and tail, numbers of entities
Types = tuple[str, str]  # of head and tail


def pairs_of(types: Sequence[str], labels: Sequence[str]) -> list[Pair]:
    """Return the ordered pairs (head, tail) whose types fit some relation.

    A pair is followed by its reverse. types: the entities' labels. labels: the relations' labels.
    """
    relations = [label for label in labels if label != NO_RELATION]
    both_ways = (pair for a, b in combinations(range(len(types)), 2) for pair in ((a, b), (b, a)))
    fits = {ends: bool(allowed(relations, *ends).any()) for ends in product(set(types), repeat=2)}
    return [(head, tail) for head, tail in both_ways if fits[types[head], types[tail]]]


def types_of(label: str) -> Types | None:
    """Return the types of head and tail in a label such as MNRE's /per/org/member_of."""
    parts = label.split("/")
    return (parts[1], parts[2]) if len(parts) == 4 and parts[0] == "" else None


def allowed(labels: Sequence[str], head: str, tail: str) -> np.ndarray:
    """Return (labels,) bool: True for labels that fit the types of head and tail.

    A label without types fits all entities; an entity whose type is in no label fits all labels.
    Two types match if one is a prefix of the other, ignoring case: PERSON and per.
    """
    carried = [types_of(label) for label in labels]
    known = {name for types in carried if types for name in types}
    ends = [{name for name in known if _same(name, label)} for label in (head, tail)]
    return np.array(
        [
            types is None or all(not end or t in end for t, end in zip(types, ends, strict=True))
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

    answers: ordered pair -> softmax (labels,).
    types: the entities' labels.

    A pair gets the most probable label that fits its types; a pair with the label "None" is left
    out. If both directions of a pair have a relation, the more probable one is kept.
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
