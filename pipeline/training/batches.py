"""Encoded posts and stored rows -> padded batches of posts of similar length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from pipeline.training.encode import Encoded

IGNORED = -100  # label of padding, which the loss ignores
BUCKET = 50  # batches sorted by length together

Tensors = Callable[[Sequence[int]], dict[str, Tensor]]  # numbers of posts -> their tensors


class Pictures(Protocol):
    """The source of a batch's picture tensors."""

    @property
    def made_by(self) -> dict[str, Any]:
        """The settings that the pyramids are made with; see `rows.made_by`."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four blocks."""

    @property
    def grid(self) -> int:
        """Side of a pooled map."""

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return the tensors of posts, given by number."""


@dataclass(frozen=True)
class Collator:
    """Encoded posts -> one batch, padded to its longest post.

    padding: id of the tokenizer's padding piece.
    collate: makes the tensors that depend on the task.
    pictures: makes the tensors of the posts' pictures; None for text-only.
    own: makes the tensors that the system alone reads; see `System.collate`.
    """

    padding: int
    collate: Callable[[Sequence[Encoded]], dict[str, Tensor]]
    pictures: Tensors | None = None
    own: Callable[[Sequence[Any]], dict[str, Tensor]] | None = None

    def __call__(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """Return input_ids and attention_mask (B, T), and the tensors of task and pictures.

        If a post has a picture text, also segment_ids (B, T): 1 for the pieces of that text.
        """
        input_ids = padded([post.input_ids for post in posts], self.padding)
        lengths = torch.tensor([len(post.input_ids) for post in posts])
        batch = {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            **self.collate(posts),
        }
        if any(post.knowledge for post in posts):
            batch["segment_ids"] = padded([_segments(post) for post in posts], 0)
        if self.own is not None:
            batch |= self.own([post.prepared for post in posts])
        if self.pictures is not None:
            batch |= self.pictures([post.number for post in posts])
        return batch


def _segments(post: Encoded) -> list[int]:
    return [0] * (len(post.input_ids) - post.knowledge) + [1] * post.knowledge


def padded(sequences: Sequence[Sequence[int]], padding: int) -> Tensor:
    """Return sequences as (B, T), each padded with `padding` to the longest."""
    width = max(map(len, sequences))
    return torch.tensor([[*ids, *[padding] * (width - len(ids))] for ids in sequences])


class BucketSampler(Sampler[int]):
    """A random order of posts in which each batch has posts of similar length.

    The posts are shuffled; every `BUCKET` batches of them are sorted by length and cut into
    batches; the batches are shuffled. The order depends only on seed and epoch, so a run resumed
    within an epoch gets the same batches as without the interruption.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order. Called by the training loop."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.lengths))
        span = self.batch_size * BUCKET
        pools = [order[n : n + span] for n in range(0, len(order), span)]
        ordered = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools])
        # Keep a short last batch last: elsewhere it would shift the batches after it.
        whole = len(ordered) // self.batch_size * self.batch_size
        batches = ordered[:whole].reshape(-1, self.batch_size)
        yield from random.permutation(batches).flatten().tolist()
        yield from ordered[whole:].tolist()
