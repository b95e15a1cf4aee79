"""Tests of the reader: any order, many shards, no damaged rows."""

import mmap
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import features.reader
from features.reader import Reader
from features.store import Shard, StoreError, write_shard
from tests.tiny_store import flip, one_shard, some


def many(folder: Path, shards: int) -> tuple[list[str], np.ndarray]:
    keys, rows = some(3 * shards)
    cuts = range(0, 3 * shards, 3)
    names = [write_shard(folder, keys[i : i + 3], rows[i : i + 3]) for i in cuts]
    return names, rows.reshape(shards, 3, *rows.shape[1:])


def test_a_batch_in_any_order(tmp_path: Path) -> None:
    names, rows = many(tmp_path, 2)
    reader = Reader(tmp_path, names)
    places = reader.places(np.array([[[1, 2], [0, 0]], [[1, 2], [1, 0]]], np.int32))
    assert reader.row_shape == rows.shape[2:]
    batch = reader.read(places.reshape(-1, 2))
    np.testing.assert_array_equal(batch, rows[[1, 0, 1, 1], [2, 0, 2, 0]])


@pytest.mark.parametrize("verify", [False, True])
def test_a_batch_over_more_shards_than_may_be_mapped(
    verify: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features.reader, "MAX_MAPS", 4)
    names, rows = many(tmp_path, 13)
    index = np.stack([np.arange(13), np.arange(13) % 3], axis=1)[::-1]
    reader = Reader(tmp_path, names, verify=verify)
    opened, mapped = open_files(), mmap.mmap
    most = 0

    def counted(*arguments: Any, **options: Any) -> mmap.mmap:
        nonlocal most
        result = mapped(*arguments, **options)
        most = max(most, open_files() - opened)
        return result

    monkeypatch.setattr(mmap, "mmap", counted)
    for _ in range(2):  # the second time, unmapped shards are mapped again
        batch = reader.read(reader.places(index))
        np.testing.assert_array_equal(batch, rows[index[:, 0], index[:, 1]])
    assert open_files() - opened == 4
    assert most <= 2 * 4 + 1  # the kept maps, those of the part being joined, the open file


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("verify", [False, True])
def test_large_rows_are_read_from_the_middle_of_pages(verify: bool, tmp_path: Path) -> None:
    keys, rows = some(9, channels=960)
    reader = Reader(tmp_path, [write_shard(tmp_path, keys, rows)], verify)
    index = np.array([[0, 8], [0, 1], [0, 0]])
    np.testing.assert_array_equal(reader.read(reader.places(index)), rows[[8, 1, 0]])


def test_pages_are_prefetched_unless_they_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = []

    class Watched(mmap.mmap):
        def madvise(self, *arguments: Any) -> None:
            requested.append(arguments)
            super().madvise(*arguments)

    monkeypatch.setattr(mmap, "mmap", Watched)
    keys, rows = some(9, channels=960)  # of 7,680 bytes, the first on the second page or later
    names = [write_shard(tmp_path, keys, rows)]
    places = np.array([[0, 8], [0, 1]])
    verified = Reader(tmp_path, names)
    verified.read(verified.places(places))
    assert requested == []
    reader = Reader(tmp_path, names, verify=False)
    offsets = reader.places(places)
    reader.read(offsets)
    pages = [(byte // 4096 * 4096, byte % 4096 + 7680) for byte in sorted(offsets[:, 1].tolist())]
    assert requested == [(mmap.MADV_WILLNEED, *page) for page in pages]


def test_places_beyond_two_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = one_shard(tmp_path)
    reader = Reader(tmp_path, [path.name])
    monkeypatch.setattr(reader, "_size", 1 << 30)
    place = reader.places(np.array([[0, 3]], np.int32))
    assert place.tolist() == [[0, Shard(path).offset + (3 << 30)]]


@pytest.mark.parametrize("empty", [False, True])
def test_a_shard_cut_short_after_it_was_opened(empty: bool, tmp_path: Path) -> None:
    path, _, _ = one_shard(tmp_path)
    reader = Reader(tmp_path, [path.name])
    path.write_bytes(b"" if empty else path.read_bytes()[: Shard(path).end - 1])
    with pytest.raises(StoreError, match=f"{path.name}: was cut short.*run ExtractPyramid again"):
        reader.read(reader.places(np.array([[0, 4]])))


@pytest.mark.parametrize(
    ("outside", "number"),
    [([0, 3], "row"), ([0, -1], "row"), ([2, 0], "shard"), ([-1, 0], "shard")],
)
def test_a_place_outside_is_refused(outside: list[int], number: str, tmp_path: Path) -> None:
    names, _ = many(tmp_path, 2)
    with pytest.raises(IndexError, match=f"a {number} number"):
        Reader(tmp_path, names).places(np.array([[0, 0], outside]))


def test_a_reader_refuses_damaged_rows(tmp_path: Path) -> None:
    path, _, _ = one_shard(tmp_path)
    with h5py.File(path) as file:
        offset = file["rows"].id.get_offset()
    flip(path, offset)
    with pytest.raises(StoreError, match=f"{path.name}: 1 damaged.*run ExtractPyramid again"):
        Reader(tmp_path, [path.name])


def test_a_reader_refuses_a_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.h5: .*run ExtractPyramid again"):
        Reader(tmp_path, ["gone.h5"])


def test_a_reader_wants_rows_of_one_shape(tmp_path: Path) -> None:
    names = [write_shard(tmp_path, *some(2, seed=c, channels=c)) for c in (4, 5)]
    with pytest.raises(StoreError, match="one shape"):
        Reader(tmp_path, names)
