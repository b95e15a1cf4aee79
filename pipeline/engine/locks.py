"""Locks of the store: files in `locks/`, held by flock, so they die with their process."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


def lock_name(folder: Path) -> str:
    """The lock of an output folder."""
    return f"{folder.parent.name}-{folder.name}"


@contextmanager
def locked(store: Path, name: str, what: str) -> Iterator[None]:
    """Hold the store's lock `name`. While another process holds it, wait and log that.

    what: the work that the holder does, for the log.
    """
    path = _file(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for process %s, which is %s", _holder(path), what)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def in_use(store: Path, name: str) -> bool:
    """Whether a process holds the store's lock `name`."""
    try:
        with _file(store, name).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _file(store: Path, name: str) -> Path:
    return store / "locks" / name


def _holder(path: Path) -> str:
    """The number of the process that holds a lock; it may not have written it down yet."""
    for _ in range(20):
        number = path.read_text()
        if number.isdecimal() and Path("/proc", number).exists():
            return number
        time.sleep(0.02)
    return "?"
