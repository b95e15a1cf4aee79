"""The two tasks, entities and relations, behind one interface; predictions of either."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Trainer

from model.encoder import PrefixedEncoder
from pipeline.corpus.post import Post
from pipeline.training.encode import Encoded

SCORED = ("val", "test")


class Head(ABC):
    """What a task asks of posts, tokenizer and model, and how its answers are read and scored."""

    name: ClassVar[str]  # "ner" or "re"
    model: ClassVar[type[PrefixedEncoder]]
    labelled: ClassVar[str]  # the labels of a post, in words

    @abstractmethod
    def gold(self, post: Post) -> Any:
        """A post's own labels: what `read` should give. None where it has none."""

    @abstractmethod
    def labels(self, known: Sequence[str], style: str) -> list[str]:
        """The head's labels for the data set's, in the order of their numbers."""

    @abstractmethod
    def add_markers(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
        """Give the tokenizer the pieces that the task adds to a text; their ids."""

    @abstractmethod
    def encode(
        self,
        posts: Mapping[int, Post],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        longest: int,
        style: str,
    ) -> list[Encoded]:
        """Numbered posts -> word pieces and labels. Raises DataError."""

    @abstractmethod
    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """A batch's tensors of the task's own: positions, and labels if all have them."""

    @abstractmethod
    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[Any]:
        """The model's answers -> a prediction for each post."""

    @abstractmethod
    def scores(self, gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Any]:
        """The task's figures (0-100)."""

    @abstractmethod
    def as_fields(self, answer: Any) -> dict[str, Any]:
        """A prediction as fields of a line of `predictions.jsonl`."""

    def numbered(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Number -> post, for the posts of a split that have the task's labels."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if self.gold(posts[n]) is not None}


def predict_into(
    folder: Path,
    head: Head,
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
            predicted = head.read(answers, encoded[name], labels)
            results[name] = head.scores([head.gold(post) for post in posts], predicted)
            for post, answer in zip(posts, predicted, strict=True):
                kept = json.loads(replace(post, phrases=None, boxes=None, crops=None).to_json())
                line = json.dumps({**kept, **head.as_fields(answer)}, ensure_ascii=False)
                file.write(line + "\n")
    return results
