"""The interface of the two tasks, entities and relations, and writing their predictions."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.contract import System
from pipeline.corpus.post import Post
from pipeline.errors import NAMED
from pipeline.training.calibration import Item, calibrated
from pipeline.training.encode import Encoded
from pipeline.training.possible import is_labelled, is_readable

if TYPE_CHECKING:  # prediction runs without the Trainer
    from transformers import Trainer

SCORED = ("val", "test")
DIGITS = 6  # decimals of a score in files; float32 logits give no more
log = logging.getLogger(__name__)


class Scored(NamedTuple):
    """A post's prediction.

    answer: as returned by `Head.read`.
    scores: the probability of the relation, or a list of `ScoredEntity`; None for a post that does
        not fit into the model.
    """

    answer: Any
    scores: Any


class Head(ABC):
    """A task: its labels, encoding and model, and how to read and score the model's answers."""

    name: ClassVar[str]  # "ner" or "re"
    least_tokens: ClassVar[int]  # word pieces of the shortest post, including special pieces

    @abstractmethod
    def gold(self, post: Post) -> Any:
        """Return a post's gold labels in the form of `read`; None if it has none."""

    @abstractmethod
    def classes(self, post: Post) -> set[str]:
        """Return the classes that occur in a labelled post: its relation, or types of entities."""

    @abstractmethod
    def labels(self, known: Sequence[str], style: str) -> list[str]:
        """Return the head's labels, in the order of their numbers. known: the data set's labels."""

    @abstractmethod
    def add_markers(
        self, tokenizer: PreTrainedTokenizerBase, own: Sequence[str] = ()
    ) -> tuple[int, ...]:
        """Return the ids of the task's markers: `own`, if the tokenizer has them, else new pieces.

        New pieces are added to the tokenizer.
        """

    @abstractmethod
    def encode(
        self,
        posts: Mapping[int, Post],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        longest: int,
        style: str,
        markers: Sequence[int] | None = (),
    ) -> list[Encoded]:
        """Encode numbered posts as word pieces and labels; posts that don't fit are left out.

        labels: of `self.labels`. longest: word pieces per post. style: paper or released. markers:
        of `add_markers`; (): the new pieces; None: the text gets no markers.
        Raises DataError for a label that is not in `labels`.
        """

    @abstractmethod
    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """Return the task's tensors of a batch: positions, and labels if all posts have them."""

    @abstractmethod
    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[Any]:
        """Return a prediction for each encoded post. answers: the model's first output."""

    @abstractmethod
    def read_scored(
        self,
        outputs: Any,
        encoded: Sequence[Encoded],
        labels: Sequence[str],
        model: System,
    ) -> list[Scored]:
        """Return a prediction with scores for each encoded post.

        outputs: all outputs of the model: an array (posts, …), or a tuple of several.
        """

    @abstractmethod
    def unread(self, post: Post) -> Any:
        """Return the prediction for a post that does not fit into the model."""

    @abstractmethod
    def scores(self, gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Any]:
        """Return the task's figures (0-100)."""

    @abstractmethod
    def items(self, gold: Any, predicted: Scored) -> list[Item]:
        """Return a post's scored predictions, each compared with the gold labels."""

    @abstractmethod
    def asked(self, gold: Any) -> int:
        """Return the number of entities or relations in a post's gold labels."""

    @abstractmethod
    def as_fields(self, predicted: Scored) -> dict[str, Any]:
        """Return a prediction as fields for a line of `predictions.jsonl`."""

    def numbered(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Return number -> post for the posts of a split that have the task's labels."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if is_labelled(self.name, posts[n])}

    def readable(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Return number -> post for the posts of a split that can be predicted, labelled or not."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if is_readable(self.name, posts[n])}

    def read_all(
        self,
        answers: np.ndarray,
        encoded: Sequence[Encoded],
        posts: Mapping[int, Post],
        labels: Sequence[str],
    ) -> list[Any]:
        """Return a prediction for each post, including posts that do not fit into the model.

        answers: the model's answers for the encoded posts.
        """
        predicted = self.read(answers, encoded, labels)
        by_number = dict(zip((post.number for post in encoded), predicted, strict=True))
        return [by_number[n] if n in by_number else self.unread(post) for n, post in posts.items()]


def log_shortened(
    splits: Mapping[str, Mapping[int, Post]], encoded: Mapping[str, list[Encoded]], longest: int
) -> None:
    """Log the posts that lost words between their entities, and those that do not fit."""
    cut = [
        f"{name} {splits[name][post.number].id!r}"
        for name, posts_of_split in encoded.items()
        for post in posts_of_split
        if post.cut
    ]
    if cut:
        log.warning(
            "head and tail are more than %d word pieces apart in %s: words between them are left "
            "out",
            longest,
            _counted(cut),
        )
    for name, posts in splits.items():
        fitting = {post.number for post in encoded[name]}
        lost = [repr(post.id) for n, post in posts.items() if n not in fitting]
        if lost:
            log.warning(
                "head and tail alone have more than %d word pieces in %s of %s: %s",
                longest,
                _counted(lost),
                name,
                "not trained on" if name == "train" else "predicted None",
            )


def _counted(names: Sequence[str]) -> str:
    """Return the number of posts, and the names of the first few."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    posts = "post" if len(names) == 1 else "posts"
    return f"{len(names)} {posts} ({', '.join(names[:NAMED])}{more})"


def predict_into(
    folder: Path,
    head: Head,
    trainer: "Trainer",
    model: System,
    splits: Mapping[str, Mapping[int, Post]],
    encoded: Mapping[str, list[Encoded]],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Predict val and test into `folder/predictions.jsonl`, a line per post in the posts' order.

    Returns split -> figures, over the labelled posts, for each split that has some.

    model: the trainer's model, without its backbone.
    splits: split -> number -> post.
    encoded: split -> the encoded posts, without those that do not fit.
    """
    results = {}
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for name in SCORED:
            posts = splits[name].values()
            if not posts:
                continue
            by_number = _predict(head, trainer, model, encoded[name], labels)
            predicted = [
                by_number.get(number, Scored(head.unread(post), None))
                for number, post in splits[name].items()
            ]
            gold = [head.gold(post) for post in posts]
            labelled = [pair for pair in zip(gold, predicted, strict=True) if pair[0] is not None]
            if labelled:
                results[name] = _figures(head, labelled)
            for post, scored in zip(posts, predicted, strict=True):
                fields = json.loads(replace(post, phrases=None, boxes=None, crops=None).to_json())
                line = json.dumps({**fields, **head.as_fields(scored)}, ensure_ascii=False)
                file.write(line + "\n")
    return results


def _predict(
    head: Head,
    trainer: "Trainer",
    model: System,
    encoded: list[Encoded],
    labels: Sequence[str],
) -> dict[int, Scored]:
    """Return number -> prediction for the encoded posts."""
    if not encoded:
        return {}
    # In training only the labels are used; scores of predictions need all outputs.
    outputs = trainer.predict(encoded, ignore_keys=[]).predictions
    scored = head.read_scored(outputs, encoded, labels, model)
    return dict(zip((post.number for post in encoded), scored, strict=True))


def _figures(head: Head, pairs: Sequence[tuple[Any, Scored]]) -> dict[str, Any]:
    """Return the figures of a split. pairs: gold labels and prediction of each post."""
    gold = [expected for expected, _ in pairs]
    items = [item for expected, predicted in pairs for item in head.items(expected, predicted)]
    return {
        **head.scores(gold, [predicted.answer for _, predicted in pairs]),
        **calibrated(items, sum(map(head.asked, gold))),
    }
