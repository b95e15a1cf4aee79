"""Random batches of rows from the store, beside a plain memmap of the same bytes."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.material import REGIONS, SHARD_ROWS, Material
from bench.turns import in_turns
from features.reader import Reader
from features.store import Shard

BATCH = 32 * REGIONS  # rows
BATCHES = 60


def read_warm(material: Material, device: str) -> dict[str, Any]:
    """Batches of 128 random rows, all in the page cache : `np.memmap` of one file of these rows."""
    return _read(material, cold=False)


def read_cold(material: Material, device: str) -> dict[str, Any]:
    """The same, with nothing in the page cache."""
    return _read(material, cold=True)


def _read(material: Material, cold: bool) -> dict[str, Any]:
    stored = material.pyramids(BATCH * BATCHES // REGIONS)
    shards = sorted((material.root / "rows").glob("*.h5"))
    flat = material.root / "rows.bin"
    if not flat.exists():
        with flat.open("wb") as file:
            for shard in shards:
                file.write(Shard(shard).map_rows().tobytes())
            os.fsync(file.fileno())
    # Shards of one size in the order of their names: a row has the same place in both.
    batches = stored.places.reshape(BATCHES, BATCH)

    def ours() -> float:
        _settle(shards, cold)
        reader = Reader(shards[0].parent, [shard.name for shard in shards], verify=not cold)
        return _rows_a_second(reader.read, batches, warm_up=not cold)

    def plain() -> float:
        _settle([flat], cold)
        shape = (len(shards) * SHARD_ROWS, *stored.reader.row_shape)
        rows = np.memmap(flat, np.float16, "r", shape=shape)
        return _rows_a_second(lambda wanted: rows[wanted], batches, warm_up=not cold)

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
    """Put the files' pages out of the page cache, or into it."""
    for file in files:
        with file.open("rb") as opened:
            if cold:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while opened.read(1 << 24):
                    pass
