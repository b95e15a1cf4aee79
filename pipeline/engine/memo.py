"""SQLite files that remember what was computed: damage costs what one held, and no more."""

import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
log = logging.getLogger(__name__)


class Memo:
    """One SQLite file. A damaged one is put aside, said so, and begun anew.

    Where no file can be made (a store that is read-only), what is kept is forgotten at the end.
    Other troubles, such as a full disk, raise sqlite3.OperationalError.
    """

    def __init__(self, path: Path, tables: str, check: bool = False) -> None:
        """tables: SQL that makes them where they are missing. check: the whole file, now."""
        self._path, self._tables = path, tables
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
            self._begin_anew(error)

    def _prepare(self, check: bool) -> None:
        if check and self._connection.execute("pragma quick_check").fetchone() != ("ok",):
            raise _damaged()
        self._connection.executescript(self._tables)

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        undecodable = code is None and "decode" in str(error)  # text that is no UTF-8
        if not undecodable and (code is None or code & 0xFF not in _DAMAGED):
            raise error
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

    def keep(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows at once: the file is locked for this moment only."""
        rows = list(rows)
        self._reopen_after_fork()
        try:
            with self._connection:
                self._connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            with self._connection:
                self._connection.executemany(sql, rows)

    def _reopen_after_fork(self) -> None:
        """SQLite's connections do not outlive a fork, such as that of Luigi's own workers."""
        if self._process != os.getpid():
            self._open(check=False)

    def close(self) -> None:
        """Free the file."""
        self._connection.close()


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=60)
        connection.execute("pragma schema_version")  # opens the file
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CANTOPEN or path.exists():
            raise
        return sqlite3.connect(":memory:")
    except sqlite3.DatabaseError:
        pass  # damaged: found again where it is put aside
    return connection


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("its own check fails")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
