"""SHA-256 of files, remembered, so that a run with nothing to do reads no picture."""

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
    """Digests of files, kept in a small SQLite file under what the file system says of each.

    A file is read again when its device, inode, size, or times of change (nanoseconds) differ:
    the inode's own change time too, which copying tools don't set back.
    """

    def __init__(self, path: Path) -> None:
        self._memo = Memo(path, _TABLES)

    def close(self) -> None:
        """Free the memo file; digests already known stay in it."""
        self._memo.close()

    def of(self, path: Path | str) -> str:
        """Hexadecimal SHA-256 of a file's bytes. Raises OSError where it can't be read."""
        return self.of_all([str(path)])[str(path)]

    def of_all(self, paths: Iterable[P]) -> dict[P, str]:
        """Digests of many files, in the order given. Raises OSError, AccessError."""
        with access_named("a file"):
            return self._of_all(paths)

    def _of_all(self, paths: Iterable[P]) -> dict[P, str]:
        found: dict[P, str] = {}
        new: list[tuple[int | str, ...]] = []
        for path in paths:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                raise FileNotFoundError(errno.ENOENT, "no regular file", str(path))
            says: tuple[int, ...] = _key(status)
            row = self._memo.find(_FIND, says)
            found[path] = str(row[0]) if row else of_file(path)
            if not row:
                new.append((*says, found[path]))
            if len(new) == BATCH:
                self._keep(_KEEP, new)
                new.clear()
        if new:
            self._keep(_KEEP, new)
        return found

    def of_folder(self, folder: Path, skip: Callable[[Path], bool] = lambda _: False) -> str:
        """How many files are below a folder, and a digest of their names and bytes, in a word.

        Hidden files and folders are somebody else's. skip: links to leave out.
        """
        with access_named(folder):
            files, listing = _look_through(folder, skip)
        known = self._memo.find(_FIND_FOLDER, [listing])
        if known:
            return str(known[0])
        each = self.of_all(folder / name for name in sorted(files))
        lines = "\n".join(f"{path.relative_to(folder).as_posix()} {d}" for path, d in each.items())
        content = f"{len(files)} files, {in_a_word(hashlib.sha256(os.fsencode(lines)).hexdigest())}"
        self._keep(_KEEP_FOLDER, [(listing, content)])
        return content

    def forget(self, path: Path | str) -> None:
        """Read a file again when it is next asked for: it was seen to hold something else."""
        self._keep(_FORGET, [_key(os.stat(path))])

    def _keep(self, sql: str, rows: list[tuple]) -> None:
        try:
            self._memo.keep(sql, rows)
        except sqlite3.OperationalError as error:  # read-only, full, busy: the next run reads again
            log.warning("digests of files can't be kept (%s): they will be read again", error)


def _key(found: os.stat_result) -> tuple[int, ...]:
    says = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return tuple(map(_signed, says))


def _signed(number: int) -> int:
    """In 64 bits: some file systems number inodes up to 2**64, some files are of the year 2400."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _look_through(folder: Path, skip: Callable[[Path], bool]) -> tuple[list[str], bytes]:
    """The files below a folder by their names in it, and a digest of what is said of them all.

    A run with nothing to do spends its time here.
    """
    names: list[str] = []
    digest = hashlib.sha256()
    waiting: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while waiting:
        prefix, above = waiting.pop()
        inside, numbers = _stats(folder / prefix)
        modes = numbers[: len(_SAYS) * len(inside) : len(_SAYS)]
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
                    waiting.append((f"{prefix}{name}/", (*above, real)))  # no link to itself
        digest.update(os.fsencode("\0".join([prefix, *inside, ""])) + numbers.tobytes())
    return names, digest.digest()


_SAYS = ("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")


def _stats(folder: Path) -> tuple[list[str], "array[int]"]:
    """Names in a folder, hidden ones left out, and one after the other what is said of each.

    At the end the folder's own device and inode.
    """
    names: list[str] = []
    numbers = array("q")
    says = attrgetter(*_SAYS)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in os.listdir(descriptor):
            if name[0] == ".":
                continue
            try:
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:  # it went a moment ago
                continue
            except PermissionError as error:
                raise PermissionError(error.errno, error.strerror, str(folder / name)) from error
            names.append(name)
            try:
                numbers.extend(says(found))
            except OverflowError:
                del numbers[len(_SAYS) * (len(names) - 1) :]
                numbers.extend(map(_signed, says(found)))
        numbers.extend(_key(os.fstat(descriptor))[:2])  # two folders may be alike in all else
    finally:
        os.close(descriptor)
    return names, numbers


def of_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read now. Raises OSError where it can't be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_text(text: str) -> str:
    """Hexadecimal SHA-256 of a string."""
    return hashlib.sha256(text.encode()).hexdigest()


def in_a_word(digest: str) -> str:
    """A file's digest, short, as keys and reports tell it."""
    return f"sha256 {digest[:16]}"
