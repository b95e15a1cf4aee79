"""Errors of this folder. Each reports a fault in a file that the user can repair."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FeatureError(ValueError):
    """A picture, box, weights or stored rows that cannot be used. The message is one line.

    file: the damaged file, if a stage wrote it.
    """

    def __init__(self, message: str, file: Path | None = None) -> None:
        super().__init__(message)
        self.file = file


class AccessError(FeatureError):
    """A file or folder without read permission. It may be whole: it is not reported as damaged."""


@contextmanager
def access_named(path: Path | str) -> Iterator[None]:
    """Turn a PermissionError into an AccessError that names the file, or else `path`."""
    try:
        yield
    except PermissionError as error:
        raise AccessError(
            f"{error.filename or path}: may not be read: permission denied; ask its owner for read "
            "permission (chmod +r, for a folder +rx)"
        ) from error


def need_readable(path: Path | str) -> None:
    """Raise AccessError if a file, or any file below a folder, lacks read permission.

    Call it before a library that would report such a file as damaged or missing.
    """
    with access_named(path):
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):
                for folder, _, names in os.walk(path, onerror=_refuse):
                    for name in names:
                        _open(os.path.join(folder, name))
            else:
                _open(path)
        except PermissionError:
            raise
        except OSError:
            return  # the reader reports it


def _refuse(error: OSError) -> None:
    raise error


def _open(file: Path | str) -> None:
    if stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would block
        with open(file, "rb"):
            pass
