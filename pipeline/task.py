"""The two tasks, entities and relations: what differs between them, and predictions of either."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer

from model.encoder import PrefixedEncoder
from model.ner import EntityTagger
from model.relation import RelationExtractor
from pipeline import encode, score
from pipeline.corpus import Post
from pipeline.encode import Encoded

SCORED = ("val", "test")


@dataclass(frozen=True)
class Task:
    """What differs between entities and relations."""

    name: str  # "ner" or "re"
    model: type[PrefixedEncoder]
    encode: Callable[..., list[Encoded]]

    @property
    def words(self) -> bool:
        """Whether labels go with words (entities) or with the post (relations)."""
        return self.name == "ner"

    def has_labels(self, post: Post) -> bool:
        """Whether a post can be trained and scored on."""
        return (post.tags if self.words else post.relation) is not None

    def labels(self, known: Sequence[str], style: str) -> list[str]:
        """The head's labels for the data set's, in the order of their numbers."""
        return encode.entity_labels(known, style) if self.words else list(known)

    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[Any]:
        """The model's answers -> a relation a post, or a label for each of its words.

        answers: (posts, labels) logits for relations, (posts, W) labels for entities. Words that
        the model never saw (no piece, or beyond the longest text) are O.
        """
        if not self.words:
            return [labels[n] for n in answers.argmax(-1)]
        return [
            [labels[row[token]] if token >= 0 else score.OUTSIDE for token in post.words]
            for post, row in zip(encoded, answers, strict=True)
        ]

    def gold(self, post: Post) -> Any:
        """What `read` should give."""
        return list(post.tags or ()) if self.words else post.relation

    def numbered(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Number -> post, for the posts of a split that have the task's labels."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if self.has_labels(posts[n])}

    def scores(self, gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Any]:
        """The task's figures (0-100)."""
        score_of = score.entity_scores if self.words else score.relation_scores
        return score_of(gold, predicted)


TASKS = {
    "re": Task("re", RelationExtractor, encode.encode_relations),
    "ner": Task("ner", EntityTagger, encode.encode_entities),
}


def predict_into(
    folder: Path,
    task: Task,
    trainer: Trainer,
    splits: Mapping[str, Mapping[int, Post]],
    encoded: Mapping[str, list[Encoded]],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Predict val and test into `folder/predictions.jsonl`; the scores of each that has posts."""
    results = {}
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for name in SCORED:
            posts = splits[name].values()
            if not posts:
                continue
            answers = trainer.predict(encoded[name]).predictions
            predicted = task.read(answers, encoded[name], labels)
            results[name] = task.scores([task.gold(post) for post in posts], predicted)
            for post, answer in zip(posts, predicted, strict=True):
                file.write(json.dumps(_prediction(task, post, answer), ensure_ascii=False) + "\n")
    return results


def _prediction(task: Task, post: Post, answer: Any) -> dict[str, Any]:
    kept = json.loads(replace(post, phrases=None, boxes=None, crops=None).to_json())
    if task.words:
        return {**kept, "predicted_tags": score.clean_tags(answer)}
    return {**kept, "predicted_relation": answer}
