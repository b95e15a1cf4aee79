"""The index of a data set: the places of its posts' rows in the store, and reading them."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.reader import Reader
from pipeline.engine.files import read_json

INDEX, ABOUT = "index.npy", "pyramids.json"  # files written by ExtractPyramid


class StoredPyramids:
    """Pyramids of posts, read from the store.

    reader: reads rows from the shards.
    index: (posts, R, 2) of (shard, row), as written by ExtractPyramid; -1 if there is no region.
    absent: (shard, row) of the row of an all-zero input, used for absent regions.
    made_by: how the pyramids are made; see `rows.made_by`.
    channels: of the four blocks.
    grid: side of a pooled map.
    there: (posts, R) bool, True if there is a region.
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
        self.absent = reader.places(np.array(absent))
        self.places = reader.places(np.where(self.there[..., None], index, np.array(absent)))
        self.made_by, self.channels, self.grid = made_by, channels, grid

    @classmethod
    def open(cls, folder: Path, pyramids: Path) -> "StoredPyramids":
        """Open the pyramids of a data set. Every row is checked against its CRC.

        folder: output of ExtractPyramid. pyramids: the store's folder of rows.
        Raises StoreError if a shard is damaged.
        """
        about = read_json(folder / ABOUT)
        return cls(
            Reader(pyramids / about["rows"], about["shards"]),
            np.load(folder / INDEX, allow_pickle=False),
            tuple(about["absent"]),
            about["made_by"],
            tuple(about["channels"]),
            about["grid"],
        )

    def __call__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return the tensors of posts, given by number.

        pyramid: (B, R, ΣC, h, w) float16, the row of an all-zero input for absent regions.
        regions: (B, R) bool, True if there is a region.
        """
        there = self.there[list(numbers)]
        pyramids = self.reader.read(self.places[list(numbers)].reshape(-1, 2))
        return {
            "pyramid": torch.from_numpy(pyramids.reshape(*there.shape, *pyramids.shape[1:])),
            "regions": torch.from_numpy(there),
        }

    def of_others(self, owners: Sequence[int]) -> "StoredPyramids":
        """Return pyramids in which post n has the regions of post owners[n]; -1: no region."""
        others, given = copy(self), np.asarray(owners)
        others.there = self.there[given] & (given >= 0)[:, None]
        others.places = np.where(others.there[..., None], self.places[given], self.absent)
        return others


def shard_files(folder: Path, pyramids: Path) -> list[Path]:
    """Return the shards that the index in `folder` refers to, in its order."""
    about = read_json(folder / ABOUT)
    return [pyramids / about["rows"] / name for name in about["shards"]]
