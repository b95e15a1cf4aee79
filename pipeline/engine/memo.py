"""SQLite files that cache what was computed: a damaged one loses its contents and nothing else."""

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
# SQLite's codes for a file that may not be read, or not be repaired after a crash.
_CLOSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
# The system's codes for a file that may not be opened, or cannot be created.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
log = logging.getLogger(__name__)


class Memo:
    """One SQLite file. If it is damaged, warn, rename it and begin a new one.

    If the file may not be read, or cannot be made (in a read-only store), values are kept in memory
    until the end of the process. Other errors, such as a full disk, raise sqlite3.OperationalError
    or OSError; a file system without locks raises LockError.
    """

    def __init__(self, path: Path, tables: str, check: bool = False) -> None:
        """Open the file.

        tables: SQL that creates the tables if they are missing.
        check: look for damage in the whole file now.
        """
        self._path, self._tables = path, tables
        self._is_read_only = False  # True once the warning is logged
        self._open(check)

    def _open(self, check: bool) -> None:
        path = self._path
        self._process = os.getpid()
        with suppress(OSError):  # opening the file below reports it
            path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = _connect(path)
        self._inode = _inode(path)
        try:
            self._prepare(check)
        except sqlite3.DatabaseError as error:
            if _code(error) in _CLOSED:
                self._use_memory(str(error))
            else:
                self._replace_damaged(error)

    def _use_memory(self, reason: str) -> None:
        """Keep values in memory instead of the file."""
        _warn_closed(self._path, reason)
        self._connection.close()
        self._connection = sqlite3.connect(":memory:")
        self._prepare(check=False)

    def _prepare(self, check: bool) -> None:
        if check and self._connection.execute("pragma quick_check").fetchone() != ("ok",):
            raise _damaged()
        self._connection.executescript(self._tables)

    def _replace_damaged(self, error: sqlite3.DatabaseError) -> None:
        """Begin a new file if `error` means damage; else raise it."""
        code = _code(error)
        undecodable = code is None and "decode" in str(error)  # text that is not UTF-8
        if not undecodable and code not in _DAMAGED:
            raise error
        if not os.access(self._path.parent, os.W_OK, effective_ids=True):
            self._use_memory(f"it is damaged: {error}")
            return
        aside = self._path.with_name(f"{self._path.name}.damaged")
        log.warning(
            "%s is damaged (%s): a new file is begun, its contents are computed again; the old "
            "file is %s",
            self._path,
            error,
            aside.name,
        )
        self._connection.close()
        if _inode(self._path) == self._inode:  # else another process has replaced it
            self._path.replace(aside)
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        self._connection = _connect(self._path)
        self._inode = _inode(self._path)
        self._prepare(check=False)

    def find(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the first row of a query's result, or None."""
        self._reopen_after_fork()
        try:
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            self._replace_damaged(error)
            return None
        return row

    def keep(self, sql: str, rows: Iterable[Sequence[Any]]) -> bool:
        """Write rows in one transaction, the only time when the file is locked.

        If the file is read-only, warn once and return False.
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
            self._replace_damaged(error)
            with self._connection:
                self._connection.executemany(sql, rows)
        return True

    def _warn_read_only(self) -> None:
        log.warning(
            "%s: may not be written: new values are not stored; ask its owner for permission "
            "(chmod g+w)",
            self._path,
        )
        self._is_read_only = True

    def _reopen_after_fork(self) -> None:
        """Open the file again in a forked process, such as one of Luigi's workers.

        SQLite's connections don't survive a fork.
        """
        if self._process != os.getpid():
            self._open(check=False)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _code(error: sqlite3.DatabaseError) -> int | None:
    """Return SQLite's primary error code; None for an error raised by Python."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _connect(path: Path) -> sqlite3.Connection:
    """Connect to the file, or to memory if the file cannot be made or opened."""
    _make(path)
    if not os.path.exists(path):  # unlike Path.exists, raises no error for lack of permission
        return sqlite3.connect(":memory:")
    try:
        return sqlite3.connect(path, timeout=60)
    except sqlite3.OperationalError as error:
        if _code(error) not in _CLOSED:
            raise
        _warn_closed(path, str(error))
        return sqlite3.connect(":memory:")


def _warn_closed(path: Path, reason: str) -> None:
    log.warning(
        "%s: may not be read or repaired (%s): its contents are computed again; ask its owner for "
        "permission (chmod g+rw)",
        path,
        reason,
    )


def _make(path: Path) -> None:
    """Make the file if it is missing, with the permissions of the umask. Raises LockError.

    SQLite itself makes files that a group may not write. Call this before SQLite opens the file:
    closing a descriptor would release the locks that SQLite holds.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return  # if the file is read-only, SQLite can still open it
    try:
        check_ranges(descriptor, path)
    finally:
        os.close(descriptor)


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("SQLite's quick_check fails")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
