"""SQLite files that remember what was computed: damage costs what one held, and no more."""

import errno
import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.engine.locks import check_ranges

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# What SQLite answers for a file that may not be read, or not be mended after a crash.
_CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
# What the system answers where a file may not be opened, or where none can be.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
log = logging.getLogger(__name__)


class Memo:
    """One SQLite file. A damaged one is put aside, said so, and begun anew.

    Where no file can be made (a store that is read-only), or it may not be read, what is kept is
    forgotten at the end. Other troubles, such as a full disk, raise sqlite3.OperationalError or
    OSError; a file system without locks, LockError.
    """

    def __init__(self, path: Path, tables: str, check: bool = False) -> None:
        """tables: SQL that makes them where they are missing. check: the whole file, now."""
        self._path, self._tables = path, tables
        self._is_read_only = False  # and said so
        self._open(check)

    def _open(self, check: bool) -> None:
        path = self._path
        self._process = os.getpid()
        with suppress(OSError):  # then it can't be opened below
            path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = _connect(path)
        self._inode = _inode(path)
        try:
            self._prepare(check)
        except sqlite3.DatabaseError as error:
            if _code(error) in _CLOSED:
                self._forget(str(error))
            else:
                self._begin_anew(error)

    def _forget(self, why: str) -> None:
        """Keep in memory what would be kept in the file."""
        _warn_closed(self._path, why)
        self._connection.close()
        self._connection = sqlite3.connect(":memory:")
        self._prepare(check=False)

    def _prepare(self, check: bool) -> None:
        if check and self._connection.execute("pragma quick_check").fetchone() != ("ok",):
            raise _damaged()
        self._connection.executescript(self._tables)

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        code = _code(error)
        undecodable = code is None and "decode" in str(error)  # text that is no UTF-8
        if not undecodable and code not in _DAMAGED:
            raise error
        if not os.access(self._path.parent, os.W_OK, effective_ids=True):
            self._forget(f"it is damaged: {error}")
            return
        aside = self._path.with_name(f"{self._path.name}.damaged")
        log.warning(
            "%s is damaged (%s): begun anew, what it held is found out again; the old file is %s",
            self._path,
            error,
            aside.name,
        )
        self._connection.close()
        if _inode(self._path) == self._inode:  # else another process was quicker
            self._path.replace(aside)
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        self._connection = _connect(self._path)
        self._inode = _inode(self._path)
        self._prepare(check=False)

    def find(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row that a query finds."""
        self._reopen_after_fork()
        try:
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            return None
        return row

    def keep(self, sql: str, rows: Iterable[Sequence[Any]]) -> bool:
        """Write rows at once: the file is locked for this moment only.

        Where the file may not be written, warn once and return False.
        """
        if self._is_read_only:
            return False
        rows = list(rows)
        self._reopen_after_fork()
        try:
            with self._connection:
                self._connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            if _code(error) == sqlite3.SQLITE_READONLY:
                self._warn_read_only()
                return False
            self._begin_anew(error)
            with self._connection:
                self._connection.executemany(sql, rows)
        return True

    def _warn_read_only(self) -> None:
        log.warning(
            "%s: may not be written: what is computed now can't be kept; ask its owner for the "
            "right (chmod g+w)",
            self._path,
        )
        self._is_read_only = True

    def _reopen_after_fork(self) -> None:
        """SQLite's connections do not outlive a fork, such as that of Luigi's own workers."""
        if self._process != os.getpid():
            self._open(check=False)

    def close(self) -> None:
        """Free the file."""
        self._connection.close()


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _code(error: sqlite3.DatabaseError) -> int | None:
    """SQLite's primary code; None for an error of Python's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _connect(path: Path) -> sqlite3.Connection:
    """The file's connection; one to memory where no file is and none can be made."""
    _make(path)
    if not os.path.exists(path):  # unlike Path.exists, also in a folder that may not be searched
        return sqlite3.connect(":memory:")
    try:
        return sqlite3.connect(path, timeout=60)
    except sqlite3.OperationalError as error:
        if _code(error) not in _CLOSED:
            raise
        _warn_closed(path, str(error))
        return sqlite3.connect(":memory:")


def _warn_closed(path: Path, why: str) -> None:
    log.warning(
        "%s: may not be read or mended (%s): what it holds is computed again; ask its owner for "
        "the right (chmod g+rw)",
        path,
        why,
    )


def _make(path: Path) -> None:
    """Make the file where it is missing, with the rights that the umask asks for.

    SQLite itself makes files that a group may not write. Raises LockError. Call it before SQLite
    opens the file: closing a descriptor would free the locks that SQLite holds.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return  # read-only, perhaps: SQLite finds out
    try:
        check_ranges(descriptor, path)
    finally:
        os.close(descriptor)


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("its own check fails")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
