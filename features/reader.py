"""Read batches of rows from the store's shards, at the speed of a memory copy, for training."""

import mmap
import os
import resource
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from features.store import TYPES, Shard, StoreError

# Shards mapped at a time: each map keeps a file descriptor open, whose number the system limits.
_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MAX_MAPS = 1024 if _DESCRIPTORS == resource.RLIM_INFINITY else max(1, min(1024, _DESCRIPTORS // 4))
AGAIN = "run ExtractPyramid again"


class Reader:
    """Read batches of rows from the named shards.

    row_shape: (C, g, g), the same in all shards.
    verify: read everything once to check the CRCs.

    Raises StoreError.
    """

    def __init__(self, folder: Path, names: Sequence[str], verify: bool = True) -> None:
        shards = [_open_good(folder / name, verify) for name in names]
        shapes = {shard.shape[1:] for shard in shards}
        if len(shapes) != 1:
            raise StoreError(f"{folder}: expected rows of one shape, found {sorted(shapes)}")
        self.row_shape = shapes.pop()
        self._size = prod(self.row_shape) * TYPES["rows"].itemsize
        self._counts = np.array([shard.shape[0] for shard in shards])
        self._offsets = np.array([shard.offset for shard in shards])
        self._maps = _Maps(shards)
        # Verified rows stay in the page cache if there is room for all of them.
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._all_cached = verify and self._size * int(self._counts.sum()) < memory / 2

    def places(self, index: np.ndarray) -> np.ndarray:
        """Convert shard and row numbers (..., 2) int -> shard number and byte offset (..., 2).

        Call it once for all batches: per batch it would take a few percent of the reading time.
        Raises IndexError.
        """
        numbers, rows = np.moveaxis(index.astype(np.int64), -1, 0)
        if ((numbers < 0) | (numbers >= len(self._counts))).any():
            raise IndexError(f"a shard number is not one of 0 to {len(self._counts) - 1}")
        if ((rows < 0) | (rows >= self._counts[numbers])).any():
            raise IndexError("a row number is outside its shard")
        return np.stack((numbers, self._offsets[numbers] + rows * self._size), axis=-1)

    def read(self, places: np.ndarray) -> np.ndarray:
        """Read the rows (n, C, g, g) float16 at `places` (n, 2), as the method `places` gives."""
        pairs = places.tolist()
        if not self._all_cached:
            self._prefetch(pairs)
        parts = range(0, len(pairs), MAX_MAPS)
        joined = [self._join(pairs[start : start + MAX_MAPS]) for start in parts]
        whole = joined[0] if len(joined) == 1 else bytearray().join(joined)
        return np.ndarray((len(pairs), *self.row_shape), TYPES["rows"], whole)

    def _join(self, places: list[list[int]]) -> bytearray:
        """Copy the rows into one buffer. `join` adds the least time to the copying itself."""
        maps, size = self._maps, self._size
        return bytearray().join([maps[number][byte : byte + size] for number, byte in places])

    def _prefetch(self, places: list[list[int]]) -> None:
        """Request all pages before copying any, so that the disk reads cold rows together."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        for number, byte in sorted(places):  # in the order of their offsets
            mapped: Any = self._maps[number].obj
            down = byte % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, byte - down, self._size + down)


class _Maps(dict[int, memoryview]):
    """Shard number -> the shard's file, mapped into memory at its first use.

    At most MAX_MAPS are kept; the oldest is dropped first. The system unmaps a file when nothing
    refers to it any more.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__()
        self._shards = shards

    def __missing__(self, number: int) -> memoryview:
        path, end = self._shards[number].path, self._shards[number].end
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < end:
                raise StoreError(f"{path.name}: was cut short since it was opened; {AGAIN}", path)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self) == MAX_MAPS:
            del self[next(iter(self))]
        view = self[number] = memoryview(mapped)
        return view


def _open_good(path: Path, verify: bool) -> Shard:
    try:
        shard = Shard(path)
    except StoreError as error:
        raise StoreError(f"{error}; {AGAIN}", path) from error
    bad = shard.verify() if verify else []
    if bad:
        message = f"{path.name}: {len(bad)} damaged rows, the first is row {bad[0]}; {AGAIN}"
        raise StoreError(message, path)
    return shard
