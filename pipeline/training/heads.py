"""The two tasks, entities and relations, behind one interface; predictions of either."""

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

from model.encoder import PrefixedEncoder
from pipeline.corpus.post import Post
from pipeline.errors import NAMED
from pipeline.training.calibration import Item, calibrated
from pipeline.training.encode import Encoded
from pipeline.training.possible import is_labelled, is_readable

if TYPE_CHECKING:  # a training loop, which prediction does without
    from transformers import Trainer

SCORED = ("val", "test")
DIGITS = 6  # decimals of a score in files: float32 logits hold no more
log = logging.getLogger(__name__)


class Scored(NamedTuple):
    """A post's prediction.

    answer: as `Head.read` gives it. scores: the probability of a relation, or the entities with
    theirs; None for a post that doesn't fit into the model.
    """

    answer: Any
    scores: Any


class Head(ABC):
    """One task: its labels, its encoding, its model, and how answers are read and scored."""

    name: ClassVar[str]  # "ner" or "re"
    model: ClassVar[type[PrefixedEncoder]]
    least_tokens: ClassVar[int]  # word pieces of the shortest post, special ones included

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
        """Numbered posts -> word pieces and labels, without posts that don't fit.

        Raises DataError.
        """

    @abstractmethod
    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """A batch's tensors of the task's own: positions, and labels if all have them."""

    @abstractmethod
    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[Any]:
        """The model's answers -> a prediction for each encoded post."""

    @abstractmethod
    def read_scored(
        self,
        outputs: Any,
        encoded: Sequence[Encoded],
        labels: Sequence[str],
        model: PrefixedEncoder,
    ) -> list[Scored]:
        """All of the model's outputs -> a prediction with scores for each encoded post.

        outputs: an array (posts, …), or a tuple of them where the model has several outputs.
        """

    @abstractmethod
    def unread(self, post: Post) -> Any:
        """The prediction for a post that doesn't fit into the model."""

    @abstractmethod
    def scores(self, gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, Any]:
        """The task's figures (0-100)."""

    @abstractmethod
    def items(self, gold: Any, predicted: Scored) -> list[Item]:
        """A post's scored predictions, each compared with its gold labels."""

    @abstractmethod
    def asked(self, gold: Any) -> int:
        """How many entities or relations a post's gold labels hold."""

    @abstractmethod
    def as_fields(self, predicted: Scored) -> dict[str, Any]:
        """A prediction as fields of a line of `predictions.jsonl`."""

    def numbered(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Number -> post, for the posts of a split that have the task's labels."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if is_labelled(self.name, posts[n])}

    def readable(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        """Number -> post, for the posts of a split that can be predicted, with labels or not."""
        chosen = (n for n, post in enumerate(posts) if post.split == split)
        return {n: posts[n] for n in chosen if is_readable(self.name, posts[n])}

    def read_all(
        self,
        answers: np.ndarray,
        encoded: Sequence[Encoded],
        posts: Mapping[int, Post],
        labels: Sequence[str],
    ) -> list[Any]:
        """A prediction for each post, also for those that don't fit.

        answers: the model's, to the encoded posts.
        """
        predicted = self.read(answers, encoded, labels)
        own = dict(zip((post.number for post in encoded), predicted, strict=True))
        return [own[n] if n in own else self.unread(post) for n, post in posts.items()]


def log_shortened(
    splits: Mapping[str, Mapping[int, Post]], encoded: Mapping[str, list[Encoded]], longest: int
) -> None:
    """Count and name posts of which words between the entities are left out, or that don't fit."""
    cut = [
        f"{name} {splits[name][post.number].id!r}"
        for name, own in encoded.items()
        for post in own
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
    """How many posts, and the first of them by name."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    posts = "post" if len(names) == 1 else "posts"
    return f"{len(names)} {posts} ({', '.join(names[:NAMED])}{more})"


def predict_into(
    folder: Path,
    head: Head,
    trainer: "Trainer",
    model: PrefixedEncoder,
    splits: Mapping[str, Mapping[int, Post]],
    encoded: Mapping[str, list[Encoded]],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Predict val and test into `folder/predictions.jsonl`, a line a post in the posts' order.

    model: the trainer's, without its backbone. Returns the figures of each split that has posts
    with labels, on these alone.
    """
    results = {}
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for name in SCORED:
            posts = splits[name].values()
            if not posts:
                continue
            fitting = _predict(head, trainer, model, encoded[name], labels)
            predicted = [
                fitting.get(number, Scored(head.unread(post), None))
                for number, post in splits[name].items()
            ]
            gold = [head.gold(post) for post in posts]
            labelled = [pair for pair in zip(gold, predicted, strict=True) if pair[0] is not None]
            if labelled:
                results[name] = _figures(head, labelled)
            for post, scored in zip(posts, predicted, strict=True):
                kept = json.loads(replace(post, phrases=None, boxes=None, crops=None).to_json())
                line = json.dumps({**kept, **head.as_fields(scored)}, ensure_ascii=False)
                file.write(line + "\n")
    return results


def _predict(
    head: Head,
    trainer: "Trainer",
    model: PrefixedEncoder,
    encoded: list[Encoded],
    labels: Sequence[str],
) -> dict[int, Scored]:
    """Number -> prediction, for the encoded posts."""
    if not encoded:
        return {}
    # Epochs are scored by labels alone; scores of predictions need the other outputs too.
    outputs = trainer.predict(encoded, ignore_keys=[]).predictions
    scored = head.read_scored(outputs, encoded, labels, model)
    return dict(zip((post.number for post in encoded), scored, strict=True))


def _figures(head: Head, pairs: Sequence[tuple[Any, Scored]]) -> dict[str, Any]:
    """The figures of a split. pairs: each post's gold labels and prediction."""
    gold = [expected for expected, _ in pairs]
    items = [item for expected, predicted in pairs for item in head.items(expected, predicted)]
    return {
        **head.scores(gold, [predicted.answer for _, predicted in pairs]),
        **calibrated(items, sum(map(head.asked, gold))),
    }
