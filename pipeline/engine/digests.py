"""SHA-256 digests of files, stored so that a run with nothing to do reads no picture."""

import errno
import hashlib
import logging
import os
import sqlite3
import stat
from array import array
from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from features.errors import access_named
from pipeline.engine.memo import Memo

_TABLES = """
create table if not exists digests (
    device integer, inode integer, size integer, mtime integer, ctime integer, sha256 text,
    primary key (device, inode, size, mtime, ctime)
) without rowid;
create table if not exists folders (listing blob primary key, content text) without rowid;
"""
_FIND = "select sha256 from digests where device=? and inode=? and size=? and mtime=? and ctime=?"
_KEEP = "insert or replace into digests values (?,?,?,?,?,?)"
_FORGET = "delete from digests where device=? and inode=? and size=? and mtime=? and ctime=?"
_FIND_FOLDER = "select content from folders where listing=?"
_KEEP_FOLDER = "insert or replace into folders values (?,?)"
BATCH = 500  # new digests that are written together

P = TypeVar("P", Path, str)
log = logging.getLogger(__name__)


class Digests:
    """Digests of files, stored in a small SQLite file by each file's status (stat).

    A file is read again if its device, inode, size, mtime or ctime (in nanoseconds) differs. The
    ctime is included because copying tools cannot set it back.
    """

    def __init__(self, path: Path) -> None:
        self._memo = Memo(path, _TABLES)

    def close(self) -> None:
        """Close the SQLite file; the digests stay in it."""
        self._memo.close()

    def of(self, path: Path | str) -> str:
        """Return the hexadecimal SHA-256 of a file. Raises OSError if it cannot be read."""
        return self.of_all([str(path)])[str(path)]

    def of_all(self, paths: Iterable[P]) -> dict[P, str]:
        """Return the digests of many files, in the given order. Raises OSError, AccessError."""
        with access_named("a file"):
            return self._of_all(paths)

    def _of_all(self, paths: Iterable[P]) -> dict[P, str]:
        digests: dict[P, str] = {}
        new: list[tuple[int | str, ...]] = []
        for path in paths:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
                raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
            key: tuple[int, ...] = _key(status)
            row = self._memo.find(_FIND, key)
            digests[path] = str(row[0]) if row else of_file(path)
            if not row:
                new.append((*key, digests[path]))
            if len(new) == BATCH:
                self._keep(_KEEP, new)
                new.clear()
        if new:
            self._keep(_KEEP, new)
        return digests

    def of_folder(self, folder: Path, skip: Callable[[Path], bool] = lambda _: False) -> str:
        """Return `N files, sha256 …` over the names and contents of all files below a folder.

        Hidden files and folders are left out.

        skip: returns True for a link to leave out.
        """
        with access_named(folder):
            files, listing = _list_files(folder, skip)
        known = self._memo.find(_FIND_FOLDER, [listing])
        if known:
            return str(known[0])
        each = self.of_all(folder / name for name in sorted(files))
        lines = "\n".join(f"{path.relative_to(folder).as_posix()} {d}" for path, d in each.items())
        content = f"{len(files)} files, {in_a_word(hashlib.sha256(os.fsencode(lines)).hexdigest())}"
        self._keep(_KEEP_FOLDER, [(listing, content)])
        return content

    def forget(self, path: Path | str) -> None:
        """Drop a file's stored digest, which was seen to be wrong, so that it is read again."""
        self._keep(_FORGET, [_key(os.stat(path))])

    def _keep(self, sql: str, rows: list[tuple]) -> None:
        try:
            self._memo.keep(sql, rows)
        except sqlite3.OperationalError as error:  # read-only, full or busy
            log.warning("cannot store digests (%s): the next run reads the files again", error)


def _key(status: os.stat_result) -> tuple[int, ...]:
    fields = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return tuple(map(_signed, fields))


def _signed(number: int) -> int:
    """Wrap a number to signed 64 bits: inodes go up to 2**64, and files may be dated 2400."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _list_files(folder: Path, skip: Callable[[Path], bool]) -> tuple[list[str], bytes]:
    """List the files below a folder, relative to it, and digest their names and status (stat).

    A run with nothing to do spends its time here.
    """
    names: list[str] = []
    digest = hashlib.sha256()
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while waiting:
        prefix, above = waiting.pop()
        inside, numbers = _stats(folder / prefix)
        modes = numbers[: len(_FIELDS) * len(inside) : len(_FIELDS)]
        if all(stat.S_ISREG(mode) for mode in set(modes)):
            names += [prefix + name for name in inside] if prefix else inside
        else:
            for name, mode in zip(inside, modes, strict=True):
                path = folder / prefix / name
                if stat.S_ISLNK(mode):
                    if skip(path) or not path.exists():
                        continue
                    digest.update(repr(_key(path.stat())).encode())
                if path.is_file():
                    names.append(prefix + name)
                elif path.is_dir() and (real := os.path.realpath(path)) not in above:
                    waiting.append((f"{prefix}{name}/", (*above, real)))  # avoids cycles of links
        digest.update(os.fsencode("\0".join([prefix, *inside, ""])) + numbers.tobytes())
    return names, digest.digest()


_FIELDS = ("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")


def _stats(folder: Path) -> tuple[list[str], "array[int]"]:
    """Return the names in a folder, without hidden ones, and a flat array of their status.

    The array holds `_FIELDS` for each name, then the folder's own device and inode.
    """
    names: list[str] = []
    numbers = array("q")
    fields = attrgetter(*_FIELDS)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in os.listdir(descriptor):
            if name[0] == ".":
                continue
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:  # removed since it was listed
                continue
            except PermissionError as error:
                raise PermissionError(error.errno, error.strerror, str(folder / name)) from error
            names.append(name)
            try:
                numbers.extend(fields(status))
            except OverflowError:
                del numbers[len(_FIELDS) * (len(names) - 1) :]
                numbers.extend(map(_signed, fields(status)))
        numbers.extend(_key(os.fstat(descriptor))[:2])  # two folders may be equal in all else
    finally:
        os.close(descriptor)
    return names, numbers


def of_file(path: Path | str) -> str:
    """Read a file and return its hexadecimal SHA-256. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_text(text: str) -> str:
    """Return the hexadecimal SHA-256 of a string's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_a_word(digest: str) -> str:
    """Shorten a digest to the form used in keys and reports."""
    return f"sha256 {digest[:16]}"
