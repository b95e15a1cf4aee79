"""Locks of the store: files in `locks/`, held by flock, so a lock ends with its process."""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import access_named
from pipeline.errors import LockError

# Errors of a file system without locks. Others, such as a server's, may be temporary.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.ENOTTY)
log = logging.getLogger(__name__)


def lock_name(folder: Path) -> str:
    """Return the name of an output folder's lock."""
    return f"{folder.parent.name}-{folder.name}"


@contextmanager
def locked(store: Path, name: str, what: str) -> Iterator[None]:
    """Hold the store's lock `name`. If another process holds it, log that and wait.

    what: the work that the holder does, for the log. Raises LockError.
    """
    path = _file(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a+") as file:
        try:
            _flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        except BlockingIOError:
            log.info("waiting for process %s, which is %s", _holder(path), what)
            _flock(file.fileno(), fcntl.LOCK_EX, path)
        except LockError:
            if is_new:
                path.unlink(missing_ok=True)
            raise
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def in_use(store: Path, name: str) -> bool:
    """Return True if a process holds the store's lock `name`. Raises LockError, AccessError.

    Tries a shared lock: on NFS, where flock uses fcntl locks, an exclusive one would need a file
    open for writing, and the user may have only read permission in the store.
    """
    path = _file(store, name)
    try:
        with access_named(path), path.open() as file:
            _flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def check_ranges(descriptor: int, path: Path) -> None:
    """Raise LockError unless an open file supports the locks that SQLite uses.

    SQLite itself would retry for a minute and then report that the file is locked.
    """
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # another process is writing
        pass
    except OSError as error:
        raise _not_locked(path, "fcntl", error) from error


def _flock(descriptor: int, operation: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        raise _not_locked(path, "flock", error) from error


def _not_locked(path: Path, call: str, error: OSError) -> Exception:
    if error.errno not in _NO_LOCKS:
        return OSError(error.errno, error.strerror, str(path))
    return LockError(
        f"{path}: cannot be locked ({call}: {error.strerror}): its file system has no working "
        "locks. Give a folder on another file system with --paths-store, or ask the administrator "
        "to mount this one with locks (NFS: without nolock; Lustre: with flock)"
    )


def _file(store: Path, name: str) -> Path:
    return store / "locks" / name


def _holder(path: Path) -> str:
    """Return the number of the process that holds a lock; "?" if it is not in the file."""
    for _ in range(20):  # the process writes it just after it gets the lock
        number = path.read_text()
        if number.isdecimal() and Path("/proc", number).exists():
            return number
        time.sleep(0.02)
    return "?"
