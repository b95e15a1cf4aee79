"""A cache of answers that are slow to compute: text in one SQLite file, each with its CRC-32."""

import logging
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.engine.memo import Memo

_TABLE = "create table if not exists answers (key text primary key, answer text, crc integer)"
_FIND = "select answer, crc from answers where key=?"
_KEEP = "insert or replace into answers values (?, ?, ?)"
log = logging.getLogger(__name__)


class Answers:
    """Cached answers, each under a key that contains everything that decides it."""

    SECONDS = 1.0  # between writes: a killed run loses no more than this and the current batch

    def __init__(self, path: Path) -> None:
        self._memo = Memo(path, _TABLE, check=True)
        self._name = path.name
        self._unwritten: dict[str, str] = {}
        self._written = time.monotonic()

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the new answers and close the file."""
        self._write()
        self._memo.close()

    def get(self, key: str) -> str | None:
        """Return the answer stored under a key, or None if it is missing or damaged."""
        if key in self._unwritten:
            return self._unwritten[key]
        row = self._memo.find(_FIND, [key])
        if row is None:
            return None
        answer, crc = row
        if _crc(key, str(answer)) != crc:
            log.warning("%s: a damaged answer is computed again: %s", self._name, key[:16])
            return None
        return str(answer)

    def put(self, answers: Mapping[str, str]) -> None:
        """Store a batch of answers."""
        self._unwritten |= answers
        if time.monotonic() - self._written > self.SECONDS:
            self._write()

    def _write(self) -> None:
        """Write the new answers, or keep them in memory if the file is read-only."""
        new = ((key, answer, _crc(key, answer)) for key, answer in self._unwritten.items())
        if self._memo.keep(_KEEP, new):
            self._unwritten.clear()
        self._written = time.monotonic()


def _crc(key: str, answer: str) -> int:
    return zlib.crc32(f"{key} {answer}".encode())
