"""Scores: micro-F1 of relations, and F1 of entities on words."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from pipeline.corpus.labels import NO_RELATION, OUTSIDE, clean_tags
from pipeline.corpus.tags import BIO, scheme_of, to_bio


def relation_scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """Micro precision, recall and F1 (0-100) over relations other than None, and per relation.

    A None that is predicted as a relation costs precision, a relation predicted as None recall.
    """
    assert len(gold) == len(predicted), (len(gold), len(predicted))
    right = Counter(g for g, p in zip(gold, predicted, strict=True) if g == p)
    asked, answered = Counter(gold), Counter(predicted)
    names = sorted((asked.keys() | answered.keys()) - {NO_RELATION})
    return {
        **prf(
            sum(right[n] for n in names),
            sum(answered[n] for n in names),
            sum(asked[n] for n in names),
        ),
        "accuracy": 100 * right.total() / len(gold) if gold else 0.0,
        "per_class": {
            n: {**prf(right[n], answered[n], asked[n]), "support": asked[n]} for n in names
        },
    }


def entity_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Micro precision, recall and F1 (0-100) of entities, by seqeval on BIO tags of words.

    The figures at the top are lenient, as published ones are: an I- without its B- opens an
    entity. `strict` counts only entities that open with B-; where no gold entity does (IO, IOB1),
    an I- that opens one counts as its B-, in gold and predictions. A prediction that is no BIO tag,
    but a label of the published CRF for something else, counts as O. `uncleaned`, where there is
    any, leaves it to seqeval, which takes some for entities, as the published scripts do.
    """
    cleaned = [clean_tags(tags) for tags in predicted]
    lenient = _seqeval(gold, cleaned)
    found = {**lenient, "strict": _strict(gold, cleaned)}
    if cleaned != [list(tags) for tags in predicted]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval's, of each label that is no tag
            found["uncleaned"] = _seqeval(gold, predicted)
    return found


def _strict(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    if scheme_of(gold) != BIO:
        gold, predicted = [to_bio(tags) for tags in gold], [to_bio(tags) for tags in predicted]
    if not any(tag.startswith("B-") for tags in (*gold, *predicted) for tag in tags):
        return {**prf(0, 0, 0), "per_class": {}}  # seqeval warns of an empty mean
    return _seqeval(gold, predicted, mode="strict", scheme=IOB2)


def _seqeval(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], **options: Any
) -> dict[str, Any]:
    if not any(tag != OUTSIDE for tags in (*gold, *predicted) for tag in tags):
        return {**prf(0, 0, 0), "per_class": {}}  # seqeval can't report on no entity at all
    report = classification_report(
        [list(tags) for tags in gold],
        [list(tags) for tags in predicted],
        output_dict=True,
        zero_division=0,
        **options,
    )
    rows = {name: _percent(row) for name, row in report.items() if not name.endswith(" avg")}
    return {**_percent(report["micro avg"], support=False), "per_class": rows}


def _percent(row: dict[str, float], support: bool = True) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "precision": 100 * float(row["precision"]),
        "recall": 100 * float(row["recall"]),
        "f1": 100 * float(row["f1-score"]),
    }
    return {**figures, "support": int(row["support"])} if support else figures


def prf(right: int, answered: int, asked: int) -> dict[str, float]:
    """Precision, recall and F1 (0-100) from counts; 0 where nothing was answered or asked."""
    precision = right / answered if answered else 0.0
    recall = right / asked if asked else 0.0
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
