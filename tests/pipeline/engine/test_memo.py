"""SQLite caches: damaged, read-only, or without a place for the file."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from pipeline.engine.memo import Memo
from tests.members import FIRST, SECOND, group_folder, member, only_root

TABLE = "create table if not exists numbers (name text primary key, value integer)"
KEEP = "insert or replace into numbers values (?, ?)"
FIND = "select value from numbers where name=?"
MANY = [(f"{n:05d}", n) for n in range(5000)]


def filled(path: Path) -> Path:
    memo = Memo(path, TABLE)
    memo.keep(KEEP, MANY)
    memo.close()
    return path


def test_values_are_read_by_the_next_process(tmp_path: Path) -> None:
    path = filled(tmp_path / "new" / "memo.sqlite")
    memo = Memo(path, TABLE)
    assert memo.find(FIND, ["00042"]) == (42,)
    assert memo.find(FIND, ["none"]) is None


@pytest.mark.parametrize("damage", ["no database", "cut", "emptied", "pages"])
def test_a_damaged_file_is_renamed_and_a_new_one_begun(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "memo.sqlite")
    content = path.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    path.write_bytes(
        {
            "no database": b"no database " * 1000,
            "cut": content[: middle + 100],
            "emptied": b"",
            "pages": content[:4096] + b"\xff" * (len(content) - 4096),
        }[damage]
    )
    memo = Memo(path, TABLE, check=True)
    assert memo.find(FIND, ["00042"]) is None
    memo.keep(KEEP, [("a", 1)])
    assert memo.find(FIND, ["a"]) == (1,)
    aside = tmp_path / "memo.sqlite.damaged"
    assert aside.exists() == (damage != "emptied")  # an empty file counts as new
    assert ("a new file is begun" in caplog.text) == aside.exists()


@pytest.mark.parametrize("ask", ["find", "keep"])
def test_damage_noticed_later_is_handled_too(ask: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "memo.sqlite")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    memo = Memo(path, TABLE)  # reads only the first page
    if ask == "find":
        assert memo.find(FIND, ["00042"]) is None
    memo.keep(KEEP, [("a", 1)])
    assert memo.find(FIND, ["a"]) == (1,)


def test_the_journal_of_a_damaged_file_is_not_replayed(tmp_path: Path) -> None:
    path = filled(tmp_path / "memo.sqlite")
    path.write_bytes(b"no database " * 1000)
    journal = tmp_path / "memo.sqlite-journal"
    journal.write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    memo = Memo(path, TABLE)
    memo.keep(KEEP, [("a", 1)])
    assert memo.find(FIND, ["a"]) == (1,)
    assert not journal.exists()


def test_text_that_is_not_utf8_is_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "memo.sqlite")
    content = path.read_bytes()
    assert content.count(b"00042") == 2  # the row's, and the index's
    damaged = sqlite3.connect(path)
    with damaged:
        damaged.execute("update numbers set value=cast(x'ff' as text) where name='00042'")
    damaged.close()
    memo = Memo(path, TABLE, check=True)
    assert memo.find(FIND, ["00042"]) is None
    assert (tmp_path / "memo.sqlite.damaged").exists()


def test_a_file_that_another_process_replaced_is_kept(tmp_path: Path) -> None:
    path = filled(tmp_path / "memo.sqlite")
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    first, second = Memo(path, TABLE), Memo(path, TABLE)
    assert first.find(FIND, ["00042"]) is None
    first.keep(KEEP, [("a", 1)])
    assert second.find(FIND, ["00042"]) is None
    first.keep(KEEP, [("b", 2)])
    assert second.find(FIND, ["b"]) == (2,)
    assert second.find(FIND, ["a"]) == (1,)


def test_without_a_place_for_the_file_values_stay_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memo = Memo(tmp_path / "file" / "memo.sqlite", TABLE)  # no folder can be made there
    memo.keep(KEEP, [("a", 1)])
    assert memo.find(FIND, ["a"]) == (1,)


def test_a_full_disk_is_not_taken_for_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "memo.sqlite")
    memo = Memo(path, TABLE)
    memo._connection.execute("pragma max_page_count=1")  # as many as there are is the least
    with pytest.raises(sqlite3.OperationalError, match="full"):
        memo.keep(KEEP, [(f"more {n}", n) for n in range(50_000)])
    assert memo.find(FIND, ["00042"]) == (42,)
    assert not (tmp_path / "memo.sqlite.damaged").exists()


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_a_new_file_has_the_permissions_of_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        filled(tmp_path / "memo.sqlite")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "memo.sqlite").stat().st_mode) == 0o666 & ~umask


@only_root
def test_another_user_can_write_the_file() -> None:
    with group_folder() as folder:
        with member(FIRST, umask=0o002):
            filled(folder / "memo.sqlite")
        with member(SECOND, umask=0o002):
            memo = Memo(folder / "memo.sqlite", TABLE)
            memo.keep(KEEP, [("a", 1)])
            memo.close()
        with member(FIRST, umask=0o002):
            assert Memo(folder / "memo.sqlite", TABLE).find(FIND, ["a"]) == (1,)


@only_root
@pytest.mark.parametrize("state", ["whole", "empty", "damaged"])
def test_a_read_only_file_is_reported_once(state: str, caplog: pytest.LogCaptureFixture) -> None:
    with group_folder() as folder:
        path = folder / "sub" / "memo.sqlite"
        with member(FIRST, umask=0o022):
            path.parent.mkdir()
            if state == "whole":
                filled(path)
            else:
                path.write_bytes(b"" if state == "empty" else b"no database " * 1000)
        with member(SECOND, umask=0o022):
            memo = Memo(path, TABLE)
            assert memo.find(FIND, ["00042"]) == ((42,) if state == "whole" else None)
            memo.keep(KEEP, [("a", 1)])
            memo.keep(KEEP, [("b", 1)])
        assert caplog.text.count(f"{path}: may not be") == 1
        assert list(path.parent.iterdir()) == [path]


@only_root
def test_a_file_without_read_permission_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with group_folder() as folder:
        with member(FIRST, umask=0o077):
            filled(folder / "memo.sqlite")
        with member(SECOND, umask=0o002):
            memo = Memo(folder / "memo.sqlite", TABLE)
            memo.keep(KEEP, [("a", 1)])
            assert memo.find(FIND, ["a"]) == (1,)
        assert f"{folder / 'memo.sqlite'}: may not be read" in caplog.text
        assert "damaged" not in caplog.text
