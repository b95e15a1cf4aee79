import os
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from features.store import Shard, Store, StoreError, _extent, write_shard
from tests.tiny_store import flip, one_shard, some


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path, keys, rows = one_shard(tmp_path)
    shard = Shard(path)
    assert [key.tobytes() for key in shard.keys] == keys
    np.testing.assert_array_equal(shard.map_rows(), rows)
    assert shard.verify() == []


def test_a_shard_is_the_documented_hdf5(tmp_path: Path) -> None:
    path, keys, rows = one_shard(tmp_path)
    with h5py.File(path) as file:
        assert {name: data.dtype for name, data in file.items()} == {
            "rows": np.dtype("<f2"),
            "keys": np.dtype("u1"),
            "crc32": np.dtype("<u4"),
        }
        np.testing.assert_array_equal(file["rows"][:], rows)
        crcs = [zlib.crc32(key + row.tobytes()) for key, row in zip(keys, rows, strict=True)]
        assert file["crc32"][:].tolist() == crcs


@pytest.mark.parametrize(("n", "channels"), [(1, 1), (3, 8), (100, 1), (40, 300)])
def test_rows_begin_on_a_page(n: int, channels: int, tmp_path: Path) -> None:
    keys, rows = some(n, channels=channels)
    with h5py.File(tmp_path / write_shard(tmp_path, keys, rows)) as file:
        assert file["rows"].id.get_offset() % 4096 == 0


def test_the_same_shard_has_the_same_bytes(tmp_path: Path) -> None:
    first, _, _ = one_shard(tmp_path / "a")
    second, _, _ = one_shard(tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_overflow_is_refused_with_the_keys(tmp_path: Path) -> None:
    keys, rows = some(5)
    rows[3, 2, 0, 1] = np.inf
    with pytest.raises(StoreError, match=f"overflow float16.* {keys[3].hex()}$"):
        write_shard(tmp_path, keys, rows)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda keys, rows: (keys[:4], rows),
        lambda keys, rows: ([*keys[:4], keys[0]], rows),
        lambda keys, rows: ([*keys[:4], b"short"], rows),
        lambda keys, rows: (keys, rows.astype(np.float32)),
        lambda keys, rows: (keys, rows[..., :1]),
        lambda keys, rows: ([], rows[:0]),
    ],
    ids=["count", "twice", "length", "float32", "oblong", "none"],
)
def test_wrong_rows_are_refused(spoil: Callable, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        write_shard(tmp_path, *spoil(*some(5)))


def test_a_failed_write_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_shard(tmp_path, *some(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["rows", "keys", "crc32"])
def test_a_flipped_bit_is_found(dataset: str, tmp_path: Path) -> None:
    path, _, rows = one_shard(tmp_path)
    with h5py.File(path) as file:
        offset = {name: file[name].id.get_offset() for name in file}[dataset]
    size = {"rows": rows[0].nbytes, "keys": 32, "crc32": 4}[dataset]
    flip(path, offset + 3 * size)
    assert Shard(path).verify() == [3]


def test_a_shard_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, _, _ = one_shard(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(StoreError, match=f"^{path.name}: "):
            Shard(path)


def test_a_damaged_head_is_refused_or_harmless(tmp_path: Path) -> None:
    path, _, rows = one_shard(tmp_path)
    data = path.read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        broken[draw.integers(2048)] = draw.integers(256)
        path.write_bytes(broken)
        try:
            shard = Shard(path)
        except StoreError:
            continue
        assert shard.verify() or (shard.map_rows() == rows).all()


def good(file: h5py.File, *names: str, n: int = 3) -> None:
    """Create the named datasets correctly; each test adds the wrong one."""
    data = {
        "rows": np.zeros((n, 4, 2, 2), "<f2"),
        "keys": np.zeros((n, 32), "u1"),
        "crc32": np.zeros(n, "<u4"),
    }
    for name in names:
        file.create_dataset(name, data=data[name])


def chunked(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file.create_dataset("rows", data=np.zeros((3, 4, 2, 2), "<f2"), chunks=(1, 4, 2, 2))


def compressed(file: h5py.File) -> None:
    good(file, "rows", "crc32")
    file.create_dataset("keys", data=np.zeros((3, 32), "u1"), compression="gzip")


def external_link(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file["rows"] = h5py.ExternalLink("other.h5", "/rows")


def soft_link(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file["rows"] = h5py.SoftLink("/keys")


def external_storage(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    outside = [("secret.bin", 0, 96)]
    file.create_dataset("rows", (3, 4, 2, 2), "<f2", external=outside)


def virtual(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    layout = h5py.VirtualLayout((3, 4, 2, 2), "<f2")
    layout[:] = h5py.VirtualSource("other.h5", "rows", (3, 4, 2, 2))
    file.create_virtual_dataset("rows", layout)


def wrong_type(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file.create_dataset("rows", data=np.zeros((3, 4, 2, 2), ">f2"))


def absurd(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file.create_dataset("rows", (2**40, 3840, 2, 2), "<f2")  # declared, never filled


def compact(file: h5py.File) -> None:
    good(file, "keys", "rows")
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"crc32", h5py.h5t.STD_U32LE, space, settings)


def group(file: h5py.File) -> None:
    good(file, "keys", "crc32")
    file.create_group("rows")


def one_more(file: h5py.File) -> None:
    good(file, "rows", "keys", "crc32")
    file["more"] = h5py.SoftLink("/")


def other_counts(file: h5py.File) -> None:
    good(file, "rows", "crc32")
    good(file, "keys", n=2)


def nothing(file: h5py.File) -> None:
    pass


def test_the_datasets_of_the_next_test_are_sound(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        good(file, "rows", "keys", "crc32")
    assert Shard(tmp_path / "a.h5").shape == (3, 4, 2, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (chunked, "rows is not contiguous"),
        (compressed, "keys is not contiguous"),
        (external_link, "links"),
        (soft_link, "links"),
        (external_storage, "in another file"),
        (virtual, "not contiguous"),
        (wrong_type, "rows is >f2"),
        (absurd, "empty"),
        (compact, "crc32 is not contiguous"),
        (group, "rows is not a dataset"),
        (one_more, "holds crc32, keys, more, rows"),
        (other_counts, "3 rows, but keys"),
        (nothing, "holds"),
    ],
)
def test_a_foreign_file_is_refused(make: Callable, message: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with pytest.raises(StoreError, match=rf"^a\.h5: .*{message}"):
        Shard(tmp_path / "a.h5")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def loose_link(path: Path) -> None:
    path.symlink_to("nothing")


@pytest.mark.parametrize("make", [pipe, folder, loose_link])
@pytest.mark.parametrize("name", ["a.h5", "a\nb.h5"])
def test_a_path_that_is_not_a_file_is_refused(make: Callable, name: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    with pytest.raises(StoreError, match=r"^[^\n]*\.h5: ") as caught:
        Shard(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert list(Store(tmp_path).damaged) == [name]


def test_a_file_of_many_things_is_refused_in_a_short_line(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        good(file, "rows", "keys", "crc32")
        for number in range(2000):
            file.create_group(f"a{number}")
    with pytest.raises(StoreError, match=r"holds a0, ") as caught:
        Shard(tmp_path / "a.h5")
    assert len(str(caught.value)) < 100


def test_attributes_and_trailing_bytes_change_nothing(tmp_path: Path) -> None:
    path, _, rows = one_shard(tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["note"] = "x" * 1000
        file["rows"].attrs["link"] = file["keys"].ref
    with path.open("ab") as end:
        end.write(b"more" * 999)
    shard = Shard(path)
    assert shard.verify() == []
    np.testing.assert_array_equal(shard.map_rows(), rows)


def test_a_shard_behind_a_user_block_is_read_rightly(tmp_path: Path) -> None:
    path, _, rows = one_shard(tmp_path)
    with (
        h5py.File(path) as file,
        h5py.File(tmp_path / "b.h5", "w", userblock_size=512) as moved,
    ):
        for name in file:
            moved[name] = file[name][:]
    shard = Shard(tmp_path / "b.h5")
    assert shard.verify() == []
    np.testing.assert_array_equal(shard.map_rows(), rows)


def test_rows_beyond_the_end_are_refused(tmp_path: Path) -> None:
    # Tested below Shard: some versions of HDF5 refuse such a file before Shard does.
    path, _, rows = one_shard(tmp_path)
    with h5py.File(path) as file:
        end = file["rows"].id.get_offset() + rows.nbytes
        assert _extent(file["rows"], "rows", end)[0] == rows.shape
        with pytest.raises(StoreError, match="rows ends at byte"):
            _extent(file["rows"], "rows", end - 1)


def test_a_store_finds_what_it_wrote(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    keys, rows = some(7)
    first, second = store.write(keys[:3], rows[:3]), store.write(keys[3:], rows[3:])
    for opened in (store, Store(tmp_path / "new")):
        assert [opened.find(key) for key in keys] == (
            [(first, row) for row in range(3)] + [(second, row) for row in range(4)]
        )
        assert len(opened) == 7
        assert opened.find(b"?" * 32) is None
        assert b"?" * 32 not in opened


def test_a_temporary_file_is_no_shard(tmp_path: Path) -> None:
    path, _, _ = one_shard(tmp_path)
    path.rename(tmp_path / f".{path.name}.123.tmp")
    store = Store(tmp_path)
    assert len(store) == 0
    assert store.damaged == {}


def test_a_damaged_shard_is_left_out_and_reported(tmp_path: Path) -> None:
    path, keys, _ = one_shard(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    store = Store(tmp_path)
    assert keys[0] not in store
    assert list(store.damaged) == [path.name]


def test_a_rewritten_shard_is_damaged_no_more(tmp_path: Path) -> None:
    path, keys, rows = one_shard(tmp_path)
    path.write_bytes(b"")
    store = Store(tmp_path)
    assert store.write(keys, rows) == path.name
    assert store.damaged == {}
    assert store.find(keys[2]) == (path.name, 2)


@pytest.mark.parametrize("damaged", [True, False])
def test_a_discarded_shard_is_gone(damaged: bool, tmp_path: Path) -> None:
    path, _, _ = one_shard(tmp_path)
    keys, rows = some(2, seed=1)
    kept = write_shard(tmp_path, keys, rows)
    if damaged:
        path.write_bytes(b"")
    store = Store(tmp_path)
    store.discard(path.name)
    assert [file.name for file in tmp_path.iterdir()] == [kept]
    assert len(store) == 2
    assert store.find(keys[1]) == (kept, 1)
    assert store.damaged == {}


def test_only_shards_are_discarded(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(StoreError, match="not a shard"):
        Store(tmp_path).discard("notes")
