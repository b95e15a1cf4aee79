"""The family of errors of this folder: each is a fault in a file that people can mend."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FeatureError(ValueError):
    """A picture, a box, weights, or stored rows cannot be used. The message is one line.

    `file`: the damaged file, if it is one that a stage made.
    """

    def __init__(self, message: str, file: Path | None = None) -> None:
        super().__init__(message)
        self.file = file


class AccessError(FeatureError):
    """A file or folder that may not be read; whether it is damaged or missing is not known."""


@contextmanager
def access_named(path: Path | str) -> Iterator[None]:
    """Turn a PermissionError into an AccessError that names the file, or else `path`."""
    try:
        yield
    except PermissionError as error:
        raise AccessError(
            f"{error.filename or path}: may not be read: permission denied; ask its owner for the "
            "right (chmod +r, for a folder +rx)"
        ) from error


def need_readable(path: Path | str) -> None:
    """Raise AccessError for a file that may not be read, or one anywhere below a folder.

    To be asked before a library reads it that calls such a file damaged, or missing.
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
            return  # the reader says what is wrong


def _refuse(error: OSError) -> None:
    raise error


def _open(file: Path | str) -> None:
    if stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
        with open(file, "rb"):
            pass
