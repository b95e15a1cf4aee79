"""Encoded posts and stored rows -> padded batches, of posts of similar length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from pipeline.training.encode import Encoded

IGNORED = -100
BUCKET = 50  # batches that are sorted by length together

Tensors = Callable[[Sequence[int]], dict[str, Tensor]]  # of posts by number


class Pictures(Protocol):
    """The pictures' side of a batch: their tensors, for posts by number."""

    @property
    def made_by(self) -> dict[str, Any]:
        """How the pyramids are made."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the four blocks."""

    @property
    def grid(self) -> int:
        """Side of a pooled map."""

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Tensors for posts by number."""


@dataclass(frozen=True)
class Collator:
    """A list of encoded posts -> one batch, padded to its own longest.

    `padding` is the tokenizer's padding id, `collate` makes the tensors that are the task's own.
    """

    padding: int
    collate: Callable[[Sequence[Encoded]], dict[str, Tensor]]
    pictures: Tensors | None = None

    def __call__(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """input_ids, attention_mask (B, T), positions and labels, and the pictures' tensors."""
        input_ids = padded([post.input_ids for post in posts], self.padding)
        lengths = torch.tensor([len(post.input_ids) for post in posts])
        batch = {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            **self.collate(posts),
        }
        if self.pictures is not None:
            batch |= self.pictures([post.number for post in posts])
        return batch


def padded(sequences: Sequence[Sequence[int]], padding: int) -> Tensor:
    """(B, T) of sequences, each filled up with `padding` to the longest."""
    width = max(map(len, sequences))
    return torch.tensor([[*ids, *[padding] * (width - len(ids))] for ids in sequences])


class BucketSampler(Sampler[int]):
    """Posts in an order in which each batch holds posts of similar length.

    Posts are shuffled, each `BUCKET` batches of them are sorted by length and cut into batches,
    and the batches are shuffled. The order depends on seed and epoch alone, so a run that resumes
    in the middle of an epoch sees the batches that it would have seen.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self.seed, self.epoch))
        order = random.permutation(len(self.lengths))
        span = self.batch_size * BUCKET
        pools = [order[n : n + span] for n in range(0, len(order), span)]
        ordered = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools])
        # A short last batch must stay last, or it would shift all batches after it.
        whole = len(ordered) // self.batch_size * self.batch_size
        batches = ordered[:whole].reshape(-1, self.batch_size)
        yield from random.permutation(batches).flatten().tolist()
        yield from ordered[whole:].tolist()
