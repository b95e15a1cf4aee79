"""Batches of rows from the store's shards, for training: as fast as memory can be copied."""

import mmap
import os
import resource
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from features.store import TYPES, Shard, StoreError

# Shards that are mapped at once: each holds a file descriptor, and the system grants so many.
_GRANTED = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MAX_MAPS = 1024 if _GRANTED == resource.RLIM_INFINITY else max(1, min(1024, _GRANTED // 4))
AGAIN = "run ExtractPyramid again"


class Reader:
    """Batches of rows from the named shards.

    `row_shape`: (C, g, g), the same in all. `verify` reads everything once to check the CRCs.
    Raises StoreError.
    """

    def __init__(self, folder: Path, names: Sequence[str], verify: bool = True) -> None:
        shards = [_open_good(folder / name, verify) for name in names]
        shapes = {shard.shape[1:] for shard in shards}
        if len(shapes) != 1:
            raise StoreError(f"{folder}: rows of one shape wanted, got {sorted(shapes)}")
        self.row_shape = shapes.pop()
        self._size = prod(self.row_shape) * TYPES["rows"].itemsize
        self._counts = np.array([shard.shape[0] for shard in shards])
        self._offsets = np.array([shard.offset for shard in shards])
        self._maps = _Maps(shards)
        # What was verified stays in memory where there is room for all.
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._all_there = verify and self._size * int(self._counts.sum()) < memory / 2

    def places(self, index: np.ndarray) -> np.ndarray:
        """`index`: (..., 2) int of shard number and row -> (..., 2) of shard number and byte.

        Done once for all batches: it would cost each a few percent of its time. Raises IndexError.
        """
        numbers, rows = np.moveaxis(index.astype(np.int64), -1, 0)
        if ((numbers < 0) | (numbers >= len(self._counts))).any():
            raise IndexError(f"a shard number is not one of 0 to {len(self._counts) - 1}")
        if ((rows < 0) | (rows >= self._counts[numbers])).any():
            raise IndexError("a row number is outside its shard")
        return np.stack((numbers, self._offsets[numbers] + rows * self._size), axis=-1)

    def read(self, places: np.ndarray) -> np.ndarray:
        """The rows (n, C, g, g) float16 at `places` (n, 2), which `places` found."""
        wanted = places.tolist()
        if not self._all_there:
            self._ask_for(wanted)
        parts = range(0, len(wanted), MAX_MAPS)
        joined = [self._join(wanted[start : start + MAX_MAPS]) for start in parts]
        whole = joined[0] if len(joined) == 1 else bytearray().join(joined)
        return np.ndarray((len(wanted), *self.row_shape), TYPES["rows"], whole)

    def _join(self, places: list[list[int]]) -> bytearray:
        """Joining buffers costs least beside the copying itself."""
        maps, size = self._maps, self._size
        return bytearray().join([maps[number][byte : byte + size] for number, byte in places])

    def _ask_for(self, places: list[list[int]]) -> None:
        """Ask for all pages before any is copied: cold rows come in together, not one by one."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        for number, byte in sorted(places):  # as they lie on the disk
            mapped: Any = self._maps[number].obj
            down = byte % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, byte - down, self._size + down)


class _Maps(dict[int, memoryview]):
    """The shards' files in memory by their number, each from when it is first asked for.

    MAX_MAPS stay there, the oldest goes first. The system unmaps a file when nothing refers to it.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__()
        self._shards = shards

    def __missing__(self, number: int) -> memoryview:
        path, end = self._shards[number].path, self._shards[number].end
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < end:
                raise StoreError(f"{path.name}: was cut short in the meantime; {AGAIN}", path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self) == MAX_MAPS:
            del self[next(iter(self))]
        found = self[number] = memoryview(mapped)
        return found


def _open_good(path: Path, verify: bool) -> Shard:
    try:
        shard = Shard(path)
    except StoreError as error:
        raise StoreError(f"{error}; {AGAIN}", path) from error
    bad = shard.verify() if verify else []
    if bad:
        told = f"{path.name}: {len(bad)} damaged rows, the first {bad[0]}; {AGAIN}"
        raise StoreError(told, path)
    return shard
