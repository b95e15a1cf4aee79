"""The describer `file`: texts that others wrote, found by the picture's name.

A file holds JSON lines of `picture` and `text`. A line belongs to each picture whose path is
`picture`, or ends in it as its last parts. Pictures are never opened. Of a file, only the place of
each line is kept in memory.
"""

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.corpus.files import Line, clip, is_text, lines
from pipeline.corpus.json_lines import read_object
from pipeline.description.report import write_report
from pipeline.description.texts import Pictured, on_one_line, write_texts
from pipeline.errors import DataError, StageError


class TextFile:
    """A file of picture texts.

    first: the name in its first line.
    several: hashes of pictures that the file gives several different texts.
    """

    def __init__(self, path: Path) -> None:
        """Read the whole file once. Raises DataError that names the line of a mistake."""
        self.path = path
        names, starts = array("q"), array("q")
        self.first = ""
        for line in tqdm(lines(path, "picture texts"), path.name, unit="line", disable=None):
            picture = _picture(line)
            self.first = self.first or picture
            names.append(hash(picture))
            starts.append(line.start)
        order = np.argsort(np.array(names, np.int64), kind="stable")
        # Sorted, for binary searches: in an array of Python they are faster than NumPy's.
        self._names = array("q", np.array(names, np.int64)[order].tobytes())
        self._starts = array("q", np.array(starts, np.int64)[order].tobytes())
        self._used = bytearray(len(order))
        self.several: set[int] = set()
        self._file = path.open("rb")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def unused(self) -> int:
        """The number of lines whose picture no post has."""
        return self._used.count(0)

    @property
    def matches(self) -> bool:
        """True if a line's picture is a post's."""
        return 1 in self._used

    def texts_of(self, picture: str) -> list[str]:
        """Return a picture's different texts, in the order of their lines."""
        names = _names(picture)
        rows = [row for name in names for row in self._rows(hash(name))]
        texts: list[str] = []
        for row in sorted(rows, key=self._starts.__getitem__):
            name, text = self._fields(self._starts[row])
            if name in names:  # else another name with the same hash
                self._used[row] = 1
                texts.append(on_one_line(text))
        texts = list(dict.fromkeys(filter(None, texts)))
        if len(texts) > 1:
            self.several.add(hash(picture))
        return texts

    def _rows(self, name: int) -> range:
        return range(bisect_left(self._names, name), bisect_right(self._names, name))

    def _fields(self, start: int) -> tuple[str, str]:
        try:
            self._file.seek(start)
            fields = json.loads(self._file.readline())
            return fields["picture"], fields["text"]
        except (ValueError, LookupError, TypeError) as error:
            raise StageError(
                f"{self.path}: changed while it was read; run the same command again"
            ) from error


def _picture(line: Line) -> str:
    """Return the picture that a line names. Raises DataError unless the line has both fields."""
    fields = read_object(line, export=True)
    picture, text = fields.get("picture"), fields.get("text")
    line.need(is_text(picture), '"picture": the name of a picture file', picture)
    line.need(text == "" or is_text(text), '"text": a string', text)
    return str(picture)


def _names(picture: str) -> list[str]:
    """Return the names by which a line may mean a picture: its path, and the path's last parts."""
    parts = picture.split("/")
    return ["/".join(parts[n:]) for n in range(len(parts))]


def describe_from_files(
    pictures: Iterable[str | None],
    paths: Sequence[Path],
    dataset: str,
    made_by: Mapping[str, Any],
    folder: Path,
) -> None:
    """Write the texts that files give the posts' pictures, and a report, into `folder`.

    A picture's texts are joined by a space, in the order of the files.

    pictures: of the posts, in their order.
    dataset: its name, for messages.

    Raises DataError for a line that is no text, and for a file without a text for any post.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(closing(TextFile(path))) for path in paths]
        counts = write_texts(_texts(pictures, files), made_by, folder)
    for file in files:
        _check_matches(file, dataset, counts.example)
    details = {
        "texts_without_post": sum(file.unused for file in files),
        "pictures_with_several_texts": sum(len(file.several) for file in files),
    }
    write_report(counts, made_by, details, folder)


def _texts(pictures: Iterable[str | None], files: Sequence[TextFile]) -> Iterator[Pictured]:
    """Yield each post's picture and its text."""
    for picture in pictures:
        of_picture = [] if picture is None else [file.texts_of(picture) for file in files]
        yield picture, " ".join(text for texts in of_picture for text in texts)


def _check_matches(file: TextFile, dataset: str, example: str) -> None:
    if not file.matches:
        posts = f"such as {clip(example)}" if example else "but no post names one"
        raise DataError(
            f"{file.path}: expected texts of pictures of {dataset}, {posts}; found texts of other "
            f"pictures, such as {clip(file.first)}"
        )
