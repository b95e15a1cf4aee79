"""SHA-256 of files, remembered, so that a run with nothing to do reads no picture."""

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

_TABLE = """
create table if not exists digests (
    device integer, inode integer, size integer, mtime integer, ctime integer, sha256 text,
    primary key (device, inode, size, mtime, ctime)
) without rowid
"""


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
        with self._connection:  # one transaction for all
            for path in paths:
                found[path] = self._of(path)
        return found

    def _of(self, path: Path) -> str:
        stat = path.stat()
        # SQLite's integers are signed; some file systems number inodes up to 2**64.
        inode = stat.st_ino - (1 << 64) if stat.st_ino >= 1 << 63 else stat.st_ino
        key = (stat.st_dev, inode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        row = self._connection.execute(
            "select sha256 from digests where device=? and inode=? and size=? and mtime=? "
            "and ctime=?",
            key,
        ).fetchone()
        if row:
            return str(row[0])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._connection.execute(
            "insert or replace into digests values (?,?,?,?,?,?)", (*key, digest)
        )
        return digest


def of_text(text: str) -> str:
    """Hexadecimal SHA-256 of a string."""
    return hashlib.sha256(text.encode()).hexdigest()
