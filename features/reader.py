"""Batches of rows from the store's shards, for training: as fast as memory can be copied."""

import mmap
import os
import resource
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from features.store import TYPES, Shard, StoreError

# Shards that are mapped at once: each holds a file descriptor, and the system grants so many.
_GRANTED = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
MAX_MAPS = 1024 if _GRANTED == resource.RLIM_INFINITY else max(1, min(1024, _GRANTED // 4))


class Reader:
    """Batches of rows from the named shards.

    `row_shape`: (C, g, g), the same in all. `verify` reads everything once to check the CRCs.
    Raises StoreError.
    """

    def __init__(self, folder: Path, names: Sequence[str], verify: bool = True) -> None:
        self._shards = [_open_good(folder / name, verify) for name in names]
        shapes = {shard.shape[1:] for shard in self._shards}
        if len(shapes) != 1:
            raise StoreError(f"{folder}: rows of one shape wanted, got {sorted(shapes)}")
        self.row_shape = shapes.pop()
        self._size = prod(self.row_shape) * TYPES["rows"].itemsize
        self._counts = np.array([shard.shape[0] for shard in self._shards])
        self._ends = np.cumsum(self._counts)
        self._maps: dict[int, mmap.mmap] = {}  # by the number of the shard
        self._rows: list[memoryview | None] = [None] * int(self._ends[-1])  # None: not mapped
        # What was read once stays in memory where there is room for all: it isn't asked for again.
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._stays = self._size * len(self._rows) < memory / 2
        self._all_there = verify and self._stays
        self._cold = np.full(len(self._rows), not self._all_there)

    def places(self, index: np.ndarray) -> np.ndarray:
        """`index`: (..., 2) int of shard number and row -> (...,) int, what `read` takes.

        Done once for all batches: it would cost a batch a tenth of its time. Raises IndexError.
        """
        numbers, rows = index[..., 0], index[..., 1]
        if index.min(initial=0) < 0 or (rows >= self._counts[numbers]).any():
            raise IndexError("a row number is outside its shard")
        return (self._ends - self._counts)[numbers] + rows

    def read(self, places: np.ndarray) -> np.ndarray:
        """The rows (n, C, g, g) float16 at `places` (n,)."""
        if not self._all_there:
            self._ask_for(places)
        # Joining buffers costs least beside the copying itself.
        parts = range(0, len(places), MAX_MAPS)
        joined = [self._join(places[start : start + MAX_MAPS]) for start in parts]
        whole = joined[0] if len(joined) == 1 else bytearray().join(joined)
        return np.ndarray((len(places), *self.row_shape), TYPES["rows"], whole)

    def _join(self, places: np.ndarray) -> bytearray:
        rows = self._rows
        return bytearray().join([rows[place] or self._map(place) for place in places.tolist()])

    def _ask_for(self, places: np.ndarray) -> None:
        """Ask for all pages before any is copied: cold rows come in together, not one by one."""
        for place in np.unique(places[self._cold[places]]).tolist():  # as they lie on the disk
            mapped, begin = self._find(place)
            down = begin % mmap.PAGESIZE
            if hasattr(mmap, "MADV_WILLNEED"):
                mapped.madvise(mmap.MADV_WILLNEED, begin - down, self._size + down)
        self._cold[places] = not self._stays

    def _map(self, place: int) -> memoryview:
        """A row's bytes, mapped from now on."""
        mapped, begin = self._find(place)
        found = self._rows[place] = memoryview(mapped)[begin : begin + self._size]
        return found

    def _find(self, place: int) -> tuple[mmap.mmap, int]:
        """The mapped shard that holds a row, and the byte where the row begins."""
        number = int(np.searchsorted(self._ends, place, "right"))
        shard, count = self._shards[number], int(self._counts[number])
        if number not in self._maps:
            if len(self._maps) == MAX_MAPS:
                self._unmap(next(iter(self._maps)))
            with shard.path.open("rb") as file:
                self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        row = place - (int(self._ends[number]) - count)
        return self._maps[number], shard.offset + row * self._size

    def _unmap(self, number: int) -> None:
        """The system unmaps a shard when nothing refers to it."""
        end, count = int(self._ends[number]), int(self._counts[number])
        self._rows[end - count : end] = [None] * count
        del self._maps[number]


def _open_good(path: Path, verify: bool) -> Shard:
    again = "run ExtractPyramid again"
    try:
        shard = Shard(path)
    except StoreError as error:
        raise StoreError(f"{error}; {again}", path) from error
    bad = shard.verify() if verify else []
    if bad:
        told = f"{path.name}: {len(bad)} damaged rows, the first {bad[0]}; {again}"
        raise StoreError(told, path)
    return shard
