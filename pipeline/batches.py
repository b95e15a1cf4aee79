"""Encoded posts and stored rows -> padded batches, of posts of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from features.reader import Reader
from pipeline.encode import Encoded
from pipeline.jsonfile import read_json

IGNORED = -100
INDEX, PYRAMIDS = "index.npy", "pyramids.json"  # what ExtractPyramid writes
BUCKET = 50  # batches that are sorted by length together


class Pictures(Protocol):
    """What a model with pictures needs more: their tensors, for the posts of a batch."""

    @property
    def made_by(self) -> dict[str, Any]:
        """How the pyramids are made."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the four blocks."""

    @property
    def grid(self) -> int:
        """Side of a pooled map."""

    def __call__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Tensors for posts by number."""


class StoredPyramids:
    """Pyramids of posts, read from the store.

    index: (posts, R, 2) of (shard, row) as ExtractPyramid writes it, -1 where there is no region.
    absent: (shard, row) of what the backbone makes of nothing, an all-zero input.
    made_by: as ExtractPyramid tells it. channels: of the four blocks. grid: side of a pooled map.
    there: (posts, R) bool, where there is a region.
    """

    def __init__(
        self,
        reader: Reader,
        index: np.ndarray,
        absent: tuple[int, int],
        made_by: dict[str, Any],
        channels: tuple[int, ...],
        grid: int,
    ) -> None:
        self.reader = reader
        self.there = index[..., 0] >= 0
        self.places = reader.places(np.where(self.there[..., None], index, np.array(absent)))
        self.made_by, self.channels, self.grid = made_by, channels, grid

    @classmethod
    def open(cls, folder: Path, pyramids: Path) -> "StoredPyramids":
        """Those that ExtractPyramid indexed in `folder`, of the store's folder `pyramids`.

        Raises StoreError where a shard is damaged: every row is checked against its CRC.
        """
        about = read_json(folder / PYRAMIDS)
        return cls(
            Reader(pyramids / about["rows"], about["shards"]),
            np.load(folder / INDEX, allow_pickle=False),
            tuple(about["absent"]),
            about["made_by"],
            tuple(about["channels"]),
            about["grid"],
        )

    def __call__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """pyramid: (B, R, ΣC, h, w) float16, of nothing where absent. regions: (B, R) bool."""
        there = self.there[list(rows)]
        pyramids = self.reader.read(self.places[list(rows)].reshape(-1, 2))
        return {
            "pyramid": torch.from_numpy(pyramids.reshape(*there.shape, *pyramids.shape[1:])),
            "regions": torch.from_numpy(there),
        }


def shard_files(folder: Path, pyramids: Path) -> list[Path]:
    """The shards that an index in `folder` refers to, in its order."""
    about = read_json(folder / PYRAMIDS)
    return [pyramids / about["rows"] / name for name in about["shards"]]


@dataclass(frozen=True)
class Collator:
    """A list of encoded posts -> one batch, padded to its own longest.

    `padding` is the tokenizer's padding id. `words` says whether positions are words (entities)
    or markers (relations).
    """

    padding: int
    words: bool
    pictures: Pictures | None = None

    def __call__(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """input_ids, attention_mask (B, T), positions and labels, and the pictures' tensors."""
        input_ids = _padded([post.input_ids for post in posts], self.padding)
        lengths = torch.tensor([len(post.input_ids) for post in posts])
        batch = {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            **(_word_labels(posts) if self.words else _marker_labels(posts)),
        }
        if self.pictures is not None:
            batch |= self.pictures([post.row for post in posts])
        return batch


def _padded(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])


def _word_labels(posts: Sequence[Encoded]) -> dict[str, Tensor]:
    """words (B, W): places of the CRF's tokens; labels (B, W): what they are taught."""
    batch = {"words": _padded([post.positions for post in posts], -1)}
    if all(post.labels for post in posts):
        batch["labels"] = _padded([post.labels for post in posts], IGNORED)
    return batch


def _marker_labels(posts: Sequence[Encoded]) -> dict[str, Tensor]:
    """markers (B, 2) and labels (B,)."""
    batch = {"markers": torch.tensor([post.positions for post in posts])}
    if all(post.labels for post in posts):
        batch["labels"] = torch.tensor([post.labels[0] for post in posts])
    return batch


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
