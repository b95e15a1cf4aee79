"""Scores: micro F1 of relations, and of entities over words."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from pipeline.corpus.labels import NO_RELATION, OUTSIDE, clean_tags
from pipeline.corpus.tags import BIO, scheme_of, to_bio


def relation_scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """Return micro precision, recall and F1 (0-100) over relations other than None.

    A None predicted as a relation lowers precision; a relation predicted as None lowers recall.
    `per_class` has the same figures of each relation.
    """
    assert len(gold) == len(predicted), (len(gold), len(predicted))
    correct = Counter(g for g, p in zip(gold, predicted, strict=True) if g == p)
    asked, given = Counter(gold), Counter(predicted)
    names = sorted((asked.keys() | given.keys()) - {NO_RELATION})
    return {
        **prf(
            sum(correct[n] for n in names),
            sum(given[n] for n in names),
            sum(asked[n] for n in names),
        ),
        "accuracy": 100 * correct.total() / len(gold) if gold else 0.0,
        "per_class": {
            n: {**prf(correct[n], given[n], asked[n]), "support": asked[n]} for n in names
        },
    }


def entity_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Return micro precision, recall and F1 (0-100) of entities, by seqeval on the tags of words.

    The top-level figures are lenient, as in published results: an I- without a B- opens an entity.
    `strict` counts only entities that open with B-. If the gold tags are not BIO (but IO or IOB1),
    gold and predicted tags are converted to BIO first.
    A predicted label of the published CRF that is not a tag counts as O. If there is any,
    `uncleaned` has the figures with these labels, as in the published scripts: seqeval counts some
    as entities.
    """
    cleaned = [clean_tags(tags) for tags in predicted]
    lenient = _seqeval(gold, cleaned)
    scores = {**lenient, "strict": _strict(gold, cleaned)}
    if cleaned != [list(tags) for tags in predicted]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval warns of each label that is not a tag
            scores["uncleaned"] = _seqeval(gold, predicted)
    return scores


def _strict(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, Any]:
    if scheme_of(gold) != BIO:
        gold, predicted = [to_bio(tags) for tags in gold], [to_bio(tags) for tags in predicted]
    if not any(tag.startswith("B-") for tags in (*gold, *predicted) for tag in tags):
        return {**prf(0, 0, 0), "per_class": {}}  # seqeval would warn of an empty mean
    return _seqeval(gold, predicted, mode="strict", scheme=IOB2)


def _seqeval(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], **options: Any
) -> dict[str, Any]:
    if not any(tag != OUTSIDE for tags in (*gold, *predicted) for tag in tags):
        return {**prf(0, 0, 0), "per_class": {}}  # seqeval fails if there is no entity
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
    """Return precision, recall and F1 (0-100) from counts; 0 if the denominator is 0.

    right: correct predictions. answered: all predictions. asked: gold items.
    """
    precision = right / answered if answered else 0.0
    recall = right / asked if asked else 0.0
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}
