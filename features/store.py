"""The feature store: immutable HDF5 shards of pyramids, looked up by key. The only user of h5py.

A shard holds three datasets: `rows` (N, C, g, g) float16, `keys` (N, 32) bytes, and `crc32` (N,),
each row's CRC-32 over its key and its bytes. All are contiguous; `rows` begins on a page. h5py
writes and checks shards; rows are read through a memory map at their offset, three times as fast as
by h5py's own indexing. A shard is written under a temporary name and renamed once it is on disk, so
that a killed process leaves a whole shard or none.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Sequence
from itertools import islice
from math import prod
from pathlib import Path

import h5py
import numpy as np

from features.errors import AccessError, FeatureError, access_named, need_readable

KEY_BYTES = 32
PAGE = 4096
ROW_BITS = 20
MAX_ROWS = 1 << ROW_BITS  # usually a few hundred; a damaged file may declare petabytes
TYPES: dict[str, np.dtype] = {
    "rows": np.dtype("<f2"),
    "keys": np.dtype("u1"),
    "crc32": np.dtype("<u4"),
}


class StoreError(FeatureError):
    """Rows that cannot be stored, or a shard that cannot be used. file: the shard."""


def write_shard(folder: Path, keys: Sequence[bytes], rows: np.ndarray) -> str:
    """Write a shard, named by a hash of its keys, and return its file name.

    keys: N, of 32 bytes each. rows: (N, C, g, g) float16. Raises StoreError for rows that are not
    finite (float16 ends at 65,504), OSError if the disk is full or fails.
    """
    _check_rows(keys, rows)
    name = f"{hashlib.sha256(b''.join(keys)).hexdigest()[:16]}.h5"
    image = _layout(name, keys, np.ascontiguousarray(rows, TYPES["rows"]))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)
    return name


def _check_rows(keys: Sequence[bytes], rows: np.ndarray) -> None:
    if rows.dtype != np.float16 or rows.ndim != 4 or rows.shape[2] != rows.shape[3]:
        raise StoreError(f"rows must be (N, C, g, g) float16, got {rows.shape} {rows.dtype}")
    if not 0 < len(rows) == len(keys) <= MAX_ROWS or rows.size == 0:
        raise StoreError(
            f"a shard takes 1 to {MAX_ROWS:,} rows with a key each, got rows {rows.shape} and "
            f"{len(keys)} keys"
        )
    if len(set(keys)) < len(keys) or any(len(key) != KEY_BYTES for key in keys):
        raise StoreError(f"keys must differ from each other and have {KEY_BYTES} bytes each")
    finite = np.isfinite(rows).all(axis=(1, 2, 3))
    if not finite.all():
        bad = [key.hex() for key, whole in zip(keys, finite, strict=True) if not whole]
        first = ", ".join(bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")
        raise StoreError(f"features overflow float16 or are not numbers; keys of the rows: {first}")


def _layout(name: str, keys: Sequence[bytes], rows: np.ndarray) -> bytes:
    """Return the HDF5 file's bytes, built in memory: HDF5 leaves a corrupt file on a full disk."""
    crcs = [_crc(key, row) for key, row in zip(keys, rows, strict=True)]
    data = {
        "rows": rows,
        "keys": np.frombuffer(b"".join(keys), TYPES["keys"]).reshape(-1, KEY_BYTES),
        "crc32": np.array(crcs, TYPES["crc32"]),
    }
    aligned = {"alignment_threshold": min(rows.nbytes, PAGE), "alignment_interval": PAGE}
    with h5py.File(name, "w", driver="core", backing_store=False, **aligned) as file:
        for dataset, values in data.items():
            file.create_dataset(dataset, data=values, dtype=TYPES[dataset])
        assert file["rows"].id.get_offset() % PAGE == 0
        file.flush()
        return file.id.get_file_image()


def _crc(key: bytes, row: np.ndarray) -> int:
    return zlib.crc32(row.data, zlib.crc32(key))


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder durable: it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Shard:
    """A shard on disk. Opening it checks its structure, not its CRCs (see `verify`).

    keys: (N, 32) uint8.
    shape: (N, C, g, g), of `rows`.
    offset: byte of the file at which `rows` begins.

    Raises StoreError if it is damaged, AccessError if it lacks read permission.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            need_readable(path)
            extents = _extents(path)
            (self.shape, self.offset), keys, crcs = (extents[name] for name in TYPES)
            _check_shapes(self.shape, keys[0], crcs[0])
            self.keys = _load(path, "keys", *keys)
            self._crcs = _load(path, "crc32", *crcs)
        except AccessError:
            raise
        # h5py raises different errors, depending on where in the file the damage is.
        except (OSError, LookupError, RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise StoreError(" ".join(f"{path.name}: {error}".split())) from error

    @property
    def end(self) -> int:
        """The offset of the first byte after the last row."""
        return self.offset + prod(self.shape) * TYPES["rows"].itemsize

    def map_rows(self) -> np.memmap:
        """Map the rows (N, C, g, g) float16, read-only. The map keeps a file descriptor open."""
        return np.memmap(self.path, TYPES["rows"], "r", self.offset, self.shape)

    def verify(self) -> list[int]:
        """Read all rows; return the numbers of those whose CRC is wrong."""
        pairs = zip(self.keys, self.map_rows(), self._crcs, strict=True)
        return [i for i, (key, row, crc) in enumerate(pairs) if _crc(key.tobytes(), row) != crc]


Extent = tuple[tuple[int, ...], int]  # shape, offset in the file


def _extents(path: Path) -> dict[str, Extent]:
    """Return the extents of the three datasets. Refuses all of HDF5's links to other files."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        raise StoreError("is not a file")
    size = status.st_size
    with h5py.File(path, "r", locking=False) as file:
        # Read at most one name too many: a damaged file may hold millions.
        links = {name: file.get(name, getlink=True) for name in islice(file, len(TYPES) + 1)}
        if set(links) != set(TYPES):
            raise StoreError(f"holds {', '.join(sorted(links))}, not {', '.join(sorted(TYPES))}")
        if not all(type(link) is h5py.HardLink for link in links.values()):
            raise StoreError("holds soft or external links")
        return {name: _extent(file[name], name, size) for name in TYPES}


def _extent(dataset: h5py.Dataset, name: str, size: int) -> Extent:
    if not isinstance(dataset, h5py.Dataset):
        raise StoreError(f"{name} is not a dataset")
    if dataset.id.get_type() != h5py.h5t.py_create(TYPES[name]):
        raise StoreError(f"{name} is {dataset.dtype}, not {TYPES[name]}")
    settings = dataset.id.get_create_plist()
    if settings.get_layout() != h5py.h5d.CONTIGUOUS or settings.get_nfilters():
        raise StoreError(f"{name} is not contiguous")
    if settings.get_external_count():
        raise StoreError(f"{name} is in another file")
    offset, shape = dataset.id.get_offset(), dataset.shape
    if offset is None or not shape:
        raise StoreError(f"{name} is empty")
    end = offset + prod(shape) * TYPES[name].itemsize
    if end > size:
        raise StoreError(f"{name} ends at byte {end:,}, but the file has {size:,} bytes")
    return shape, offset


def _check_shapes(rows: tuple[int, ...], keys: tuple[int, ...], crcs: tuple[int, ...]) -> None:
    if len(rows) != 4 or rows[2] != rows[3] or 0 in rows or rows[0] > MAX_ROWS:
        raise StoreError(f"rows are {rows}, not (N, C, g, g) with N up to {MAX_ROWS:,}")
    if keys != (rows[0], KEY_BYTES) or crcs != (rows[0],):
        raise StoreError(f"{rows[0]} rows, but keys {keys} and crc32 {crcs}")


def _load(path: Path, name: str, shape: tuple[int, ...], offset: int) -> np.ndarray:
    return np.fromfile(path, TYPES[name], prod(shape), offset=offset).reshape(shape)


class Store:
    """The shards of a folder, for writing: a set of keys, each with its shard and row.

    damaged: file name -> reason, for shards that are left out. CRCs are not checked here, as that
    reads everything: see `Shard.verify`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: dict[str, str] = {}
        self._names: list[str] = []
        self._places: dict[bytes, int] = {}  # shard number << ROW_BITS | row
        if folder.is_dir():
            with access_named(folder):
                os.listdir(folder)  # glob returns nothing for a folder without read permission
        for path in sorted(folder.glob("*.h5")):
            try:
                self._add(path.name, Shard(path).keys.tobytes())
            except StoreError as error:
                self.damaged[path.name] = str(error)

    def _add(self, name: str, keys: bytes) -> None:
        first = len(self._names) << ROW_BITS
        self._names.append(name)
        starts = range(0, len(keys), KEY_BYTES)
        row_keys = (keys[start : start + KEY_BYTES] for start in starts)
        self._places.update(zip(row_keys, range(first, first + len(starts)), strict=True))

    def find(self, key: bytes) -> tuple[str, int] | None:
        """Return the file name of the key's shard and the number of its row there, or None."""
        place = self._places.get(key)
        return None if place is None else (self._names[place >> ROW_BITS], place % MAX_ROWS)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def write(self, keys: Sequence[bytes], rows: np.ndarray) -> str:
        """Write a shard as `write_shard`, and add its rows to this store."""
        name = write_shard(self.folder, keys, rows)
        self.damaged.pop(name, None)
        self._add(name, b"".join(keys))
        return name

    def sweep(self) -> None:
        """Remove temporary files of killed writers. No other process may be writing."""
        for temporary in self.folder.glob(".*.tmp"):
            temporary.unlink()

    def discard(self, name: str) -> None:
        """Delete a shard's file, and drop its rows from this store. Raises StoreError."""
        if name not in self.damaged and name not in self._names:
            raise StoreError(f"{name}: not a shard of {self.folder}")
        self.damaged.pop(name, None)
        discarded = {number for number, other in enumerate(self._names) if other == name}
        self._places = {k: p for k, p in self._places.items() if p >> ROW_BITS not in discarded}
        (self.folder / name).unlink(missing_ok=True)
