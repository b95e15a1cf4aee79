"""Word vectors from a text file in GloVe's form: a word and its numbers on each line."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from features.errors import need_readable
from pipeline.errors import DataError


def read_vectors(file: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Return the vectors (d,) of the wanted words that a file has, in the file's order.

    The file is read line by line. A first line of two numbers, as word2vec writes it, is skipped;
    of a word that is there twice the first counts. Raises DataError, with the line, for a line
    without d finite numbers; AccessError.

    wanted: words; a word that contains spaces is possible.
    """
    need_readable(file)
    vectors: dict[str, np.ndarray] = {}
    width = 0
    for number, line in _lines(file):
        if number == 1 and len(line.split(" ")) == 2:
            continue
        width = width or line.count(" ")
        word, *fields = line.rsplit(" ", width)
        if width == 0 or len(fields) != width:
            raise DataError(
                f"{file}:{number}: expected a word and {width or 'its'} numbers, separated by "
                f"spaces, found {line[:40]!r}; give a text file in GloVe's form"
            )
        if word not in wanted or word in vectors:
            continue
        vectors[word] = _vector(file, number, fields)
    if width == 0:
        raise DataError(f"{file}: expected words with their vectors, found none")
    return vectors


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not empty."""
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            # Some published files hold a few words that are no UTF-8: no post has them.
            line = raw.decode("utf-8", "replace").strip("\r\n ")
            if line:
                yield number, line


def _vector(file: Path, number: int, fields: list[str]) -> np.ndarray:
    try:
        vector = np.array(fields, np.float32)
    except ValueError as error:
        raise DataError(f"{file}:{number}: expected numbers, found {error}") from error
    if not np.isfinite(vector).all():
        raise DataError(f"{file}:{number}: expected finite numbers, found others")
    return vector
