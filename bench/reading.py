"""Compare reading random batches of rows from the store with a plain memmap of the same bytes."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.material import CHANNELS, GRID, REGIONS, ROWS, Material
from bench.turns import in_turns
from features.reader import Reader
from features.store import Shard
from pipeline.extraction.extract import SHARD_ROWS

BATCH = 32 * REGIONS  # rows
BATCHES = 60


def read_warm(material: Material, device: str) -> dict[str, Any]:
    """Batches of 128 random rows, all in the page cache : `np.memmap` of one file of these rows.

    The rows' places are looked up beforehand, once for all batches, as in training.
    """
    return _read(material, cold=False)


def read_cold(material: Material, device: str) -> dict[str, Any]:
    """The same, with nothing in the page cache."""
    return _read(material, cold=True)


def _read(material: Material, cold: bool) -> dict[str, Any]:
    shards = material.shards()
    flat = material.root / "rows.bin"
    if not flat.exists():
        with flat.open("wb") as file:
            for shard in shards:
                file.write(Shard(shard).map_rows().tobytes())
            os.fsync(file.fileno())
    wanted = np.random.default_rng(0).integers(0, ROWS, (BATCHES, BATCH))
    index = np.stack(np.divmod(wanted, SHARD_ROWS), axis=-1)

    def ours() -> float:
        _settle(shards, cold)
        reader = Reader(shards[0].parent, [shard.name for shard in shards], verify=not cold)
        return _rows_a_second(reader.read, reader.places(index), warm_up=not cold)

    def plain() -> float:
        _settle([flat], cold)
        rows = np.memmap(flat, np.float16, "r").reshape(ROWS, sum(CHANNELS), GRID, GRID)
        return _rows_a_second(lambda batch: rows[batch], wanted, warm_up=not cold)

    return {**in_turns(ours, plain, rounds=5), "unit": "rows/s"}


def _rows_a_second(
    read: Callable[[np.ndarray], np.ndarray], batches: np.ndarray, warm_up: bool
) -> float:
    if warm_up:
        for batch in batches:
            read(batch)
    began = time.perf_counter()
    for batch in batches:
        read(batch)
    return batches.shape[0] * batches.shape[1] / (time.perf_counter() - began)


def _settle(files: Iterable[Path], cold: bool) -> None:
    """Drop the files from the page cache if `cold`, else load them into it."""
    for file in files:
        with file.open("rb") as opened:
            if cold:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while opened.read(1 << 24):
                    pass
