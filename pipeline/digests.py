"""SHA-256 of files, remembered, so that a run with nothing to do reads no picture."""

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

_TABLE = """
create table if not exists digests (
    device integer, inode integer, size integer, mtime integer, ctime integer, sha256 text,
    primary key (device, inode, size, mtime, ctime)
) without rowid
"""


_FIND = "select sha256 from digests where device=? and inode=? and size=? and mtime=? and ctime=?"
BATCH = 500  # new digests that are written together


class Digests:
    """Digests of files, kept in a small SQLite file under what the file system says of each.

    A file is read again when its device, inode, size, or times of change (nanoseconds) differ:
    the inode's own change time too, which copying tools don't set back.
    """

    def __init__(self, memo: Path) -> None:
        memo.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(memo, timeout=60)
        self._connection.execute(_TABLE)

    def close(self) -> None:
        """Free the memo file; digests already known stay in it."""
        self._connection.close()

    def of(self, path: Path) -> str:
        """Hexadecimal SHA-256 of a file's bytes. Raises OSError where it can't be read."""
        return self.of_all([path])[path]

    def of_all(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Digests of many files, in the order given."""
        found: dict[Path, str] = {}
        new: list[tuple[int | str, ...]] = []
        for path in paths:
            key = _key(path.stat())
            row = self._connection.execute(_FIND, key).fetchone()
            if row:
                found[path] = str(row[0])
                continue
            found[path] = of_file(path)
            new.append((*key, found[path]))
            if len(new) == BATCH:
                self._keep(new)
        self._keep(new)
        return found

    def _keep(self, new: list[tuple[int | str, ...]]) -> None:
        """Write and forget: the file is locked for this moment only, never while one hashes."""
        with self._connection:
            self._connection.executemany("insert or replace into digests values (?,?,?,?,?,?)", new)
        new.clear()


def _key(stat: os.stat_result) -> tuple[int, ...]:
    # SQLite's integers are signed; some file systems number inodes up to 2**64.
    inode = stat.st_ino - (1 << 64) if stat.st_ino >= 1 << 63 else stat.st_ino
    return stat.st_dev, inode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read now. Raises OSError where it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_text(text: str) -> str:
    """Hexadecimal SHA-256 of a string."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_a_word(digest: str) -> str:
    """A file's digest, short, as keys and reports tell it."""
    return f"sha256 {digest[:16]}"
