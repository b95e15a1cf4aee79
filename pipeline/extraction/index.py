"""The index of a data set: its posts' rows in the store, and the pyramids read through it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.reader import Reader
from pipeline.engine.files import read_json

INDEX, ABOUT = "index.npy", "pyramids.json"  # what ExtractPyramid writes


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
        """For posts by number: pyramid (B, R, ΣC, h, w) float16, that of nothing where a region is
        absent, and regions (B, R) bool."""
        there = self.there[list(numbers)]
        pyramids = self.reader.read(self.places[list(numbers)].reshape(-1, 2))
        return {
            "pyramid": torch.from_numpy(pyramids.reshape(*there.shape, *pyramids.shape[1:])),
            "regions": torch.from_numpy(there),
        }


def shard_files(folder: Path, pyramids: Path) -> list[Path]:
    """The shards that an index in `folder` refers to, in its order."""
    about = read_json(folder / ABOUT)
    return [pyramids / about["rows"] / name for name in about["shards"]]
